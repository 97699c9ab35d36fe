"""What one call of `embedkit import` does: vectors that were computed elsewhere become a feature file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, progress
from embedkit.datasets.annotations import make_rows
from embedkit.datasets.dataset import fingerprint
from embedkit.datasets.label_file import read_id_file, read_label_file
from embedkit.datasets.named_columns import IDS, Annotations, annotations_in, known_as
from embedkit.errors import EmbedkitError, FeatureFileError, UsageError, listed
from embedkit.extraction.options import FEATURE_FILE
from embedkit.extraction.vectors.open import open_vectors
from embedkit.extraction.vectors.options import ImportOptions, ImportPlaces
from embedkit.extraction.vectors.source import Vectors
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.regular import check_input
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, add_views, file_sha256, new_feature_file
from embedkit.options import RUNS
from embedkit.versions import versions

BLOCK_VALUES = 2**22
_EXACT = 2**24  # whole numbers up to here are float32's own


@dataclass(frozen=True)
class Imported:
    """A feature file that was made of vectors.

    Parameters
    ----------
    path, n, d
        The file and its size.
    storage
        ``float32`` or ``float16``.
    dataset, features_name
        What its rows and its vectors are called in tables.
    n_failed
        Rows that are marked, because they hold NaN or infinity.
    done
        ``imported``, or ``already there``.
    """

    path: Path
    n: int
    d: int
    storage: str
    dataset: str
    features_name: str
    n_failed: int
    done: str

    @property
    def facts(self) -> str:
        """What was done, on one line."""
        failed = f", {self.n_failed} rows marked as not usable" if self.n_failed else ""
        return (
            f"{self.n} x {self.d} features {self.done} in {self.storage}{failed}: {self.features_name} of "
            f"{self.dataset}."
        )


@guarded(ImportPlaces)
def import_features(
    vectors: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    options: ImportOptions = ImportOptions(),
) -> Imported:
    """Make a feature file of vectors that were computed elsewhere.

    Vectors of the same ids and labels are of one dataset, whatever file they come from, so that their results
    stand in one table of the leaderboard.

    Parameters
    ----------
    vectors
        A .npy, .npz, .csv, .tsv, .parquet, .h5 or .h5ad file of n rows and d dimensions, or a feature file
        that is to have other labels.
    output
        The feature file to make; ``runs/NAME.h5`` by default.
    options
        Which vectors, and what is known of their rows.

    Raises
    ------
    UsageError
        No vectors, several arrays that could be them, or a column that is not there.
    EmbedkitError
        A damaged file, ids that are not unique, NaN, values beyond float32, or an output of another import.
    """
    path = Path(vectors)
    if not path.exists():
        raise UsageError(f"{path}: no such file.")
    check_input(path, "Name the file of vectors. A folder of images goes to `embedkit extract`.")
    name = options.name or path.name.partition(".")[0] or path.stem
    place = RUNS / f"{name}.h5" if output is None else Path(output)
    check_outputs("-o", {place: FEATURE_FILE}, path, options)
    found = open_vectors(path, options)
    rows = _rows(found, options)
    record = _record(path, found, rows, name, options)
    if (there := _already_there(place, record, options)) is not None:
        return there
    bad = _write(place, found, rows, record, options)
    return _imported(place, record, found, len(bad), "imported")


def _rows(found: Vectors, options: ImportOptions) -> Rows:
    """Put together what the file and those beside it say of the rows."""
    n, columns = found.shape[0], found.columns
    asked: dict[str, str | None] = {"ids": options.ids, "labels": options.labels}
    files = {
        what: Path(given)
        for what, given in asked.items()
        if given is not None and given not in columns and Path(given).is_file()
    }
    of_file = "labels" in files
    own = annotations_in(
        columns,
        found.where,
        ids=None if "ids" in files else options.ids or _index(found),
        labels=None if of_file else options.labels,
        target_columns=() if of_file else options.target_columns or (),
    )
    own.arrays.update(found.names)
    if "ids" in files:
        own.arrays["ids"], own.taken["ids"] = read_id_file(files["ids"], n), files["ids"].name
    if of_file:
        _take_labels(own, files["labels"], n, options)
    _say(found, own, n)
    try:
        return make_rows(n, own.arrays, found.where)
    except EmbedkitError as error:
        text = str(error)
        raise EmbedkitError(text if text.startswith(found.where) else f"{found.where}: {text}") from error


def _index(found: Vectors) -> str | None:
    """Return the index of a table, where no column is called as ids are."""
    return found.index if known_as(list(found.columns), IDS) is None else None


def _take_labels(own: Annotations, path: Path, n: int, options: ImportOptions) -> None:
    """Put what a file of labels says in the place of what the vectors' file says."""
    ids = own.arrays.get("ids")
    given = read_label_file(path, n, ids, target_columns=options.target_columns or ())
    if "labels" in given.arrays:
        own.arrays.pop("class_names", None)
    if "targets" in given.arrays:
        own.arrays.pop("target_names", None)
    for what, values in given.arrays.items():
        own.arrays[what] = values
        name = given.taken.get(what, what)
        own.taken[what] = name if name == path.name else f"{name} of {path.name}"


