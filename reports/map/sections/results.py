"""What clusterings and probes of this very file scored: the leaderboard's lines."""

from __future__ import annotations

from reports.leaderboard.cells import TEXT_COLUMNS, cells
from reports.map.content import Page
from reports.map.section import Section


def section(page: Page) -> Section | None:
    """Return one table a task, without the column of features where there is one set of them."""
    tables = []
    several = len({dataset for (dataset, _), _ in page.board.groups()}) > 1
    for (dataset, task), entries in page.board.groups():
        header, rows = cells(entries) if page.linked else _without_features(*cells(entries))
        number = [name not in TEXT_COLUMNS for name in header]
        tables.append(
            {
                "title": f"{task}: {dataset}" if several else task,
                "header": header,
                "number": number,
                "rows": rows,
            }
        )
    title = "Results on these files" if page.linked else "Results on this file"
    return Section("results", title, "Results", tables) if tables else None


def _without_features(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    if "features" not in header:
        return header, rows
    at = header.index("features")
    return [*header[:at], *header[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
