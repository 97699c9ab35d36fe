"""`embedkit leaks` as a function: copies in a feature file, and how many of them lie across a split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError
from embedkit.files import showing
from embedkit.files.guard import guarded
from embedkit.files.store import FeatureFile
from embedkit.files.tables import COPIES, write_table
from embedkit.scoring.asked_split import Asked, draw_splits
from embedkit.scoring.selected import selected
from embedkit.scoring.split_file import write_splits
from embedkit.scoring.splits import Split
from probes.division import usable_labels
from probes.leaks.leaks import Leaks, without_copies
from probes.leaks.options import LeaksOptions, LeaksPlaces
from probes.leaks.search import find

TITLES = {
    "exact": "exact copies",
    "near": "near copies",
    "identical": "identical features",
    "sky": "within an arcsecond",
    "embedding": "close in the embedding",
}


@dataclass(frozen=True)
class Found:
    """Copies of one kind.

    Parameters
    ----------
    pairs
        How many.
    test_rows
        Test rows with a copy in training or validation; None without a split.
    """

    pairs: int
    test_rows: int | None


@dataclass(frozen=True, repr=False)
class LeaksReport(showing.Shown):
    """Copies in a feature file, and how many of them lie across its split.

    Parameters
    ----------
    leaks
        The pairs of rows, and which kinds were not looked for.
    ids : (n,) str
        Of the file's rows.
    splits
        The split, or the folds; none where none can be drawn.
    notes
        What a reader must know.
    """

    leaks: Leaks
    ids: NDArray[np.str_]
    splits: tuple[Split, ...]
    notes: tuple[str, ...] = ()

    @property
    def found(self) -> dict[str, Found]:
        """What there is of each kind that was looked for."""
        n = len(self.ids)
        return {
            kind: Found(
                len(pairs),
                sum(self.leaks.n_across(kind, s, n) for s in self.splits) if self.splits else None,
            )
            for kind, pairs in self.leaks.pairs.items()
        }

    @property
    def not_checked(self) -> Mapping[str, str]:
        """Why a kind was not looked for."""
        return self.leaks.not_checked

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "splits": [split.name for split in self.splits],
            "found": {kind: asdict(found) for kind, found in self.found.items()},
            "not_checked": dict(self.not_checked),
        }

    def to_pandas(self) -> Any:
        """Return the pairs as a pandas DataFrame: ``kind, id, other``, a row each."""
        return showing.data_frame(self.columns())

    def columns(self) -> dict[str, list[str]]:
        """Return ``kind``, ``id`` and ``other`` of every pair."""
        rows = [(kind, a, b) for kind, pairs in self.leaks.pairs.items() for a, b in pairs]
        return {
            "kind": [kind for kind, _, _ in rows],
            "id": [str(self.ids[a]) for _, a, _ in rows],
            "other": [str(self.ids[b]) for _, _, b in rows],
        }

    def _shown(self) -> showing.Parts:
        cells = []
        for kind, title in TITLES.items():
            found = self.found.get(kind)
            across = "" if found is None else "-" if found.test_rows is None else f"{found.test_rows:,}"
            pairs = "not checked" if found is None else f"{found.pairs:,}"
            cells.append({"copies": title, "pairs": pairs, "test rows with one in training": across})
        return f"Copies among {len(self.ids):,} rows", cells, self.notes


@guarded()
def leaks(
    features: str | os.PathLike[str] | FeatureFile, options: LeaksOptions, places: LeaksPlaces
) -> LeaksReport:
    """Look for copies of one image in a feature file, and count those that lie across a split.

    Parameters
    ----------
    features
        A feature file of n rows, or its path. Its images are read where they can be found.
    options
        The split.
    places
        What is written where.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or a split that can't be drawn; the message says what to do.
    """
    notes: list[str] = []
    with selected(features, options) as file:
        notes += file.remarks
        found = find(file, notes)
        try:
            splits = _splits(file, options, places, notes)
            if places.save_split is not None and splits:
                notes.append(_keep(places.save_split, splits, found, file))
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        report = LeaksReport(found, file.rows.ids, splits, tuple(dict.fromkeys(notes)))
    if places.pairs is not None:
        write_table(places.pairs, COPIES, report.columns())
    return report


def _splits(
    file: FeatureFile, options: LeaksOptions, places: LeaksPlaces, notes: list[str]
) -> tuple[Split, ...]:
    labels = file.rows.labels
    if labels is None or len(set(labels[labels >= 0].tolist())) < 2:
        notes.append(f"{file.path}: no labels of two classes, so no split is drawn.")
        return ()
    usable, _ = usable_labels(file, notes)
    asked = Asked(options.split, seed=options.seed, one_for="--save-split" if places.save_split else None)
    return draw_splits(file.rows, usable, asked, notes=notes)


def _keep(path: Path, splits: Sequence[Split], found: Leaks, file: FeatureFile) -> str:
    """Write the splits without copies, and say what that left out."""
    groups = found.groups(file.n)
    kept = [without_copies(split, groups) for split in splits]
    write_splits(path, kept, file.rows.ids)
    lost = sum(len(s.train) + len(s.validation) for s in splits)
    lost -= sum(len(s.train) + len(s.validation) for s in kept)
    return f"Split without {lost:,} copies kept in {path}; the test rows are the same."
