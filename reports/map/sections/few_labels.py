"""What few labels are worth: the score of each probe against the number of labels it learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from embedkit.pages.svg import BLUE, ORANGE, Frame, dot, figure, line, steps, text
from embedkit.scoring.metrics import TESTED, metric_text, title
from reports.drawing import CHART, CHART_HEIGHT
from reports.leaderboard.entry import Entry
from reports.map.content import Page
from reports.map.section import Section

SAYS = (
    "Each point is the mean over draws of so many labels, with its 95 % interval; dashed is what the most "
    "frequent class, or the training mean, gives without features. The leaderboard above has the numbers."
)


def section(page: Page) -> Section | None:
    """Return a chart for each probe and dataset that was given two budgets of labels or more."""
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for entry in page.board.entries:
        one = entry.result
        metric = next((name for name in TESTED if name in one.metrics), None)
        if metric is not None and one.params.get("budget") is not None and 0 < entry.n_labels < float("inf"):
            groups.setdefault((one.dataset, one.features, one.method, metric), []).append(entry)
    charts = [_chart(key, entries) for key, entries in groups.items() if len(entries) > 1]
    if not charts:
        return None
    body = f'<p class="hint made">{escape(SAYS)}</p><div class="grid charts">{"".join(charts)}</div>'
    return Section("few_labels", "Few labels", "Few labels", None, body)


def _level(entry: Entry) -> float | None:
    """Return what is reached without features: of the labels that were drawn, which differ by budget."""
    metrics = entry.result.metrics
    found = (metrics[name].value for name in ("majority_accuracy", "mean_rmse") if name in metrics)
    return next(found, None)


def _chart(key: tuple[str, str, str, str], entries: Sequence[Entry]) -> str:
    dataset, features, method, metric = key
    ordered = sorted(entries, key=lambda one: one.n_labels)
    found = [(entry, entry.result.metrics[metric]) for entry in ordered]
    values = [v for _, m in found for v in (m.value, m.low, m.high) if v is not None]
    values += [level for entry in ordered if (level := _level(entry)) is not None]
    if not values:
        return ""
    ends = [log10(ordered[0].n_labels) - 0.15, log10(ordered[-1].n_labels) + 0.15]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05
    frame = Frame((54, 58, CHART - 14, CHART_HEIGHT - 42), (ends[0], ends[1]), (low - room, high + room))
    shown = [
        n for i, n in enumerate(e.n_labels for e in ordered) if i == 0 or n > 1.25 * ordered[i - 1].n_labels
    ]
    parts = frame.axes([(log10(n), f"{n:,.0f}") for n in shown], steps(low, high))
    parts += [text(8, 14, f"{method} probe on {dataset}", bold=True), text(8, 30, features)]
    parts += [text(CHART - 14, CHART_HEIGHT - 6, "labels", anchor="end")]
    parts += [text(8, 46, title(metric))]
    # Numbers a class and shares of all take other mixes of classes: two lines.
    for share, colour, name in ((False, BLUE, "a number a class"), (True, ORANGE, "a share of all")):
        own = [
            (e, m)
            for e, m in found
            if str(e.result.params["budget"]).endswith("%") == share and m.value is not None
        ]
        places = [(frame.x(log10(e.n_labels)), frame.y(m.value or 0)) for e, m in own]
        parts += [line(places, colour)] if len(places) > 1 else []
        if own:
            parts.append(text(CHART - 14, 46 + 14 * share, name, colour=colour, anchor="end"))
        levels = [
            (x, frame.y(level)) for (x, _), (e, _) in zip(places, own, strict=True) if (level := _level(e))
        ]
        if len(levels) == 1:
            levels = [(levels[0][0] + shift, levels[0][1]) for shift in (-14, 14)]
        parts += [line(levels, colour, dashed=True)] if levels else []
        for (entry, one), place in zip(own, places, strict=True):
            if one.low is not None and one.high is not None:
                parts.append(line([(place[0], frame.y(one.low)), (place[0], frame.y(one.high))], colour))
            parts.append(dot(place, colour, f"{entry.result.params['budget']}: {metric_text(one)}", radius=4))
    words = f"{title(metric)} of the {method} probe on {features} against the number of labels"
    return f'<div class="panel">{figure(CHART, CHART_HEIGHT, parts, words=words)}</div>'
