"""What a weights file is called, where that is another architecture than the one it was loaded into.

Tensors alone don't tell networks apart that pad, activate or normalise otherwise: those of
``tf_efficientnet_b0`` fit ``efficientnet_b0``, and give other features there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from embedkit.errors import EmbedkitError
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared

_MOST_BYTES = 20_000_000


def named_after(file: Path, model: nn.Module) -> str | None:
    """Return the timm name in a file's name, or in the config.json beside it; None where it is the model's.

    Parameters
    ----------
    file
        The weights.
    model
        What they were loaded into.
    """
    from embedkit.backbones.networks.registry import timm

    own = (getattr(model, "pretrained_cfg", None) or {}).get("architecture")
    known = set(timm.list_models())
    for name in (file.name.partition(".")[0], _declared(file.parent / "config.json")):
        architecture = name.partition(".")[0]
        if architecture in known:
            return None if architecture == own or own is None else architecture
    return None


def _declared(place: Path) -> str:
    try:
        config = declared(read_bytes(place, "", at_most=_MOST_BYTES), dict[str, Any])
    except (OSError, EmbedkitError, UndeclaredError):  # nothing there, or another program's
        return ""
    name = config.get("architecture")
    return name if isinstance(name, str) else ""
