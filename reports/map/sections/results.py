"""What clusterings, probes and networks scored on these images: the leaderboard's rows, drawn and told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape

from embedkit.console import counted
from embedkit.files.results import computed_on, joined_from
from embedkit.pages.sections import folded, made, prose, table
from embedkit.scoring.metrics import LOWER, measure, ranking_metric
from reports.drawing import dots
from reports.leaderboard.cells import TEXT_COLUMNS, cells
from reports.leaderboard.controls import MISSING, chance_levels
from reports.leaderboard.entry import Entry
from reports.map.content import Page
from reports.map.section import Section

MOST_ROWS = 40


def section(page: Page) -> Section | None:
    """Return a chart and a table for each task, without the features where there is one set of them."""
    groups = page.board.groups()
    if not groups:
        return None
    several, said = len({dataset for (dataset, _), _ in groups}) > 1, set[str]()
    whole, few = list[str](), list[str]()
    # Of few labels there is a table a budget, and a curve of them all in a section of its own.
    for (dataset, task), entries in sorted(groups, key=lambda one: _of_few(one[1])):
        heading = escape(f"{task}: {dataset}" if several else task)
        part = f'<h3 class="group-title">{heading}</h3>{_group(page, (dataset, task), entries, said)}'
        (few if _of_few(entries) else whole).append(part)
    if few and whole:
        whole.append(folded(f"few labels: {counted(len(few), 'table')}", "".join(few)))
    full = shlex.join(["embedkit", "leaderboard", str(page.runs), "--html", "leaderboard.html"])
    body = "".join(whole or few) + (
        f'<p class="hint">All results of the folder, to sort and to filter: <code>{escape(full)}</code></p>'
    )
    title = "Results on these files" if page.linked else "Results on this file"
    return Section("results", title, "Results", None, body)


def _of_few(entries: Sequence[Entry]) -> bool:
    return entries[0].n_labels != float("inf")


def _group(page: Page, key: tuple[str, str], entries: Sequence[Entry], said: set[str]) -> str:
    header, rows = cells(entries)
    if not page.linked and len({entry.result.features for entry in entries}) == 1:
        header, rows = _without("features", header, rows)
    # Which controls are missing is the same for several tables, and said once.
    notes = [note for note in page.board.notes(key) if note not in said]
    said.update(note for note in notes if note.startswith(MISSING))
    told = f'<ul class="hint notes">{"".join(f"<li>{prose(note)}</li>" for note in notes)}</ul>'
    drawn = _chart(page, key, entries, header, rows)
    return drawn + table(header, rows, text=TEXT_COLUMNS) + (told if notes else "")


def _without(name: str, header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    if name not in header:
        return header, rows
    at = header.index(name)
    return [*header[:at], *header[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]


def _chart(
    page: Page,
    key: tuple[str, str],
    entries: Sequence[Entry],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """Draw the metric that ranks the group, each row with its interval; grey is what is surely worse."""
    metric = ranking_metric([entry.result for entry in entries])
    if metric is None:
        return ""
    named = [header.index(name) for name in ("features", "method", "settings") if name in header]
    files = dict(zip(page.digests, (page.name, *(one.name for one in page.linked)), strict=False))
    drawn = list[tuple[str, float, float, float]]()
    ranks, faded = list[str](), set[int]()
    for entry, row in zip(entries, rows, strict=True):
        found = entry.result.metrics.get(metric)
        if found is None or found.value is None or len(drawn) == MOST_ROWS:
            continue
        low, high = (found.value if end is None else end for end in (found.low, found.high))
        if entry.rank is not None and entry.rank[0] > 1:
            faded.add(len(drawn))
        ranks.append(f"{row[header.index('rank')]}." if "rank" in header else "")
        of = [files[one] for one in (*computed_on(entry.result), *joined_from(entry.result)) if one in files]
        if page.linked and of:  # as the page calls them
            row = [" + ".join(of) if at == named[0] else cell for at, cell in enumerate(row)]
        drawn.append((" ".join(row[at] for at in named if row[at]), found.value, low, high))
    if len(drawn) < 2:  # one is told by the table
        return ""
    known = measure(metric)
    levels = chance_levels([run for entry in entries for run in entry.runs], metric)
    chart = dots(
        drawn,
        levels=list(levels.items()),
        x=f"{known.title}{', lower is better' if known.better == LOWER else ''}",
        words=f"{known.title} of {len(drawn)} results on {key[0]}, {key[1]}, with 95 % intervals",
        ranks=ranks,
        faded=faded,
    )
    command = shlex.join(["embedkit", "leaderboard", str(page.runs), "--dataset", key[0]])
    seeds = sorted({run.seed for entry in entries for run in entry.runs})
    says = f"{key[0]}, {counted(len(drawn), 'result')}, seed {', '.join(map(str, seeds))}; 95 % intervals"
    says += "; before each name its rank" if any(ranks) else ""
    if len(drawn) < len(entries):
        says += f"; {len(entries) - len(drawn)} more below"
    if faded:
        says += "; grey rows are significantly worse than the best"
    return f'<div class="panel">{made(says, command)}{chart}</div>'
