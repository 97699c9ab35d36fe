"""How records show themselves: as a pandas DataFrame, and as a small table in a notebook or in print."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from embedkit.errors import EmbedkitError

_STYLE = "text-align: left"
# Title, rows of the same names, and a line each below.
Parts = tuple[str, Sequence[Mapping[str, str]], Sequence[str]]


class Shown(ABC):
    """What shows itself as a small table, in a notebook and in print, however large its arrays are."""

    @abstractmethod
    def _shown(self) -> Parts: ...

    def _repr_html_(self) -> str:
        return html_table(*self._shown())

    def __repr__(self) -> str:
        return text_table(*self._shown())


def data_frame(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> Any:
    """Return rows, or columns by name, as a pandas DataFrame.

    Raises
    ------
    EmbedkitError
        pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise EmbedkitError(
            "to_pandas() needs pandas, which is not installed: pip install 'embedkit-images[pandas]'."
        ) from error
    return pandas.DataFrame(rows)


def named_cells(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row of text for each named value."""
    return [{"": name, "value": text(value)} for name, value in values.items()]


def text(value: Any) -> str:
    """Return a value as words: a mapping as ``name value, ...``, nothing as ``none``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def page_link(path: Path, words: str) -> str:
    """Return a link to a page that was written, and what is on it, for a notebook."""
    # A notebook's links start where the notebook is, which is where its kernel runs.
    link = escape(quote(os.path.relpath(path).replace(os.sep, "/")))
    return f'<p><a href="{link}" target="_blank">{escape(str(path))}</a>: {escape(words)}</p>'


def html_table(title: str, rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> str:
    """Return rows of the same names as HTML; whatever they hold is text in it, never markup.

    Parameters
    ----------
    title
        Above the table.
    rows
        Name of the column to text.
    notes
        Below it, a line each.
    """
    names = list(rows[0]) if rows else []
    header = "".join(f'<th style="{_STYLE}">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_STYLE}">{escape(row[name])}</td>' for name in names) + "</tr>"
        for row in rows
    )
    below = "".join(f"<div>{escape(note)}</div>" for note in notes)
    table = f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><strong>{escape(title)}</strong>{table}{below}</div>"


def text_table(title: str, rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> str:
    """Return the same as lines of text, the columns one below the other."""
    names = list(rows[0]) if rows else []
    lines = [names, *([row[name] for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([title, *(table if names else []), *notes])
