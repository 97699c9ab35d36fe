"""The same crop and resize as `embedkit.images.preprocess`, of many images at once, where torch computes.

Pillow's weights, and its rounding to whole levels after each of its two passes: what differs is the rounding
of ties, by one level of 255, or two where both passes meet one (bilinear).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.preprocess import REACH, Preprocessing

# Levels of 0 to 255 by which a pixel may differ from Pillow's.
TOLERANCE = 2


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 - np.abs(x)).clip(0)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x, a = np.abs(x), -0.5  # of Keys (1981), as Pillow has it
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def weights(n_in: int, n_out: int, interpolation: str) -> NDArray[np.float64]:
    """Return (n_out, n_in): what each input pixel of a line gives to each output pixel.

    Parameters
    ----------
    n_in, n_out
        Lengths in pixels.
    interpolation
        One of `embedkit.images.options.INTERPOLATIONS`; antialiased where it shrinks.
    """
    if n_in == n_out:
        return np.eye(n_in)
    scale = n_in / n_out
    centres = (np.arange(n_out) + 0.5) * scale  # (n_out,)
    if interpolation == "nearest":
        steps = np.full(n_out, scale)
        steps[0] /= 2
        # Added up one by one, as Pillow does: the rounding decides between two pixels.
        nearest: NDArray[np.float64] = np.eye(n_in)[np.minimum(np.cumsum(steps).astype(int), n_in - 1)]
        return nearest
    kernel, support = _KERNELS[interpolation]
    stretch = max(1.0, scale)
    first = np.maximum(0, np.floor(centres - support * stretch + 0.5))
    last = np.minimum(n_in, np.floor(centres + support * stretch + 0.5))
    places = np.arange(n_in)  # (n_in,)
    found: NDArray[np.float64] = kernel((places - centres[:, None] + 0.5) / stretch)  # (n_out, n_in)
    found = np.where((places >= first[:, None]) & (places < last[:, None]), found, 0.0)
    found /= found.sum(axis=1, keepdims=True)
    return found


class Resampler(torch.nn.Module):
    """What `Preprocessing` does to an image, for many of one size.

    Parameters
    ----------
    preprocessing
        What is done; of three channels.
    shape
        (h, w) of each image.
    whole
        Whether all of the image stays, as `Preprocessing.frame` has it, with the model input in its middle.
    """

    _x: torch.Tensor
    _y: torch.Tensor

    def __init__(self, preprocessing: Preprocessing, shape: tuple[int, int], *, whole: bool = False) -> None:
        super().__init__()
        self._done = preprocessing
        self._taken = _taken(preprocessing, shape, whole)
        height, width = (part.stop - part.start for part in self._taken)
        size = _resized_to(preprocessing, (height, width), whole)
        kept = [_central(length, length if whole else preprocessing.image_size) for length in size]
        self.shape = tuple(max(preprocessing.image_size, part.stop - part.start) for part in kept)
        along = {}
        for name, n_in, n_out, part in zip("yx", (height, width), size, kept, strict=True):
            matrix = weights(n_in, n_out, preprocessing.interpolation)[part]
            along[name] = torch.from_numpy(matrix.astype(np.float32))
        self.register_buffer("_y", along["y"], persistent=False)
        self.register_buffer("_x", along["x"], persistent=False)
        self._same = [n_in == n_out for n_in, n_out in zip((height, width), size, strict=True)]
        self._kept = kept
        self._lines_first = _lines_first((height, width), size, preprocessing.interpolation)
        self._missing = [side - (part.stop - part.start) for side, part in zip(self.shape, kept, strict=True)]

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """(b, h, w, 3) uint8 -> (b, *shape, 3) float32 of whole levels from 0 to 255."""
        rows, columns = self._taken
        x = batch[:, rows, columns].permute(0, 3, 1, 2).float()  # (b, 3, h, w)
        x = self._along_y(self._along_x(x)) if self._lines_first else self._along_x(self._along_y(x))
        return self._padded(x).permute(0, 2, 3, 1)

    def _along_x(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., self._kept[1]] if self._same[1] else _whole(x @ self._x.T)

    def _along_y(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., self._kept[0], :] if self._same[0] else _whole(self._y @ x)

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        if not any(self._missing):
            return x
        canvas = x.new_zeros(x.shape[0], 3, *self.shape)
        if self._done.crop_mode == "border":
            levels = [float(round(255 * value)) for value in self._done.mean]
            canvas += torch.tensor(levels, device=x.device)[:, None, None]
        top, left = (missing // 2 for missing in self._missing)
        canvas[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
        return canvas


def _whole(x: torch.Tensor) -> torch.Tensor:
    # Halves go up, as in Pillow; torch.round takes them to the even level.
    return (x + 0.5).floor().clamp(0, 255)


def _lines_first(taken: tuple[int, int], size: tuple[int, int], interpolation: str) -> bool:
    """Whether the Pillow that is here resizes along lines first.

    Pillow 12 always does; 13 goes across them first where lines become fewer and longer, which clips other
    pixels on the way. So it is asked, with noise.
    """
    if not (size[1] > taken[1] and size[0] < taken[0]):
        return True
    noise = np.random.default_rng(0).integers(0, 256, taken, dtype=np.uint8)
    kernel = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(noise).resize((size[1], size[0]), kernel))
    y, x = (weights(*lengths, interpolation) for lengths in zip(taken, size, strict=True))
    lines = np.clip(np.floor(noise @ x.T + 0.5), 0, 255)
    return bool(np.abs(np.clip(y @ lines, 0, 255) - expected).max() < TOLERANCE + 0.5)


def _central(length: int, size: int) -> slice:
    """Return the part of a line that `embedkit.images.decode.center` keeps."""
    start = max(0, round((length - size) / 2))
    return slice(start, min(length, start + size))


def _taken(done: Preprocessing, shape: tuple[int, int], whole: bool) -> tuple[slice, slice]:
    """Return the rows and columns of the source that are resized."""
    if done.center_crop is not None:
        if done.center_crop > min(shape):
            raise ImageError(
                f"{shape[1]} x {shape[0]} pixels, smaller than the centre crop of {done.center_crop}. Take a "
                "smaller one, or larger images."
            )
        if whole:
            return _central(shape[0], REACH * done.center_crop), _central(shape[1], REACH * done.center_crop)
        return _central(shape[0], done.center_crop), _central(shape[1], done.center_crop)
    if done.crop_mode == "center":
        reach = REACH * min(shape)
        return _central(shape[0], reach), _central(shape[1], reach)
    return slice(0, shape[0]), slice(0, shape[1])


def _resized_to(done: Preprocessing, taken: tuple[int, int], whole: bool) -> tuple[int, int]:
    """Return (height, width) after the resize."""
    height, width = taken
    if done.center_crop is not None:
        crop = done.center_crop if whole else taken[0]
        return height * done.image_size // crop, width * done.image_size // crop
    if done.crop_mode == "squash":
        return done.resize, done.resize
    if done.crop_mode == "border":
        ratio = max(taken) / done.resize
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    shorter = min(taken)
    return height * done.resize // shorter, width * done.resize // shorter
