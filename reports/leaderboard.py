"""The table of results: a pure function of the lines that clusterings and probes wrote."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.errors import UsageError
from embedkit.results import Metric, Result
from reports.controls import control, control_notes
from reports.significance import Read, Significance, significance

if TYPE_CHECKING:
    from rich.table import Table

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
    # What no skill at all gets: the same clusters with permuted labels, or always the largest class.
    "chance": ("null_accuracy", "majority_accuracy"),
}
# What ranks a group where the user names nothing: the first that any of its results has.
RANKING = ("accuracy", "rmse", "roc_auc", "nmi", "silhouette")
# What else a leaderboard may be sorted by.
_FIELDS = ("seconds", "n")
_LOWER_IS_BETTER = ("rmse", "mae", "mse", "inertia", "expected_calibration_error", "seconds")
# Settings that describe the outcome, not the method: two runs that differ in them only are identical.
_OUTCOMES = (
    "confusion",
    "confusion_columns",
    "class_names",
    "matching",
    "cluster_sizes",
)
# Settings that a table always shows; others where they differ between runs of one method.
_KEY_SETTINGS = ("prep", "pca", "k", "c", "min_cluster_size")


def lower_is_better(metric: str) -> bool:
    """Tell whether a smaller value of the metric is the better one."""
    return metric.endswith("_loss") or metric in _LOWER_IS_BETTER or metric.endswith("rmse")


@dataclass(frozen=True)
class Entry:
    """One row of the leaderboard.

    Parameters
    ----------
    result
        The newest of identical runs.
    n_older
        How many older runs of the same thing it stands for.
    rank
        Lowest and highest rank that it may have in its group, once `Leaderboard.with_ranks` has tested it.
    """

    result: Result
    n_older: int
    rank: tuple[int, int] | None = None

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and task: what may be compared."""
        return self.result.dataset, self.result.task

    def value(self, metric: str) -> float | None:
        """Return the value of a metric, None where the result has none."""
        found = self.result.metrics.get(metric)
        return None if found is None else found.value


@dataclass(frozen=True)
class Leaderboard:
    """Results grouped by dataset and task, the best of each group first.

    Parameters
    ----------
    entries
        In order.
    n_older
        Older runs of the same thing that were left out.
    sort
        The metric asked for, or None where each group is ranked by its first of accuracy, RMSE, ROC AUC,
        NMI and silhouette.
    tested
        Of each group that was tested, what can be told apart.
    """

    entries: tuple[Entry, ...]
    n_older: int
    sort: str | None = None
    tested: Mapping[tuple[str, str], Significance] = field(default_factory=dict)

    def with_ranks(self, read: Read) -> Leaderboard:
        """Test the groups that are ranked by accuracy, pair by pair, on the same images.

        Parameters
        ----------
        read
            Gives the outcomes of a result, or raises `EmbedkitError` with the reason why there are none.
        """
        entries: list[Entry] = []
        tested = {}
        for key, members in self.groups():
            if ranking_metric(members, self.sort) != "accuracy":
                entries += members
                continue
            tested[key] = significance([entry.result for entry in members], read)
            ranks = tested[key].ranks
            entries += [replace(entry, rank=rank) for entry, rank in zip(members, ranks, strict=True)]
        return replace(self, entries=tuple(entries), tested=tested)

    def notes(self, key: tuple[str, str]) -> list[str]:
        """Say what a group's ranks rest on, and its controls; nothing of a group that was not tested."""
        if key not in self.tested:
            return []
        results = [entry.result for entry in self.entries if entry.group == key]
        return [*self.tested[key].notes, *control_notes(results)]

    def groups(self) -> list[tuple[tuple[str, str], tuple[Entry, ...]]]:
        """Return ((dataset, task), entries) in order."""
        keys = list(dict.fromkeys(entry.group for entry in self.entries))
        return [(key, tuple(entry for entry in self.entries if entry.group == key)) for key in keys]

    def to_tables(self) -> list[Table]:
        """Return one rich table a group."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        tables = []
        for (dataset, task), entries in self.groups():
            table = Table(
                title=Text(f"{dataset}: {task}", style="bold"), title_justify="left", box=SIMPLE_HEAD
            )
            header, lines = cells(entries, self.sort)
            for name in header:
                table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right")
            for line in lines:
                table.add_row(*(Text(cell) for cell in line))
            tables.append(table)
        return tables

    def to_markdown(self) -> str:
        """Return a heading and a pipe table a group."""
        parts = []
        for (dataset, task), entries in self.groups():
            header, lines = cells(entries, self.sort)
            rule = ["---" if name in TEXT_COLUMNS else "---:" for name in header]
            rows = [header, rule, *lines]
            table = "\n".join(f"| {' | '.join(_pipe_safe(cell) for cell in row)} |" for row in rows)
            parts.append(f"## {_pipe_safe(dataset)}: {_pipe_safe(task)}\n\n{table}\n")
            parts += [f"{_pipe_safe(line)}\n" for line in self.notes((dataset, task))]
        return "\n".join(parts)

    def to_csv(self) -> str:
        """Return one table with a header: every metric with its interval, unrounded."""
        metrics = _all_metrics(self.entries)
        fixed = ["dataset", "task", "features", "method", "settings", "split", "seed", "n", "seconds"]
        columns = [*fixed, "rank_low", "rank_high", "control"]
        columns += [*(f"{name}{end}" for name in metrics for end in ("", "_low", "_high"))]
        rows = []
        for entry in self.entries:
            result = entry.result
            row: dict[str, Any] = {name: getattr(result, name) for name in fixed if name != "settings"}
            row["settings"] = settings_text(result)
            row["rank_low"], row["rank_high"] = entry.rank or (None, None)
            row["control"] = control(result)
            for name in metrics:
                metric = result.metrics.get(name, Metric(None))
                row |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
            rows.append(row)
        columns = [name for name in columns if any(row[name] not in (None, "") for row in rows)]
        stream = io.StringIO()
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return the results in order, and of each tested group its pairs, as positions in that group."""
        lines = []
        for entry in self.entries:
            record = json.loads(entry.result.to_json())
            del record["provenance"]
            record["time"] = entry.result.provenance.get("time")
            record["features_sha256"] = entry.result.provenance.get("features_sha256")
            record["n_older"] = entry.n_older
            record["rank"] = entry.rank
            record["control"] = control(entry.result)
            lines.append(record)
        tested = [
            {
                "dataset": key[0],
                "task": key[1],
                "pairs": [asdict(pair) for pair in found.pairs],
                "notes": self.notes(key),
            }
            for key, found in self.tested.items()
        ]
        return {"results": lines, "n_older": self.n_older, "sort": self.sort, "tested": tested}


