"""One page for a run: what it saw, how it went, what was kept, and how to judge it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from typing import Any

from PIL import Image

from pretrain.choice import sentence
from pretrain.curves import draw_curves

WIDTH = 900
STYLE = "body{font:15px/1.5 sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#222}"
STYLE += "img,svg{max-width:100%;height:auto}pre{background:#f4f4f4;padding:1em;overflow:auto}"
JUDGE = """embedkit extract DATASET --backbone {name} -o before.h5
embedkit extract DATASET --backbone {name} {after} -o after.h5
embedkit compare before.h5 after.h5"""


def draw_page(
    log: Sequence[dict[str, float]],
    chosen: dict[str, Any],
    *,
    sheet: Image.Image,
    asked: dict[str, Any],
    base: dict[str, Any],
    after: str,
) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    chosen
        From `pretrain.choice.verdict`.
    asked
        The options of the run.
    base
        What the backbone says of itself.
    after
        The option that gives the trained weights to `embedkit extract`.
    """
    stream = io.BytesIO()
    shown = sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width))) if sheet.width > WIDTH else sheet
    shown.save(stream, "JPEG", quality=90)
    picture = base64.b64encode(stream.getvalue()).decode()
    title = f"{base['name']}, {asked['method']}"
    record = json.dumps({"backbone": base, **asked}, indent=2)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{escape(sentence(chosen))}</p>"
        f"<h2>Loss and monitors</h2>{draw_curves(log, kept=chosen['epoch'])}"
        "<p>The dashed line is the epoch that was kept.</p>"
        "<h2>Views</h2><p>A row an image: the image itself, then five views.</p>"
        f'<img alt="views" src="data:image/jpeg;base64,{picture}">'
        "<h2>Did it help?</h2><p>On labelled images, with the options that the run had for its input:</p>"
        f"<pre>{escape(JUDGE.format(name=base['name'], after=after))}</pre>"
        f"<h2>The run</h2><pre>{escape(record)}</pre></html>\n"
    )
