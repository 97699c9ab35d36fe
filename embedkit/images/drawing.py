"""The random views of `embedkit.images.views`, drawn where torch computes.

What is random of a view comes from the same generator, and its noise of the same key. Pixels are those of
Pillow up to a level of 255.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.images.noise import FACTORS, SHIFTS, normal_table
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing
from embedkit.images.views import BLUR_SIGMA_PX, Draw, reach_of, taps

# Levels of 0 to 255 by which a pixel may differ from Pillow's.
TOLERANCE = 1


@dataclass(frozen=True)
class Drawn:
    """What is random in a batch of views.

    Parameters
    ----------
    numbers : (b, v, 8 + t) float32
        Pillow's a to f of the affine transform, brightness, strength of the noise, and the taps of the blur.
    keys : (b, v, 2) int32
        Of the noise.
    """

    numbers: torch.Tensor
    keys: torch.Tensor

    @classmethod
    def blank(cls, n_images: int, n_views: int, size: int, *, pinned: bool = False) -> Drawn:
        """Make room for the views of images, of a model input of `size` pixels."""
        n_taps = 2 * _radius(size) + 1
        numbers = torch.zeros(n_images, n_views, 8 + n_taps, pin_memory=pinned)
        return cls(numbers, torch.zeros(n_images, n_views, 2, dtype=torch.int32, pin_memory=pinned))

    def draw(self, i: int, canvas: Canvas, *, image_id: str, seed: int) -> None:
        """Draw the views of one image into row `i`."""
        numbers, keys, radius = self.numbers[i].numpy(), self.keys[i].numpy(), _radius(canvas.size)
        for view in range(len(numbers)):
            draw = Draw.of(canvas.size, image_id, seed, view)
            weights = taps(draw.sigma).tolist()
            around = [0.0] * (radius - len(weights) // 2)
            affine = draw.coefficients(canvas.size, canvas.middle)
            numbers[view] = [*affine, draw.brightness, draw.noise_std, *around, *weights, *around]
            keys[view] = draw.key

    def to(self, device: torch.device) -> Drawn:
        """Copy it to a device, without waiting."""
        return Drawn(
            self.numbers.to(device, non_blocking=True),
            self.keys.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Canvas:
    """A square of a frame, mirrored where it ends, that all views lie in.

    Parameters
    ----------
    size
        Side of the model input.
    rows, columns : (side,) int64
        Of the frame.
    middle
        (x, y) of the frame's middle on the canvas.
    """

    size: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    middle: tuple[float, float]

    @classmethod
    def of(cls, shape: tuple[int, ...], size: int) -> Canvas:
        """Lay it around the middle of frames of `shape` (height, width)."""
        rows, y = _mirrored(shape[0], reach_of(size))
        columns, x = _mirrored(shape[1], reach_of(size))
        return cls(size, rows, columns, (x, y))

    @staticmethod
    def side(size: int) -> int:
        """Of any canvas for a model input of `size` pixels."""
        return 2 * (reach_of(size) + 2)


def canvas_of(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, where: str
) -> tuple[NDArray[np.uint8], Canvas]:
    """Return (side, side, c) uint8 of an image, resized by Pillow, and where on it the middle is."""
    frame = preprocessing.frame(pixels, where)
    canvas = Canvas.of(frame.shape, preprocessing.image_size)
    return frame.take(canvas.columns, axis=1).take(canvas.rows, axis=0), canvas


def torch_views(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, views: ViewSet, *, image_id: str, seed: int
) -> NDArray[np.uint8]:
    """Return the random views of one image as (v, s, s, c) uint8, as `make_views` does."""
    canvas, place = canvas_of(pixels, preprocessing, image_id)
    drawn = Drawn.blank(1, views.n, preprocessing.image_size)
    drawn.draw(0, place, image_id=image_id, seed=seed)
    table = torch.from_numpy(normal_table())
    levels = draw_views(torch.from_numpy(canvas)[None], drawn, preprocessing.image_size, table)
    return np.asarray(levels[0].to(torch.uint8).numpy())


def draw_views(batch: torch.Tensor, drawn: Drawn, size: int, table: torch.Tensor) -> torch.Tensor:
    """(b, side, side, c) canvases -> (b, v, size, size, c) float32 of whole levels from 0 to 255.

    The numbers of the noise are chosen from `table`, which is `normal_table` on the device of all.
    """
    b, v = drawn.keys.shape[:2]
    numbers = drawn.numbers[..., None, None]  # (b, v, 8 + t, 1, 1)
    values = _transformed(batch, numbers, size)  # (b, v, c, size, size)
    values = _blurred(values, drawn.numbers[..., 8:]) * numbers[:, :, 6, None]
    values = values.permute(0, 1, 3, 4, 2)
    noise = _normal(drawn.keys.reshape(b * v, 2), values[0, 0].numel(), table)
    return (values + noise.reshape(values.shape) * numbers[:, :, 7, None]).round().clamp(0, 255)


def _transformed(batch: torch.Tensor, numbers: torch.Tensor, size: int) -> torch.Tensor:
    """Resample by cubic convolution with a = -1, and cut to whole levels, as Pillow's ``transform`` does."""
    b, side, _, channels = batch.shape
    at = torch.arange(size, device=batch.device) + 0.5
    one, two = at[None, :], at[:, None]  # of the input: x and y
    x = numbers[:, :, 0] * one + numbers[:, :, 1] * two + numbers[:, :, 2] - 0.5  # (b, v, size, size)
    y = numbers[:, :, 3] * one + numbers[:, :, 4] * two + numbers[:, :, 5] - 0.5
    left, top = x.floor(), y.floor()
    along, across = (x - left)[..., None], (y - top)[..., None]
    left, top = left.long() - 1, top.long() - 1
    flat = batch.reshape(b * side * side, channels)
    start = torch.arange(b, device=batch.device)[:, None, None, None] * (side * side)
    columns = [(left + i).clamp(0, side - 1) for i in range(4)]
    lines = []
    for j in range(4):
        line = start + (top + j).clamp(0, side - 1) * side
        lines.append(_cubic(along, *(flat[line + column].float() for column in columns)))
    return _cubic(across, *lines).clamp(0, 255).floor().permute(0, 1, 4, 2, 3)


