"""Write the pages that are tables of what the code has: every option, and every metric.

`make docs` runs it; a test compares the pages with what it would write.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

from embedkit.options import Declared, declared
from embedkit.scoring.metrics import METRICS, NONE, Measure
from embedkit.verbs import VERBS, target
from pretrain.finetune.listing import recipes
from pretrain.finetune.recipe import TABLES, Recipe

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

RECIPE = """# Recipes: every key

This page is written from the dataclasses of `pretrain.finetune` and of the head by `make docs`; don't edit it
by hand. A recipe says how a network is trained with labels. `embedkit recipes` lists those that come with
embedkit, and `embedkit recipes NAME > mine.toml` makes a copy to change. `embedkit recipes mine.toml` checks
it.

An unknown key is refused with the nearest known one. So is a key that would do nothing, such as `factor` of a
cosine, or `[lora]` where no phase trains it.

| recipe | backbone | trains | published |
|---|---|---|---|
"""
TOP = """
Accuracies are shares of test images. What the reports leave open is a comment in the recipe.

## At the top

| key | values | default | meaning |
|---|---|---|---|
"""
TABLES_OF_A_RECIPE = {
    "[head]": "The layers between the backbone's features and the outputs.",
    "[[phase]]": """One stretch of training, from the chosen weights of the one before. There is one or more.

| `train` | trains, beside the head |
|---|---|
| `all` | every weight |
| `head` | nothing |
| `last-blocks:N` | the last N blocks, and what follows them |
| `last-stages:N` | the last N stages as timm parts the network, and what follows them |
| `last-convs:N` | the last N convolutional layers as they run, and what follows the first of them |
| `reinit-last-convs:N` | the same, drawn anew first |
| `lora` | low-rank updates of attention |

Blocks are the entries of the network's own `blocks`: each block of a ViT, the seven of EfficientNet. Other
networks have none, and their smallest repeated units are taken. Frozen batch normalisation keeps its
statistics.

The rate of the head is `head_lr` / `lr` times that of the backbone at every step. `rows` is for a curriculum:
`>0.94`, `0.85-0.94` and `<0.85` share out all rows once.

| `schedule` | rate after the warm-up |
|---|---|
| `constant` | `lr` |
| `cosine` | half a cosine from `lr` to `end_lr` at the last step |
| `step` | times `factor` after each `every` epochs |
| `plateau` | times `factor` once `every` epochs in a row brought no smaller validation loss |
""",
    "[lora]": "Low-rank updates, as in [pretraining](pretraining.md#methods).",
    "published": "What a report says that it reaches.",
}
AFTER_RECIPE = """
## Batch plans

`64` is one size. `32x5, 32-64x10, 128, 64x4` is 32 images for five epochs, a rise from 32 to 64 over ten,
128, and 64 for the last four. One entry may be without its number of epochs, and takes what the others leave.
A plan is of each phase by itself.

## Networks of embedkit's own

- `embedkit_vgg`: VGG11's eight convolutions with 32 channels each, and a 7 x 7 grid of features. Weights are
  drawn from N(0, variance 1e-2).
- `embedkit_cnn`: 4 x 4 averages of the image, then four convolutions of 32 channels. ReLU and batch
  normalisation follow each.
- `embedkit_votes_cnn`: eight convolutions of 32 to 192 channels, for input of 77 pixels. Batch normalisation
  and ReLU follow each.

They have no published weights: give `--random-init SEED`, or `--weights FILE`.
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


def recipe() -> str:
    """Return the page of every key of a recipe, from the dataclasses, and of the recipes that there are."""
    rows = (" | ".join(_cell(value) for value in row.values()) for row in recipes().rows())
    text = RECIPE + "".join(f"| {row} |\n" for row in rows) + TOP + _keys(Recipe)
    for heading, prose in TABLES_OF_A_RECIPE.items():
        text += f"\n## `{heading}`\n\n{prose.rstrip()}\n\n"
        text += "| key | values | default | meaning |\n|---|---|---|---|\n"
        text += _keys(TABLES[heading.strip("[]")])
    return text + AFTER_RECIPE


def _keys(cls: type) -> str:
    text = ""
    for name, one in declared(cls).items():
        default = one.option.unset if one.value is None else _toml(one.value)
        cells = (f"`{name}`", wanted(one), default or "", one.option.help)
        text += "| " + " | ".join(map(_cell, cells)) + " |\n"
    return text


def wanted(one: Declared) -> str:
    """Say which values a key takes."""
    how = one.option
    kind = {int: "integer", float: "number", bool: "`true`, `false`"}.get(one.type, "text")
    if how.choices:
        kind = ", ".join(f"`{choice}`" for choice in how.choices)
    bounds = [("at least", how.least), ("above", how.above), ("at most", how.most), ("below", how.below)]
    said = [f"{word} {bound:g}" for word, bound in bounds if bound is not None and math.isfinite(bound)]
    text = " ".join([kind, ", ".join(said)]).strip()
    return f"list: {text}" if one.many else text


def _toml(value: Any) -> str:
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


# Page, from this folder, to what writes it.
PAGES = {"cli.md": options, "reference/metrics.md": measures, "reference/recipes.md": recipe}

if __name__ == "__main__":
    for place, text in PAGES.items():
        (Path(__file__).parent / place).write_text(text(), encoding="utf-8")
        print(f"docs/{place}")
