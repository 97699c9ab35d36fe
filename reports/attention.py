"""What the class token of a vision transformer looks at, head by head, as one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from embedkit.backbones.load import Backbone
from embedkit.errors import UsageError

CELL, GAP, MARGIN = 128, 4, 22
TOP = 97  # some ViTs look at a few patches of sky above all, and those would hide the rest
# Matplotlib's inferno at equal steps.
COLOURS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


@torch.no_grad()
def attention_maps(backbone: Backbone, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the attention of the last block from the class token to every patch.

    Parameters
    ----------
    pixels : (n, s, s, 3) uint8
        As the backbone's own preprocessing gives them.

    Returns
    -------
    attention : (n, heads, rows, columns) float32
        Of each head, the softmax that the network itself uses; what it gives to prefix tokens is left out.

    Raises
    ------
    UsageError
        The backbone has no class token or no attention of timm's kind.
    """
    model: Any = backbone.model
    if not backbone.is_vit or not has_class_attention(model):
        raise UsageError(
            f"{backbone.name} has no class token with attention to look at. Give a ViT that has one, such as "
            "vit_small_patch16_224.dino."
        )
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    images = (torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in pixels)
    try:
        return class_attention(model, (((x - mean) / std)[None] for x in images))
    except UsageError as error:
        raise UsageError(f"{backbone.name}: {error}") from error


def has_class_attention(model: Any) -> bool:
    """Whether the last block of a timm model attends from a class token, in timm's own way."""
    blocks = getattr(model, "blocks", None)
    if getattr(model, "cls_token", None) is None or not hasattr(model, "num_prefix_tokens") or not blocks:
        return False
    return hasattr(getattr(blocks[-1], "attn", None), "attn_drop")


@torch.no_grad()
def class_attention(model: Any, batches: Iterable[torch.Tensor]) -> NDArray[np.float32]:
    """Return the attention (n, heads, rows, columns) of a model that `has_class_attention`.

    Parameters
    ----------
    batches : (b, c, s, s)
        Normalised input, on the model's device.

    Raises
    ------
    UsageError
        The last block attends in another way after all.
    """
    attention = model.blocks[-1].attn
    n_prefix = int(model.num_prefix_tokens)
    rows, columns = getattr(model.patch_embed, "grid_size", (0, 0))
    seen: list[torch.Tensor] = []
    hook = attention.attn_drop.register_forward_hook(
        lambda _module, _input, output: seen.append(output.cpu())
    )
    fused = getattr(attention, "fused_attn", None)
    attention.fused_attn = False
    try:
        for x in batches:
            model(x)
    finally:
        attention.fused_attn = fused
        hook.remove()
    # CaiT's class token joins after these blocks, and XCiT's attend among channels.
    if not seen or seen[0].shape[-2:] != (n_prefix + rows * columns,) * 2:
        raise UsageError("its last block has no attention from a class token to patches. Give another ViT.")
    found = torch.cat([one[:, :, 0, n_prefix:] for one in seen])
    return found.reshape(*found.shape[:2], rows, columns).float().numpy()


def attention_entropy(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, heads, rows, columns) -> (heads,): mean entropy over its largest value; 1 is alike everywhere."""
    p = maps.reshape(*maps.shape[:2], -1).astype(np.float64)
    p /= p.sum(axis=2, keepdims=True)
    entropy: NDArray[np.float64] = -(p * np.log(p + 1e-12)).sum(axis=2).mean(axis=0) / np.log(p.shape[2])
    return entropy


def attention_sheet(
    pixels: NDArray[np.uint8], maps: Sequence[NDArray[np.float32]], names: Sequence[str]
) -> Image.Image:
    """Draw each image with its maps; a row of heads for each network.

    Parameters
    ----------
    pixels : (n, s, s, 3) uint8
    maps : networks of (n, heads, rows, columns)
        Each map is drawn from black at 0 to yellow at its own `TOP` percentile and above.
    names
        Of the networks.
    """
    n, heads = maps[0].shape[:2]
    step = CELL + GAP
    sheet = Image.new("RGB", (MARGIN + (heads + 1) * step, MARGIN + n * len(maps) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for head in range(heads):
        draw.text((MARGIN + (head + 1) * step, 5), f"head {head}", fill="black")
    for i in range(n):
        for j, (network, name) in enumerate(zip(maps, names, strict=True)):
            top = MARGIN + (i * len(maps) + j) * step
            label = Image.new("RGB", (CELL, MARGIN - 6), "white")
            ImageDraw.Draw(label).text((0, 2), name, fill="black")
            sheet.paste(label.rotate(90, expand=True), (3, top))
            if j == 0:
                sheet.paste(Image.fromarray(pixels[i]).resize((CELL, CELL)), (MARGIN, top))
            for head in range(heads):
                cell = Image.fromarray(_coloured(network[i, head])).resize(
                    (CELL, CELL), Image.Resampling.NEAREST
                )
                sheet.paste(cell, (MARGIN + (head + 1) * step, top))
    return sheet


def _coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return coloured(values / top_of(values))


def top_of(values: NDArray[np.float32]) -> float:
    """Return the value from which on a map is drawn in the brightest colour."""
    return max(float(np.percentile(values, TOP)), 1e-12)


def coloured(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w) from 0, black, to 1, yellow, and above -> (h, w, 3)."""
    at = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(share, at, channel) for channel in zip(*COLOURS, strict=True)], axis=-1)
    return colours.astype(np.uint8)