def leaderboard(
    results: Iterable[Result], *, task: str | None = None, sort: str | None = None
) -> Leaderboard:
    """Rank results.

    Of runs that agree in task, dataset, feature file, method, settings, split, seed and n the newest stays.
    Results are grouped by dataset and task, and ranked in each group; those without the metric come last.

    Parameters
    ----------
    results
        In the order they were written, which decides where times are equal or missing.
    task
        Keep only this task.
    sort
        Rank by this metric, best first, or by ``seconds`` or ``n``.

    Raises
    ------
    UsageError
        A task or a metric that no result has; the message lists those that exist.
    """
    results = list(results)
    if task is not None:
        known = sorted({result.task for result in results})
        results = [result for result in results if result.task == task]
        if not results and known:
            raise UsageError(f"--task {task}: no such result. There are: {', '.join(known)}.")
    newest: dict[str, Result] = {}
    count: dict[str, int] = {}
    for result in results:
        key = _identity(result)
        count[key] = count.get(key, 0) + 1
        if key not in newest or _time(result) >= _time(newest[key]):
            newest[key] = result
    entries = [Entry(result, count[key] - 1) for key, result in newest.items()]
    if sort is not None and entries:
        metrics = _all_metrics(entries)
        if sort not in (*metrics, *_FIELDS):
            raise UsageError(f"--sort {sort}: no result has it. There are: {', '.join(metrics)}, seconds, n.")
    ordered: list[Entry] = []
    for group in sorted({entry.group for entry in entries}):
        members = [entry for entry in entries if entry.group == group]
        by = sort if sort in _FIELDS else ranking_metric(members, sort)
        ordered += sorted(members, key=lambda entry: (_rank(entry, by), _identity(entry.result)))
    return Leaderboard(tuple(ordered), len(results) - len(entries), sort)


def _rank(entry: Entry, by: str | None) -> tuple[bool, float]:
    if by in _FIELDS:
        value: float | None = float(getattr(entry.result, by))
    else:
        value = None if by is None else entry.value(by)
    if value is None:
        return True, 0.0
    return False, value if by is not None and lower_is_better(by) else -value


def _time(result: Result) -> str:
    return str(result.provenance.get("time", ""))


def _identity(result: Result) -> str:
    params = {name: _setting(value) for name, value in result.params.items() if name not in _OUTCOMES}
    # The file as well: two files may bear one name, as with another crop.
    file = result.provenance.get("features_sha256")
    fields = (result.dataset, result.task, result.features, file, result.method)
    return json.dumps([*fields, params, result.split, result.seed, result.n], sort_keys=True, default=str)


