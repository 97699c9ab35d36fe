"""What a table of the leaderboard shows of each row, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embedkit.files.results import Metric, Result
from embedkit.scoring.metrics import CHANCE, metric_text, ranking_metric, title, value_of
from embedkit.scoring.metrics import columns as metric_columns
from reports.leaderboard.controls import control
from reports.leaderboard.entry import Entry

TEXT_COLUMNS = ("features", "method", "settings", "split")
# Settings that a table always shows; others where they differ between runs of one method.
KEY_SETTINGS = ("prep", "pca", "k", "c", "min_cluster_size", "class_weight")


def settings(result: Result) -> dict[str, str]:
    """Return the settings that fit on a line, as text: ``{"k": "k=10", "refit": "refit"}``.

    What was chosen stands among them as it was found, with what was asked where that is a word:
    ``k=3 (auto)``.
    """
    words = {}
    chosen = {name: value for name, value in result.outcomes.items() if name in KEY_SETTINGS}
    for name, value in {**result.params, **chosen}.items():
        if value is None or value is False or not isinstance(value, (str, int, float)):
            continue
        text = (
            name if value is True else f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        )
        if name in chosen and isinstance(asked := result.params.get(name), str):
            text += f" ({asked})"
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
        if name in KEY_SETTINGS or any(other.get(name) != text for other in alike)
    )


def cells(entries: Sequence[Entry], sort: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Return the header and the text of every cell of a group.

    Left out are columns that are empty throughout, the seeds where they are one and the same throughout, and
    the silhouette where there are labels to score by. Accuracy, and the metric that ranks the group, stand
    with their intervals.

    Parameters
    ----------
    entries
        Of one dataset and task, in order.
    sort
        The metric that they were ranked by, as in `reports.leaderboard.table.leaderboard`.
    """
    results = [entry.result for entry in entries]
    columns: dict[str, list[str]] = {
        "rank": [rank_text(entry.rank) for entry in entries],
        "features": [_features(result, results) for result in results],
        "method": [result.method for result in results],
        "settings": [telling_settings(result, results) for result in results],
        "split": ["" if result.split == "none" else result.split for result in results],
        "seeds": [seeds_text(entry.seeds) for entry in entries],
        "n": [f"{result.n:,}" for result in results],
    }
    if len({entry.seeds for entry in entries}) == 1 and len(entries[0].seeds) == 1:
        del columns["seeds"]
    ranked = ranking_metric(results, sort)
    shown = metric_columns()
    if any(value_of(result, "accuracy") is not None for result in results):
        del shown[title("silhouette")]
    if ranked is not None and not any(ranked in names for names in shown.values()):
        shown = {title(ranked): (ranked,), **shown}
    for heading, names in shown.items():
        metrics = [_first(result, names) for result in results]
        with_interval = "accuracy" in names or ranked in names
        columns[heading] = [metric_text(metric, interval=with_interval) for metric in metrics]
    if sort == "seconds":
        columns["seconds"] = [f"{result.seconds:.3g}" for result in results]
    kept = {name: column for name, column in columns.items() if any(column)}
    return list(kept), [list(line) for line in zip(*kept.values(), strict=True)]


def secondary_columns(entries: Sequence[Entry], sort: str | None = None) -> list[str]:
    """Return the headings of metrics beside the ranking one and chance: what a narrow table may leave out."""
    ranked = ranking_metric([entry.result for entry in entries], sort)
    columns = metric_columns()
    return [name for name, metrics in columns.items() if ranked not in metrics and metrics != CHANCE]


def seeds_text(seeds: Sequence[int]) -> str:
    """Write ``0`` of one seed, ``5 (0-4)`` or ``2 (0, 7)`` of several."""
    if len(seeds) == 1:
        return str(seeds[0])
    one_run = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]}-{seeds[-1]}" if one_run else ", ".join(map(str, seeds))
    return f"{len(seeds)} ({named})"


def rank_text(rank: tuple[int, int] | None) -> str:
    """Write a rank as ``2`` or, where it ties, ``2-5``; nothing where it was not tested."""
    if rank is None:
        return ""
    low, high = rank
    return f"{low}" if low == high else f"{low}-{high}"


def _features(result: Result, among: Sequence[Result]) -> str:
    """Name the feature set, with its file where another of the same name is `among` the results."""
    alike = [
        str(other.provenance.get("features_file"))
        for other in among
        if other.features == result.features and _digest(other) != _digest(result)
    ]
    path = result.provenance.get("features_file")
    name = f"{result.features} ({_file_name(str(path), alike, _digest(result))})" if alike and path else ""
    name = name or result.features
    return f"{name} [control]" if control(result) else name


def _digest(result: Result) -> str:
    return str(result.provenance.get("features_sha256"))


def _file_name(path: str, others: Sequence[str], digest: str) -> str:
    """Name a file by as many folders as tell it from the others; one that was replaced by its digest too."""
    parts = [Path(other).parts for other in others if other != path]
    mine = Path(path).parts
    n = next((n for n in range(1, len(mine)) if all(one[-n:] != mine[-n:] for one in parts)), len(mine))
    return f"{Path(*mine[-n:])} {digest[:8]}" if path in others else f"{Path(*mine[-n:])}"


def _first(result: Result, names: Sequence[str]) -> Metric | None:
    found = (result.metrics[name] for name in names if name in result.metrics)
    return next((metric for metric in found if metric.value is not None), None)
