"""The leaderboard as one HTML file: tables to sort and filter, each interval drawn beside its row."""

from __future__ import annotations

from pathlib import Path

from embedkit.pages.template import fill, script_hash, script_json, shared
from embedkit.scoring.metrics import LOWER, measure, ranking_metric
from embedkit.scoring.paired import ALPHA
from embedkit.versions import versions
from reports.leaderboard.board import Board
from reports.leaderboard.cells import TEXT_COLUMNS, cells
from reports.leaderboard.controls import chance_levels, control
from reports.leaderboard.entry import Entry

TEMPLATE = Path(__file__).parent / "leaderboard.html"


def page(board: Board) -> str:
    """Return the page as one HTML text that holds all it shows and asks the network for nothing.

    Parameters
    ----------
    board
        With ranks, where they shall be shown.
    """
    groups = [_group(board, key, entries) for key, entries in board.groups()]
    data = {"title": board.title, "n": len(board.entries), "groups": groups}
    own = TEMPLATE.with_name("leaderboard.js").read_text(encoding="utf-8")
    script = f"{shared('dom.js')}\n{own}"
    parts = {"version": versions().get("embedkit", ""), "data": script_json(data), "script": script}
    return fill(TEMPLATE, {**parts, "hash": script_hash(script)})


def _group(board: Board, key: tuple[str, str], entries: tuple[Entry, ...]) -> dict[str, object]:
    header, lines = cells(entries, board.sort)
    results = [entry.result for entry in entries]
    metric = ranking_metric(results, board.sort)
    found = board.tested.get(key)
    apart: list[list[int]] = [[] for _ in entries]
    for pair in found.pairs if found else ():
        if pair.p_holm <= ALPHA:
            apart[pair.first].append(pair.second)
            apart[pair.second].append(pair.first)
    rows = []
    for result, line, others in zip(results, lines, apart, strict=True):
        value = None if metric is None else result.metrics.get(metric)
        rows.append(
            {
                "cells": line,
                "point": None if value is None else [value.value, value.low, value.high],
                "control": control(result),
                "apart": others,
            }
        )
    return {
        "dataset": key[0],
        "task": key[1],
        "header": header,
        "number": [name not in TEXT_COLUMNS for name in header],
        "metric": None if metric is None else measure(metric).title,
        "lower_is_better": metric is not None and measure(metric).better == LOWER,
        "tested": bool(found and found.pairs),
        "levels": {} if metric is None else chance_levels([r for e in entries for r in e.runs], metric),
        "rows": rows,
        "notes": board.notes(key),
    }
