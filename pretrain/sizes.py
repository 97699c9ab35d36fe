"""Let one network take full views and smaller crops."""

from __future__ import annotations

from typing import Any

import torch

from embedkit.errors import UsageError, first_line


def take_crops(model: Any, size: int, name: str) -> None:
    """Make a ViT resample its position embeddings for smaller input; at its own size nothing changes.

    Raises
    ------
    UsageError
        The network can't take crops of this size.
    """
    if hasattr(model, "dynamic_img_size") and not model.dynamic_img_size:
        from timm.layers import Format

        model.dynamic_img_size = True
        embed = model.patch_embed
        embed.strict_img_size, embed.flatten, embed.output_fmt = False, False, Format.NHWC
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size, device=device))
    except (AssertionError, RuntimeError, ValueError, AttributeError) as error:
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", (32,))[0]
        fitting = max(1, round(size / patch)) * patch
        advice = f"Give --local-size {fitting}" if fitting != size else "Give --local-size of the image size"
        raise UsageError(
            f"--local-size {size}: {name} can't take it ({first_line(error)}). {advice}, or --local-views 0."
        ) from error
