"""Write the pages that are tables of what the code has: every option, and every metric.

`make docs` runs it; a test compares the pages with what it would write.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from embedkit.scoring.metrics import METRICS, NONE, Measure
from embedkit.verbs import VERBS, target

OPTIONS = """# Every option of every command

This page is written from the commands themselves by `make docs`; don't edit it by hand. `embedkit VERB
--help` shows the same. For what to do with a command, see the [index](README.md). Exit codes: 0 done, 1
failed, 2 bad usage, 130 interrupted.

| command | |
|---|---|
"""

MEASURES = """# Metrics

This page is written from the registry, `embedkit.scoring.metrics.METRICS`, by `make docs`; don't edit it by
hand. A line of [`results.jsonl`](results-file.md) has the names; tables and pages show the titles. Intervals
are 95 %; of label budgets every metric has Student's interval of the mean over draws instead. An interval is
cut to what its score can be.

What the numbers mean is said for [clusterings](clustering.md#what-the-numbers-mean),
[probes](probes.md#what-the-numbers-mean) and [label-free criteria](quality.md).

| name | title | better | possible values | interval |
|---|---|---|---|---|
"""

# The help of an option ends with its default where that is not the value that argparse holds.
DEFAULT = re.compile(r"\s*\(default: (?P<default>(?:[^()]|\([^()]*\))*)\)")


def parser(verb: str) -> argparse.ArgumentParser:
    """Return the parser of one verb, as the command makes it."""
    made = argparse.ArgumentParser(prog=f"embedkit {verb}", add_help=False)
    target(VERBS[verb].command)(made)
    return made


def options() -> str:
    """Return the page of every option, from the parsers of the verbs."""
    index = "".join(f"| [`{verb}`](#embedkit-{verb}) | {_cell(VERBS[verb].summary)} |\n" for verb in VERBS)
    return OPTIONS + index + "".join(_section(verb) for verb in VERBS)


def _section(verb: str) -> str:
    tables: dict[str, str] = {}
    for group in parser(verb)._action_groups:
        heading = group.title or ""
        if heading in ("positional arguments", "options"):  # argparse's own, which say nothing
            heading = ""
        rows = [_row(action) for action in group._group_actions if action.help != argparse.SUPPRESS]
        if rows:
            tables[heading] = tables.get(heading, "") + "".join(rows)
    text = f"\n## embedkit {verb}\n\n{_sentence(VERBS[verb].summary)}\n"
    for heading, rows_text in tables.items():
        text += f"\n**{_sentence(heading).rstrip('.:')}**\n" if heading else ""
        text += f"\n| option | default | meaning |\n|---|---|---|\n{rows_text}"
    return text if tables else f"{text}\nIt has no options.\n"


def _row(action: argparse.Action) -> str:
    meaning, default = _meaning(action)
    if action.choices:
        meaning += "; one of " + ", ".join(f"`{choice}`" for choice in action.choices)
    names = [f"`{' '.join([name, _value(action)]).strip()}`" for name in action.option_strings]
    cells = (" ".join(names) or f"`{_value(action)}`", default, meaning)
    return "| " + " | ".join(map(_cell, cells)) + " |\n"


def _value(action: argparse.Action) -> str:
    """Return what stands after the flag: `N` or `A B C`; nothing for a switch."""
    if action.nargs == 0:
        return ""
    word = action.metavar or action.dest.upper()
    if isinstance(word, tuple):
        return " ".join(word)
    if isinstance(action.nargs, int):
        return " ".join([word] * action.nargs)
    return {"+": f"{word} ...", "*": f"[{word} ...]"}.get(str(action.nargs), word)


def _meaning(action: argparse.Action) -> tuple[str, str]:
    """Return the help without its default, and the default."""
    text = (action.help or "").replace("%%", "%").strip()
    stated = DEFAULT.search(text)
    if stated:
        return (text[: stated.start()] + text[stated.end() :]).strip(), stated["default"]
    held = action.default
    if held in (None, argparse.SUPPRESS) or isinstance(held, bool) or action.nargs == 0:
        return text, ""
    shown = " ".join(map(str, held)) if isinstance(held, (list, tuple)) else str(held)
    return text, shown if action.option_strings or action.nargs == "?" else ""


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", ":")) else f"{text}."


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def measures() -> str:
    """Return the page of every metric, from the registry."""
    return MEASURES + "".join(_measure(name, one) for name, one in METRICS.items())


def _measure(name: str, one: Measure) -> str:
    low, high = (f"{limit:g}" if math.isfinite(limit) else "" for limit in one.limits)
    values = (
        f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else "any"
    )
    cells = (f"`{name}`", one.title, "" if one.better == NONE else one.better, values, one.interval)
    return "| " + " | ".join(map(_cell, cells)) + " |\n"


# Page, from this folder, to what writes it.
PAGES = {"cli.md": options, "reference/metrics.md": measures}

if __name__ == "__main__":
    for place, text in PAGES.items():
        (Path(__file__).parent / place).write_text(text(), encoding="utf-8")
        print(f"docs/{place}")