def _cubic(
    d: torch.Tensor, one: torch.Tensor, two: torch.Tensor, three: torch.Tensor, four: torch.Tensor
) -> torch.Tensor:
    """Interpolate at `d` behind the second of four; in this form a plain area keeps its level exactly."""
    return two + d * (three - one + d * (2 * (one - two) + three - four + d * (two - one + four - three)))


def _blurred(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Convolve (b, v, c, s, s) with (b, v, t) down and across; edges repeat."""
    radius, size = weights.shape[2] // 2, values.shape[-1]
    at = torch.arange(-radius, size + radius, device=values.device).clamp(0, size - 1)
    for axis in (3, 4):
        # Copied once; each tap is of a part of it.
        wider = values.index_select(axis, at)
        parts = (
            wider.narrow(axis, i, size) * weights[:, :, i, None, None, None] for i in range(2 * radius + 1)
        )
        values = functools.reduce(torch.Tensor.add_, parts)
    return values


def _normal(keys: torch.Tensor, n: int, table: torch.Tensor) -> torch.Tensor:
    """Draw (k, n) numbers of keys (k, 2) int32 as `embedkit.images.noise.normal` does, on their device."""
    words = torch.arange((n + 1) // 2, dtype=torch.int32, device=keys.device)
    words = _mixed(_mixed(words + keys[:, :1]) ^ keys[:, 1:])
    halves = torch.stack([words & 0xFFFF, (words >> 16) & 0xFFFF], dim=2)
    return table[halves.flatten(1)[:, :n]]


def _mixed(words: torch.Tensor) -> torch.Tensor:
    """Hash words of int32, which wrap around; a shift must not bring in the sign."""
    for shift, factor in zip(SHIFTS, (*FACTORS, None), strict=True):
        words = words ^ ((words >> shift) & (2 ** (32 - shift) - 1))
        if factor is not None:
            words = words * (factor if factor < 2**31 else factor - 2**32)
    return words


def _radius(size: int) -> int:
    return math.ceil(3 * BLUR_SIGMA_PX * size / 224)


def _mirrored(length: int, reach: int) -> tuple[NDArray[np.int64], float]:
    """Return which pixels of a line a canvas shows, and where on it the middle of the line is."""
    pad = max(0, reach - length // 2)
    line = np.pad(np.arange(length), (pad, pad), mode="symmetric")
    start = len(line) // 2 - reach - 2
    places = np.arange(start, start + 2 * (reach + 2)).clip(0, len(line) - 1)
    return line[places], len(line) / 2 - start
