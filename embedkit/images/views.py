"""Several views of one image: exact symmetries of the square, or random galaxy views."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import center
from embedkit.images.noise import normal, normal_table
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing, pictures_of, pixels_of

# The ranges of a random galaxy view: what cannot change a galaxy's class, at 224 px input.
SHIFT_PX = 4.0
SCALE = (0.8, 1.2)
BRIGHTNESS = (0.85, 1.15)
BLUR_SIGMA_PX = 1.0
NOISE_STD = 3.0  # of 255
# Views that a process draws by Pillow before others are compiled: for less, that takes longer than it saves.
COMPILED_FROM = 3000


def make_views(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, views: ViewSet, *, image_id: str, seed: int
) -> NDArray[np.uint8]:
    """Return the views of one image as (v, s, s, c) uint8.

    Random views depend on `seed`, `image_id` and the number of the view alone, so any order, worker or
    resumed run draws the same ones, and galaxy:2 is the first two of galaxy:12.
    """
    if views.kind == "galaxy":
        size = preprocessing.image_size
        frame = _reflect(preprocessing.frame(pixels, image_id), reach_of(size))
        # Each picture is made once, not once a view.
        source = _Frame(pictures_of(frame), (frame.shape[1] / 2, frame.shape[0] / 2), size)
        draws = [Draw.of(size, image_id, seed, view) for view in range(views.n)]
        return np.stack([*map(_QUICK.way(source, draws), draws)])
    base = preprocessing(pixels, image_id)
    if views.kind == "1":
        return base[None]
    turns = [np.rot90(base, turn) for turn in range(4)]
    if views.kind == "d4":
        turns += [turned[:, ::-1] for turned in turns]
    return np.stack(turns)


@dataclass(frozen=True)
class Draw:
    """What is random in one view of a galaxy.

    Parameters
    ----------
    affine
        (a, b, d, e): from the model input to the frame, around the middle of both.
    shift
        Of the middle in pixels, (x, y).
    brightness, sigma, noise_std
        Factor, pixels, and levels of 255.
    key : (2,) int32
        Of the noise.
    """

    affine: tuple[float, float, float, float]
    shift: tuple[float, float]
    brightness: float
    sigma: float
    noise_std: float
    key: NDArray[np.int32]

    @classmethod
    def of(cls, size: int, image_id: str, seed: int, view: int) -> Draw:
        """Draw the view of that number of an image, for a model input of `size` pixels."""
        digest = hashlib.sha256(image_id.encode()).digest()[:8]
        # As default_rng of these numbers and eight calls of uniform, in a third of the time: threads draw
        # views for a GPU one after the other, because all of this holds the interpreter's lock.
        words = [*_words(seed), *_words(int.from_bytes(digest, "little")), *_words(view)]
        random = np.random.Generator(np.random.PCG64(np.array(words, np.uint32)))
        angle, zoom, flip, x, y, brightness, sigma, noise_std = random.random(8).tolist()
        zoom = math.exp(_between(math.log(SCALE[0]), math.log(SCALE[1]), zoom))
        flip = -1.0 if flip < 0.5 else 1.0
        shift = _between(-SHIFT_PX, SHIFT_PX, x) * size / 224, _between(-SHIFT_PX, SHIFT_PX, y) * size / 224
        angle = _between(0, 2 * math.pi, angle)
        cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
        return cls(
            (cos * flip, -sin, sin * flip, cos),
            shift,
            _between(*BRIGHTNESS, brightness),
            _between(0, BLUR_SIGMA_PX, sigma) * size / 224,
            _between(0, NOISE_STD, noise_std),
            random.integers(-(2**31), 2**31, 2, dtype=np.int32),
        )

    def coefficients(
        self, size: int, middle: tuple[float, float]
    ) -> tuple[float, float, float, float, float, float]:
        """Return Pillow's (a, b, c, d, e, f) from a model input to a frame with its middle at (x, y)."""
        (a, b, d, e), half = self.affine, size / 2
        c = middle[0] + self.shift[0] - a * half - b * half
        f = middle[1] + self.shift[1] - d * half - e * half
        return a, b, c, d, e, f


def _words(number: int) -> list[int]:
    """Cut a number into words of 32 bits, the lowest first, as numpy's SeedSequence does."""
    words = [number & 0xFFFFFFFF]
    while number := number >> 32:
        words.append(number & 0xFFFFFFFF)
    return words


def _between(low: float, high: float, uniform: float) -> float:
    return low + (high - low) * uniform


def reach_of(size: int) -> int:
    """Pixels from the centre beyond which no view reaches, rotated, zoomed out and shifted."""
    return math.ceil(size * (math.sqrt(0.5) / SCALE[0] + 2 * SHIFT_PX / 224))


