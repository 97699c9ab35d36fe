"""A feature file with the labels of a table: what `--labels FILE` makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedkit.datasets.label_file import read_labels_by_id
from embedkit.errors import EmbedkitError
from embedkit.files.selected_file import AnnotatedFile, SelectedFile
from embedkit.files.store import FeatureFile, file_sha256


def with_labels(file: FeatureFile, path: Path, asked: Mapping[str, Any]) -> FeatureFile:
    """Return a feature file whose labels are those of a table; its own count for nothing.

    Its dataset is called after the table and the first digits of its SHA-256, so that no result is ranked
    beside one of other labels.

    Parameters
    ----------
    file
        The whole file.
    path
        A table with a column of ids and one of labels.
    asked
        The options, for the record.

    Raises
    ------
    EmbedkitError
        No table, no such columns, or none of its ids in the feature file.
    """
    found = read_labels_by_id(path, file.rows.ids, str(file.path))
    sha256 = file_sha256(path)
    name = f"labels of {path.name} {sha256[:8]}"
    record = {
        "asked": dict(asked),
        "labels": {"file": str(path), "sha256": sha256, "column": found.column},
    }
    rows = replace(file.rows, labels=found.labels, class_names=found.class_names)
    return AnnotatedFile(file, rows, name=name, record=record, remarks=found.remarks)


def with_recorded_labels(file: FeatureFile, selection: Any) -> FeatureFile:
    """Return a feature file with the labels that a result's ``provenance.selection`` says it was scored by.

    Raises
    ------
    EmbedkitError
        The table is not where it was, or has changed; a few words say so.
    """
    if labels_sha256(selection) == labels_sha256(file.selection):
        return file
    while isinstance(file, SelectedFile):
        file = file.base
    labels = selection.get("labels") if isinstance(selection, Mapping) else None
    if not isinstance(labels, Mapping):
        return file
    path = Path(str(labels.get("file", "")))
    if not path.is_file():
        raise EmbedkitError(f"{path.name}, which holds the labels, is not where it was")
    if file_sha256(path) != labels.get("sha256"):
        raise EmbedkitError(f"{path.name}, which holds the labels, has changed since")
    return with_labels(file, path, {"labels": str(path)})


def labels_sha256(selection: Any) -> str:
    """Return the SHA-256 of the table that labels are of, from a selection's record; empty where of none."""
    labels = selection.get("labels") if isinstance(selection, Mapping) else None
    return str(labels.get("sha256", "")) if isinstance(labels, Mapping) else ""
