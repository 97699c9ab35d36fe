"""One page for a run: what it saw, how it went, what was kept, and how to judge it."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from embedkit.pages import sections
from embedkit.pages.curves import cards
from embedkit.pages.sections import Part
from pretrain.choice import sentence

WIDTH = 900


@dataclass(frozen=True)
class Asked:
    """The words of the call that the run is part of, as far as other verbs take them too.

    Parameters
    ----------
    source
        The dataset with its options.
    backbone
        It with its weights, and what its input is.
    start
        Options of the weights that the training began with.
    training
        All other options of ``embedkit pretrain``.
    """

    source: tuple[str, ...]
    backbone: tuple[str, ...]
    start: tuple[str, ...]
    training: tuple[str, ...]

    def command(self, folder: Path) -> str:
        """Return the command that makes the run again."""
        words = (*self.source, *self.backbone, *self.start, *self.training, "-o", str(folder))
        return shlex.join(["embedkit", "pretrain", *words])

    def judging(self, folder: Path, after: Sequence[str], *, adapter: bool) -> list[str]:
        """Return the commands that hold the trained weights, which `after` gives, against the first ones."""
        before, trained = folder / "before.h5", folder / "after.h5"
        extract = ["embedkit", "extract", *self.source, *self.backbone]
        # An adapter lies over the weights that it was trained on; a checkpoint stands in their place.
        started = self.start if adapter else ()
        return [
            shlex.join([*extract, *self.start, "-o", str(before)]),
            shlex.join([*extract, *started, *after, "-o", str(trained)]),
            shlex.join(["embedkit", "compare", str(before), str(trained)]),
        ]


def draw_page(
    log: Sequence[dict[str, float]],
    chosen: dict[str, Any],
    *,
    sheet: Image.Image,
    record: dict[str, Any],
    command: str,
    judging: Sequence[str],
) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    chosen
        From `pretrain.choice.verdict`.
    sheet
        Images and their views.
    record
        What the backbone says of itself, under ``backbone``, and the options of the run.
    command
        That makes the run.
    judging
        Those that tell whether it helped.
    """
    base = record["backbone"]
    seed = f"Seed {record['seed']}, {max(row['epoch'] for row in log):g} epochs"
    made = sections.made(seed, command)
    where = "From the folder in which the training was started, and with labels:"
    parts = [
        Part(
            "curves",
            "Loss and monitors",
            "Curves",
            "Against epochs; the monitors look at images that were not trained on. The dashed line is the "
            "epoch that was kept.",
            made + cards(log, kept=chosen["epoch"]),
        ),
        Part(
            "views", "Views", "Views", "A row an image: the image itself, then five views.", _picture(sheet)
        ),
        Part("judge", "Did it help?", "Did it help?", where, _code("\n".join(judging))),
        Part("run", "The run", "The run", "Made again by:", _code(command) + _options(record)),
    ]
    facts = f"{base['weights']}, {seed.lower()}" if base.get("weights") else seed
    return sections.fill(f"{base['name']}, {record['method']}", facts, parts, [sentence(chosen)]) + "\n"


def _picture(sheet: Image.Image) -> str:
    stream = io.BytesIO()
    shown = sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width))) if sheet.width > WIDTH else sheet
    shown.save(stream, "JPEG", quality=90)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img style="max-width:100%;height:auto" alt="views" src="data:image/jpeg;base64,{data}">'


def _code(text: str) -> str:
    return f'<pre class="scroll">{escape(text)}</pre>'


def _options(record: dict[str, Any]) -> str:
    return sections.folded("every option, and the backbone", _code(json.dumps(record, indent=2)))
