"""The last page of a bench: each dataset with each backbone, its best figures, and the way to its pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from embedkit.files.aside import write_text
from embedkit.files.page_of import PageOf, link_to, pages_in
from embedkit.files.regular import resolved
from embedkit.files.results import RESULTS_FILE, Result, computed_on
from embedkit.pages import sections
from embedkit.scoring.metrics import CHANCE, measure, metric_text, ranking_metric, value_of

INDEX = "index.html"
# In this order, with what each is.
BESIDE = (
    ("leaderboard.html", "leaderboard"),
    ("leaderboard.md", "leaderboard in Markdown"),
    ("leaderboard.json", "leaderboard with every pair that was tested"),
    (RESULTS_FILE, "all results"),
)


def write_index(output: Path, results: Sequence[Result], *, command: str) -> Path:
    """Write the index of a bench, whole or not at all, and return its path.

    Parameters
    ----------
    output
        The folder of the bench; what lies there is linked.
    results
        The rows of its leaderboard; of several seeds, their means.
    command
        That makes it all.
    """
    path = output / INDEX
    pages = pages_in([output])
    datasets = list(dict.fromkeys(one.dataset for one in results))
    parts = [
        sections.Part(
            f"dataset-{i}",
            name,
            name,
            "The best of each backbone by each task, with its 95 % interval; chance is that of the same row.",
            _made(command) + _table([one for one in results if one.dataset == name], pages, path),
        )
        for i, name in enumerate(datasets)
    ]
    beside = [
        f'<li><a href="{escape(link_to(output / name, beside=path))}">{escape(words)}</a></li>'
        for name, words in BESIDE
        if (output / name).is_file()
    ]
    parts.append(
        sections.Part("files", "Beside this page", "Files", "", f'<ul class="files">{"".join(beside)}</ul>')
    )
    sets = len({(one.dataset, _digest(one)) for one in results})
    facts = f"{sets} feature files, {len(results)} rows of the leaderboard"
    write_text(path, sections.fill(f"Bench: {resolved(output).name}", facts, parts, []) + "\n")
    return path


def _made(command: str) -> str:
    return (
        '<details class="made"><summary>How it was made.</summary><p>Made by '
        f"<code>{escape(command)}</code>.</p></details>"
    )


def _digest(result: Result) -> str:
    return next(iter(computed_on(result)), result.features)


def best(results: Sequence[Result]) -> Result | None:
    """Return the best of results of one task, by the metric that ranks a leaderboard; None without any."""
    metric = ranking_metric(results)
    if metric is None:
        return None
    scored = [
        (measure(metric).merit(value), one) for one in results if (value := value_of(one, metric)) is not None
    ]
    return max(scored, key=lambda pair: pair[0], default=(0.0, None))[1]


def _table(results: Sequence[Result], pages: Sequence[PageOf], path: Path) -> str:
    groups: dict[str, dict[str, list[Result]]] = {}
    for one in results:
        groups.setdefault(_digest(one), {}).setdefault(one.task, []).append(one)
    lines = []
    for digest, tasks in groups.items():
        first = next(iter(tasks.values()))[0]
        maps = [one for one in pages if digest in one.digests]
        links = " ".join(_link(one, path) for one in maps)
        lines += [
            _line(first.features if i == 0 else "", task, of_task, links if i == 0 else "")
            for i, (task, of_task) in enumerate(tasks.items())
        ]
    head = "".join(f"<th>{name}</th>" for name in ("backbone", "best figure", "of", "chance"))
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table>{body}</table></div>'


def _link(page: PageOf, path: Path) -> str:
    words = "map" if len(page.digests) == 1 else "linked maps"
    return f'<a href="{escape(link_to(page.path, beside=path))}">{words}</a>'


def _line(features: str, task: str, results: Sequence[Result], links: str) -> str:
    one, metric = best(results), ranking_metric(results)
    words, of, chance = "–", task, ""
    if one is not None and metric is not None:
        level = next((one.metrics[name] for name in CHANCE if name in one.metrics), None)
        words = f"{measure(metric).title} {metric_text(one.metrics[metric])}"
        of, chance = f"{task}: {_method(one)}", metric_text(level, interval=False)
    name = f"<td>{escape(features)} {links}</td>"
    return f"<tr>{name}{''.join(f'<td>{escape(cell)}</td>' for cell in (words, of, chance or '–'))}</tr>"


def _method(result: Result) -> str:
    params: Mapping[str, object] = result.params
    prep = params.get("prep")
    return f"{result.method}, {prep}" if isinstance(prep, str) and prep != "none" else result.method
