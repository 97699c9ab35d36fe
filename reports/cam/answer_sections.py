"""The parts of the page that are of one answer of votes: what is predicted of it, and the maps."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.pages.sections import number, table
from embedkit.pages.svg import BLUE, ORANGE
from reports.cam.answers import F64, SaidVotes
from reports.cam.drawing import card, maps_sentence
from reports.cam.study import Study
from reports.drawing import cloud, distribution, key
from reports.sections import Numbers, Section


def scores(study: Study, said: SaidVotes) -> Section:
    """How the answer is predicted, beside how it was given."""
    known = said.known
    sides = [("predicted", said.share)] + ([("voted", said.true[known])] if known.any() else [])
    drawn = distribution(sides, (0, 1), words=f"shares of {said.name}, predicted and voted")
    names = [("predicted", BLUE), ("voted", ORANGE)][: len(sides)]
    sentence = f"Which share of the votes the network predicts for {said.name}"
    pictures = [drawn]
    if known.any():
        pictures.append(cloud(said.true[known], said.share[known], (0, 1), words="voted against predicted"))
        sentence += f", beside what was voted: RMSE {said.rmse:.4f} on {int(known.sum()):,} images"
    rows = [(name, len(values), *_quartiles(values), float(values.mean())) for name, values in sides]
    lines = [
        (name, f"{n:,}", number(mean), number(middle), f"{number(low)} to {number(high)}")
        for name, n, low, middle, high, mean in rows
    ]
    panels = "".join(f'<div class="panel"><div class="scroll">{one}</div></div>' for one in pictures)
    body = f'<div class="grid charts">{panels}</div>{key(names)}'
    return Section(
        "scores",
        "What it predicts",
        "Predicted",
        f"{sentence}.",
        body + table(("share", "images", "mean", "median", "middle half"), lines),
        f"{len(said.ids):,} images of {study.dataset}; heights are square roots",
        Numbers(("share", "n", "quartile_1", "median", "quartile_3", "mean"), rows),
    )


def _quartiles(values: F64) -> tuple[float, float, float]:
    low, middle, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
    return low, middle, high


def pictures(study: Study, said: SaidVotes) -> Section:
    """The maps where most and least is predicted, and where most is wrong."""
    place = {int(one): i for i, one in enumerate(study.shown.places)}
    blocks, rows = [], []
    for words, chosen in said.groups(study.per_class):
        cards = []
        for one in map(int, chosen):
            name, share, true = str(said.ids[one]), float(said.share[one]), float(said.true[one])
            cards.append(card(study.shown, place[one], name, f"{name}, {said.name}", said.caption(one)))
            rows.append((name, share, true, words))
        body = f'<div class="pictures cam">{"".join(cards)}</div>' if cards else '<p class="hint">none</p>'
        blocks.append(f"<h3>{escape(words)}</h3>{body}")
    return Section(
        "pictures",
        "What it looks at",
        "Pictures",
        f"{maps_sentence(study)}, also where hardly anything is predicted.",
        "".join(blocks),
        f"{len(said.ids):,} images of {study.dataset}; maps from {study.layer.name}, {study.layer.rows} x "
        f"{study.layer.columns}",
        Numbers(("id", "predicted", "voted", "shown_for"), rows),
    )
