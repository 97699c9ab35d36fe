"""What the page was made of: the feature file and its own record."""

from __future__ import annotations

from reports.map.content import Page
from reports.map.section import Section


def section(page: Page) -> Section:
    """Return names and values, and the record."""
    about = [list(pair) for pair in page.about]
    return Section("provenance", "Provenance", "Provenance", {"about": about, "record": page.provenance})