def _say(found: Vectors, own: Annotations, n: int) -> None:
    """Say which columns were taken as what, and which were not."""
    words = [found.said] if found.said else []
    shown = {what: name for what, name in own.taken.items() if not what.endswith("_names")}
    words += [f"{what} from {name or 'the column without a name'}" for what, name in shown.items()]
    if "ids" not in shown:
        words.append(f"ids are the row numbers, as of every file of {n:,} rows without ids; --ids gives them")
    note(f"{found.file}: {'; '.join(words)}.")
    used = set(own.taken.values()) | {one for name in own.taken.values() for one in name.split(", ")}
    unused = [name for name in found.columns if name.strip() and name not in used and name not in own.taken]
    unused += found.unread
    if unused:
        note(
            f"{found.file}: not used: {listed(unused, 8)}. --labels, --ids and --target-columns name a "
            "column."
        )


def _record(path: Path, found: Vectors, rows: Rows, name: str, options: ImportOptions) -> dict[str, Any]:
    """Return the provenance: what the vectors are of, and where they come from. No time in it."""
    sha256 = {"vectors": file_sha256(path)}
    for what, given in (("ids", options.ids), ("labels", options.labels)):
        if given is not None and given not in found.columns and Path(given).is_file():
            sha256[what] = file_sha256(given)
    digest = _identity(rows)
    dataset = {"name": f"imported-{digest[:8]}", "fingerprint": digest, "n": len(rows)}
    made = dict(found.made.provenance) if found.made is not None else {}
    there = made.get("dataset")
    if isinstance(there, Mapping) and "origin" in there:  # its images are the same
        dataset |= there
        if "labels" in sha256 and "labels" in found.columns:
            dataset["name"] = f"{there.get('name')} by {Path(str(options.labels)).stem}"
    if options.dataset is not None:
        dataset["name"] = options.dataset
    if options.name is None and isinstance(made.get("features_name"), str):
        name = made["features_name"]
    return made | {
        "dataset": dataset,
        "features_name": name,
        "imported": {
            "file": path.name,
            "key": options.key,
            "ids": options.ids,
            "labels": options.labels,
            "target_columns": list(options.target_columns or ()),
            "on_error": options.on_error,
            "sha256": sha256,
            "stored": found.dtype.str,
        },
        "storage": "float16" if found.dtype == np.float16 else "float32",
        "versions": made.get("versions", versions()),
    }


def _identity(rows: Rows) -> str:
    """Digest of ids and labels, whatever their order and that of the classes."""
    order = np.argsort(rows.ids, kind="stable")
    if rows.labels is None:
        return fingerprint(Rows(rows.ids[order]), {})
    names = np.array([*rows.class_names, ""], dtype=np.str_)[rows.labels]  # -1 is the last, the empty one
    known = sorted(set(names.tolist()) - {""})
    labels = np.array([*range(len(known)), -1])[np.searchsorted([*known], names[order])] if known else None
    if labels is not None:
        labels = np.where(names[order] == "", -1, labels)
    return fingerprint(Rows(rows.ids[order], labels, tuple(known) if labels is not None else ()), {})


def _already_there(place: Path, record: Mapping[str, Any], options: ImportOptions) -> Imported | None:
    """Return what is there where it was made in just this way; refuses one that was made otherwise."""
    if not place.exists() or options.overwrite:
        return None
    try:
        with FeatureFile(place) as file:
            made, n, d = file.provenance, file.n, file.d
            n_failed = int((~file.ok).sum())
    except FeatureFileError as error:
        raise EmbedkitError(f"{error} Or give --overwrite to replace it.") from error
    same = ("dataset", "features_name", "imported", "storage")
    if any(made.get(key) != record[key] for key in same):
        raise EmbedkitError(f"{place}: there, but made in another way. Give another -o, or --overwrite.")
    return Imported(
        place,
        n,
        d,
        record["storage"],
        record["dataset"]["name"],
        record["features_name"],
        n_failed,
        "already there",
    )


