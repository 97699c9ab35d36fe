"""The views that a network will see, side by side."""

from __future__ import annotations

import io

import torch
from PIL import Image

from pretrain.views import Frames, Preset, make_views

IMAGES, VIEWS = 8, 5


def contact_sheet(pixels: torch.Tensor, preset: Preset, size: int, *, seed: int) -> Image.Image:
    """Draw the first of the images (n, 3, h, h) uint8: a row an image, the image itself, then five views."""
    pixels = pixels[:IMAGES]
    edge = (pixels.shape[-1] - size) // 2
    frames, generator = Frames.measure(pixels, size), torch.Generator().manual_seed(seed)
    columns = [pixels[..., edge : edge + size, edge : edge + size].float()] + [
        make_views(frames, size, preset=preset, generator=generator) for _ in range(VIEWS)
    ]
    sheet = torch.stack(columns).permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)  # (n size, 6 size, 3)
    return Image.fromarray(sheet.byte().numpy())


def as_png(sheet: Image.Image) -> bytes:
    """Return the bytes of a PNG file."""
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
