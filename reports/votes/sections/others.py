"""What is known from elsewhere: losses of trainings, and mergers among images without votes."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.pages.sections import number, table
from reports.drawing import Line, chart, key
from reports.sections import Numbers, Section, interval
from reports.votes.answers import F64
from reports.votes.mergers import FRACTION, LITERATURE, MergerFraction
from reports.votes.sections.models import colours
from reports.votes.study import Study


def losses(study: Study) -> Section | None:
    """Losses against images seen, of all trainings in one picture."""
    if not study.losses:
        return None
    inks, lines, rows, best = colours(study), [], [], []
    for one in study.losses:
        for name, values, dashed in (("train", one.loss, True), ("validation", one.validation_loss, False)):
            if points := _points(one.images, values):
                lines.append(Line(f"{one.name}, {name}", inks[one.name], points, dashed, dots=not dashed))
        columns = (one.epoch, one.images, one.loss, one.validation_loss, one.validation_rmse)
        rows += [(one.name, *(float(v) for v in line)) for line in zip(*columns, strict=True)]
        at = one.best
        best.append(
            (one.name, "–", "–", "–")
            if at is None
            else (
                one.name,
                f"{one.validation_loss[at]:.4f}",
                f"{one.epoch[at]:.0f}",
                f"{one.images[at]:,.0f}",
            )
        )
    drawn = _against_images(lines, "loss")
    rmses = [
        Line(one.name, inks[one.name], points)
        for one in study.losses
        if (points := _points(one.images, one.validation_rmse))
    ]
    if rmses:
        drawn += _against_images(rmses, "validation RMSE")
    return Section(
        "losses",
        "Losses against images seen",
        "Losses",
        "Validation loss (joined dots) and train loss (dashed) of each training against the images it had "
        "seen; losses of different kinds can't be compared.",
        key([(one.name, inks[one.name]) for one in study.losses])
        + f'<div class="row">{drawn}</div>'
        + table(("training", "best validation loss", "epoch", "images seen"), best),
        f"the logs of {', '.join(one.name for one in study.losses)}",
        Numbers(("training", "epoch", "images", "loss", "validation_loss", "validation_rmse"), rows),
    )


def _points(images: F64, values: F64) -> list[tuple[float, float]]:
    there = ~np.isnan(values)
    return [(float(x), float(y)) for x, y in zip(images[there], values[there], strict=True)]


def _against_images(lines: list[Line], what: str) -> str:
    heights = [y for one in lines for _, y in one.points]
    low, high = min(heights, default=0.0), max(heights, default=1.0)
    pad = 0.06 * (high - low or abs(high) or 1)
    furthest = max((x for one in lines for x, _ in one.points), default=1.0)
    drawn = chart(
        lines,
        x=("images seen", 0, furthest),
        y=(what, max(0.0, low - pad) if low >= 0 else low - pad, high + pad),
        words=f"{what} against images seen",
    )
    return f'<div class="panel"><div class="scroll">{drawn}</div></div>'


def mergers(study: Study) -> Section | None:
    """The merger fraction of images without votes, beside the literature."""
    found = study.mergers
    if found is None:
        return None
    model = study.models[0]
    confusion = found.confusion
    notes = f" ({found.corrected.note})" if found.corrected.note else ""
    own = [
        ("counted", f"images with a predicted share of at least {found.share:g}", interval(found.counted, 4)),
        (
            "corrected",
            f"by the sensitivity and specificity below, with their errors{notes}",
            interval(found.corrected, 4),
        ),
        (
            "mean share",
            "mean predicted share of votes for a merger, without a threshold",
            interval(found.mean_share, 4),
        ),
    ]
    sure = [
        (
            "sensitivity",
            f"{confusion.found_yes:,} of {confusion.n_yes:,} mergers found",
            number(confusion.sensitivity),
        ),
        (
            "specificity",
            f"{confusion.found_no:,} of {confusion.n_no:,} others left alone",
            number(confusion.specificity),
        ),
    ]
    fractions = [one for one in LITERATURE if one.unit == FRACTION]
    rates = [one for one in LITERATURE if one.unit != FRACTION]
    body = (
        table(("merger fraction", "of what", "value, 95 % interval"), own)
        + f"<h3>What {escape(model.name)} confuses on images with votes</h3>"
        + table(("", "rows", "share"), sure)
        + "<h3>Others, near z = 0: fractions, in the same unit</h3>"
        + table(("source", "what", "fraction of galaxies"), [(o.source, o.what, o.value) for o in fractions])
        + "<h3>Others, near z = 0: rates, in other units</h3>"
        + table(("source", "what", "rate"), [(o.source, o.what, o.value) for o in rates])
        + '<p class="note">A fraction is not a rate. A fraction says how many galaxies look like mergers '
        "at one time. A rate says how many merge in a time; to get it, one needs how long a merger can be "
        "seen, some tenths of a Gyr to about one by method and mass, and for a volume the density of "
        "galaxies. The fractions above are also of other samples, mass ratios and definitions: they show "
        "the order of magnitude.</p>"
    )
    return Section(
        "mergers",
        "Merger fraction",
        "Mergers",
        f"How many of {found.n:,} images without votes are mergers, a merger being a galaxy of which at "
        f"least {found.share:g} of the votes would say so: counted, and corrected by what the model "
        "confuses (Rogan and Gladen 1978), beside what others found near z = 0.",
        body,
        f"{study.options.merger_of}, predicted by {model.name}; its confusion on {len(model.rows):,} "
        f"{'' if model.part == 'all' else f'{model.part} '}rows of {study.votes.name}. The correction "
        "assumes that it confuses as often there",
        _numbers(found),
    )


def _numbers(found: MergerFraction) -> Numbers:
    metrics = {"counted": found.counted, "corrected": found.corrected, "mean_share": found.mean_share}
    rows: list[tuple[str, float | None, float | None, float | None]] = [
        (name, one.value, one.low, one.high) for name, one in metrics.items()
    ]
    rows += [
        ("sensitivity", found.confusion.sensitivity, None, None),
        ("specificity", found.confusion.specificity, None, None),
        ("threshold", found.share, None, None),
        ("n", float(found.n), None, None),
    ]
    return Numbers(("what", "value", "low", "high"), rows)


SECTIONS = (losses, mergers)
