"""What a leaderboard knows of metrics: which stand in its columns, which rank, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from embedkit.files.results import Metric, Result

# Column of a table -> the metrics that may stand in it, the first that a result has; CSV and JSON hold
# every metric under its own name.
HEADLINES = {
    "accuracy": ("accuracy",),
    "balanced acc.": ("balanced_accuracy",),
    "acc. w/o noise": ("accuracy_without_noise",),
    "coverage": ("coverage",),
    "NMI": ("nmi",),
    "ARI": ("ari",),
    "ROC AUC": ("roc_auc",),
    "RMSE": ("rmse",),
    "silhouette": ("silhouette",),
    # What no skill at all gets: the same clusters with permuted labels, always the largest class, or always
    # the training means.
    "chance": ("null_accuracy", "majority_accuracy", "mean_rmse"),
}
# What ranks a group where the user names nothing: the first that any of its results has.
RANKING = ("accuracy", "rmse", "roc_auc", "nmi", "silhouette")
# What is tested image by image.
TESTED = ("accuracy", "rmse")
# What else a leaderboard may be sorted by.
FIELDS = ("seconds", "n")
_LOWER_IS_BETTER = (
    "inertia",
    "expected_calibration_error",
    "expected_calibration_error_scaled",
    "seconds",
)


def lower_is_better(metric: str) -> bool:
    """Tell whether a smaller value of the metric is the better one."""
    return metric.endswith(("_loss", "rmse", "mae", "mse")) or metric in _LOWER_IS_BETTER


def all_metrics(results: Iterable[Result]) -> list[str]:
    """Return the metrics that any result has a value of, the headlines first."""
    found = {
        name for result in results for name, metric in result.metrics.items() if metric.value is not None
    }
    headlines = [name for names in HEADLINES.values() for name in names]
    return [name for name in headlines if name in found] + sorted(found - set(headlines))


def ranking_metric(results: Sequence[Result], sort: str | None = None) -> str | None:
    """Return the metric that ranks a group: `sort`, else its first of `RANKING`; None for seconds and n."""
    if sort is not None:
        return None if sort in FIELDS else sort
    return next((name for name in RANKING if any(value_of(r, name) is not None for r in results)), None)


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
