"""The words of a recipe's augmentation -> the random views of `pretrain.views`; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretrain.views import Preset

# Each word, and what of the views it lets vary, as much as pretraining on galaxies does.
WORDS = {"flip": "mirror", "rotate": "rotate", "zoom": "zoom", "shift": "shift", "brightness": "brightness"}


def preset(words: Sequence[str]) -> Preset | None:
    """Return what the words, of `WORDS`, let vary; None where images are shown as they are."""
    from pretrain.views import PRESET, Preset

    varied = {WORDS[word]: getattr(PRESET["galaxy"], WORDS[word]) for word in words}
    return replace(Preset.none(), **varied) if words else None
