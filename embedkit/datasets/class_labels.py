"""From what is stored as labels (names, numbers, a column a class) to numbers and the classes' names."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.errors import EmbedkitError
from embedkit.files.rows import labels_from_names
from embedkit.files.words import label_words, taken_for_nothing


def class_labels(
    values: NDArray[Any] | Sequence[str], class_names: tuple[str, ...], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels and the classes' names, from names, from whole numbers, or from a column a class.

    Parameters
    ----------
    values : (n,), (n, 1) or (n, c)
        Text, whole numbers (negative or NaN for none), or 0 and 1 in a column a class.
    class_names
        Names by number; where empty, the numbers that occur are the classes.
    where
        Names the file in a message.

    Returns
    -------
    labels : (n,) int64, or (n, c) of 0 and 1 where an image is of several classes
    class_names
        One a class.

    Raises
    ------
    EmbedkitError
        Neither of these.
    """
    array = np.asarray(values)
    if array.ndim > 1 and array.shape[1:] == (1,) * (array.ndim - 1):
        array = array.reshape(-1)
    if array.dtype.kind in "USO" and array.ndim == 1:
        return _of_names([str(name) for name in array.tolist()], class_names, where)
    if array.ndim == 2 and array.dtype.kind in "biuf" and np.isin(array, (0, 1)).all() and array.any():
        return _of_columns(array != 0, class_names, where)
    if array.ndim != 1:
        raise EmbedkitError(
            f"{where}: labels has shape {array.shape}, expected one class an image, or a column of 0 "
            "and 1 a class."
        )
    return _of_numbers(array, class_names, where)


def of_flags(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.str_] | None:
    """Return the name of the column that is 1 in each row (n,); None where it isn't one, and 0 the others."""
    if len(columns) < 2 or len({len(values) for values in columns.values()}) > 1:
        return None
    table = np.stack(list(columns.values()), axis=1)  # (n, c)
    if not len(table) or not np.isin(table, (0, 1)).all() or not (table.sum(axis=1) == 1).all():
        return None
    names: NDArray[np.str_] = np.array(list(columns), dtype=np.str_)
    of_rows: NDArray[np.str_] = names[table.argmax(axis=1)]
    return of_rows


def said_label_words(names: Sequence[str], where: str) -> list[str]:
    """Do what `label_words` does, and say which words were taken for no label."""
    words = label_words(names)
    dropped = taken_for_nothing(names, words)
    if dropped:
        listed = ", ".join(f"{word!r} ({count:,} rows)" for word, count in list(dropped.items())[:4])
        note(f"{where}: taken for no label: {listed}. If that is a class, give it another name.")
    return words


def _note_alike(words: Sequence[str], where: str) -> None:
    """Say which classes look the same but for capitals, or altogether: more often a slip than meant."""
    looks: tuple[tuple[str, Callable[[str], str], Callable[[str], str]], ...] = (
        ("in capitals only", str.casefold, str),
        ("in characters that can't be seen, or in how accents are stored", _seen, ascii),
    )
    for what, look, show in looks:
        alike: dict[str, list[str]] = {}
        for word in sorted(set(words)):
            alike.setdefault(look(word), []).append(show(word))
        doubled = [same for same in alike.values() if len(same) > 1]
        if doubled:
            listed = "; ".join(", ".join(same) for same in doubled[:3])
            note(f"{where}: classes of their own that differ {what}: {listed}. Write them alike.")


def _seen(word: str) -> str:
    """Return what is seen of a word: accents composed, nothing of no width, one blank for any."""
    shown = "".join(c for c in unicodedata.normalize("NFC", word) if unicodedata.category(c) != "Cf")
    return " ".join(shown.split())


def _of_names(
    names: list[str], class_names: tuple[str, ...], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    words = said_label_words(names, where)
    _note_alike(words, where)
    if not class_names:
        return labels_from_names(words)
    index = {name: label for label, name in enumerate(class_names)} | {"": -1}
    unknown = sorted(set(words) - index.keys())
    if unknown:
        raise EmbedkitError(
            f"{where}: labels hold {unknown[0]!r}, which is not among class_names "
            f"({', '.join(class_names[:8])}). Add it there, or leave class_names out."
        )
    return np.array([index[word] for word in words], dtype=np.int64), class_names


def _of_columns(
    marked: NDArray[np.bool_], class_names: tuple[str, ...], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    c = marked.shape[1]
    if class_names and len(class_names) != c:
        raise EmbedkitError(
            f"{where}: labels have {c} columns, but class_names has {len(class_names)}. Store one name a "
            "column."
        )
    names = class_names or tuple(str(j) for j in range(c))
    counts = marked.sum(axis=1)
    if counts.max() > 1:
        note(
            f"{where}: {int((counts > 1).sum()):,} images are of several of the {c} classes, so the columns "
            "are taken as targets and there are no labels."
        )
        return marked.astype(np.int64), class_names or tuple(f"label_{j}" for j in range(c))
    return np.where(counts == 1, marked.argmax(axis=1), -1).astype(np.int64), names


def _of_numbers(
    values: NDArray[Any], class_names: tuple[str, ...], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if values.dtype.kind == "f":
        known = ~np.isnan(values)
        if not (np.isfinite(values[known]) & (values[known] == np.floor(values[known]))).all():
            raise EmbedkitError(
                f"{where}: labels are not whole numbers. Store classes, or numbers as targets."
            )
        values = np.where(known, values, -1)
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise EmbedkitError(f"{where}: label {values.max()} is beyond int64. Store smaller ones.")
    numbers = values.astype(np.int64)
    if (numbers < -1).any():
        raise EmbedkitError(
            f"{where}: label {numbers.min()} of row {int(numbers.argmin())}; -1 or NaN stands for no label, "
            "other negative numbers for nothing known. Change it."
        )
    if class_names:
        return numbers, class_names
    known_numbers = np.unique(numbers[numbers >= 0])
    if len(known_numbers) == 1 and (numbers < 0).any():
        note(
            f"{where}: {int((numbers < 0).sum()):,} images have no label (-1, or none stored) and all others "
            f"are {known_numbers[0]}. If -1 is a class, store 0 and 1."
        )
    labels = np.where(numbers >= 0, np.searchsorted(known_numbers, numbers), -1)
    return labels, tuple(str(label) for label in known_numbers)