def _imported(place: Path, record: Mapping[str, Any], found: Vectors, n_failed: int, done: str) -> Imported:
    n, d = found.shape
    storage, dataset = record["storage"], record["dataset"]["name"]
    return Imported(place, n, d, storage, dataset, record["features_name"], n_failed, done)


def _write(
    place: Path, found: Vectors, rows: Rows, record: Mapping[str, Any], options: ImportOptions
) -> list[int]:
    """Write the vectors block by block; returns the rows that are marked."""
    n, d = found.shape
    dtype = np.float16 if found.dtype == np.float16 else np.float32
    step = max(1, BLOCK_VALUES // d)
    bad: list[int] = []
    rounded = False
    views = found.made.views if found.made is not None else None
    with (
        new_feature_file(place, (n, d), dtype, rows, record, views=views is not None) as file,
        progress("Importing", n, unit="rows") as advance,
    ):
        if views is not None:
            add_views(file, views.n_views, views.within_covariance)
            file["view_mean"][...] = views.mean
        for start in range(0, n, step):
            x = found.read(start, min(start + step, n))
            stored = _stored(x, dtype, rows.ids[start : start + len(x)], found.where)
            rounded |= x.dtype.kind in "iu" and x.dtype.itemsize > 2 and bool((np.abs(x) > _EXACT).any())
            wrong = ~np.isfinite(stored).all(axis=1)
            bad += (start + np.flatnonzero(wrong)).tolist()
            stored[wrong] = np.nan
            file["features"][start : start + len(x)] = stored
            advance(len(x))
        _mark(file, bad, rows, found, options)
    if rounded:
        note(f"{found.file}: whole numbers beyond {_EXACT:,} were rounded to float32.")
    return bad


def _stored(
    x: NDArray[Any], dtype: type[np.floating[Any]], ids: NDArray[np.str_], where: str
) -> NDArray[np.floating[Any]]:
    """Return rows as they are stored; raises `EmbedkitError` where a number is beyond that type."""
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.array(x, dtype=dtype)
    if x.dtype.kind == "f" and x.dtype.itemsize > 4:
        beyond = np.isinf(stored) & np.isfinite(x)
        if beyond.any():
            row, dimension = (int(one) for one in np.argwhere(beyond)[0])
            raise EmbedkitError(
                f"{where}: {x[row, dimension]:g} in dimension {dimension} of row {str(ids[row])!r} is beyond "
                "float32 (3.4e38). Scale the vectors first."
            )
        nothing = ~stored.any(axis=1) & x.any(axis=1)
        if nothing.any():
            row = int(np.argmax(nothing))
            raise EmbedkitError(
                f"{where}: row {str(ids[row])!r} is zero in float32 (least number 1.4e-45), and not as "
                f"given (up to {np.abs(x[row]).max():g}). Scale the vectors first."
            )
    return stored


def _mark(file: h5py.File, bad: list[int], rows: Rows, found: Vectors, options: ImportOptions) -> None:
    """Mark the rows that can't be used, or refuse them; those that a feature file has marked stay so."""
    if not bad:
        return
    where = found.where
    known = found.made.errors if found.made is not None else {}
    errors = np.full(len(rows), "", dtype=object)
    for row in bad:
        errors[row] = known.get(str(rows.ids[row]), "holds NaN or infinity")
    file.create_dataset("ok", data=errors == "")
    file.create_dataset("errors", data=errors)
    bad = [row for row in bad if str(rows.ids[row]) not in known]
    if not bad:
        return
    names = ", ".join(repr(str(rows.ids[row])) for row in bad[:3]) + (", ..." if len(bad) > 3 else "")
    if options.on_error == "fail" or len(bad) == len(rows):
        raise EmbedkitError(
            f"{where}: {len(bad):,} of {len(rows):,} rows hold NaN or infinity: {names}. "
            + (
                "Leave them out, or give --on-error skip to keep them, marked."
                if len(bad) < len(rows)
                else "There is nothing to import."
            )
        )
    note(f"{found.file}: {len(bad):,} rows hold NaN or infinity and are marked: {names}.")
