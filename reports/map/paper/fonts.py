"""Fonts of a figure: the one that matplotlib brings, and for what it lacks those of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from embedkit.console.visible import visible

# Comes with matplotlib, so that a figure looks alike on every machine.
FONT = "DejaVu Sans"
LONGEST = 28
# Comes along too: a box for every letter that there is.
_BOXES = "Last Resort"


def short(name: str) -> str:
    """Return a name on one line, cut as the page cuts it."""
    plain = " ".join(visible(name).split())
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def families(texts: Iterable[str]) -> tuple[list[str], str]:
    """Return the fonts that draw all of some texts, and the letters that none of them has.

    Only TrueType fonts, since a PDF embeds those as they are.
    """
    from matplotlib import font_manager

    wanted = {ord(letter) for text in texts for letter in text if not letter.isspace()}
    found = [FONT]
    own = font_manager.get_font(font_manager.findfont(FONT))
    wanted -= set(own.get_charmap())
    if not wanted:
        return found, ""
    for entry in sorted(font_manager.fontManager.ttflist, key=_order):
        if entry.name in found or entry.name.startswith(_BOXES):
            continue
        if not entry.fname.endswith(".ttf") or entry.style != "normal":
            continue
        if mine := wanted & _letters(entry.fname):
            found.append(entry.name)
            wanted -= mine
        if not wanted:
            break
    return found, "".join(map(chr, sorted(wanted)))


def _order(entry: Any) -> tuple[bool, str, str]:
    return (entry.weight not in (400, "normal", "regular"), entry.name, entry.fname)


def _letters(path: str) -> set[int]:
    from matplotlib import font_manager

    try:
        font = font_manager.get_font(path)
        return set(font.get_charmap()) if font.scalable else set()
    except (OSError, RuntimeError):  # a font of pictures, or a broken one
        return set()
