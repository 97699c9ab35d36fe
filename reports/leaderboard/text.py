"""The leaderboard as text: tables for the terminal, Markdown, CSV, JSON, and the page."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import fits, fitting, sentences, table_text
from embedkit.files.results import Metric
from embedkit.files.showing import html_table
from embedkit.files.tables import neutral
from embedkit.scoring.metrics import all_metrics
from embedkit.strict_json import strict
from reports.leaderboard.board import Board
from reports.leaderboard.cells import TEXT_COLUMNS, cells, secondary_columns, settings_text
from reports.leaderboard.controls import MISSING, control

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table


def written(board: Board, style: str, *, wide: bool = False, where: Path | None = None) -> str:
    """Return the leaderboard in one of `reports.leaderboard.options.FORMATS`; no newline ends it.

    A table is as wide as the terminal, or as its columns if it is to be `wide`. A page that is written to
    `where` links to the maps from there.
    """
    from reports.leaderboard.page import page

    if wide and style == "table":
        return terminal_text(board, wide=True).removesuffix("\n")

    writers: Mapping[str, Callable[[Board], str]] = {
        "table": terminal_text,
        "markdown": markdown,
        "csv": csv_text,
        "json": as_json,
        "html": partial(page, where=where),
    }
    return writers[style](board).removesuffix("\n")


def terminal_text(board: Board, *, wide: bool = False) -> str:
    """Return the tables, each with its notes.

    They are as wide as the terminal, and the columns that are too wide for it are named; or `wide`, with
    every column.
    """
    said: set[str] = set()
    if wide:
        shown = zip(tables(board), board.groups(), strict=True)
        return "\n\n".join(
            "\n".join([table_text(table, wide=True).removesuffix("\n"), *_once(board.notes(key), said)])
            for table, (key, _) in shown
        )
    parts = []
    for key, entries in board.groups():
        header, lines = cells(entries, board.sort)
        columns = dict(zip(header, zip(*lines, strict=True), strict=True))
        left_out: list[str] = []
        table = fitting(_table(key, columns), _table(key, columns, narrow=True))
        for name in reversed([name for name in secondary_columns(entries, board.sort) if name in columns]):
            if fits(table):
                break
            del columns[name]
            table, left_out = _table(key, columns, narrow=True), [name, *left_out]
        shared = []
        for name in ("split", "settings"):  # which may be one for all rows, and need no column then
            if not fits(table) and len(set(columns.get(name, ""))) == 1:
                shared.append(f"{name} {columns.pop(name)[0]}")
                table = _table(key, columns, narrow=True)
        wider = [f"Too wide for this terminal: {', '.join(left_out)}. See them with --wide."]
        notes = [
            *wider[: len(left_out)],
            *([f"In every row: {', '.join(shared)}."] if shared else []),
            *_once(board.notes(key), said),
        ]
        parts.append("\n".join([table_text(table).removesuffix("\n"), *map(sentences, notes)]))
    return "\n\n".join(parts)


def _once(notes: Sequence[str], said: set[str]) -> list[str]:
    """Return a group's notes; how a control is made, which is the same in every group, is said once."""
    kept, again = [], []
    for note in notes:
        what = note.removeprefix(MISSING).split(":")[0] if note.startswith(MISSING) else None
        if what is None or what not in said:
            kept.append(note)
        else:
            again.append(what)
        said |= {what} if what else set()
    return [*kept, *([f"Missing here too: {', '.join(again)}."] if again else [])]


def tables(board: Board) -> list[Table]:
    """Return one rich table a group, with every column."""
    found = []
    for key, entries in board.groups():
        header, lines = cells(entries, board.sort)
        found.append(_table(key, dict(zip(header, zip(*lines, strict=True), strict=True))))
    return found


