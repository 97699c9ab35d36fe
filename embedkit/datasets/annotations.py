"""What is stored beside an array of images: labels, ids, split, group, targets, positions."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.class_labels import class_labels
from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.rows import MOST_CHARACTERS, Rows, in_file, text_array
from embedkit.files.vote_tree import check_votes, tree_of
from embedkit.files.words import NOTHING

# Beside images and labels; each is optional and has one entry an image, except the two lists of names.
ANNOTATIONS = ("ids", "split", "group", "targets", "target_names", "class_names", "ra", "dec")
_LISTS = ("target_names", "class_names")
_ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+?\d{2,3}")  # 1.2376487206937559e+18

# What people call their classes, in small letters and without numbers or underscores at the end.
_LABEL_WORDS = frozenset(
    (
        *("label", "labels", "lbl", "y", "class", "classes", "cls", "category", "categories", "ans"),
        *("target", "answer", "answers", "kind", "type", "species", "morphology", "gt", "truth"),
        *("groundtruth", "ground_truth", "annotation", "annotations", "class_id", "label_id", "class_name"),
    )
)


def looks_like_labels(name: str) -> bool:
    """Whether people call their classes so."""
    word = name.rpartition("/")[2].strip().lower()
    return word in _LABEL_WORDS or word.rstrip("_0123456789") in _LABEL_WORDS


def wanted_keys(where: str, stored: Iterable[str], labels_key: str | None) -> dict[str, str]:
    """Return which array is which annotation; names are compared without regard to capitals.

    Raises
    ------
    UsageError
        `labels_key` is not there.
    """
    names = list(stored)
    if labels_key is not None and labels_key not in names:
        raise UsageError(
            f"{where}: no array {labels_key!r} for --labels-key. Its arrays: {', '.join(names) or 'none'}."
        )
    found = {} if labels_key is None else {"labels": labels_key}
    for wanted in ("labels", "label", *ANNOTATIONS):
        same = [name for name in names if name == wanted] or [n for n in names if n.lower() == wanted]
        if len(same) == 1:
            found.setdefault("labels" if wanted == "label" else wanted, same[0])
    return found


def note_unused(where: str, unused: Mapping[str, tuple[int, ...]], n: int, *, labelled: bool) -> None:
    """Say which arrays were left aside, and which of them may hold the labels."""
    if not unused:
        return
    shown = listed([f"{name} {shape}" for name, shape in unused.items()], 8)
    hint = ""
    if not labelled:
        per_row = [name for name, shape in unused.items() if len(shape) in (1, 2) and shape[0] == n]
        likely = [name for name in per_row if looks_like_labels(name)]
        likely = likely or [name for name in per_row if len(unused[name]) == 1]
        one_of = " or ".join(f"--labels-key {name}" for name in likely[:3])
        hint = f" So there are no labels; if one of them is, name it: {one_of}." if likely else ""
        if "ans" in per_row and where.endswith((".h5", ".hdf5")):
            hint += (
                " If this is Galaxy10, its kinds have names: "
                f"`embedkit extract galaxy10-decals --path {shlex.quote(where)}`, or galaxy10-sdss."
            )
    note(f"{where}: not used: {shown}.{hint}")


def check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], n: int, where: str) -> None:
    """Refuse an annotation by its declared shape and type, before it is read.

    Raises
    ------
    EmbedkitError
        Not one entry an image, text that is too wide, or no plain type.
    """
    if name not in _LISTS and (len(shape) == 0 or shape[0] != n or 0 in shape[1:]):
        raise EmbedkitError(
            f"{where}: {name} has shape {shape}, but there are {n:,} images. Store one entry an image."
        )
    if name in _LISTS and len(shape) != 1:
        raise EmbedkitError(f"{where}: {name} has shape {shape}, expected a list of names.")
    wide = {"U": 4, "S": 1}.get(dtype.kind)
    if wide and dtype.itemsize > 4 * wide * MOST_CHARACTERS:
        raise EmbedkitError(
            f"{where}: {name} is declared as text of {dtype.itemsize // wide:,} characters an entry; at most "
            f"{MOST_CHARACTERS:,} are taken. Store shorter text."
        )
    if dtype.kind not in "OUSbiuf":
        raise EmbedkitError(
            f"{where}: {name} is of type {dtype}, which is neither text nor plain numbers. "
            "Store it as one of these."
        )


def decoded(values: NDArray[Any], name: str, where: str) -> NDArray[Any]:
    """Return bytes as text: UTF-8, or else Western European (Windows' superset of Latin-1), which is said.

    Raises
    ------
    EmbedkitError
        Text that is partly UTF-8 and partly not: one of the two would be garbled.
    """
    if values.dtype.kind == "U":
        return text_array(values, f"{where}: {name}")
    if values.dtype.kind not in "SO":
        return values
    cells = values.ravel().tolist()
    raw = [cell for cell in cells if isinstance(cell, bytes)]
    odd = [cell for cell in raw if not _is_utf8(cell)]
    coding = "utf-8"
    if odd:
        mixed = [cell for cell in raw if not cell.isascii() and _is_utf8(cell)]
        if mixed:
            raise EmbedkitError(
                f"{where}: {name} holds {odd[0][:40]!r}, which is no UTF-8, beside {mixed[0][:40]!r}, which "
                "is: cut in the middle of a letter, or of two encodings. Write it again as text."
            )
        coding = "cp1252" if all(_is_cp1252(cell) for cell in odd) else "latin-1"
        shown = odd[0][:40].decode(coding)
        note(f"{where}: {name} is no UTF-8; read as {coding}, such as {shown!r}.")
    text = np.array([c.decode(coding) if isinstance(c, bytes) else c for c in cells], dtype=object)
    return text_array(text.reshape(values.shape), f"{where}: {name}")


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_cp1252(cell: bytes) -> bool:
    try:
        cell.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return True


def make_rows(
    n: int, annotations: Mapping[str, NDArray[Any]], where: str, class_names: tuple[str, ...] = ()
) -> Rows:
    """Turn stored arrays into rows: ids default to row numbers, integers without names to classes.

    Raises
    ------
    EmbedkitError
        An annotation that is not what it must be; the message names it.
    """
    found = {}
    for name, values in annotations.items():
        check_size(name, np.shape(values), values.dtype, n, where)
        found[name] = decoded(values, name, where)
    names = _names(found.pop("class_names", None), where) or class_names
    target_names = tuple(str(name) for name in found.pop("target_names", ()))
    labels, names = class_labels(found["labels"], names, where) if "labels" in found else (None, names)
    targets = _targets(found.get("targets"), n, where)
    if labels is not None and labels.ndim == 2:  # several classes an image
        if targets is None:
            targets, target_names = labels.astype(np.float32), names
        labels, names = None, ()
    if targets is not None:
        target_names = target_names or tuple(f"target_{t}" for t in range(targets.shape[1]))
    with in_file(where):
        rows = Rows(
            ids=_ids(found["ids"].reshape(n, -1)[:, 0], where)
            if "ids" in found
            else np.arange(n).astype(np.str_),
            labels=labels,
            class_names=names if labels is not None else (),
            targets=targets,  # type: ignore[arg-type]  # Rows looks whether float32 holds them
            target_names=target_names if targets is not None else (),
            split=_per_row(found, "split", where),
            group=groups(_per_row(found, "group", where)),
            coordinates=_coordinates(found, where),
        )
    check_targets(rows, where)
    return rows


def _ids(values: NDArray[Any], where: str) -> NDArray[np.str_]:
    return check_ids(text_array(values, "ids"), where)


def check_ids(ids: NDArray[np.str_], where: str) -> NDArray[np.str_]:
    """Return ids; refuses them where they have all been floats that are too large to keep their digits.

    The object ids of the SDSS have 19 digits, and a float, or a spreadsheet, keeps 15 of them.
    """
    if len(ids) and all(_ROUNDED.fullmatch(name) for name in ids.tolist()):
        raise EmbedkitError(
            f"{where}: ids such as {str(ids[0])!r} have been floating-point numbers, which keep 15 digits, "
            "so their last ones are lost. Write them again, as whole numbers or text."
        )
    return ids


def groups(values: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
    """Return groups with "" for what is written for nothing."""
    if values is None:
        return None
    words = [str(value).strip() for value in values.tolist()]
    # "NA" may be a region, and -1 a number: only what no one writes for a group is none.
    return np.array(["" if word.lower() in NOTHING - {"na"} else word for word in words], dtype=np.str_)


def check_targets(rows: Rows, where: str) -> None:
    """Name the targets that no row has, and refuse votes that don't sum up their tree of questions."""
    if rows.targets is None or not len(rows):
        return
    tree = tree_of(rows.target_names)
    if tree is not None:
        check_votes(rows.targets, tree, rows.ids, where)
    empty = np.flatnonzero(np.isnan(rows.targets).all(axis=0))
    if len(empty):
        note(f"{where}: no row has a number for the target {', '.join(rows.target_names[t] for t in empty)}.")


def _names(values: NDArray[Any] | None, where: str) -> tuple[str, ...]:
    names = tuple(str(name).strip() for name in (() if values is None else values.tolist()))
    for name, count in Counter(names).items():
        if name.lower() in NOTHING:
            raise EmbedkitError(
                f"{where}: class_names holds {name!r}, which stands for no label. Rename that class; label "
                "-1 stands for no label."
            )
        if count > 1:
            raise EmbedkitError(f"{where}: class_names holds {name!r} more than once. Rename one of them.")
    return names


def _targets(values: NDArray[Any] | None, n: int, where: str) -> NDArray[np.float64] | None:
    if values is None:
        return None
    try:
        return values.astype(np.float64).reshape(n, -1)
    except ValueError as error:
        raise EmbedkitError(f"{where}: targets are not numbers ({error}). Store floats.") from error


def _per_row(found: Mapping[str, NDArray[Any]], name: str, where: str) -> NDArray[np.str_] | None:
    if name not in found:
        return None
    values = found[name]
    if values.size != len(values):
        raise EmbedkitError(f"{where}: {name} has shape {values.shape}, expected one entry an image.")
    return values.reshape(-1).astype(np.str_)


def _coordinates(found: Mapping[str, NDArray[Any]], where: str) -> NDArray[np.float64] | None:
    if "ra" not in found or "dec" not in found:
        return None
    try:
        return np.stack([found[name].reshape(-1).astype(np.float64) for name in ("ra", "dec")], axis=1)
    except ValueError:
        note(f"{where}: ra and dec are not in degrees, so the positions are left out.")
        return None
