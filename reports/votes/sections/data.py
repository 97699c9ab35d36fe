"""What the votes say by themselves: distributions, prototypes, correlations, a split, noise and pixels."""

from __future__ import annotations

from html import escape

import numpy as np

from embedkit.images.decode import THUMBNAIL_TYPE
from embedkit.pages.sections import folded, number, table
from embedkit.pages.svg import BLUE, ORANGE
from reports.drawing import Line, chart, distribution, key, matrix
from reports.sections import Numbers, Section, image
from reports.votes.answers import F64, Votes
from reports.votes.numbers import correlations, implied, mean_baseline, noise_floor, rmse
from reports.votes.study import Study

QUARTILES = (0.25, 0.5, 0.75)


def answer_cards(votes: Votes) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return how each answer is distributed, by question, as HTML and as rows of numbers."""
    rows: list[tuple[object, ...]] = []
    blocks = []
    for group in votes.groups:
        cards = []
        for j in group.columns:
            values = votes.shares[:, j][~np.isnan(votes.shares[:, j])]
            zero = float((values == 0).mean())
            spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            quartiles = np.quantile(values, QUARTILES).tolist()
            rows.append(
                (
                    votes.target_names[j],
                    votes.names[j],
                    len(values),
                    float(values.mean()),
                    spread,
                    *quartiles,
                    zero,
                )
            )
            drawn = distribution([("all", values)], votes.limits, words=f"distribution of {votes.names[j]}")
            own = (
                ""
                if votes.tree is None
                else f'<p class="name">{escape(votes.names[j]).replace("_", "_<wbr>")}</p>'
            )
            cards.append(
                f'<div class="tile-card"><h4>{escape(_words(votes, j))}</h4>{own}{drawn}'
                f'<p class="hint">mean {number(float(values.mean()))}, none in {100 * zero:.0f} %</p></div>'
            )
        heading = f'<h3>{escape(group.text)} <span class="quiet">{escape(group.name)}</span></h3>'
        blocks.append(f'<div>{heading}<div class="answers">{"".join(cards)}</div></div>')
    return blocks, rows


def distributions(study: Study) -> Section:
    """Each answer under its descriptive name."""
    votes = study.votes
    blocks, rows = answer_cards(votes)
    source = (
        "The names are those of Willett et al. 2013, MNRAS 435, 2835, table 2."
        if votes.tree is not None and votes.tree.name == "Galaxy Zoo 2"
        else ""
    )
    what = "share of votes of every answer" if votes.tree is not None else "values of every target"
    return Section(
        "distributions",
        "Distributions",
        "Distributions",
        f"How the {what} is distributed over the images; heights are square roots of the number of images. "
        f"{source}",
        f'<div class="questions">{"".join(blocks)}</div>',
        f"{votes.name}, all {len(votes.ids):,} images",
        Numbers(("target", "name", "n", "mean", "sd", "q25", "median", "q75", "share_of_zeros"), rows),
    )


def _words(votes: Votes, column: int) -> str:
    """Return the answer alone under its question, or the target's own name."""
    return votes.target_names[column] if votes.tree is None else votes.tree.answers[column].words


def prototypes_of(shares: F64) -> list[int]:
    """Return, for each of t columns, the first row with its largest value."""
    return [int(row) for row in np.nanargmax(shares, axis=0)]


def prototypes(study: Study) -> Section:
    """The image with the largest share of each answer."""
    votes = study.votes
    best = prototypes_of(votes.shares)
    cards = []
    for j, row in enumerate(best):
        name, value = str(votes.ids[row]), float(votes.shares[row, j])
        cards.append(
            f"<figure>{image(study.pictures, row, f'{votes.titles[j]}: {name}')}"
            f'<figcaption>{escape(votes.titles[j])}<span class="hint">{value:.3g} · {escape(name)}</span>'
            "</figcaption></figure>"
        )
    return Section(
        "prototypes",
        "Prototypes",
        "Prototypes",
        "The image with the largest share of each answer; of several with the same, the first.",
        f'<div class="pictures">{"".join(cards)}</div>',
        f"{votes.name}, all {len(votes.ids):,} images",
        Numbers(
            ("target", "name", "id", "value"),
            [
                (votes.target_names[j], votes.names[j], str(votes.ids[row]), float(votes.shares[row, j]))
                for j, row in enumerate(best)
            ],
        ),
    )


