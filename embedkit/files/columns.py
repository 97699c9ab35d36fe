"""How a table that rooms exchange is declared: its columns, and which of them name a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TEXT, INTEGER, NUMBER = "text", "integer", "number"


@dataclass(frozen=True)
class Column:
    """One column of a table, or one for each class or target.

    Parameters
    ----------
    name
        In the header; with `repeated` followed by ``:`` and the name of the class or target.
    dtype
        ``text``, ``integer`` or ``number``.
    meaning
        In words.
    optional
        Whether the table may lack it.
    repeated
        Whether there is one for each class or target.
    empty
        Whether a cell may be empty, where a value is not known: the empty text, or NaN.
    """

    name: str
    dtype: str
    meaning: str
    optional: bool = False
    repeated: bool = False
    empty: bool = False

    @property
    def title(self) -> str:
        """Its name, with what stands for a class or target."""
        return f"{self.name}:NAME" if self.repeated else self.name

    def names(self, header: Sequence[str]) -> list[str]:
        """Return which names of a header are of this column, in their order."""
        if not self.repeated:
            return [self.name] if self.name in header else []
        return [name for name in header if name.startswith(f"{self.name}:")]


@dataclass(frozen=True)
class TableKind:
    """What a table holds.

    Parameters
    ----------
    name
        What the table is called in messages.
    command
        That writes it.
    columns
        In their order.
    key
        Columns that together occur once; those that a table lacks don't count.
    """

    name: str
    command: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
