"""A page of sections: each a heading, what it says, and HTML; and the tables that stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from embedkit.pages import template
from embedkit.versions import versions

TEMPLATE = template.SHARED / "sections.html"
# From this share of a row on, a cell is so dark that its number is written light.
STRONG = 0.55
_START = 'embedkit.charts(); embedkit.onTheme(() => {}); document.documentElement.dataset.ready = "";'
# A number, a dash for none, and what may follow: an interval, or a unit.
_NUMBER = re.compile(r"[-–]?[\d.,]*(e[-+]\d+)?( \(.*\)| [kMG]?B)?")


@dataclass(frozen=True)
class Part:
    """One section.

    Parameters
    ----------
    name
        Its id in the page.
    title, link
        Its heading, and what the navigation calls it.
    says
        What it shows: HTML, as is all that follows.
    body
        What stands below.
    """

    name: str
    title: str
    link: str
    says: str
    body: str


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash for one that is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Write a value with the ends of its interval, as far as they are known."""
    if value is None or low is None or high is None:
        return number(value, digits)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, text: Collection[str] | None = None
) -> str:
    """Return a table of texts.

    All columns but those named in `text` stand to the right; by default those after the first whose cells are
    numbers do.
    """
    lines = [list(row) for row in rows]
    right = [
        i > 0 and all(_NUMBER.fullmatch(line[i]) for line in lines) if text is None else name not in text
        for i, name in enumerate(header)
    ]
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


def made(words: str, command: str = "") -> str:
    """Return what made a picture or a section: data and seed in words, and the command on a click."""
    if not command:
        return f'<p class="made">{escape(words)}.</p>'
    return (
        f'<details class="made"><summary>{escape(words)}.</summary><p>Made by <code>{escape(command)}</code>.'
        "</p></details>"
    )


def prose(words: str) -> str:
    """Return words as HTML; what stands between backticks is typed."""
    parts = [escape(part) for part in words.split("`")]
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def matrix(names: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a table of counts, each shaded by its share of its row."""
    head = "".join(f'<th class="column">{escape(name)}</th>' for name in columns)
    lines = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row) or 1
        cells = (
            f'<td class="number{" strong" * (n / total > STRONG)}" '
            f'style="background:rgba(var(--heat),{0.04 + 0.9 * n / total:.3f})">{n:,}</td>'
            for n in row
        )
        lines.append(f'<tr><th class="name">{escape(name)}</th>{"".join(cells)}</tr>')
    top, body = f"<thead><tr><th></th>{head}</tr></thead>", f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table class="matrix">{top}{body}</table></div>'


def folded(summary: str, body: str) -> str:
    """Return what is shown on a click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def fill(title: str, facts: str, parts: Sequence[Part], notes: Sequence[str], *, about: str = "") -> str:
    """Return the page as one HTML text, which asks the network for nothing.

    Parameters
    ----------
    title, facts
        What it is about, in a few words and on a line.
    parts
        Its sections.
    notes
        What a reader must know first.
    about
        An element of the head that tells other pages what this one is of.
    """
    script = "\n".join((template.shared("dom.js"), template.shared("charts.js"), _START))
    return template.fill(
        TEMPLATE,
        {
            "script": script,
            "hash": template.script_hash(script),
            "title": escape(title),
            "about": about,
            "version": escape(versions().get("embedkit", "")),
            "facts": escape(facts),
            "nav": "".join(f'<a href="#{one.name}">{escape(one.link)}</a>' for one in parts),
            "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
            "sections": "\n".join(_element(one) for one in parts),
        },
    )


def _element(part: Part) -> str:
    return (
        f'<section id="{part.name}"><h2>{escape(part.title)}</h2><p class="says">{part.says}</p>'
        f"{part.body}</section>"
    )
