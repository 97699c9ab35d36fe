"""Whether to believe how sure probes and networks are: how often they are right, and when they are wrong."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.files.results import Result
from embedkit.pages.sections import folded, made
from embedkit.pages.svg import BLUE, GREY, ORANGE
from embedkit.scoring.calibration import errors_by_chance, reliability
from reports.drawing import cloud, histograms, key, reliability_dots
from reports.map.content import Page
from reports.map.section import Section
from reports.map.sureness import Answers, Sureness

SHOWN = 6
MOST_TARGETS = 6
# More rows than that leave next to nothing by chance, and take their time.
MOST_DRAWN = 100_000
SAYS = (
    "Of predictions on test images. First, how often those of about one probability are right: on the dashed "
    "line the two agree, a dot's area is the number of predictions, and a line its 95 % interval. ECE is the "
    "mean distance from the dashed line. Then how sure right and wrong predictions are."
)
OF_TARGETS = (
    "Of targets, what is true goes up over what was predicted, fuller where there are more images; on the "
    "dashed line the two agree."
)


def section(page: Page) -> Section | None:
    """Return two charts for each result whose predictions are there, the first of them open."""
    if not page.sure:
        return None
    # Probes of few labels come last: there are many of them, and they are seldom calibrated.
    ordered = sorted(page.sure, key=lambda one: one.result.params.get("budget") is not None)
    charts = [_panel(one) if isinstance(one, Sureness) else _clouds(one) for one in ordered]
    kinds = {type(one) for one in ordered}
    says = " ".join(words for kind, words in ((Sureness, SAYS), (Answers, OF_TARGETS)) if kind in kinds)
    body = f'<p class="hint">{escape(says)}</p>{"".join(charts[:SHOWN])}'
    if len(charts) > SHOWN:
        more = len(charts) - SHOWN
        body += folded(f"{more} more", "".join(charts[SHOWN:]))
    return Section("reliability", "How sure, and how right", "Reliability", None, body)


def _panel(one: Sureness) -> str:
    found = reliability(one.confidence, one.right)
    curves, by_chance = [(f"as fitted: ECE {found.error:.3f}", BLUE, found.bins)], ""
    if len(one.confidence) <= MOST_DRAWN:
        chance = errors_by_chance(one.confidence)
        by_chance = (
            f"perfect calibration would show {chance.mean():.3f} on these images, 1 time in 20 over "
            f"{np.quantile(chance, 0.95):.3f}"
        )
    if one.calibrated:
        n = sum(b.n for b in one.calibrated)
        error = sum(b.n * abs((b.confidence or 0) - (b.accuracy or 0)) for b in one.calibrated) / n
        curves.insert(0, (f"temperature scaled: ECE {error:.3f}", GREY, one.calibrated))
    drawn = reliability_dots(curves, words=f"Reliability of {one.title}", n=len(one.right))
    sides = histograms(one.confidence[one.right], one.confidence[~one.right])
    names = key([("right predictions", BLUE), ("wrong predictions", ORANGE)])
    draws = ", the first draw of labels" if one.result.params.get("budget") is not None else ""
    says = (
        f"{_of(one.result)}{draws}; {len(one.right):,} test images, {int(one.right.sum()):,} right; "
        f"{one.table}"
    )
    says += f"; {by_chance}" if by_chance else ""
    return (
        f'<div class="panel"><h3>{escape(one.title)}</h3>{made(says)}<div class="charts">'
        f"<div>{drawn}</div><div>{sides}{names}</div></div></div>"
    )


def _of(result: Result) -> str:
    return (
        f"{result.dataset}, {result.features}; {result.task} {result.method}, split {result.split}, seed "
        f"{result.seed}"
    )


def _clouds(one: Answers) -> str:
    """Draw the true value of each target over what was predicted."""
    cards = []
    for name, true in list(one.true.items())[:MOST_TARGETS]:
        predicted = one.predicted[name]
        # What is predicted beyond all that is true is drawn at the edge.
        ends = float(true.min()), float(true.max())
        limits = (0.0, 1.0) if ends[0] >= 0 and 0.5 < ends[1] <= 1 else ends
        error = float(np.sqrt(np.mean((true - predicted) ** 2)))
        drawn = cloud(true, predicted, limits, words=f"{name}, true against predicted by {one.title}")
        cards.append(f'<div><h4>{escape(name)}</h4>{drawn}<p class="hint">RMSE {error:.4g}</p></div>')
    n = len(next(iter(one.true.values())))
    says = f"{_of(one.result)}; {n:,} test images; {one.table}"
    if len(one.true) > MOST_TARGETS:
        says += f"; the first {MOST_TARGETS} of {len(one.true)} targets"
    charts = f'<div class="charts">{"".join(cards)}</div>'
    return f'<div class="panel"><h3>{escape(one.title)}</h3>{made(says)}{charts}</div>'
