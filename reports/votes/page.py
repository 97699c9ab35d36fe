"""The page about votes: one HTML file that holds all it shows and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import sections as page
from reports.sections import Section
from reports.votes.sections import data, models, others
from reports.votes.study import Study

# In this order on the page.
SECTIONS = (*data.SECTIONS, *models.SECTIONS, *others.SECTIONS)


def sections(study: Study) -> tuple[Section, ...]:
    """Return what there is to show."""
    return tuple(found for make in SECTIONS if (found := make(study)) is not None)


def render(study: Study, shown: Sequence[Section], tables: Mapping[str, str], notes: Sequence[str]) -> str:
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
    title = f"Votes of {votes.name}"
    return page.render(title, facts, shown, made=study.made, tables=tables, notes=notes)
