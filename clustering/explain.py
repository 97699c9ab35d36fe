"""Why a clustering scores as it does: checks on its own features, labels and images, told in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clustering.distances import Frame, Points, nearest
from clustering.image_statistics import ImageStatistics
from clustering.matching import I64, Matching, match_clusters
from embedkit.errors import DataError
from embedkit.matrix import check_finite
from embedkit.quality import effective_rank, rank_me

F64 = NDArray[np.float64]
Verdict = Literal["cause", "note", "fine", "not checked"]

N_SAMPLE = 5000
N_NEIGHBORS = 20
N_PERMUTATIONS = 50
N_LEADING = 5
N_WHITENED = 30
# Agreement of neighbours, corrected for chance: below CHANCE labels say nothing about the features, below
# WEAK little, above STRONG most. (Cohen's kappa of a row's label and those of its neighbours.)
CHANCE, WEAK, STRONG = 0.05, 0.15, 0.4
# In the leading components neighbours are nearer by this part than with each component shuffled by itself.
STRUCTURE = 0.03
# Features are collapsed where one or two components hold nearly all variance of at least MIN_DIMENSIONS, ...
NEARLY_ALL, FEW, MIN_DIMENSIONS = 0.95, 2, 5
# ... or rows differ by less than this part of their length, or are mostly copies of each other.
ALIKE, DISTINCT = 1e-3, 0.1
# One cluster dominates with this share of the clustered rows, if no class is nearly so large.
DOMINANT, MARGIN = 0.8, 0.1
MOSTLY_NOISE = 0.5
# Clusters follow a statistic of the images that explains this part of what the classes leave open.
FOLLOWS = 0.15
# Clusters this pure may follow what they like: they divide classes, and don't mix them.
PURE = 0.8
LOST = 0.1

ADVICE = {
    "brightness": "Whiten by what views of one image differ in: `--prep view-whiten`, on features extracted "
    "with `--views galaxy:12`.",
    "background": "Crop closer to the object (`--center-crop`), or whiten by views: `--prep view-whiten`, on "
    "features extracted with `--views galaxy:12`.",
    "size": "Crop in proportion to the object, or whiten by views: `--prep view-whiten`, on features "
    "extracted with `--views galaxy:12`.",
    "orientation": "Whiten by what views of one image differ in: `--prep view-whiten`, on features extracted "
    "with `--views galaxy:12`; their mean alone helps.",
}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        ``features``, ``labels``, ``sizes``, ``matching``, ``nuisance`` or ``structure``.
    verdict
        ``cause`` (this explains a low score), ``note`` (worth knowing), ``fine``, or ``not checked``.
    evidence
        The numbers behind it.
    sentence
        The same in words, with what to do about it.
    """

    name: str
    verdict: Verdict
    evidence: Mapping[str, Any]
    sentence: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the causes first."""

    findings: tuple[Finding, ...]

    @property
    def causes(self) -> tuple[Finding, ...]:
        """The findings that explain a low score; none where nothing is wrong."""
        return tuple(finding for finding in self.findings if finding.verdict == "cause")

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    @property
    def text(self) -> str:
        """The sentences, one a line, without those of what could not be checked."""
        return "\n".join(f.sentence for f in self.findings if f.verdict != "not checked")


@dataclass(frozen=True)
class _Sample:
    """What several checks look at: at most `N_SAMPLE` rows."""

    x: F64  # (m, d)
    rows: I64  # (m,), places in the whole
    labels: I64  # (n,) of the whole, -1 without a label
    neighbors: I64  # (m, 20), places in the whole
    near: float  # distances to them in leading components over those in shuffled ones
    values: F64  # (r,) variances of the components
    scores: F64  # (m, r)
    agreement: float | None  # of labels between neighbours, corrected for chance
    whitened_agreement: float | None


def explain(
    x: ArrayLike,
    labels: I64 | None,
    clusters: I64,
    *,
    class_names: Sequence[str] | None = None,
    image_statistics: ImageStatistics | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Say why clusters agree with labels as little, or as much, as they do.

    Six checks: ``features`` (collapsed or constant), ``labels`` (not those of the rows), ``sizes`` (one
    dominant cluster, or noise), ``matching`` (k against the classes that have rows), ``nuisance`` (clusters
    follow brightness, background, size or orientation) and ``structure`` (how much of the classes the
    features hold at all). All but ``sizes`` and ``matching`` look at a sample of at most 5,000 rows.

    Parameters
    ----------
    x : (n, d)
        Features as they were extracted, before any preparation.
    labels : (n,) int64, optional
        Class of each row, -1 where it has none.
    clusters : (n,) int64
        Cluster of each row, -1 for noise.
    class_names
        Names of all classes, those without rows included.
    image_statistics
        Of the n images as the backbone saw them (cropped), NaN where one was not measured; see
        `clustering.image_statistics`. The check of ``nuisance`` needs them.
    seed
        Of the sample and of permutations.

    Raises
    ------
    DataError
        NaN, fewer than three rows, or arrays that don't fit each other.
    """
    points = np.asarray(x)
    clusters = np.asarray(clusters)
    if points.ndim != 2 or len(points) < 3:
        raise DataError(f"features of shape {points.shape}; a diagnosis needs at least 3 rows of (n, d).")
    check_finite(points)
    n = len(points)
    labels = np.full(n, -1) if labels is None else np.asarray(labels)
    of_images = n if image_statistics is None else len(image_statistics)
    if not (labels.shape == clusters.shape == (n,) and of_images == n):
        raise DataError(
            f"{n} rows of features, {len(labels)} labels, {len(clusters)} clusters and statistics of "
            f"{of_images} images don't fit."
        )
    names = tuple(class_names or (f"class {i}" for i in range(int(labels.max()) + 1)))
    if labels.max() >= len(names):
        raise DataError(f"label {labels.max()} is outside the {len(names)} classes.")
    sample = _sample(points, labels, np.random.default_rng(seed))

    nuisance = _nuisance(sample, labels, clusters, image_statistics)
    features = _features(sample, nuisance)
    collapsed = features.verdict == "cause"
    alignment = _labels(sample, collapsed=collapsed, seed=seed)
    if collapsed or alignment.verdict == "cause":
        nuisance = _follows_from(nuisance, "the features" if collapsed else "the labels")
    sizes = _sizes(labels, clusters)
    matching = _matching(labels, clusters, names)
    if collapsed:
        sizes, matching = (_follows_from(finding, "the features") for finding in (sizes, matching))
    elif sizes.verdict == "cause":
        matching = _follows_from(matching, "the sizes")
    findings = [alignment, features, sizes, matching, nuisance]
    healthy = not any(finding.verdict == "cause" for finding in findings)
    findings.append(_structure(sample, labels, clusters, healthy=healthy))
    rank = {"cause": 0, "note": 1, "fine": 2, "not checked": 3}
    return Diagnosis(tuple(sorted(findings, key=lambda finding: rank[finding.verdict])))


