"""What models say of the votes: scores, each answer, reliability, extremes and the vote threshold."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.pages.sections import folded, number, table
from embedkit.pages.svg import BLUE, ORANGE
from reports.drawing import Line, chart, cloud, dots, key
from reports.map.hues import PALETTE
from reports.sections import Numbers, Section, image, interval
from reports.votes.answers import F64
from reports.votes.models import Model, reliability, smooth_or_featured
from reports.votes.study import Study

N_EXTREME = 5


def colours(study: Study) -> dict[str, str]:
    """Return a colour for each model, and for each training after them."""
    names = [one.name for one in study.models] + [one.name for one in study.losses]
    inks = (BLUE, ORANGE, *PALETTE[2:])
    return {name: inks[i % len(inks)] for i, name in enumerate(dict.fromkeys(names))}


def _said(study: Study) -> str:
    models = "; ".join(
        f"{one.name}: {one.path.name}, {len(one.rows):,} {one.part} rows"
        if one.part != "all"
        else f"{one.name}: {one.path.name}, {len(one.rows):,} rows"
        for one in study.models
    )
    return f"{study.votes.name}; {models}"


def scores(study: Study) -> Section | None:
    """RMSE of the models beside the mean baseline and the floor."""
    if not study.models:
        return None
    votes = study.votes
    lines, drawn, rows = [], [], []
    levels: list[tuple[str, float]] = []
    for model in study.models:
        scored = model.scores(votes)
        error, mean = scored.metrics["rmse"], scored.metrics["mean_rmse"]
        floor = study.floor(model.rows)
        wrong = model.contradictory(votes.tree)
        said = "–" if wrong is None else f"{wrong:,} of {len(model.rows):,}"
        lines.append(
            (
                model.name,
                interval(error, 4),
                number(mean.value, 4),
                number(floor, 4),
                f"{len(model.rows):,}",
                said,
            )
        )
        assert error.value is not None
        drawn.append((model.name, error.value, error.low or error.value, error.high or error.value))
        if not levels and mean.value is not None:
            levels = [("mean", mean.value)] + ([("floor", floor)] if votes.are_shares else [])
        for j, target in enumerate(scored.targets):
            own = study.floor(model.rows, j)
            rows.append(
                (
                    model.name,
                    target.name,
                    votes.names[j],
                    target.rmse,
                    float(model.r2[j]),
                    target.mean_rmse,
                    own,
                )
            )
    floor_words = f" and the noise of {study.volunteers} (the floor)" if votes.are_shares else ""
    return Section(
        "models",
        "Models",
        "Models",
        "RMSE over all targets of each model, with the interval over its rows, beside always answering the "
        f"mean of all other images{floor_words}.",
        f'<div class="scroll">{dots(drawn, levels=levels, x="RMSE", words="RMSE of the models")}</div>'
        + table(("model", "RMSE", "mean baseline", "floor", "rows", "contradict their tree"), lines),
        f"{_said(study)}. The lines are those of the first model's rows",
        Numbers(("model", "target", "name", "rmse", "r2", "mean_rmse", "floor"), rows),
    )


def answers(study: Study) -> Section | None:
    """True against predicted, for every target."""
    if not study.models:
        return None
    votes = study.votes
    blocks = []
    for i, model in enumerate(study.models):
        cards = []
        errors = np.sqrt(((model.true - model.predicted) ** 2).mean(axis=0))
        for j, title in enumerate(votes.titles):
            drawn = cloud(
                model.true[:, j],
                model.predicted[:, j],
                votes.limits,
                words=f"true against predicted {votes.names[j]} of {model.name}",
            )
            cards.append(
                f'<div class="tile-card"><h4>{escape(title)}</h4>{drawn}<p class="hint">R² '
                f"{number(float(model.r2[j]), 2)}, RMSE {errors[j]:.3f}</p></div>"
            )
        body = f'<div class="grid">{"".join(cards)}</div>'
        blocks.append(
            f"<h3>{escape(model.name)}</h3>{body}" if i == 0 else folded(f"the same of {model.name}", body)
        )
    return Section(
        "answers",
        "True against predicted",
        "Answers",
        "Every target: true values upwards over predicted ones across, fuller where more images lie, by the "
        "logarithm; on the dashed line both agree, and predictions outside the axes stand at their ends.",
        "".join(blocks),
        _said(study),
    )


def reliable(study: Study) -> Section | None:
    """Whether as many voted so as were predicted, by question."""
    if not study.models:
        return None
    votes, inks = study.votes, colours(study)
    cards, rows = [], []
    for group in votes.groups:
        lines, said = [], []
        for model in study.models:
            columns = list(group.columns)
            found = reliability(model.true[:, columns], model.predicted[:, columns], votes.limits)
            points = [(float(p), float(y)) for p, y in zip(found.predicted, found.true, strict=True)]
            # A regression may predict outside of what shares can be; the axes end there.
            drawn_at = [(float(np.clip(p, *votes.limits)), y) for p, y in points]
            lines.append(Line(model.name, inks[model.name], drawn_at))
            said.append(f"{model.name} {found.error:.3f}" if len(study.models) > 1 else f"{found.error:.3f}")
            rows += [
                (model.name, group.name, p, y, int(n))
                for (p, y), n in zip(points, found.n.tolist(), strict=True)
            ]
        low, high = votes.limits
        diagonal = Line("", "#808080", [(low, low), (high, high)], dashed=True, dots=False)
        drawn = chart(
            [diagonal, *lines],
            x=("predicted", low, high),
            y=("voted", low, high),
            words=f"reliability of {group.name}",
        )
        cards.append(
            f'<div class="tile-card"><h4>{escape(group.text)}</h4>{drawn}'
            f'<p class="hint">mean distance {escape(", ".join(said))}</p></div>'
        )
    return Section(
        "reliability",
        "Reliability by question",
        "Reliability",
        "Where a share is predicted, how large is it on average? Cells of all answers to a question in ten "
        "bins of the predicted value; the distance from the dashed line is the error that more volunteers "
        "would not mend.",
        _key(study) + f'<div class="grid charts">{"".join(cards)}</div>',
        _said(study),
        Numbers(("model", "question", "predicted", "true", "n"), rows),
    )


def _key(study: Study) -> str:
    inks = colours(study)
    return key([(one.name, inks[one.name]) for one in study.models]) if len(study.models) > 1 else ""


def extreme_rows(study_models: tuple[Model, ...], columns: list[int]) -> set[int]:
    """Return the rows of which `extremes` shows a picture."""
    return {
        int(model.rows[at])
        for model in study_models
        for column in columns
        for values in (model.true[:, column], model.predicted[:, column])
        for at in _largest(values)
    }


def _largest(values: F64) -> list[int]:
    return [int(at) for at in np.argsort(-values, kind="stable")[:N_EXTREME]]


def extremes(study: Study) -> Section | None:
    """The most extreme images by true and by predicted value."""
    looked_at = study.votes.looked_at
    if not study.models or not looked_at:
        return None
    rows: list[tuple[str, str, str, int, str, float, float]] = []
    blocks = []
    for words, column in looked_at:
        strips: list[str] = []
        for model in study.models:
            for by, values in (("votes", model.true[:, column]), ("prediction", model.predicted[:, column])):
                # Several models of one test set have the same votes: shown once.
                if by == "votes" and strips and _same_rows(model, study.models[0]):
                    continue
                strips.append(_strip(study, model, column, by, _largest(values)))
                rows += [
                    (
                        words,
                        model.name,
                        by,
                        place + 1,
                        str(study.votes.ids[model.rows[at]]),
                        *_both(model, at, column),
                    )
                    for place, at in enumerate(_largest(values))
                ]
        blocks.append(f'<div class="extreme"><h3>{escape(words)}</h3>{"".join(strips)}</div>')
    return Section(
        "extremes",
        "The most extreme images",
        "Extremes",
        f"The {N_EXTREME} images with the largest true value and the {N_EXTREME} with the largest predicted "
        "one; below each stand the true and the predicted value.",
        f'<div class="extremes">{"".join(blocks)}</div>',
        _said(study),
        Numbers(("answer", "model", "by", "place", "id", "true", "predicted"), rows),
    )


def _same_rows(a: Model, b: Model) -> bool:
    return a is not b and np.array_equal(np.sort(a.rows), np.sort(b.rows))


def _both(model: Model, at: int, column: int) -> tuple[float, float]:
    return float(model.true[at, column]), float(model.predicted[at, column])


def _strip(study: Study, model: Model, column: int, by: str, places: list[int]) -> str:
    name = "by votes" if by == "votes" else f"by {model.name}"
    cells = []
    for at in places:
        true, predicted = _both(model, at, column)
        row = int(model.rows[at])
        title = escape(str(study.votes.ids[row]))
        cells.append(
            f'<figure title="{title}">{image(study.pictures, row, str(study.votes.ids[row]))}'
            f"<figcaption>{true:.2f} · {predicted:.2f}</figcaption></figure>"
        )
    return f'<p class="hint">{escape(name)}</p><div class="strip">{"".join(cells)}</div>'


def thresholds(study: Study) -> Section | None:
    """Accuracy of smooth against featured, against the share of galaxies on which enough votes agree."""
    inks = colours(study)
    lines: list[Line] = []
    rows: list[tuple[str, float, int, float, float | None, float | None, float | None]] = []
    said: list[tuple[str, ...]] = []
    for model in study.models:
        kept = smooth_or_featured(model, study.votes)
        points = [(o.n / o.n_all, o.accuracy.value) for o in kept if o.accuracy.value is not None]
        if points:
            lines.append(Line(model.name, inks[model.name], points))
        for one in kept:
            share, right = one.n / one.n_all, one.accuracy
            rows.append((model.name, one.threshold, one.n, share, right.value, right.low, right.high))
            said.append((model.name, f"{one.threshold:.2f}", f"{one.n:,}", number(share, 2), interval(right)))
    if not lines:
        return None
    lowest = min(y for one in lines for _, y in one.points)
    drawn = chart(
        lines,
        x=("share of galaxies kept", 0, 1),
        y=("accuracy", max(0.0, float(np.floor(10 * lowest - 0.5)) / 10), 1),
        words="accuracy against galaxies kept",
    )
    return Section(
        "threshold",
        "Smooth against featured: the vote threshold",
        "Threshold",
        "How often the larger of the two predicted shares is the one that the votes say, on galaxies of "
        "which at least 0.5 to 0.95 of the votes agree on one of them: a clearer label leaves fewer "
        "galaxies.",
        _key(study)
        + f'<div class="scroll">{drawn}</div>'
        + table(("model", "threshold", "galaxies", "kept", "accuracy"), said),
        _said(study),
        Numbers(("model", "threshold", "n", "kept", "accuracy", "low", "high"), rows),
    )


SECTIONS = (scores, answers, reliable, extremes, thresholds)
