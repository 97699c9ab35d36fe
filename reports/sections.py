"""A page of sections: each a sentence that says what it shows, pictures or a table, and numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from embedkit.files.results import Metric
from embedkit.files.tables import neutral
from embedkit.pages import template
from embedkit.versions import versions
from reports.map.thumbnails import Thumbnails

TEMPLATE = Path(template.__file__).parent / "sections.html"
# A number, a dash for none, and what may follow: an interval, or a unit.
_NUMBER = re.compile(r"[-–]?[\d.,]*( \(.*\)| [kMG]?B)?")


@dataclass(frozen=True)
class Numbers:
    """A table that stands beside the page: a header, and rows of text and numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def csv(self) -> str:
        """Write it as CSV; what is not known is empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return neutral(value) if isinstance(value, str) else f"{value:.6g}"


@dataclass(frozen=True)
class Section:
    """One section.

    Parameters
    ----------
    name
        Its id in the page, and the end of the name of its table.
    title, link
        Its heading, and what the navigation calls it.
    sentence
        What it shows.
    body
        HTML, in which all text is escaped.
    made
        What it was made of, beyond the command: data, rows, seed.
    numbers
        As a table beside the page, if that helps.
    """

    name: str
    title: str
    link: str
    sentence: str
    body: str
    made: str
    numbers: Numbers | None = None


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash for one that is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(metric: Metric, digits: int = 3) -> str:
    """Write a value with its interval."""
    if metric.value is None:
        return "–"
    text = f"{metric.value:.{digits}f}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} ({metric.low:.{digits}f} to {metric.high:.{digits}f})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; columns after the first whose cells are numbers stand to the right."""
    lines = [list(row) for row in rows]
    right = [i > 0 and all(_NUMBER.fullmatch(line[i]) for line in lines) for i in range(len(header))]
    cells = "".join(
        "<tr>"
        + "".join(_td("td", cell, is_right) for cell, is_right in zip(line, right, strict=True))
        + "</tr>"
        for line in lines
    )
    head = "".join(_td("th", name, is_right) for name, is_right in zip(header, right, strict=True))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></div>'


def _td(tag: str, text: str, right: bool) -> str:
    return f"<{tag}{' class=number' if right else ''}>{escape(text)}</{tag}>"


def folded(summary: str, body: str) -> str:
    """Return what is shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def image(pictures: Thumbnails, row: int, words: str) -> str:
    """Return the picture of a row, or a tile that says there is none."""
    if row not in pictures.pictures:
        return '<span class="none">no picture</span>'
    data = f"data:{pictures.media_type};base64,{pictures.pictures[row]}"
    return f'<img alt="{escape(words)}" loading="lazy" src="{data}">'


def render(
    title: str,
    facts: str,
    shown: Sequence[Section],
    *,
    command: str,
    tables: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Return the page as one HTML text.

    Parameters
    ----------
    title, facts
        What it is about, in a few words and on a line.
    shown
        Its sections.
    command
        That makes this page.
    tables
        Name of a section to the file name of the table beside the page.
    notes
        What a reader must know first, such as what is missing, and why.
    """
    parts = {
        "title": escape(title),
        "version": escape(versions().get("embedkit", "")),
        "facts": escape(facts),
        "nav": "".join(f'<a href="#{one.name}">{escape(one.link)}</a>' for one in shown),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        "sections": "\n".join(_element(one, command, tables.get(one.name)) for one in shown),
    }
    return template.fill(TEMPLATE, parts)


def _element(section: Section, command: str, table: str | None) -> str:
    numbers = f' Numbers: <a href="{escape(quote(table))}">{escape(table)}</a>.' if table is not None else ""
    return (
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>'
        f'<p class="says">{escape(section.sentence)}{numbers}</p>'
        f'<details class="made"><summary>{escape(section.made)}.</summary><p>Made by '
        f"<code>{escape(command)}</code>.</p></details>"
        f"{section.body}</section>"
    )