def eta_squared(values: F64, groups: I64) -> float:
    """Return the part of the variance of `values` (n, q) that lies between groups, corrected for chance.

    Kelley's epsilon squared: 0 on average for groups that have nothing to do with the values, 1 where every
    group has one value. Columns add up in their own units. Rows with NaN are left out.
    """
    known = np.isfinite(values).all(axis=1)
    values, groups = values[known], groups[known]
    _, index = np.unique(groups, return_inverse=True)
    n, k = len(values), int(index.max(initial=-1)) + 1
    if n <= k or k < 2:
        return 0.0
    centred = values - values.mean(axis=0)
    total = float(np.square(centred).sum())
    if total <= 0:
        return 0.0
    sums = np.stack([np.bincount(index, weights=column) for column in centred.T], axis=1)
    between = float((np.square(sums).sum(axis=1) / np.bincount(index)).sum())
    return max(0.0, 1 - (1 - between / total) * (n - 1) / (n - k))


def _sample(points: NDArray[Any], labels: I64, rng: np.random.Generator) -> _Sample:
    rows = np.flatnonzero(labels >= 0)
    if len(rows) < 3:
        rows = np.arange(len(points))
    if len(rows) > N_SAMPLE:
        rows = np.sort(rng.choice(rows, N_SAMPLE, replace=False))
    x = points[rows].astype(np.float64)
    # A few far rows would make components of their own.
    far = np.linalg.norm(x - np.median(x, axis=0), axis=1)
    core = x[far <= np.quantile(far, 0.99)]
    mean = core.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(core, rowvar=False, ddof=1).reshape(x.shape[1], -1))
    values, axes = values[::-1], axes[:, ::-1]
    r = max(1, int((values > 1e-12 * max(values[0], np.finfo(float).tiny)).sum())) if values[0] > 0 else 1
    values, axes = np.maximum(values[:r], 0), axes[:, :r]
    scores = (x - mean) @ axes
    neighbors, _ = _neighbors(scores)
    # Among all components, noise would hide what the leading ones show.
    leading = scores[:, :N_LEADING]
    shuffled = np.stack([rng.permutation(column) for column in leading.T], axis=1)
    apart = float(_neighbors(shuffled)[1].mean())
    near = float(_neighbors(leading)[1].mean()) / apart if apart > 0 else 1.0
    agreement = whitened = None
    if (labels[rows] >= 0).all() and len(np.unique(labels[rows])) > 1:
        agreement = _agreement(labels, rows, rows[neighbors])
        if values[0] > 0:
            kept = min(r, N_WHITENED)
            white = scores[:, :kept] / np.sqrt(values[:kept])
            whitened = _agreement(labels, rows, rows[_neighbors(white)[0]])
    return _Sample(x, rows, labels, rows[neighbors], near, values, scores, agreement, whitened)


