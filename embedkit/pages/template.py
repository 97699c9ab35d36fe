"""One HTML file out of a template: parts put in their places, data as JSON that can't end its element."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHARED = Path(__file__).parent


def fill(template: Path, parts: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` of a template.

    Parameters
    ----------
    template
        The file.
    parts
        Text by name. A name that it lacks is a file beside the template, or one that all pages share:
        ``{{page.css}}``.
    """
    # One pass over the template: a value that happens to contain a placeholder is never expanded.
    pieces = template.read_text(encoding="utf-8").split("{{")
    text = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        text += [parts[name] if name in parts else _part(template.parent, name), rest]
    return "".join(text)


def _part(folder: Path, name: str) -> str:
    beside = folder / name
    return (beside if beside.exists() else SHARED / name).read_text(encoding="utf-8")


def shared(name: str) -> str:
    """Return a file that all pages share."""
    return (SHARED / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """Name a script to the content security policy: only what has its hash there runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def script_json(value: Any) -> str:
    """Write strict JSON for a script element; a NaN or infinity becomes null."""
    # "<" never appears, so that no text can end the script element or open a comment in it.
    return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False, default=float).replace(
        "<", "\\u003c"
    )


def _finite(value: Any) -> Any:
    # JSON has no NaN, and a browser refuses the whole page for one in a foreign provenance.
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
