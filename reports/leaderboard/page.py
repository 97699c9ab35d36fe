"""The leaderboard as one HTML file: tables to sort and filter, each interval drawn beside its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedkit.files.page_of import PageOf, link_to, pages_in
from embedkit.files.results import Result, computed_on
from embedkit.pages.template import fill, script_hash, script_json, shared
from embedkit.scoring.metrics import LOWER, measure, ranking_metric
from embedkit.scoring.paired import ALPHA
from embedkit.versions import versions
from reports.leaderboard.board import Board
from reports.leaderboard.cells import TEXT_COLUMNS, cells
from reports.leaderboard.controls import chance_levels, control
from reports.leaderboard.entry import Entry

TEMPLATE = Path(__file__).parent / "leaderboard.html"


def page(board: Board, *, where: Path | None = None) -> str:
    """Return the page as one HTML text that holds all it shows and asks the network for nothing.

    Parameters
    ----------
    board
        With ranks, where they shall be shown.
    where
        The file that it is written to: rows link to the maps of their feature files in its folder, and in
        those that the results are from.
    """
    maps = [] if where is None else pages_in([where.parent, *board.folders])
    groups = [_group(board, key, entries, _Maps(maps, where)) for key, entries in board.groups()]
    data = {"title": board.title, "n": len(board.entries), "groups": groups}
    own = TEMPLATE.with_name("leaderboard.js").read_text(encoding="utf-8")
    script = f"{shared('dom.js')}\n{own}"
    parts = {"version": versions().get("embedkit", ""), "data": script_json(data), "script": script}
    return fill(TEMPLATE, {**parts, "hash": script_hash(script)})


@dataclass(frozen=True)
class _Maps:
    """Pages of feature files, and the page that links to them."""

    pages: Sequence[PageOf]
    where: Path | None

    def of(self, result: Result) -> list[list[str]]:
        """Return name and address of the map of a result's feature file, and of one that shows others too."""
        mine = set(computed_on(result))
        found = [one for one in self.pages if not mine.isdisjoint(one.digests)]
        alone = [("map", one) for one in found if len(one.digests) == 1][:1]
        linked = [("linked maps", one) for one in found if len(one.digests) > 1][:1]
        if self.where is None:
            return []
        return [[name, link_to(one.path, beside=self.where)] for name, one in (*alone, *linked)]


def _group(board: Board, key: tuple[str, str], entries: tuple[Entry, ...], maps: _Maps) -> dict[str, object]:
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
                "maps": maps.of(result),
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