def _setting(value: Any) -> Any:
    # The scores that a setting was chosen by are an outcome too.
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if name != "scores"}
    return value


def _all_metrics(entries: Iterable[Entry]) -> list[str]:
    found = {
        name for entry in entries for name, metric in entry.result.metrics.items() if metric.value is not None
    }
    headlines = [name for names in HEADLINES.values() for name in names]
    return [name for name in headlines if name in found] + sorted(found - set(headlines))


def settings(result: Result) -> dict[str, str]:
    """Return the settings that fit on a line, as text: ``{"k": "k=10", "refit": "refit"}``."""
    words = {}
    for name, value in result.params.items():
        if name in _OUTCOMES or value is None or value is False or not isinstance(value, (str, int, float)):
            continue
        text = (
            name if value is True else f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        )
        if len(text) <= 32:
            words[name] = text
    return words


def settings_text(result: Result) -> str:
    """Write the settings of a result on one line: ``k=10 pca=0.95``."""
    return " ".join(settings(result).values())


def telling_settings(result: Result, among: Sequence[Result]) -> str:
    """Write the settings that name a method, and those that set it apart from its like `among` others."""
    alike = [settings(other) for other in among if (other.task, other.method) == (result.task, result.method)]
    own = settings(result)
    return " ".join(
        text
        for name, text in own.items()
        if name in _KEY_SETTINGS or any(other.get(name) != text for other in alike)
    )


def metric_text(metric: Metric | None, *, interval: bool = True) -> str:
    """Write a metric as ``0.571 [0.551, 0.590]``, without the interval where there is none."""
    if metric is None or metric.value is None:
        return ""
    if not interval or metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


TEXT_COLUMNS = ("features", "method", "settings", "split")


def cells(entries: Sequence[Entry], sort: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the header and the text of every cell of a group.

    Left out are columns that are empty throughout, the seed where it is the same throughout, and the
    silhouette where there are labels to score by. Accuracy, and the metric that ranks the group, stand with
    their intervals.

    Parameters
    ----------
    entries
        Of one dataset and task, in order.
    sort
        The metric that they were ranked by, as in `leaderboard`.
    """
    results = [entry.result for entry in entries]
    columns: dict[str, list[str]] = {
        "rank": [rank_text(entry.rank) for entry in entries],
        "features": [_features(result, results) for result in results],
        "method": [result.method for result in results],
        "settings": [telling_settings(result, results) for result in results],
        "split": ["" if result.split == "none" else result.split for result in results],
        "seed": [str(result.seed) for result in results],
        "n": [f"{result.n:,}" for result in results],
    }
    if len(set(columns["seed"])) == 1:
        del columns["seed"]
    ranked = ranking_metric(entries, sort)
    shown = dict(HEADLINES)
    if any(entry.value("accuracy") is not None for entry in entries):
        del shown["silhouette"]
    if ranked is not None and not any(ranked in names for names in shown.values()):
        shown = {ranked: (ranked,), **shown}
    for title, names in shown.items():
        metrics = [_first(result, names) for result in results]
        columns[title] = [
            metric_text(metric, interval=title == "accuracy" or ranked in names) for metric in metrics
        ]
    if sort == "seconds":
        columns["seconds"] = [f"{result.seconds:.3g}" for result in results]
    kept = {name: column for name, column in columns.items() if any(column)}
    return list(kept), [list(line) for line in zip(*kept.values(), strict=True)]


def rank_text(rank: tuple[int, int] | None) -> str:
    """Write a rank as ``2`` or, where it ties, ``2-5``; nothing where it was not tested."""
    if rank is None:
        return ""
    low, high = rank
    return f"{low}" if low == high else f"{low}-{high}"


def _features(result: Result, among: Sequence[Result]) -> str:
    """Name the feature set, with its file where another of the same name is `among` the results."""
    file = result.provenance.get("features_sha256")
    alike = any(
        other.features == result.features and other.provenance.get("features_sha256") != file
        for other in among
    )
    path = result.provenance.get("features_file")
    name = f"{result.features} ({Path(str(path)).name})" if alike and path else result.features
    return f"{name} [control]" if control(result) else name


def ranking_metric(entries: Sequence[Entry], sort: str | None = None) -> str | None:
    """Return the metric that ranks a group: `sort`, else its first of `RANKING`; None for seconds and n."""
    if sort is not None:
        return None if sort in _FIELDS else sort
    return next((name for name in RANKING if any(entry.value(name) is not None for entry in entries)), None)


def _first(result: Result, names: Sequence[str]) -> Metric | None:
    found = (result.metrics[name] for name in names if name in result.metrics)
    return next((metric for metric in found if metric.value is not None), None)


def _pipe_safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