def _neighbors(x: F64) -> tuple[I64, F64]:
    points = Points(np.ascontiguousarray(x), Frame.of(x))
    distances, index = nearest(points, points, min(N_NEIGHBORS, len(x) - 1))
    return index, distances


def _agreement(labels: I64, rows: I64, neighbors: I64) -> float:
    """How much more often neighbours share a label than rows at random: 0 for chance, 1 for always."""
    own, theirs = labels[rows][:, np.newaxis], labels[neighbors]
    known = (own >= 0) & (theirs >= 0)
    shares = np.bincount(labels[labels >= 0]) / max(1, int((labels >= 0).sum()))
    expected = float(np.square(shares).sum())
    if not known.any() or expected >= 1:
        return 0.0
    return (float((own == theirs)[known].mean()) - expected) / (1 - expected)


def _features(sample: _Sample, nuisance: Finding) -> Finding:
    x, values = sample.x, sample.values
    m, d = x.shape
    total = float(values.sum())
    shares = values / total if total > 0 else np.ones(1)
    needed = int(np.searchsorted(np.cumsum(shares), NEARLY_ALL) + 1)
    n_constant = int((np.ptp(x, axis=0) == 0).sum())
    n_distinct = len(np.unique(x, axis=0))
    length = float(np.linalg.norm(x.mean(axis=0)))
    spread = float(np.sqrt(total)) / length if length > 0 else np.inf
    evidence: dict[str, Any] = {
        "rank_me": rank_me(x),
        "rank_me_definition": "exp of the entropy of singular values / their sum, not centred",
        "effective_rank": effective_rank(values),
        "n": m,
        "d": d,
        "n_components_95": needed,
        "first_component_share": float(shares[0]),
        "n_constant_columns": n_constant,
        "n_distinct_rows": n_distinct,
        "relative_spread": spread,
        "neighbor_agreement": sample.agreement,
        "whitened_agreement": sample.whitened_agreement,
    }
    ranks = (
        f"RankMe {evidence['rank_me']:.1f} (exp of the entropy of the singular values, not centred) and "
        f"effective rank of the covariance {evidence['effective_rank']:.1f}, of {d} dimensions, "
        f"on n = {m:,} rows"
    )
    facts = []
    if total <= 0:
        facts.append("all rows are equal")
    elif n_distinct < DISTINCT * m:
        facts.append(f"only {n_distinct:,} of {m:,} rows are distinct")
    if total > 0 and d >= MIN_DIMENSIONS and needed <= FEW:
        many = "one component holds" if needed == 1 else f"{needed} components hold"
        facts.append(f"{many} {100 * shares[:needed].sum():.1f} % of the variance")
    if 0 < spread < ALIKE:
        facts.append(f"rows differ by {100 * spread:.2g} % of their length")
    if n_constant > d / 2:
        facts.append(f"{n_constant} of {d} columns are constant")
    if not facts:
        constant = f" {n_constant} columns are constant." if n_constant else ""
        return Finding("features", "fine", evidence, f"The features are not collapsed: {ranks}.{constant}")
    said = f"{'; '.join(facts)}".capitalize()
    if sample.agreement is not None and sample.agreement >= 2 * WEAK:
        text = f"{said}, but neighbours share their class far above chance, so that is where the classes are."
        return Finding("features", "note", evidence, f"{text} {ranks}.")
    followed = nuisance.evidence.get("first_component", {})
    name = max(followed, key=lambda key: float(followed[key]), default=None)
    if name is not None and followed[name] >= 0.5 and nuisance.verdict == "cause":
        text = f"{said}, and the first follows the images' {name} (R^2 {followed[name]:.2f}). {ranks}."
        return Finding("features", "note", evidence, text)
    hidden = sample.whitened_agreement
    if hidden is not None and sample.agreement is not None and hidden > max(WEAK, 2 * sample.agreement):
        advice = (
            f"The other components do hold the classes: with all scaled to one variance, agreement between "
            f"neighbours rises from {sample.agreement:.2f} to {hidden:.2f}. Take `--prep whiten30`."
        )
    else:
        advice = (
            "The backbone collapsed, or was given blank images: look at the images, the weights and the "
            "precision, or take another backbone or layer."
        )
    return Finding(
        "features",
        "cause",
        evidence,
        f"The features are collapsed: {facts[0]}"
        f"{''.join('; ' + fact for fact in facts[1:])} ({ranks}). {advice}",
    )


