"""A row of the leaderboard: one result, or the mean over runs that differ in their seed only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedkit.files.results import Metric, Result
from embedkit.scoring.metrics import Z95, estimate, value_of

# Task of a result -> the task whose table it stands in.
_BESIDE = {"finetune": "probe"}


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard.

    Parameters
    ----------
    runs
        By rising seed; of identical runs the newest alone.
    n_older
        How many older runs of the same thing and seed were left out.
    rank
        Lowest and highest rank that it may have in its group, once that was tested.
    """

    runs: tuple[Result, ...]
    n_older: int = 0
    rank: tuple[int, int] | None = None

    @property
    def result(self) -> Result:
        """The run, or with several one of the means of their metrics and of the outcomes that they share."""
        if len(self.runs) == 1:
            return self.runs[0]
        names = dict.fromkeys(name for run in self.runs for name in run.metrics)
        metrics = {
            name: mean_metric(name, [run.metrics.get(name, Metric(None)) for run in self.runs])
            for name in names
        }
        seconds = float(np.mean([run.seconds for run in self.runs]))
        outcomes = {
            name: value
            for name, value in self.runs[0].outcomes.items()
            if all(run.outcomes.get(name) == value for run in self.runs)
        }
        return replace(self.runs[0], metrics=metrics, seconds=seconds, outcomes=outcomes)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and task: what may be compared. Targets are another task than classes.

        A network that was trained with labels stands beside the probes of features: they answer the same.
        """
        first = self.runs[0]
        regression = value_of(first, "rmse") is not None and value_of(first, "accuracy") is None
        task = _BESIDE.get(first.task, first.task)
        return first.dataset, f"{task}, targets" if regression else task

    @property
    def n_labels(self) -> float:
        """Labels of a budget; infinite where all training rows had one."""
        n_labels = self.runs[0].outcomes.get("n_labels")
        return float(n_labels) if isinstance(n_labels, (int, float)) else np.inf


def mean_metric(name: str, metrics: Sequence[Metric]) -> Metric:
    """Return the mean over seeds with a 95 % interval that is, if anything, too wide.

    A seed's own interval says how far other test images could move it, the spread over seeds how far other
    splits and fits could. Seeds share their images, so the mean over them is no surer about images than one
    of them: the half widths of the first kind are averaged, not divided by the root of their number, and
    1.96 standard errors over the seeds are added in quadrature.

    Parameters
    ----------
    name
        Of the metric.
    metrics
        Of each seed; None where any has no value.
    """
    values = [metric.value for metric in metrics]
    if any(value is None for value in values):
        return Metric(None, note="not there for every seed")
    value = np.array(values, np.float64)
    mean = float(value.mean())
    if len(metrics) == 1:
        return metrics[0]
    if any(metric.low is None or metric.high is None for metric in metrics):
        return Metric(mean, note=metrics[0].note)
    lows, highs = (np.array([getattr(m, end) for m in metrics], np.float64) for end in ("low", "high"))
    error = Z95 * float(value.std(ddof=1)) / np.sqrt(len(value))
    low = mean - float(np.hypot(np.mean(value - lows), error))
    high = mean + float(np.hypot(np.mean(highs - value), error))
    return estimate(name, mean, low, high, metrics[0].note)


def pool_runs(results: Sequence[Result]) -> list[Entry]:
    """Gather runs that differ in their seed only; of identical ones the newest stays.

    Parameters
    ----------
    results
        In the order they were written, which decides where times are equal or missing.
    """
    newest: dict[str, Result] = {}
    count: dict[str, int] = {}
    for result in results:
        key = identity(result)
        count[key] = count.get(key, 0) + 1
        if key not in newest or _time(result) >= _time(newest[key]):
            newest[key] = result
    alike: dict[str, list[str]] = {}
    for key, result in newest.items():
        alike.setdefault(identity(result, with_seed=False), []).append(key)
    entries = []
    for keys in alike.values():
        by_seed: dict[int, list[str]] = {}
        for key in keys:
            by_seed.setdefault(newest[key].seed, []).append(key)
        # Where one seed has two, something else than the seed sets them apart.
        if any(len(of_seed) > 1 for of_seed in by_seed.values()):
            entries += [Entry((newest[key],), count[key] - 1) for key in keys]
            continue
        keys = sorted(keys, key=lambda key: newest[key].seed)
        entries.append(Entry(tuple(newest[key] for key in keys), sum(count[key] - 1 for key in keys)))
    return entries


def identity(result: Result, *, with_seed: bool = True) -> str:
    """Return what two runs of the same thing have in common; without the seed, those of any seed."""
    # The file as well: two files may bear one name, as with another crop.
    file = result.provenance.get("features_sha256")
    fields = [result.dataset, result.task, result.features, file, result.method, result.split]
    of_seed = [result.seed, result.n] if with_seed else []
    return json.dumps([*fields, dict(result.params), *of_seed], sort_keys=True, default=str)


def _time(result: Result) -> str:
    return str(result.provenance.get("time", ""))
