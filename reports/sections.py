"""A page of sections: each a sentence that says what it shows, pictures or a table, and numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from embedkit.files.page_of import About
from embedkit.files.results import Metric
from embedkit.files.tables import neutral
from embedkit.pages import sections as pages
from reports.map.thumbnails import Thumbnails


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


@dataclass(frozen=True)
class Made:
    """What makes a page: the command, its verb, the fingerprint of the dataset; and what it came to."""

    command: str
    kind: str
    fingerprint: str
    says: str = ""


def interval(metric: Metric, digits: int = 3) -> str:
    """Write a value with its interval."""
    return pages.interval(metric.value, metric.low, metric.high, digits)


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
    made: Made,
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
    made
        What makes this page.
    tables
        Name of a section to the file name of the table beside the page.
    notes
        What a reader must know first, such as what is missing, and why.
    """
    parts = [_part(one, made.command, tables.get(one.name)) for one in shown]
    about = About(made.kind, made.fingerprint, f"{title}: {facts}. {made.says}").element
    return pages.fill(title, facts, parts, notes, about=about)


def _part(section: Section, command: str, table: str | None) -> pages.Part:
    numbers = f' Numbers: <a href="{escape(quote(table))}">{escape(table)}</a>.' if table is not None else ""
    made = pages.made(section.made, command)
    says = f"{escape(section.sentence)}{numbers}"
    return pages.Part(section.name, section.title, section.link, says, made + section.body)
