"""The words that people write for no label and for the three splits, the same wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from embedkit.options import selection

# As options take them, and every table and array.
SPLITS, SPLIT_NAMES = selection.PARTS, selection.SPLIT_NAMES

# What programs write for nothing. In small letters; pandas reads most of them so too.
NOTHING = frozenset(
    ("", "nan", "-nan", "none", "null", "nil", "<na>", "na", "n/a", "#n/a", "#n/a n/a", "#na", "nat", "\\n")
)

# As NumPy, pandas and scikit-learn write no label into a column of numbers.
NO_LABEL = NOTHING | {"-1"}

# Without zeros in front, for 007 is a name.
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})(?:\.0*)?")


def split_word(text: str) -> str:
    """Return ``train``, ``validation``, ``test``, "" for none of them, or the word itself where unknown."""
    word = text.strip().lower()
    return "" if word in NOTHING else SPLIT_NAMES.get(word, text.strip())


def label_words(names: Sequence[str]) -> list[str]:
    """Return the names of classes as they are compared: stripped, whole numbers without a point, "" for none.

    ``1.0`` is what a column of whole numbers with a gap becomes in pandas; where every name is such a number,
    it is the class ``1``.
    """
    words = [str(name).strip() for name in names]
    different = {word: "" if word.lower() in NO_LABEL else word for word in set(words)}
    present = {word for word in different.values() if word}
    if any("." in word for word in present) and all(_WHOLE.fullmatch(word) for word in present):
        whole = {word: str(int(word.partition(".")[0])) for word in present}
        different = {
            word: "" if whole.get(kept) == "-1" else whole.get(kept, "") for word, kept in different.items()
        }
    return [different[word] for word in words]


def number(text: str) -> float:
    """Return what a cell says; unlike Python, no number has an underscore: ``266_51630`` is a name.

    Raises
    ------
    ValueError
        It is none.
    """
    if "_" in text:
        raise ValueError(f"could not convert string to float: {text!r}")
    return float(text)


def taken_for_nothing(names: Iterable[str], kept: Iterable[str]) -> dict[str, int]:
    """Return which words besides the empty one `label_words` took for no label, and how often."""
    found: dict[str, int] = {}
    for name, word in zip(names, kept, strict=True):
        if not word and str(name).strip():
            found[str(name).strip()] = found.get(str(name).strip(), 0) + 1
    return found
