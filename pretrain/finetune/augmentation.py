"""The words of a recipe's augmentation -> the random views of `pretrain.views`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from embedkit.errors import UsageError
from embedkit.images.views import BRIGHTNESS, SCALE, SHIFT_PX
from pretrain.views import Preset

# Each word, and what of the views it lets vary.
WORDS = {
    "flip": {"mirror": True},
    "rotate": {"rotate": True},
    "zoom": {"zoom": SCALE},
    "shift": {"shift": SHIFT_PX / 224},
    "brightness": {"brightness": BRIGHTNESS},
}


def preset(words: Sequence[str]) -> Preset | None:
    """Return what the words let vary; None where images are shown as they are.

    Raises
    ------
    UsageError
        An unknown word; the message lists the known ones.
    """
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        raise UsageError(f"augmentation {unknown[0]!r} is unknown. Known: {', '.join(WORDS)}.")
    made = Preset.none()
    for word in words:
        made = replace(made, **WORDS[word])  # type: ignore[arg-type]
    return made if words else None
