"""The registry of metrics: title, direction, possible values, and how the interval is made.

Whoever computes a metric makes it with `estimate`; whoever shows one asks `measure` for its title. A name
that is not in the registry, from a line that another program wrote, shows under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from embedkit.files.results import Metric, Result

Z95 = 1.959963984540054
SHARE = (0.0, 1.0)
_POSITIVE = (0.0, math.inf)
_ANY = (-math.inf, math.inf)
HIGHER, LOWER, NEAREST_1, NONE = "higher", "lower", "nearest to 1", "none"


@dataclass(frozen=True)
class Measure:
    """What is known of a metric, whoever computes it.

    Parameters
    ----------
    title
        What people read, in tables and pages.
    better
        ``higher``, ``lower``, ``nearest to 1``, or ``none`` where no direction is the better one.
    limits
        Least and greatest possible value.
    unit
        ``share`` (0 to 1), ``dimensions``, or what the targets are in; empty for a plain number.
    interval
        How its 95 % interval is made; empty where it has none. Of label budgets every metric has Student's
        interval of the mean over draws instead.
    ranks
        Whether it may rank a group where the user names nothing.
    """

    title: str
    better: str = HIGHER
    limits: tuple[float, float] = SHARE
    unit: str = ""
    interval: str = ""
    ranks: bool = False

    def merit(self, value: float) -> float:
        """Return a number that is larger where the value is better."""
        if self.better == LOWER:
            return -value
        return -abs(value - 1) if self.better == NEAREST_1 else value


_BOOTSTRAP = "bootstrap of the images, matched anew and moved onto the value"
_WILSON = "Wilson"
_WILSON_OR_BOOTSTRAP = f"{_WILSON} of predictions; of clusters, {_BOOTSTRAP}"
_PERMUTED = "2.5 to 97.5 % of permutations"
_RMSE = "roots of the normal limits of the mean squared error of a row"


def _share(title: str, interval: str = "", better: str = HIGHER, *, ranks: bool = False) -> Measure:
    return Measure(title, better, SHARE, "share", interval, ranks)


# In the order in which a group looks for what ranks it: the first that any of its results has.
METRICS: Mapping[str, Measure] = {
    # Classes: of predictions, or of clusters that stand for classes.
    "accuracy": _share("accuracy", _WILSON_OR_BOOTSTRAP, ranks=True),
    "rmse": Measure("RMSE", LOWER, _POSITIVE, "that of the targets", _RMSE, ranks=True),
    "roc_auc": _share("ROC AUC", "DeLong, over classes, on the logit scale", ranks=True),
    "balanced_accuracy": _share(
        "balanced accuracy", f"MOVER of the classes' Wilson intervals; of clusters, {_BOOTSTRAP}"
    ),
    "top5_accuracy": _share("right class in the top 5", _WILSON),
    "accuracy_without_noise": _share("accuracy without noise", _BOOTSTRAP),
    "coverage": _share("coverage", _BOOTSTRAP, NONE),
    "many_to_one_accuracy": _share("many-to-one accuracy", _BOOTSTRAP),
    "named_accuracy": _share(
        "named accuracy", "bootstrap of the images, named anew and moved onto the value"
    ),
    "precision": _share("precision", _WILSON),
    "recall": _share("recall", _WILSON),
    "f1": _share("F1"),
    # Partitions.
    "nmi": _share("NMI", _BOOTSTRAP, ranks=True),
    "ami": Measure("AMI", HIGHER, (-1.0, 1.0), "", _BOOTSTRAP),
    "ari": Measure("ARI", HIGHER, (-0.5, 1.0), "", _BOOTSTRAP),
    "purity": _share("purity", _BOOTSTRAP),
    "homogeneity": _share("homogeneity", _BOOTSTRAP),
    "completeness": _share("completeness", _BOOTSTRAP),
    "v_measure": _share("V-measure", _BOOTSTRAP),
    # Clusters by themselves.
    "silhouette": Measure(
        "silhouette", HIGHER, (-1.0, 1.0), "", "normal, of the mean over the rows", ranks=True
    ),
    "calinski_harabasz": Measure("Calinski-Harabasz", HIGHER, _POSITIVE),
    "davies_bouldin_loss": Measure("Davies-Bouldin", LOWER, _POSITIVE),
    "stability_ari": Measure("stability (ARI)", HIGHER, (-0.5, 1.0), "", "2.5 to 97.5 % of resamples"),
    "inertia": Measure("inertia", LOWER, _POSITIVE),
    "bic_loss": Measure("BIC", LOWER, _ANY),
    "head_loss": Measure("loss of the best head", LOWER, _ANY),
    # What no skill at all gets.
    "null_accuracy": _share("chance: permuted labels", _PERMUTED, NONE),
    "null_many_to_one_accuracy": _share("chance: many-to-one", _PERMUTED, NONE),
    "null_named_accuracy": _share("chance: named", _PERMUTED, NONE),
    "majority_accuracy": _share("chance: majority class", _WILSON, NONE),
    "mean_rmse": Measure("chance: RMSE of the training mean", LOWER, _POSITIVE, "that of the targets", _RMSE),
    # Probabilities.
    "expected_calibration_error": _share("calibration error (ECE)", better=LOWER),
    "expected_calibration_error_scaled": _share("ECE, temperature scaled", better=LOWER),
    "confidence_right": _share("confidence, right", better=NONE),
    "confidence_wrong": _share("confidence, wrong", better=NONE),
    # Features without labels.
    "rank_me": Measure("RankMe", HIGHER, (0.0, math.inf), "dimensions"),
    "effective_rank": Measure("effective rank", HIGHER, (0.0, math.inf), "dimensions"),
    "alpha_req": Measure("alpha-ReQ", NEAREST_1, _ANY),
    "uniformity": Measure("uniformity", LOWER, (-math.inf, 0.0)),
    "lidar": Measure("LiDAR", HIGHER, (0.0, math.inf), "dimensions"),
    "umap_silhouette": Measure("UMAP silhouette", HIGHER, (-1.0, 1.0)),
}
# What else results may be sorted by.
FIELDS: Mapping[str, Measure] = {
    "seconds": Measure("seconds", LOWER, _POSITIVE, "s"),
    "n": Measure("rows", HIGHER, _POSITIVE),
}
# What stands in a table's columns; CSV and JSON hold every metric under its own name.
HEADLINES = (
    "accuracy",
    "balanced_accuracy",
    "accuracy_without_noise",
    "coverage",
    "nmi",
    "ari",
    "roc_auc",
    "rmse",
    "silhouette",
)
# What stands in the column "chance": the first that a result has.
CHANCE = ("null_accuracy", "majority_accuracy", "mean_rmse")
# What is tested image by image.
TESTED = ("accuracy", "rmse")


def measure(name: str) -> Measure:
    """Return what is known of a metric; of one that nobody registered, what its name promises.

    ``accuracy_k7`` is the accuracy of 7 neighbours; ``_seed_mean`` and ``_seed_std`` behind a name are its
    mean and standard deviation over seeds.
    """
    known = METRICS.get(name) or FIELDS.get(name)
    if known is not None:
        return known
    if name.startswith("accuracy_k") and (k := name.removeprefix("accuracy_k")).isdigit():
        return _share(f"accuracy, k = {k}", _WILSON)
    if name.endswith("_seed_mean"):
        base = measure(name.removesuffix("_seed_mean"))
        return replace(base, title=f"{base.title}, mean over seeds", interval="", ranks=False)
    if name.endswith("_seed_std"):
        base = measure(name.removesuffix("_seed_std"))
        return Measure(f"{base.title}, standard deviation", NONE, _POSITIVE, base.unit)
    promised = LOWER if name.endswith(("_loss", "rmse", "mae", "mse")) else HIGHER
    return Measure(name, promised, _ANY)


def title(name: str) -> str:
    """Return what people read for a metric."""
    return measure(name).title


def estimate(name: str, value: float, low: float, high: float, note: str | None = None) -> Metric:
    """Return a metric with its 95 % interval, which holds the value and nothing that the metric can't be."""
    return within(measure(name).limits, value, low, high, note)