def _labels(sample: _Sample, *, collapsed: bool, seed: int) -> Finding:
    if sample.agreement is None:
        return Finding("labels", "not checked", {}, "Fewer than two classes have labelled rows.")
    labels, rows, neighbors = sample.labels, sample.rows, sample.neighbors
    own, near = labels[rows], labels[neighbors]
    accuracy = _vote(own, near)
    rng = np.random.default_rng(seed)
    shuffled = np.empty_like(labels)
    null = np.empty(N_PERMUTATIONS)
    for i in range(N_PERMUTATIONS):
        shuffled[rows] = rng.permutation(own)
        null[i] = _vote(shuffled[rows], shuffled[neighbors])
    low, high = np.quantile(null, [0.025, 0.975])
    evidence: dict[str, Any] = {
        "knn_accuracy": accuracy,
        "null_accuracy": float(null.mean()),
        "null_range": (float(low), float(high)),
        "neighbor_agreement": sample.agreement,
        "near": sample.near,
        "n": len(rows),
    }
    said = (
        f"a vote of the {neighbors.shape[1]} nearest rows names the class of {accuracy:.3f} of them, and "
        f"{null.mean():.3f} with permuted labels"
    )
    if sample.agreement >= CHANCE:
        return Finding("labels", "fine", evidence, f"Labels belong to their rows: {said}.")
    if collapsed or sample.near > 1 - STRUCTURE:
        why = "collapsed features" if collapsed else "features without structure of their own"
        text = f"Neighbours say nothing of the class ({said}), as with {why} whatever the labels."
        return Finding("labels", "note", evidence, text)
    orders = {f"shifted by {s:+d}": np.roll(labels, s) for s in (-2, -1, 1, 2)} | {"reversed": labels[::-1]}
    found = {order: _agreement(other, rows, neighbors) for order, other in orders.items()}
    best = max(found, key=lambda order: found[order])
    evidence |= {"other_orders": found}
    if found[best] > WEAK:
        advice = (
            f"With the labels {best} rows their agreement is {found[best]:.2f} instead of "
            f"{sample.agreement:.2f}: the two files are out of step. "
        ).replace("reversed rows", "in reverse order")
    else:
        advice = ""
    text = (
        f"The labels don't seem to be those of the rows: {said}, although the features have structure "
        f"(neighbours are {100 * (1 - sample.near):.0f} % nearer than chance has them). {advice}Check "
        "--label-column and that labels and images stand in one order. If they do, these features hold "
        "nothing of these classes."
    )
    return Finding("labels", "cause", evidence, text)


