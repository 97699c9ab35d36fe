"""Which rows of a feature file a verb looks at, and with which labels: the same options in every verb."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from embedkit.options.declaring import option
from embedkit.options.shared import labels_option

PARTS = ("train", "validation", "test")

# What people call the three splits, in small letters.
SPLIT_NAMES = (
    dict.fromkeys(("train", "training"), "train")
    | dict.fromkeys(("val", "valid", "validate", "validation", "dev", "devel", "development"), "validation")
    | dict.fromkeys(("test", "testing"), "test")
)


def _which(text: str) -> str:
    key, equals, value = text.partition("=")
    if key == "split" and (part := SPLIT_NAMES.get(value.strip().lower())) is not None:
        return f"split={part}"
    known = key == "group" and value
    if not (equals and known) and Path(text).suffix.lower() != ".txt":
        raise ValueError(
            f"give {', '.join(f'split={part}' for part in PARTS)}, group=NAME, or a FILE.txt, an id a line"
        )
    return text


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows of a feature file are looked at; all by default.

    Parameters
    ----------
    rows
        ``split=test``, ``group=NAME``, or a text file with an id a line. Of several splits, groups or files a
        row is in one; of different kinds it is in each.
    only_class, exclude_class
        Names of classes: no other rows, or none of these. Rows without a label are of no class.
    min_per_class
        Leave out classes with fewer rows than that.
    labels
        A table whose labels take the place of the file's own, found by id.
    """

    rows: tuple[str, ...] = option(
        (),
        "only these rows: split=test, group=NAME, or a FILE.txt with an id a line",
        metavar="WHICH",
        read=_which,
        unset="all",
        group="rows",
    )
    only_class: tuple[str, ...] = option(
        (), "only rows of these classes", metavar="NAME", unset="all", group="rows"
    )
    exclude_class: tuple[str, ...] = option(
        (), "no rows of these classes", metavar="NAME", unset="none", group="rows"
    )
    min_per_class: int | None = option(
        None, "leave out classes with fewer rows than that", least=1, metavar="N", unset="none", group="rows"
    )
    labels: Path | None = labels_option()

    @property
    def which(self) -> Selection:
        """These options alone."""
        return Selection(**{name: getattr(self, name) for name in SELECTION})

    @property
    def selected(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: value for name in SELECTION if (value := getattr(self, name)) not in ((), None)}


SELECTION = tuple(one.name for one in fields(Selection))