def correlated(study: Study) -> Section:
    """Correlations of all pairs, beside what exclusive answers imply."""
    votes = study.votes
    t = len(votes.target_names)
    measured = correlations(votes.shares)
    expected = None if votes.tree is None else implied(np.nanmean(votes.shares, axis=0), votes.tree)
    labels = list(votes.target_names)
    if max(map(len, labels)) > 12:
        labels = [str(j + 1) for j in range(t)]
    numbered = labels != list(votes.target_names)
    drawn = _panel("measured", matrix(measured, labels, votes.titles, words="measured correlations"))
    if expected is not None:
        drawn += _panel(
            "implied by the tree", matrix(expected, labels, votes.titles, words="implied correlations")
        )
    pairs = [(i, j) for i in range(t) for j in range(i + 1, t)]
    question = {j: group.name for group in votes.groups for j in group.columns}
    rows = [
        (
            votes.names[i],
            votes.names[j],
            question[i] if expected is not None and question[i] == question[j] else "",
            float(measured[i, j]),
            float("nan") if expected is None else float(expected[i, j]),
        )
        for i, j in pairs
    ]
    body = key([("above 0", BLUE), ("below 0", ORANGE)]) + f'<div class="row">{drawn}</div>'
    if numbered:
        body += folded(
            "what the numbers stand for",
            f"<ol>{''.join(f'<li>{escape(one)}</li>' for one in votes.names)}</ol>",
        )
    sentence = "How the targets go together over the images (Pearson's correlation)."
    if expected is not None:
        sentence = (
            "How the answers go together over the images (Pearson's correlation), beside the value if "
            "every image had one answer to each question: for two exclusive answers with the mean shares p "
            "and q that is −√(pq / ((1−p)(1−q))), and cells are empty where the tree implies nothing."
        )
        body += folded(
            "pairs of answers to one question",
            table(
                ("question", "answer", "answer", "measured", "implied"),
                [
                    (
                        question[i],
                        _words(study.votes, i),
                        _words(study.votes, j),
                        number(measured[i, j], 2),
                        number(expected[i, j], 2),
                    )
                    for i, j in pairs
                    if question[i] == question[j]
                ],
            ),
        )
    return Section(
        "correlations",
        f"Correlations, {t} × {t}",
        "Correlations",
        sentence,
        body,
        f"{votes.name}, all {len(votes.ids):,} images",
        Numbers(("first", "second", "question", "measured", "implied"), rows),
    )


def _panel(title: str, drawn: str) -> str:
    return f'<div class="panel"><h3>{escape(title)}</h3><div class="scroll">{drawn}</div></div>'


def split(study: Study) -> Section:
    """Whether both sides of a split are alike."""
    votes, division = study.votes, study.division
    cards = []
    for j in range(len(votes.target_names)):
        sides = [
            (name, values[~np.isnan(values)])
            for name, values in (
                ("train", votes.shares[division.train, j]),
                ("validation", votes.shares[division.validation, j]),
            )
        ]
        drawn = distribution(sides, votes.limits, words=f"both sides of {votes.names[j]}")
        far = ' class="far"' if division.p_holm[j] < 0.05 else ""
        cards.append(
            f'<div class="tile-card"><h4>{escape(votes.titles[j])}</h4>{drawn}'
            f'<p class="hint"><span{far}>D {division.distance[j]:.3f}, p {division.p[j]:.2g}, '
            f"Holm {division.p_holm[j]:.2g}</span></p></div>"
        )
    n_far = int((division.p_holm < 0.05).sum())
    share = round(100 * study.options.validation)
    verdict = (
        "No target is distributed differently on the two sides"
        if not n_far
        else f"{n_far} of {len(cards)} targets are distributed differently on the two sides"
    )
    return Section(
        "split",
        f"Train against validation, {100 - share} to {share}",
        "Split",
        f"{verdict} at 5 % (two-sample Kolmogorov-Smirnov distance D, p adjusted by Holm over the targets; "
        "ties make the test cautious).",
        key([("train", BLUE), ("validation", ORANGE)]) + f'<div class="grid">{"".join(cards)}</div>',
        f"{votes.name}, {len(division.train):,} train and {len(division.validation):,} validation images "
        f"drawn from seed {study.options.seed}",
        Numbers(
            ("target", "name", "distance", "p", "p_holm", "mean_train", "mean_validation"),
            [
                (
                    votes.target_names[j],
                    votes.names[j],
                    float(division.distance[j]),
                    float(division.p[j]),
                    float(division.p_holm[j]),
                    *(_mean(votes.shares[side, j]) for side in (division.train, division.validation)),
                )
                for j in range(len(votes.target_names))
            ],
        ),
    )