def _vote(own: I64, near: I64) -> float:
    m, c = len(own), int(max(own.max(), near.max())) + 1
    votes = np.bincount((np.arange(m)[:, np.newaxis] * c + near).ravel(), minlength=m * c).reshape(m, c)
    return float((votes.argmax(axis=1) == own).mean())


def _sizes(labels: I64, clusters: I64) -> Finding:
    n = len(clusters)
    inside = clusters[clusters >= 0]
    sizes = np.sort(np.unique(inside, return_counts=True)[1])[::-1]
    noise = 1 - len(inside) / n
    k = len(sizes)
    known = labels[labels >= 0]
    largest_class = float(np.bincount(known).max() / len(known)) if len(known) else None
    share = float(sizes[0] / len(inside)) if k else 0.0
    evidence = {
        "n_clusters": k,
        "largest_share": share,
        "largest_class_share": largest_class,
        "smallest": int(sizes[-1]) if k else 0,
        "noise_share": noise,
    }
    if k == 0:
        text = "Every row is noise. Smaller --min-cluster-size and --min-samples make less of it."
        return Finding("sizes", "cause", evidence, text)
    if k == 1 or (share >= DOMINANT and share > (largest_class or 0) + MARGIN):
        against = (
            "" if largest_class is None else f", while the largest class has {100 * largest_class:.0f} %"
        )
        rest = len(inside) - int(sizes[0])
        others = (
            f"The other {k - 1} share {rest:,} rows, the smallest has {sizes[-1]:,}: often outliers."
            if rest
            else "There is no other."
        )
        text = (
            f"One cluster holds {100 * share:.1f} % of the clustered rows{against}. {others} Look at the "
            "images of the small clusters and leave out what is none, scale rows to one length "
            "(`--prep l2+pca95`), or take another method."
        )
        return Finding("sizes", "cause", evidence, text)
    if noise >= MOSTLY_NOISE:
        text = (
            f"{100 * noise:.0f} % of the rows are noise, and count as wrong. Smaller --min-samples, or "
            "`--target-noise 0.2`, make less of it."
        )
        return Finding("sizes", "cause", evidence, text)
    text = f"No cluster dominates: the largest of {k} holds {100 * share:.0f} % of the clustered rows."
    return Finding("sizes", "fine", evidence, text)


