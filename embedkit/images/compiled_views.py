"""The random views of `embedkit.images.views` compiled: the same pixels to the last bit, in less time.

Pillow resamples pixel by pixel and channel by channel. Here the pixels that a line needs are gathered first,
so that all further steps are of whole lines, of which processors take eight numbers at a time. All is added
and multiplied in the order and precision of Pillow and NumPy. Compiling takes seconds, once on a machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.noise import FACTORS, SHIFTS

# Beyond the pixel that a place lies in, cubic convolution takes one before and two behind.
_BEFORE, _BEHIND = 1, 2
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Compile it when it is first called, and keep what comes of it on the disk."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def canvas_for(picture: Image.Image) -> NDArray[np.uint32]:
    """Return (h, w) pixels of a picture in red, green and blue, each a word of four bytes."""
    return np.ascontiguousarray(np.asarray(picture.convert("RGBX")).view(np.uint32)[:, :, 0])


def lies_within(coefficients: Affine, size: int, shape: tuple[int, ...]) -> bool:
    """Whether all that a view of `size` pixels takes lies within (h, w), so that no edge is met."""
    a, b, c, d, e, f = coefficients
    ends = [(x, y) for x in (0.5, size - 0.5) for y in (0.5, size - 0.5)]
    across = [a * x + b * y + c - 0.5 for x, y in ends]
    down = [d * x + e * y + f - 0.5 for x, y in ends]
    return all(
        min(places) >= _BEFORE + 1 and max(places) <= length - _BEHIND - 2
        for places, length in ((across, shape[1]), (down, shape[0]))
    )


@_compiled
def compiled_view(
    canvas: NDArray[np.uint32],
    coefficients: Affine,
    size: int,
    weights: F32,
    strengths: tuple[np.float32, np.float32],
    key: NDArray[np.uint32],
    table: F32,
) -> NDArray[np.uint8]:
    """Return a view (size, size, 3): resampled, blurred by `weights` (t,), brightened, with noise."""
    values = _resampled(canvas, coefficients, size)
    if len(weights) > 1:
        values = _across(_down(values, weights), weights)
    brightness, noise_std = strengths
    flat, noise = values.ravel(), _normal(key, values.size, table)
    out = np.empty(values.size, np.uint8)
    for q in range(len(out)):
        value = np.rint(flat[q] * brightness + noise[q] * noise_std)
        out[q] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))
    return out.reshape(size, size, 3)


@_compiled
def _normal(key: NDArray[np.uint32], n: int, table: F32) -> F32:
    """Draw as `embedkit.images.noise.normal` does."""
    out = np.empty(2 * ((n + 1) // 2), np.float32)
    for i in range(len(out) // 2):
        word = _mixed(np.uint32(_mixed(np.uint32(i + key[0])) ^ key[1]))
        out[2 * i] = table[word & np.uint32(0xFFFF)]
        out[2 * i + 1] = table[word >> np.uint32(16)]
    return out[:n]


@_compiled
def _mixed(word: Any) -> Any:
    # Numba's products and sums of 32 bits have 64: each is cut.
    word = np.uint32((word ^ (word >> np.uint32(SHIFTS[0]))) * np.uint32(FACTORS[0]))
    word = np.uint32((word ^ (word >> np.uint32(SHIFTS[1]))) * np.uint32(FACTORS[1]))
    return np.uint32(word ^ (word >> np.uint32(SHIFTS[2])))


@_compiled
def _resampled(canvas: NDArray[np.uint32], coefficients: Affine, size: int) -> F32:
    """Resample by cubic convolution with a = -1, and cut to whole levels: (size, 3 size)."""
    a, b, c, d, e, f = coefficients
    width, n = canvas.shape[1], 4 * size
    pixels, out = canvas.ravel(), np.empty((size, 3 * size), np.float32)
    words = np.empty((16, size), np.uint32)  # four by four pixels around each place, each kind a line
    levels = words.view(np.uint8)
    along, across, lines = np.empty(n), np.empty(n), np.empty((4, n))
    found, cut = np.empty(n), np.empty(n, np.float32)
    right, low, places = np.empty(size), np.empty(size), np.empty(size, np.int64)
    for row in range(size):
        y_out = row + 0.5
        for column in range(size):
            x_out = column + 0.5
            x = a * x_out + b * y_out + c - 0.5
            y = d * x_out + e * y_out + f - 0.5
            left, top = math.floor(x), math.floor(y)
            right[column], low[column] = x - left, y - top
            places[column] = (int(top) - 1) * width + int(left) - 1
        for column in range(size):
            for channel in range(4):
                along[4 * column + channel], across[4 * column + channel] = right[column], low[column]
            place = np.uint64(places[column])  # without a sign, that none is counted from the end
            for j in range(4):
                for i in range(4):
                    words[4 * j + i, column] = pixels[place + np.uint64(i)]
                place += np.uint64(width)
        for j in range(4):
            _cubic(along, levels[4 * j], levels[4 * j + 1], levels[4 * j + 2], levels[4 * j + 3], lines[j])
        _cubic(across, lines[0], lines[1], lines[2], lines[3], found)
        for q in range(n):
            cut[q] = math.floor(min(max(found[q], 0.0), 255.0))
        for column in range(size):
            for channel in range(3):
                out[row, 3 * column + channel] = cut[4 * column + channel]
    return out


@_compiled
def _cubic(at: F64, one: Any, two: Any, three: Any, four: Any, out: F64) -> None:
    """Interpolate at a distance behind the second of four, as Pillow adds up."""
    for q in range(len(at)):
        p0, p1, p2, p3 = float(one[q]), float(two[q]), float(three[q]), float(four[q])
        t = at[q]
        out[q] = p1 + t * ((p2 - p0) + t * ((2.0 * (p0 - p1) + p2 - p3) + t * (((p1 - p0) - p2) + p3)))


@_compiled
def _down(values: F32, weights: F32) -> F32:
    """Convolve lines with those above and below; edges repeat."""
    size, radius = len(values), len(weights) // 2
    out = np.zeros_like(values)
    for y in range(size):
        to = out[y]
        for i in range(len(weights)):
            line, tap = values[min(max(y + i - radius, 0), size - 1)], weights[i]
            for q in range(len(to)):
                to[q] += tap * line[q]
    return out


@_compiled
def _across(values: F32, weights: F32) -> F32:
    """Convolve within lines of three channels; edges repeat."""
    size, radius = len(values), len(weights) // 2
    wider, out = np.empty(3 * (size + 2 * radius), np.float32), np.zeros_like(values)
    for y in range(size):
        for column in range(size + 2 * radius):
            for channel in range(3):
                wider[3 * column + channel] = values[y, 3 * min(max(column - radius, 0), size - 1) + channel]
        to = out[y]
        for i in range(len(weights)):
            line, tap = wider[3 * i : 3 * i + 3 * size], weights[i]
            for q in range(3 * size):
                to[q] += tap * line[q]
    return out
