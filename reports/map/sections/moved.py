"""Whose neighbours differ between two feature sets, the most changed first, and which set is better."""

from __future__ import annotations

from reports.map.content import Page
from reports.map.section import Section


def section(page: Page) -> Section | None:
    """Return what is said of each other set; the script orders images by the neighbours in the page."""
    if not page.linked:
        return None
    says = [list(one.says) for one in page.linked]
    return Section("moved", "Who moved", "Who moved", {"says": says})
