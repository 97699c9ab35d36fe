"""What every source of images gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows
from embedkit.files.showing import html_table, named_cells
from embedkit.files.words import SPLITS

_FIRST = 3
_SAYS_NOTHING = frozenset(
    (
        "images",
        "image",
        "labels",
        "label",
        "data",
        "dataset",
        "train",
        "training",
        "val",
        "valid",
        "test",
        "all",
    )
)


@dataclass(frozen=True)
class Dataset:
    """n images that are read one at a time, and what is known of them.

    Parameters
    ----------
    name
        Short name for tables and provenance.
    rows
        Ids and annotations, in the order of the images.
    read
        Row number to the encoded bytes of an image file, or to a (h, w) or (h, w, 3) array. Picklable, and
        safe in a worker process: files are opened there. `embedkit.images.decode.decode` turns either into
        pixels.
    where
        Row number to the place that an error message names: a path, or ``galaxies.h5[17]``.
    fingerprint
        SHA-256 over what identifies the content (names, sizes, annotations, source version), without
        reading every image: two datasets with the same fingerprint give the same feature file.
    origin
        What `embedkit.datasets.load.load_again` opens this dataset from; kept in the provenance, so that
        ``verify`` and ``report`` find the images.
    missing : (n,) bool, optional
        True where the source has a place for an image but never held it; None where that can't be told.
    why_missing
        What happened to these.
    """

    name: str
    rows: Rows
    read: Callable[[int], bytes | NDArray[Any]]
    where: Callable[[int], str]
    fingerprint: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    missing: NDArray[np.bool_] | None = None
    why_missing: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self) -> dict[str, Any]:
        """Return what it holds, as JSON values; no image is read."""
        rows = self.rows
        summary: dict[str, Any] = {"name": self.name, "n": len(rows), "fingerprint": self.fingerprint}
        if rows.labels is not None:
            counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.class_names))
            summary["classes"] = {name: int(n) for name, n in zip(rows.class_names, counts, strict=True)}
            summary["unlabelled"] = int((rows.labels < 0).sum())
        else:
            summary["unlabelled"] = len(rows)
        if rows.split is not None:
            summary["split"] = {name: int((rows.split == name).sum()) for name in SPLITS}
            summary["in no split"] = int((rows.split == "").sum())
        if rows.group is not None:
            summary["groups"] = len(np.unique(rows.group[rows.group != ""]))
        if rows.coordinates is not None:
            summary["with position"] = int(np.isfinite(rows.coordinates).all(axis=1).sum())
        summary["targets"] = list(rows.target_names)
        summary["first"] = [str(name) for name in rows.ids[:_FIRST]]
        summary["origin"] = dict(self.origin)
        return summary

    def _repr_html_(self) -> str:
        return html_table(self.name, named_cells(self.describe()))


def spread_rows(n: int, limit: int | None) -> NDArray[np.int64]:
    """Return which of n rows are taken: all of them, or `limit` spread evenly."""
    size = n if limit is None else min(n, limit)
    return np.linspace(0, n - 1, size).round().astype(np.int64) if size < n else np.arange(n)


def short_name(path: Path) -> str:
    """Name a dataset after its file or folder, and after the one above where that says nothing."""
    name = path.stem if path.is_file() else path.name
    return f"{path.parent.name}-{name}" if name.lower() in _SAYS_NOTHING else name or "root"


def fingerprint(rows: Rows, content: Mapping[str, Any]) -> str:
    """SHA-256 over the annotations and `content`: sizes, shapes or versions, as arrays or JSON values."""
    digest = hashlib.sha256()
    for name in sorted(content):
        _update(digest, name, content[name])
    for name in ("ids", "labels", "targets", "split", "group", "coordinates"):
        _update(digest, name, getattr(rows, name))
    _update(digest, "names", [rows.class_names, rows.target_names])
    return digest.hexdigest()


def _update(digest: hashlib._Hash, name: str, value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype.kind not in "UO":
        data = np.ascontiguousarray(value).tobytes()
        kind = f"{value.dtype.str}{value.shape}"
    else:
        data = json.dumps(value.tolist() if isinstance(value, np.ndarray) else value).encode()
        kind = "json"
    digest.update(f"{name} {kind} {len(data)}\n".encode())
    digest.update(data)
