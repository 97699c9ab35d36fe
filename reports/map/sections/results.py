"""What clusterings and probes of this very file scored: the leaderboard's lines."""

from __future__ import annotations

from reports.leaderboard.cells import TEXT_COLUMNS, cells
from reports.map.content import Page
from reports.map.section import Section


def section(page: Page) -> Section | None:
    """Return one table a task, without the column that is the same throughout."""
    tables = []
    for (_, task), entries in page.board.groups():
        header, rows = _without_features(*cells(entries))
        number = [name not in TEXT_COLUMNS for name in header]
        tables.append({"title": task, "header": header, "number": number, "rows": rows})
    return Section("results", "Results on this file", "Results", tables) if tables else None


def _without_features(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    if "features" not in header:
        return header, rows
    at = header.index("features")
    return [*header[:at], *header[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