def _matching(labels: I64, clusters: I64, names: Sequence[str]) -> Finding:
    known = labels >= 0
    if not known.any():
        return Finding("matching", "not checked", {}, "No labels to match clusters with.")
    matching = match_clusters(labels[known], clusters[known], n_classes=len(names))
    present = np.bincount(labels[known], minlength=len(names)) > 0
    k, c = len(np.unique(clusters[clusters >= 0])), int(present.sum())
    absent = [names[int(i)] for i in np.flatnonzero(~present)]
    n = matching.n
    spare = _rows_without_class(matching) / n
    without = np.setdiff1d(np.flatnonzero(present), matching.classes)
    unmatched = [names[int(i)] for i in without]
    lost = float(np.isin(labels[known], without).mean())
    evidence = {
        "n_clusters": k,
        "n_classes": len(names),
        "n_classes_present": c,
        "absent_classes": absent,
        "classes_without_cluster": unmatched,
        "rows_in_clusters_without_class": spare,
        "rows_of_classes_without_cluster": lost,
        "accuracy": matching.n_correct / n,
        "accuracy_many_to_one": float(matching.counts.max(axis=0, initial=0).sum() / n),
    }
    missing = (
        f"{len(absent)} of the {len(names)} classes ({', '.join(absent)}) "
        f"{'has' if len(absent) == 1 else 'have'} no rows. "
        if absent
        else ""
    )
    if k > c and spare >= LOST:
        text = (
            f"{missing}{k} clusters stand against {c} classes with rows, so that {k - c} of them can stand "
            f"for none: {100 * spare:.0f} % of the rows lie there and count as wrong, whatever they are. "
            f"One to one {evidence['accuracy']:.3f} are right, {evidence['accuracy_many_to_one']:.3f} "
            f"if several clusters may stand for one class. Give -k {c}, or report the many-to-one score by "
            "its name."
        )
        return Finding("matching", "cause", evidence, text)
    if k < c and lost >= LOST and k > 0:
        text = (
            f"{missing}{k} clusters stand against {c} classes with rows: {', '.join(unmatched)} cannot have "
            f"one, and their {100 * lost:.0f} % of the rows count as wrong. Give -k {c}."
        )
        return Finding("matching", "cause", evidence, text)
    if absent or k != c:
        text = f"{missing}{k} clusters are matched with {c} classes, which costs few rows here."
        return Finding("matching", "note", evidence, text)
    return Finding("matching", "fine", evidence, f"As many clusters as classes with rows: {k}.")


def _rows_without_class(matching: Matching) -> int:
    return int(matching.counts[:, matching.classes < 0].sum())


def _nuisance(sample: _Sample, labels: I64, clusters: I64, statistics: ImageStatistics | None) -> Finding:
    if statistics is None:
        text = "Whether clusters follow brightness, size or orientation needs the images."
        return Finding("nuisance", "not checked", {}, text)
    rows = sample.rows[clusters[sample.rows] >= 0]
    if len(np.unique(clusters[rows])) < 2:
        return Finding("nuisance", "not checked", {}, "Fewer than two clusters.")
    with_labels = sample.agreement is not None
    values = sample.values[:N_LEADING]
    scores = sample.scores[:, :N_LEADING]
    of_sample, of_rows = statistics.take(sample.rows).columns, statistics.take(rows).columns
    in_components: dict[str, list[float]] = {}
    evidence: dict[str, Any] = {"n": len(rows), "component_variance": values.tolist()}
    follows: dict[str, dict[str, float]] = {}
    cells = labels[rows] * (int(clusters.max()) + 1) + clusters[rows]
    for name, column in of_rows.items():
        in_components[name] = [_r_squared(score, of_sample[name]) for score in scores.T]
        by_cluster = eta_squared(column, clusters[rows])
        follows[name] = {"eta2_clusters": by_cluster, "beyond_classes": by_cluster}
        if with_labels:
            by_class = eta_squared(column, labels[rows])
            beyond = (eta_squared(column, cells) - by_class) / (1 - by_class) if by_class < 1 else 0.0
            follows[name] |= {"eta2_classes": by_class, "beyond_classes": max(0.0, beyond)}
    evidence["component_r2"] = in_components
    evidence["first_component"] = {name: r2[0] for name, r2 in in_components.items()}
    evidence["follows"] = follows
    worst = max(follows, key=lambda name: follows[name]["beyond_classes"])
    strongest = {name: int(np.argmax(r2)) for name, r2 in in_components.items()}
    i = strongest[worst]
    share = float(values[i] / sample.values.sum()) if sample.values.sum() > 0 else 0.0
    found = follows[worst]
    component = (
        f"It explains {100 * in_components[worst][i]:.0f} % of component {i + 1}, which holds "
        f"{100 * share:.0f} % of the variance."
    )
    also = [n for n in follows if n != worst and follows[n]["beyond_classes"] >= FOLLOWS]
    more = f" They follow {' and '.join(also)} too." if also else ""
    evidence["worst"] = worst
    if found["beyond_classes"] < FOLLOWS:
        text = (
            f"Clusters don't follow brightness, background, size or orientation beyond what the classes do: "
            f"most of all the {worst}, of which they explain {100 * found['beyond_classes']:.0f} % more."
            if with_labels
            else f"Clusters follow neither brightness, background, size nor orientation: most of all the "
            f"{worst}, with eta^2 {found['eta2_clusters']:.2f}."
        )
        return Finding("nuisance", "fine", evidence, text)
    if not with_labels:
        text = (
            f"Clusters follow the images' {worst}: they explain {100 * found['eta2_clusters']:.0f} % of its "
            f"variance.{more} {component} Without labels it cannot be told whether that is wanted. If not: "
            f"{ADVICE[worst]}"
        )
        return Finding("nuisance", "note", evidence, text)
    purity = _purity(labels[rows], clusters[rows])
    evidence["purity"] = purity
    text = (
        f"Clusters follow the images' {worst} rather than the class: they explain "
        f"{100 * found['eta2_clusters']:.0f} % of its variance and the classes "
        f"{100 * found['eta2_classes']:.0f} %.{more} {component} {ADVICE[worst]}"
    )
    if purity >= PURE:
        text = (
            f"Clusters divide the classes by {worst} (they explain {100 * found['eta2_clusters']:.0f} % of "
            f"its variance, the classes {100 * found['eta2_classes']:.0f} %), but {100 * purity:.0f} % of "
            "the rows are of the class that is commonest in their cluster."
        )
        return Finding("nuisance", "note", evidence, text)
    return Finding("nuisance", "cause", evidence, text)


