"""Which backbone, and which of its outputs, as asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.errors import EmbedkitError, UsageError
from embedkit.images.options import Overrides
from embedkit.options import MOST_SEED, READS, check, option

DEFAULT_BACKBONE = "vit_small_patch16_224.dino"
PIXELS = "pixels:"
POOLS = {
    "cls": "the CLS token",
    "patch": "the mean of the patch tokens",
    "cls+patch": "both, concatenated",
    "avg": "global average pooling of a feature map",
    "model": "the model's own pooling before its classifier",
}
GROUP = "backbone"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FIX = "--adapter wants a folder as PEFT's save_pretrained writes it."


def weights_option(*, group: str = "") -> Any:
    """Declare ``--weights``."""
    what = "checkpoint file, instead of the published or recorded one"
    return option(None, what, metavar="FILE", group=group, place=READS)


def adapter_option(*, group: str = "") -> Any:
    """Declare ``--adapter``."""
    what = "folder with a PEFT adapter, instead of the recorded one"
    return option(None, what, metavar="DIR", group=group, place=READS)


def check_weights(path: Path) -> None:
    """Refuse a file of weights that is not there."""
    if not path.exists():
        raise EmbedkitError(f"{path}: no such weights file. Check --weights.")


def check_adapter(folder: Path) -> None:
    """Refuse the folder of an adapter that has no configuration."""
    if not (folder / ADAPTER_CONFIG).exists():
        raise EmbedkitError(f"{folder}: no {ADAPTER_CONFIG} there. {ADAPTER_FIX}")


@dataclass(frozen=True)
class BackboneSpec:
    """Which backbone to load.

    Parameters
    ----------
    backbone
        A timm name, ``embedkit-galaxy`` (comes with embedkit), ``hf-hub:owner/name``, ``local-dir:folder``,
        or ``pixels:32`` (the image itself at 32 x 32 pixels, a control).
    weights
        A checkpoint file to load instead of the published weights (.safetensors, .pth, .pt, .bin).
    adapter
        A folder with a PEFT adapter, as ``save_pretrained`` writes it.
    random_init
        Seed for random weights instead of the published ones, a control.
    preprocessing
        Changes to the backbone's own preprocessing.

    Raises
    ------
    UsageError
        Options that exclude each other.
    """

    backbone: str = option(
        DEFAULT_BACKBONE,
        "timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control",
        metavar="NAME",
        group=GROUP,
        place=READS,
    )
    weights: Path | None = weights_option(group=GROUP)
    adapter: Path | None = adapter_option(group=GROUP)
    random_init: int | None = option(
        None, "random weights, as a control", least=0, most=MOST_SEED, metavar="SEED", group=GROUP
    )
    preprocessing: Overrides = Overrides()

    def __post_init__(self) -> None:
        check(self)
        if self.weights is not None and self.random_init is not None:
            raise UsageError(
                "--weights and --random-init exclude each other: one says where the weights come from."
            )
        if not self.backbone.startswith(PIXELS):
            return
        if not (self.weights is None and self.adapter is None and self.random_init is None):
            raise UsageError(
                f"{self.backbone} has no weights: leave out --weights, --adapter and --random-init."
            )
        if re.fullmatch(r"[1-9]\d*", self.backbone.removeprefix(PIXELS)) is None:
            raise UsageError(
                f"--backbone {self.backbone}: give pixels:N with N pixels a side, such as pixels:32."
            )


def parse_layers(text: str) -> int | tuple[tuple[int, int], ...]:
    """Read ``4``, so many last layers, or ranges of layers counted from 0 (``b8``, ``b5-b8``, ``b3,b7,b11``).

    Raises
    ------
    UsageError
        It is neither.
    """
    if re.fullmatch(r"\d+", text):
        return int(text)
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"b(\d+)(?:-b?(\d+))?", part.strip())
        if not match:
            raise UsageError(
                f"--layers {text}: give a number for the last blocks (4), or blocks counted from 0 "
                "(b8, b5-b8, b3,b7,b11)."
            )
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)
