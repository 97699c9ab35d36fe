"""The page about votes: one HTML file that holds all it shows and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from embedkit.pages.template import fill
from embedkit.versions import versions
from reports.votes.section import Section, Study
from reports.votes.sections import data, models, others

TEMPLATE = Path(__file__).parent / "votes.html"
# In this order on the page.
SECTIONS = (*data.SECTIONS, *models.SECTIONS, *others.SECTIONS)


def sections(study: Study) -> tuple[Section, ...]:
    """Return what there is to show."""
    return tuple(found for make in SECTIONS if (found := make(study)) is not None)


def render(study: Study, shown: Sequence[Section], tables: dict[str, str], notes: Sequence[str]) -> str:
    """Return the page as one HTML text.

    Parameters
    ----------
    study
        What it is about.
    shown
        Its sections.
    tables
        Name of a section to the file name of the table beside the page.
    notes
        What is missing, and why.
    """
    votes = study.votes
    facts = f"{len(votes.ids):,} images, {len(votes.target_names)} targets"
    facts += f" ({votes.tree.name})" if votes.tree is not None else ", which are no known tree of votes"
    parts = {
        "title": escape(f"Votes of {votes.name}"),
        "version": escape(versions().get("embedkit", "")),
        "facts": escape(facts),
        "nav": "".join(f'<a href="#{one.name}">{escape(one.link)}</a>' for one in shown),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        "sections": "\n".join(_element(one, study.command, tables.get(one.name)) for one in shown),
    }
    return fill(TEMPLATE, parts)


def _element(section: Section, command: str, table: str | None) -> str:
    numbers = f' Numbers: <a href="{escape(quote(table))}">{escape(table)}</a>.' if table is not None else ""
    return (
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>'
        f'<p class="says">{escape(section.sentence)}{numbers}</p>'
        f'<details class="made"><summary>{escape(section.made)}.</summary><p>Made by '
        f"<code>{escape(command)}</code>.</p></details>"
        f"{section.body}</section>"
    )