def _mean(values: F64) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def baseline(study: Study) -> Section:
    """What always answering the mean scores, and what nobody can go below."""
    votes, division, n = study.votes, study.division, study.n_volunteers
    found = mean_baseline(votes.shares, division)
    train, held = votes.shares[division.train], votes.shares[division.validation]
    header = ["target", "name", "mean", "mean_rmse_train", "mean_rmse_validation"]
    body = table(
        ("RMSE of always answering the train mean", "train", "validation"),
        [("all targets", number(found.train, 4), number(found.validation, 4))],
    )
    sentence = (
        "The RMSE over all images and targets of always answering each target's mean on the train side: "
        "any model has to be below it."
    )
    made = f"{votes.name}, the split above (seed {study.options.seed})"
    if votes.are_shares:
        floor = study.floor()
        header.append(f"floor_of_{n}_volunteers" if study.counted is None else "floor_as_counted")
        body += _floor(study, found.validation, floor)
        sentence += (
            f" And the floor, {floor:.4f} with {study.volunteers}: what one who knew every true share "
            "would still be wrong by, since the votes are a draw of so many."
        )
        if study.truth is not None:
            sentence += f" These votes are simulated, so the floor is known: it is {study.truth:.4f}."
        if study.counted is None:
            made += f"; --volunteers {n} is assumed, for the shares don't say how many"
    rows = [
        (
            votes.target_names[j],
            votes.names[j],
            mean,
            rmse(train[:, [j]], found.mean[j]),
            rmse(held[:, [j]], found.mean[j]),
            *([study.floor(column=j)] if votes.are_shares else []),
        )
        for j, mean in enumerate(found.mean.tolist())
    ]
    title = "Mean baseline and noise floor" if votes.are_shares else "Mean baseline"
    return Section("baseline", title, "Baseline", sentence, body, made, Numbers(header, rows))


def _floor(study: Study, mean_rmse: float, floor: float) -> str:
    """Draw how the floor falls with the number of volunteers."""
    n = study.n_volunteers
    counts = sorted({*range(5, max(81, 2 * n + 1), 5), n})
    points = [(float(one), noise_floor(study.votes.shares, one)) for one in counts]
    mark = f"{n} volunteers" if study.counted is None else f"as counted, median {n}"
    drawn = chart(
        [Line("floor", BLUE, points, dots=False), Line(mark, ORANGE, [(float(n), floor)])],
        x=("volunteers an image", 0, counts[-1]),
        y=("RMSE", 0, 1.08 * max(mean_rmse, points[0][1])),
        words="noise floor against the number of volunteers",
        levels=[("mean baseline, validation", mean_rmse)],
    )
    return (
        f'<div class="scroll">{drawn}</div><p class="hint">A cumulative share of N volunteers is binomial '
        "at any depth of the tree: its variance is p(1−p)/N, of which f(1−f)/(N−1) is an unbiased estimate "
        "from the share f that was seen. Four times the volunteers halve the floor. Weighted or corrected "
        "votes vary differently.</p>"
    )


def pixels(study: Study) -> Section:
    """Images before and after a reduction."""
    found, times = study.reduced, study.options.reduction
    cards = []
    for pair in found.pairs:
        both = "".join(
            f'<img alt="{escape(pair.name)} {when}" class="{css}" src="data:{THUMBNAIL_TYPE};base64,{data}">'
            for when, css, data in (("before", "", pair.before), ("after", "coarse", pair.after))
        )
        cards.append(
            f'<figure class="pair"><div>{both}</div><figcaption>{escape(pair.name)}<span class="hint">'
            f"{_size(pair.shape)} → {_size(pair.small)} pixels</span></figcaption></figure>"
        )
    n = len(study.votes.ids)
    lines = [
        ("in memory, as 8-bit colour", _bytes(found.bytes_before), _bytes(found.bytes_after)),
        (f"all {n:,} images", _bytes(n * found.bytes_before), _bytes(n * found.bytes_after)),
    ]
    encoded = [pair.n_encoded for pair in found.pairs if pair.n_encoded]
    if encoded:
        lines.append(("the file, as it is", _bytes(float(np.mean(encoded))), "–"))
    ratio = found.bytes_before / found.bytes_after if found.bytes_after else float("nan")
    return Section(
        "pixels",
        f"Images with {times:g} times fewer pixels",
        "Pixels",
        f"Some images before and after a reduction to {times:g} times fewer pixels (by area; "
        f"{number(ratio, 1)} times with whole pixels), and the memory of each.",
        f'<div class="pictures wide">{"".join(cards)}</div>'
        + table(("one image", "before", "after"), lines)
        + f'<p class="hint">Reading and decoding took {1000 * found.seconds:.1f} ms an image here, one at a '
        "time.</p>",
        f"{study.votes.name}, {len(found.pairs)} images spread evenly over it",
    )


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} × {shape[0]}"


def _bytes(n: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f} B"


SECTIONS = (distributions, prototypes, correlated, split, baseline, pixels)