@dataclass(frozen=True)
class _Frame:
    """What the views of one image are drawn from: its pictures, their middle, and a view's side in pixels."""

    pictures: list[Image.Image]
    middle: tuple[float, float]
    size: int

    def by_pillow(self, draw: Draw) -> NDArray[np.uint8]:
        """Draw a view."""
        # One affine resampling straight from the frame, so that corners show real sky where there is some.
        side, data = (self.size, self.size), draw.coefficients(self.size, self.middle)
        affine, kernel = Image.Transform.AFFINE, Image.Resampling.BICUBIC
        drawn = pixels_of([picture.transform(side, affine, data, kernel) for picture in self.pictures])
        values = blur(drawn.astype(np.float32), draw.sigma) * np.float32(draw.brightness)
        values += normal(draw.key, values.size).reshape(values.shape) * np.float32(draw.noise_std)
        rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return rounded

    def compiled(self) -> Callable[[Draw], NDArray[np.uint8]]:
        """Return what draws the same views by compiled code, but for those that meet an edge."""
        from embedkit.images.compiled_views import canvas_for, compiled_view, lies_within

        canvas, size = canvas_for(self.pictures[0]), self.size

        def view(one: Draw) -> NDArray[np.uint8]:
            affine = one.coefficients(size, self.middle)
            if not lies_within(affine, size, canvas.shape):
                return self.by_pillow(one)
            strengths = np.float32(one.brightness), np.float32(one.noise_std)
            key = one.key.view(np.uint32)
            return compiled_view(canvas, affine, size, taps(one.sigma), strengths, key, normal_table())

        return view

    def agrees(self, draws: Sequence[Draw]) -> bool | None:
        """Whether compiled views are Pillow's; None where all of them meet an edge, and so say nothing."""
        try:
            from embedkit.images.compiled_views import lies_within

            view, shape = self.compiled(), (self.pictures[0].height, self.pictures[0].width)
            pairs = [
                (view(one), self.by_pillow(one))
                for one in draws
                if lies_within(one.coefficients(self.size, self.middle), self.size, shape)
            ]
        except Exception:
            # No compiler for this machine, or nowhere to keep what it makes: Pillow draws the same, slower.
            return False
        return all(np.array_equal(*pair) for pair in pairs) if pairs else None


class _Quick:
    """Views that are compiled, once this process has drawn many, if they are Pillow's to the last bit."""

    def __init__(self) -> None:
        self._n = 0
        self._same: bool | None = None
        self._deciding = threading.Lock()

    def way(self, frame: _Frame, draws: Sequence[Draw]) -> Callable[[Draw], NDArray[np.uint8]]:
        """Return what draws these views of a frame."""
        self._n += len(draws)
        if self._n <= COMPILED_FROM or self._same is False or frame.pictures[0].mode != "RGB":
            return frame.by_pillow
        with self._deciding:
            if self._same is None:
                self._same = frame.agrees(draws)
        return frame.compiled() if self._same else frame.by_pillow


_QUICK = _Quick()


def taps(sigma: float) -> NDArray[np.float32]:
    """Return the weights of a Gaussian of `sigma` pixels, cut at three sigma."""
    if sigma < 0.2:  # under a fifth of a pixel the outer taps fall below 1e-5
        return np.ones(1, np.float32)
    radius = math.ceil(3 * sigma)
    found = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    found /= found.sum()
    return found


def blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Convolve (h, w, c) with a Gaussian; edges repeat."""
    weights = taps(sigma)
    if len(weights) == 1:
        return values
    radius = len(weights) // 2
    for axis in (0, 1):
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.pad(values, pad, mode="edge")
        size = values.shape[axis]
        values = np.zeros_like(values)
        for i, tap in enumerate(weights):
            values += tap * (padded[i : i + size] if axis == 0 else padded[:, i : i + size])
    return values


def _reflect(pixels: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Crop or mirror-pad so that `reach` pixels lie on every side of the centre."""
    height, width = pixels.shape[:2]
    pad_y, pad_x = max(0, reach - height // 2), max(0, reach - width // 2)
    if pad_y or pad_x:
        # As numpy.pad of the pixels, in two thirds of its time.
        rows, columns = (
            np.pad(np.arange(length), (pad, pad), mode="symmetric")
            for length, pad in ((height, pad_y), (width, pad_x))
        )
        pixels = pixels.take(columns, axis=1).take(rows, axis=0)
    side = 2 * reach + pixels.shape[0] % 2
    return pixels if min(pixels.shape[:2]) <= side else center(pixels, side)
