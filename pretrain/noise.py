"""Noise for views, as strong as that of the image's own background or drawn from it."""

from __future__ import annotations

import torch

EDGE = 4  # rows of the frame's top and bottom that count as sky
CHUNK = 1024  # images measured at a time
CUT = 3.0  # standard deviations; beyond lie stars


def background(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3, h, h) -> median and robust standard deviation along each image's edge, each (n, 3) float32."""
    middles, stds = [], []
    for part in torch.split(pixels, CHUNK):
        edge = _edges(part).flatten(2).float()
        middle = edge.median(dim=2, keepdim=True).values
        middles.append(middle[..., 0])
        stds.append(1.4826 * (edge - middle).abs().median(dim=2).values)
    return torch.cat(middles), torch.cat(stds)


def sky_noise(
    pixels: torch.Tensor, sky: torch.Tensor, std: torch.Tensor, size: int, place: torch.Tensor
) -> torch.Tensor:
    """Fill a square with blocks of 4 x 4 pixels from random places along the image's own edge.

    So the noise has the distribution, the colours and, within a block, the grain of that very background.

    Parameters
    ----------
    pixels : (b, 3, h, h) float32
    sky, std : (b, 3)
        From `background`; the noise is what differs from `sky`, cut at three `std`.
    place : (b, m, m) float32, 0 to 1
        Where along both edges each block comes from; 4 m is at least `size`.

    Returns
    -------
    noise : (b, 3, size, size) float32
    """
    b, m, h = len(pixels), place.shape[1], pixels.shape[-1]
    strip = (_edges(pixels) - sky[:, :, None, None]).clamp(
        -CUT * std[..., None, None], CUT * std[..., None, None]
    )
    per_edge = h - EDGE + 1
    first = (place * (2 * per_edge)).long().clamp(max=2 * per_edge - 1)
    first += (first >= per_edge) * (EDGE - 1)  # no block spans both edges
    step = torch.arange(EDGE, device=pixels.device)
    index = first[:, :, None, :, None] + step + 2 * h * step[:, None, None]  # (b, m, 4, m, 4)
    index = index.view(b, 1, -1).expand(-1, 3, -1)
    return strip.flatten(2).gather(2, index).view(b, 3, EDGE * m, EDGE * m)[..., :size, :size]


def _edges(pixels: torch.Tensor) -> torch.Tensor:
    """(b, 3, h, h) -> (b, 3, 4, 2 h): the first rows, and beside them the last ones."""
    return torch.cat([pixels[..., :EDGE, :], pixels[..., -EDGE:, :]], dim=-1)
