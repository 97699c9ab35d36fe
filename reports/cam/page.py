"""The page: how sure the network is, whether its maps are to be believed, and the maps."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.pages.sections import number, table
from embedkit.pages.svg import BLUE, GREY, ORANGE
from embedkit.scoring.paired import resampled_means
from reports.cam import answer_sections
from reports.cam.answers import F64, Said, SaidVotes, confidence_of
from reports.cam.drawing import card, curves, maps_sentence
from reports.cam.sanity import CENTRE, OWN, RANDOM, SCATTERED, UNTRAINED
from reports.cam.study import Study
from reports.cam.verdict import verdict
from reports.drawing import histograms, key
from reports.sections import Numbers, Section

SOURCES = {
    OWN: "this network",
    UNTRAINED: "the same network with random weights",
    RANDOM: "this network, moved at random",
    CENTRE: "none: from the middle outwards",
    SCATTERED: "none: squares at random",
}
# What they are; no HTML but this.
COLUMNS = (
    "Deletion area: the mean {what} of {explained} while {cells} of the image are removed, the "
    "hottest first; the lower, the better the map. What is removed gets the image's own median colour. Gain: "
    "how much lower that is than with the network's maps turned and moved over the image at random, which "
    "remove the same shapes elsewhere, with the 95 % interval over images. Squares scattered at random upset "
    "a network by being many. The last three columns are rank correlations: with the map of the image turned "
    "by 90 degrees, turned back; with this network's map of the same image; with its map of another image."
)


def sections(study: Study) -> tuple[Section, ...]:
    """Return the sections, in their order."""
    said = study.said
    if isinstance(said, SaidVotes):
        return answer_sections.scores(study, said), sanity(study), answer_sections.pictures(study, said)
    return confidence(study, said), sanity(study), pictures(study, said)


def confidence(study: Study, said: Said) -> Section:
    """How sure the network is where it is right and where it is wrong."""
    right, wrong = said.confidence[said.right], said.confidence[~said.right]
    lines, numbers = [], []
    for name, values in (("right", right), ("wrong", wrong)):
        found = confidence_of(values)
        quartiles = f"{number(found.low)} to {number(found.high)}" if found.n else "–"
        lines.append((name, f"{found.n:,}", number(found.median), quartiles))
        numbers.append((name, found.n, found.low, found.median, found.high))
    calibrated = "calibrated " if study.about.temperature is not None else ""
    chart = f'<div class="scroll">{histograms(right, wrong)}</div>'
    names = key([("right predictions", BLUE), ("wrong predictions", ORANGE)])
    return Section(
        "confidence",
        "How sure it is",
        "Confidence",
        f"The {calibrated}probability of the predicted class, of right and of wrong predictions: each side's "
        "bars sum to 100 %.",
        chart + names + table(("predictions", "images", "median", "middle half"), lines),
        f"{len(said.ids):,} labelled images of {study.dataset}",
        Numbers(("predictions", "n", "quartile_1", "median", "quartile_3"), numbers),
    )


def _mean(values: F64) -> str:
    """Write a mean with the interval over images."""
    low, high = np.quantile(resampled_means(values), [0.025, 0.975])
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def sanity(study: Study) -> Section:
    """Whether to believe the maps."""
    found = study.sanity
    lines = []
    for name, words in SOURCES.items():
        gain = found.gain(name)
        lines.append(
            (
                words,
                f"{found.areas(name).mean():.3f}",
                "–" if name == RANDOM else f"{gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f})",
                _mean(found.turned[name]) if name in found.turned else "–",
                {OWN: "1", UNTRAINED: _mean(found.untrained)}.get(name, "–"),
                _mean(found.other) if name == OWN else "–",
            )
        )
    header = (
        "maps of",
        "deletion area",
        "gain over moved",
        "turned by 90°",
        "this network's map",
        "another image",
    )
    colours = {OWN: BLUE, RANDOM: BLUE, UNTRAINED: ORANGE}
    inks = {name: colours.get(name, GREY) for name in SOURCES}
    dashed = (RANDOM, CENTRE)
    drawn = curves(
        [(SOURCES[name], found.curves[name].mean(axis=0), inks[name], name in dashed) for name in SOURCES],
        what=f"{study.what} of {study.explained}",
    )
    names = key([(SOURCES[name] + " (dashed)" * (name in dashed), inks[name]) for name in SOURCES])
    empty = f" {found.empty} of the maps are empty." if found.empty else ""
    about = COLUMNS.format(cells=study.cells, what=study.what, explained=escape(study.explained))
    hint = f'<p class="hint">{about}{empty}</p>'
    ids = study.said.ids[study.examined]
    names_of = np.array(study.about.names)[study.said.explained[study.examined]]
    half = " from the half predicted most" if isinstance(study.said, SaidVotes) else ""
    columns = [found.areas(name) for name in SOURCES]
    columns += [found.turned[OWN], found.turned[UNTRAINED], found.untrained, found.other]
    rows = [
        (str(one), str(name), *map(float, values))
        for one, name, *values in zip(ids, names_of, *columns, strict=True)
    ]
    return Section(
        "sanity",
        "Whether to believe the maps",
        "Believe them?",
        verdict(found, study.what),
        f'<div class="scroll">{drawn}</div>{names}{table(header, lines)}{hint}',
        f"{found.n} images of {study.dataset}, drawn at random{half} (seed {study.seed}); maps of "
        f"{study.explained} from {study.layer.name}, {study.layer.rows} x {study.layer.columns}",
        Numbers(
            (
                "id",
                "predicted" if isinstance(study.said, Said) and study.said.target is None else "explained",
                *(f"deletion_area:{name}" for name in SOURCES),
                "turned:own",
                "turned:untrained",
                "untrained",
                "another_image",
            ),
            rows,
        ),
    )


def pictures(study: Study, said: Said) -> Section:
    """The maps on right and wrong predictions of each class."""
    place = {int(one): i for i, one in enumerate(study.shown.places)}
    blocks, rows = [], []
    for j in study.classes:
        name = said.class_names[j]
        of_class = int((said.true == j).sum())
        n_right = int((said.right & (said.true == j)).sum())
        parts = [f'<h3>{escape(name)}<span class="quiet">{n_right:,} of {of_class:,} right</span></h3>']
        for right, words in ((True, "right"), (False, "wrong")):
            chosen = said.most_confident(j, right=right, most=study.per_class)
            cards = [_card(study, said, place[int(one)], int(one)) for one in chosen]
            body = (
                f'<div class="pictures cam">{"".join(cards)}</div>' if cards else '<p class="hint">none</p>'
            )
            parts.append(f"<h4>{words}, the most confident</h4>{body}")
            rows += [_row(said, int(one), words) for one in chosen]
        blocks.append("".join(parts))
    return Section(
        "pictures",
        "What it looks at",
        "Pictures",
        f"{maps_sentence(study)}.",
        "".join(blocks),
        f"{len(said.ids):,} labelled images of {study.dataset}; maps from {study.layer.name}, "
        f"{study.layer.rows} x {study.layer.columns}",
        Numbers(("id", "true", "predicted", "probability", "prediction"), rows),
    )


def _row(said: Said, place: int, words: str) -> tuple[str, str, str, float, str]:
    true, predicted = said.class_names[said.true[place]], said.class_names[said.predicted[place]]
    return str(said.ids[place]), true, predicted, float(said.confidence[place]), words


def _card(study: Study, said: Said, i: int, place: int) -> str:
    name, true, predicted, p, _ = _row(said, place, "")
    wrong = "" if true == predicted else ' class="far"'
    caption = f"{escape(true)} → <span{wrong}>{escape(predicted)}</span> {p:.3f}"
    return card(study.shown, i, name, f"{name}, {predicted}", caption)
