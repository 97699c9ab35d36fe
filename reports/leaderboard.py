"""The table of results: a pure function of the lines that clusterings and probes wrote."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json, print_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.results import Metric, Result, read_results

if TYPE_CHECKING:
    from rich.table import Table

FORMATS = ("table", "markdown", "csv", "json")

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
    """

    result: Result
    n_older: int

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
    """

    entries: tuple[Entry, ...]
    n_older: int
    sort: str | None = None

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
        return "\n".join(parts)

    def to_csv(self) -> str:
        """Return one table with a header: every metric with its interval, unrounded."""
        metrics = _all_metrics(self.entries)
        fixed = ["dataset", "task", "features", "method", "settings", "split", "seed", "n", "seconds"]
        columns = [*fixed, *(f"{name}{end}" for name in metrics for end in ("", "_low", "_high"))]
        rows = []
        for entry in self.entries:
            result = entry.result
            row: dict[str, Any] = {name: getattr(result, name) for name in fixed if name != "settings"}
            row["settings"] = settings_text(result)
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
        """Return the results themselves, in order, with the number of older runs."""
        lines = []
        for entry in self.entries:
            record = json.loads(entry.result.to_json())
            del record["provenance"]
            record["time"] = entry.result.provenance.get("time")
            record["features_sha256"] = entry.result.provenance.get("features_sha256")
            record["n_older"] = entry.n_older
            lines.append(record)
        return {"results": lines, "n_older": self.n_older, "sort": self.sort}


def leaderboard(
    results: Iterable[Result], *, task: str | None = None, sort: str | None = None
) -> Leaderboard:
    """Rank results.

    Of runs that agree in task, dataset, features, method, settings, split, seed and n the newest stays.
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
    fields = (result.dataset, result.task, result.features, result.method)
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
        "features": [result.features for result in results],
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


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit leaderboard``."""
    parser.add_argument("runs", nargs="?", default="runs", help="a folder of results, or one results.jsonl")
    parser.add_argument("--task", help="only this task: cluster, probe, ...")
    parser.add_argument(
        "--sort", metavar="METRIC", help="rank by this metric, seconds or n (default: accuracy)"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to write it")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead of on the terminal")
    return _run


def _run(args: argparse.Namespace) -> None:
    style = "json" if args.json else args.format
    if args.output is not None and style == "table":
        by_ending = {".md": "markdown", ".csv": "csv", ".json": "json"}
        style = by_ending.get(Path(args.output).suffix.lower(), "")
        if not style:
            raise UsageError(
                f"-o {args.output}: give --format, or a name that ends in {', '.join(by_ending)}."
            )
    board = leaderboard(read_results(args.runs), task=args.task, sort=args.sort)
    if not board.entries:
        raise EmbedkitError(f"{args.runs}: no results yet. Run `embedkit cluster` or `embedkit probe` first.")
    if board.n_older:
        runs = "run" if board.n_older == 1 else "runs"
        note(f"Left out {board.n_older} older {runs} of the same thing; the newest of each is shown.")
    if style == "table":
        for i, table in enumerate(board.to_tables()):
            if i:
                print()
            print_table(table)
        return
    if style == "json" and args.output is None:
        print_json(board.to_json())
        return
    if style == "markdown":
        text = board.to_markdown()
    elif style == "csv":
        text = board.to_csv()
    else:
        text = json.dumps(board.to_json(), indent=2) + "\n"
    if args.output is None:
        print(text, end="")
    else:
        _write(Path(args.output), text)
        print(args.output)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