def within(
    limits: tuple[float, float], value: float, low: float, high: float, note: str | None = None
) -> Metric:
    """Return a value with its interval cut to what is possible, and drawn out to the value where it lies off.

    Approximate intervals pass a limit, and resampled ones that are moved can miss their own value.
    """
    value = float(value)
    low, high = max(float(low), limits[0]), min(float(high), limits[1])
    return Metric(value, min(low, value), max(high, value), note)


def columns() -> dict[str, tuple[str, ...]]:
    """Return column of a table -> the metrics that may stand in it, the first that a result has."""
    return {title(name): (name,) for name in HEADLINES} | {"chance": CHANCE}


def all_metrics(results: Iterable[Result]) -> list[str]:
    """Return the metrics that any result has a value of, the headlines first."""
    found = {
        name for result in results for name, metric in result.metrics.items() if metric.value is not None
    }
    first = (*HEADLINES, *CHANCE)
    return [name for name in first if name in found] + sorted(found - set(first))


def ranking_metric(results: Sequence[Result], sort: str | None = None) -> str | None:
    """Return the metric that ranks a group: `sort`, else its first that may; None for seconds and n."""
    if sort is not None:
        return None if sort in FIELDS else sort
    ranking = (name for name, known in METRICS.items() if known.ranks)
    return next((name for name in ranking if any(value_of(r, name) is not None for r in results)), None)


def value_of(result: Result, metric: str) -> float | None:
    """Return the value of a metric, None where the result has none."""
    found = result.metrics.get(metric)
    return None if found is None else found.value


def metric_text(metric: Metric | None, *, interval: bool = True) -> str:
    """Write a metric as ``0.571 [0.551, 0.590]``, without the interval where there is none."""
    if metric is None or metric.value is None:
        return ""
    if not interval or metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