def _r_squared(y: F64, columns: F64) -> float:
    """Part of the variance of `y` (n,) that a linear function of `columns` (n, q) explains."""
    known = np.isfinite(columns).all(axis=1)
    y, columns = y[known], columns[known]
    if len(y) < 3 or y.var() <= 0:
        return 0.0
    design = np.column_stack([np.ones(len(y)), columns])
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(max(0.0, 1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum()))


def _purity(labels: I64, clusters: I64) -> float:
    counts = match_clusters(labels, clusters).counts
    return float(counts.max(axis=0).sum() / counts.sum())


def _follows_from(finding: Finding, cause: str) -> Finding:
    """Take a cause back where a deeper one explains it."""
    if finding.verdict != "cause":
        return finding
    text = f"{finding.sentence} With {cause} as they are this says little by itself."
    return Finding(finding.name, "note", finding.evidence, text)


def _structure(sample: _Sample, labels: I64, clusters: I64, *, healthy: bool) -> Finding:
    nearer = f"neighbours are {100 * max(0.0, 1 - sample.near):.0f} % nearer than among shuffled components"
    agreement = sample.agreement
    if agreement is None:
        kind = "has structure" if sample.near < 1 - STRUCTURE else "has hardly any structure"
        text = f"The file {kind} of its own: {nearer}."
        return Finding("structure", "fine", {"near": sample.near}, text)
    known = labels >= 0
    matching = match_clusters(labels[known], clusters[known])
    accuracy = matching.n_correct / matching.n
    knn = _vote(labels[sample.rows], labels[sample.neighbors])
    kind = "weak" if agreement < WEAK else "strong" if agreement >= STRONG else "moderate"
    evidence = {
        "kind": kind,
        "neighbor_agreement": agreement,
        "near": sample.near,
        "knn_accuracy": knn,
        "accuracy": accuracy,
    }
    text = (
        f"What the features hold of the classes is {kind}: the agreement between neighbours, corrected for "
        f"chance, is {agreement:.2f}. The {sample.neighbors.shape[1]} nearest rows name the class of "
        f"{knn:.3f} of the rows, and the clusters of {accuracy:.3f}."
    )
    if healthy and kind == "weak":
        text += " Nothing is wrong with the file: another backbone, layer or crop may hold more."
    elif healthy and knn - accuracy > LOST:
        text += (
            " Nothing is wrong with the file: this method misses what the neighbours show. Try another "
            "preparation or method (`--method all`)."
        )
    elif healthy:
        text += " Nothing is wrong."
    return Finding("structure", "fine", evidence, text)