def _table(key: tuple[str, str], columns: Mapping[str, Sequence[str]], *, narrow: bool = False) -> Table:
    """Return a table of columns; a narrow one has words and intervals below each other."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    title = Text(": ".join(key), style="bold")
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, collapse_padding=narrow, pad_edge=not narrow
    )
    if narrow:
        columns = {name: _stacked(name, column) for name, column in columns.items()}
    for name, column in columns.items():
        words = name in TEXT_COLUMNS
        justify: JustifyMethod = "left" if words else "right"
        longest = max(len(line) for cell in column for line in cell.split("\n"))
        heading = Text(_heading(name, longest))
        # Words may break where nothing else helps, numbers never.
        least = None if words else longest
        table.add_column(heading, justify=justify, no_wrap=not words, min_width=least, overflow="fold")
    for line in zip(*columns.values(), strict=True):
        table.add_row(*(Text(cell) for cell in line))
    return table


def _stacked(name: str, column: Sequence[str]) -> list[str]:
    """Put the words of each cell below each other; of a number, the interval."""
    gap, instead = (" ", "\n") if name in TEXT_COLUMNS else (" [", "\n[")
    return [cell.replace(gap, instead) for cell in column]


def _heading(name: str, width: int) -> str:
    """Break a heading that is wider than everything below it at its spaces."""
    return "\n".join(textwrap.wrap(name, max(width, *map(len, name.split()))))


def markdown(board: Board) -> str:
    """Return a heading, a pipe table and notes a group."""
    parts = []
    for (dataset, task), entries in board.groups():
        header, lines = cells(entries, board.sort)
        rule = ["---" if name in TEXT_COLUMNS else "---:" for name in header]
        rows = [header, rule, *lines]
        table = "\n".join(f"| {' | '.join(_pipe_safe(cell) for cell in row)} |" for row in rows)
        parts.append(f"## {_pipe_safe(dataset)}: {_pipe_safe(task)}\n\n{table}\n")
        parts += [f"{_pipe_safe(line)}\n" for line in board.notes((dataset, task))]
    return "\n".join(parts)


def csv_text(board: Board) -> str:
    """Return `flat_rows` with a header; text that a spreadsheet would execute is neutralised."""
    rows = flat_rows(board)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: neutral(v) if isinstance(v, str) else v for name, v in row.items()})
    return stream.getvalue()


def flat_rows(board: Board) -> list[dict[str, Any]]:
    """Return a row each, in order: every metric with its interval, unrounded; nothing where it is missing.

    Columns that are empty throughout are left out.
    """
    metrics = all_metrics(entry.result for entry in board.entries)
    fixed = ["dataset", "task", "features", "method", "split", "n", "seconds"]
    columns = ["dataset", "task", "features", "method", "settings", "split", "seeds", "n", "seconds"]
    columns += ["rank_low", "rank_high", "control"]
    columns += [*(f"{name}{end}" for name in metrics for end in ("", "_low", "_high"))]
    rows = []
    for entry in board.entries:
        result = entry.result
        row: dict[str, Any] = {name: getattr(result, name) for name in fixed}
        row["settings"] = settings_text(result)
        row["seeds"] = " ".join(map(str, entry.seeds))
        row["rank_low"], row["rank_high"] = entry.rank or (None, None)
        row["control"] = control(result)
        for name in metrics:
            metric = result.metrics.get(name, Metric(None))
            row |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
        rows.append(row)
    kept = [name for name in columns if any(row[name] not in (None, "") for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]


def html_tables(board: Board) -> str:
    """Return the tables and their notes for a notebook."""
    parts = []
    for key, entries in board.groups():
        header, lines = cells(entries, board.sort)
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        parts.append(html_table(": ".join(key), rows, board.notes(key)))
    return "".join(parts)


def as_json(board: Board) -> str:
    """Return `document` as strict JSON."""
    return json.dumps(strict(document(board)), indent=2, allow_nan=False, default=str)


def document(board: Board) -> dict[str, Any]:
    """Return the rows in order, and of each tested group its pairs, as positions in that group."""
    lines = []
    for entry in board.entries:
        record = json.loads(entry.result.to_json())
        del record["provenance"], record["seed"]
        record["seeds"] = entry.seeds
        record["time"] = entry.result.provenance.get("time")
        record["features_sha256"] = entry.result.provenance.get("features_sha256")
        record["n_older"] = entry.n_older
        record["rank"] = entry.rank
        record["control"] = control(entry.result)
        lines.append(record)
    tested = [
        {
            "dataset": key[0],
            "task": key[1],
            "pairs": [asdict(pair) for pair in found.pairs],
            "notes": board.notes(key),
        }
        for key, found in board.tested.items()
    ]
    return {"results": lines, "n_older": board.n_older, "sort": board.sort, "tested": tested}


def _pipe_safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
