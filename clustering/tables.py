"""What a person sees of a clustering in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from clustering.choose import in_words
from clustering.choose_hdbscan import DensityChoice
from clustering.compare import Comparison, beats_chance, score_name
from clustering.report import ClusterRun
from embedkit.console import fitting, numbered, print_heading, print_table, sentences
from embedkit.files.results import Metric
from embedkit.scoring.metrics import title as metric_title
from embedkit.scoring.score_tables import print_left_out, printed

# A matrix of more classes fits no terminal; the result holds it.
MOST_CLASSES = 30
# With more of the rows in one of three clusters or more, nothing was divided.
MOST_IN_ONE = 0.8
_ORDER = ("accuracy", "accuracy_without_noise", "coverage", "null_accuracy", "majority_accuracy")


def print_run(run: ClusterRun) -> None:
    """Print scores, evidence of a choice, confusion and clusters."""
    result = run.result
    sizes = run.clusters.sizes
    title = f"{result.method} of {result.features} on {result.dataset}"
    title += f": {len(run.index):,} rows, {len(sizes)} clusters"
    print_heading(title)
    table = Table(show_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    shown = printed(result.metrics, result.n) if run.scores is not None else list(result.metrics)
    names = [name for name in _ORDER if name in shown]
    for name in [*names, *(name for name in shown if name not in names)]:
        metric = result.metrics[name]
        table.add_row(Text(metric_title(name)), *_metric_cells(metric), Text(metric.note or ""))
    print_table(table)
    if run.scores is not None:
        print_left_out(result.metrics, result.n)
    print()
    if "k_choice" in result.outcomes:
        print_table(_choice_table(result.outcomes["k_choice"]))
        print()
    if run.density_choice is not None:
        print_table(_sizes_choice_table(run.density_choice))
        print()
    if "confusion_columns" in result.outcomes:
        names, classes = run.result.outcomes["confusion_columns"], run.result.outcomes["class_names"]
        numbers, rows = numbered(classes)
        number = dict(zip(classes, numbers, strict=True))
        if len(classes) > MOST_CLASSES:
            print(f"The confusion matrix of {len(classes)} classes is in the result.")
        else:
            short = _confusion_table(run, [number.get(name, name) for name in names], rows)
            print_heading("Rows of each class by the class of their cluster")
            print_table(fitting(_confusion_table(run, names, classes), short))
        print()
    print_table(_size_table(run))
    if run.diagnosis is not None:
        print()
        print(sentences(run.diagnosis.text))
    elif (share := int(sizes.max(initial=0)) / len(run.index)) >= MOST_IN_ONE and len(sizes) > 2:
        print()
        print(
            sentences(
                f"One cluster holds {100 * share:.1f} % of the rows: a few rows stand far apart, and a high "
                "silhouette says only that. Give --explain to see why, another --prep, or other features."
            )
        )


def _choice_table(choice: Mapping[str, Any]) -> Table:
    title = Text("Evidence for each k, higher is better but for the rank", style="bold")
    table = Table(title=title, title_justify="left", show_edge=False)
    names = ["silhouette", "bic_gain", "stability", "mean_rank"]
    names += ["labelled_ami"] * ("labelled_ami" in choice)
    for name in ("k", *names):
        table.add_column(in_words(name), justify="right")
    for i, k in enumerate(choice["ks"]):
        style = "bold" if k == choice["k"] else ""
        table.add_row(str(k), *(f"{choice[name][i]:.3f}" for name in names), style=style)
    return table


def _sizes_choice_table(choice: DensityChoice) -> Table:
    title = Text("Best relative validity for each minimum cluster size", style="bold")
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in ("min cluster size", "min samples", "validity", "noise", "clusters"):
        table.add_column(name, justify="right")
    for i, size in enumerate(choice.min_cluster_sizes):
        j = int(np.argmax(np.nan_to_num(choice.validity[i], nan=-2.0)))
        if size == choice.min_cluster_size:
            j = choice.place[1]
        value = choice.validity[i, j]
        cells = [str(size), str(choice.min_samples_grid[j]), "-" if np.isnan(value) else f"{value:.3f}"]
        cells += [f"{100 * choice.noise_share[i, j]:.0f} %", str(choice.n_clusters[i, j])]
        table.add_row(*cells, style="bold" if size == choice.min_cluster_size else "")
    return table


def _confusion_table(run: ClusterRun, columns: Sequence[str], rows: Sequence[str]) -> Table:
    table = Table(
        show_edge=False,
    )
    table.add_column("true class")
    for name in columns:
        table.add_column(Text(name), justify="right")
    table.add_column("recall", justify="right")
    for i, (name, counts) in enumerate(zip(rows, run.result.outcomes["confusion"], strict=True)):
        cells = [Text(f"{count:,}", style="bold" if i == j else "") for j, count in enumerate(counts)]
        table.add_row(Text(name), *cells, f"{counts[i] / sum(counts):.3f}" if sum(counts) else "-")
    return table


# More clusters than this are summed up: nobody reads a hundred lines of sizes.
_MOST_SIZES = 20


def _size_table(run: ClusterRun) -> Table:
    sizes, n = run.clusters.sizes, len(run.index)
    table = Table(title=Text("Clusters", style="bold"), title_justify="left", show_edge=False)
    for name in ("cluster", "rows", "share"):
        table.add_column(name, justify="right")
    matching = run.result.outcomes.get("matching")
    if matching is not None:
        table.add_column("stands for")

    stability = run.result.outcomes.get("stability")
    if stability:
        table.add_column("comes back")

    def add(name: str, size: int, meaning: str = "", stable: str = "") -> None:
        cells = [name, f"{size:,}", f"{100 * size / n:.1f} %"]
        table.add_row(
            *cells, *([Text(meaning)] if matching is not None else []), *([stable] if stability else [])
        )

    order = np.argsort(-sizes, kind="stable")
    for c in order[:_MOST_SIZES]:
        stable = ""
        if stability:
            stable = f"{stability['similarity'][c]:.2f} {stability['verdicts'][c]}"
        add(str(c), int(sizes[c]), (matching or {}).get(str(c), "no class"), stable)
    if len(order) > _MOST_SIZES:
        add(f"{len(order) - _MOST_SIZES} more", int(sizes[order[_MOST_SIZES:]].sum()))
    if (run.clusters.labels < 0).any():
        add("noise", int((run.clusters.labels < 0).sum()))
    return table


def _metric_cells(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "-", ""
    digits = 3 if abs(metric.value) < 100 else 0
    if metric.low is None or metric.high is None:
        return f"{metric.value:,.{digits}f}", ""
    return f"{metric.value:,.{digits}f}", f"{metric.low:.3f} to {metric.high:.3f}"


def comparison_table(compared: Comparison) -> Table:
    """Return a row for each method, the best first."""
    first = compared.runs[0].result
    n = len(compared.runs[0].index)
    title = f"{first.features} on {first.dataset}: {n:,} rows, {first.params['prep']}"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False)
    score = score_name(compared.runs[0])
    columns = ["method", metric_title(score), "95 % interval"]
    shown = ["balanced_accuracy", "nmi"] if score == "accuracy" else []
    columns += ["permuted labels"] if score == "accuracy" else []
    columns += [metric_title(name) for name in shown]
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right")
    for name in ("clusters", "in clusters", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for run in compared.runs:
        metrics = run.result.metrics
        cells = [run.result.method, *_metric_cells(metrics[score])]
        if score == "accuracy":
            chance = metrics["null_accuracy"]
            cells.append(_metric_cells(chance)[1])
        cells += [_metric_cells(metrics[name])[0] for name in shown]
        labels = run.clusters.labels
        cells += [f"{len(run.clusters.sizes)}", f"{100 * (labels >= 0).mean():.0f} %"]
        cells.append(f"{run.result.seconds:.1f}")
        remarks = ["no better than permuted labels"] * (beats_chance(run) is False)
        if (mean := metrics.get(f"{score}_seed_mean")) is not None:
            deviation = metrics[f"{score}_seed_std"].value
            remarks.append(f"{mean.value:.3f} +- {deviation:.3f} over {run.result.outcomes['seeds']} seeds")
        table.add_row(*cells, Text("; ".join(remarks)))
    for name, reason in compared.failures.items():
        blanks = [""] * (len(table.columns) - 2)
        table.add_row(name, *blanks, Text(f"did not run: {reason}"))
    return table
