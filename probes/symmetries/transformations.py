"""Each transformation as a pair of pictures of one image: transformed, and as it is but with the same traces.

A network sees how an image was resampled, where its corners are black and where its values were cut off. So
the untransformed half goes through what the other half goes through, with parameters that come to nothing:
turned on and back, softened by the same kernel, shown through the same window. What is left to be seen is
what the images themselves are like.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import center
from embedkit.images.preprocess import Preprocessing, pictures_of, pixels_of
from embedkit.images.views import blur

Pixels = NDArray[np.uint8]

# Angles nearer to none than this are no turn.
LEAST_ANGLE = math.radians(15)
ZOOM = 1.25
SHIFT = 0.125  # of the window's side
BLUR = 2.0  # times as soft
# Both halves darker than the image, so that neither is cut off at white.
DARK, BRIGHT = 0.72, 0.96
SOFTNESS = 1.5
# Of the frame: what the bicubic kernel and a jitter of half a pixel reach.
_REACH = 3


@dataclass(frozen=True)
class Frame:
    """One image as a square that is as large as the model input or larger.

    Parameters
    ----------
    pixels : (S, S, c) uint8
    size
        Side of the model input.
    softness
        Standard deviation in pixels of a Gaussian that hides the grid which the image was sampled on, and
        how it was interpolated: 1.5 pixels of the source, and at least of the frame.
    """

    pixels: Pixels
    size: int
    softness: float

    @classmethod
    def of(cls, pixels: Pixels, preprocessing: Preprocessing, where: str, *, across: bool = False) -> Frame:
        """Take the central square first: padding or squashing would tell which way an oblong image was.

        Pillow resizes rows, rounds, and then resizes columns, which tells them apart. `across` has it begin
        with the columns.
        """
        square = center(pixels, min(pixels.shape[:2]))
        if across:
            square = np.ascontiguousarray(square.swapaxes(0, 1))
        framed = preprocessing.frame(square, where)
        framed = np.ascontiguousarray(framed.swapaxes(0, 1)) if across else framed
        framed = center(framed, min(framed.shape[:2]))
        side = len(framed)
        softness = SOFTNESS * max(1, side / len(square))
        return cls(framed, preprocessing.image_size, min(softness, max(SOFTNESS, side / 32)))

    @property
    def shown(self) -> Pixels:
        """(s, s, c): the model input as an extraction has it."""
        return center(self.pixels, self.size)

    def softened(self, sigma: float) -> Frame:
        """Blur by a Gaussian of `sigma` pixels."""
        values = blur(self.pixels.astype(np.float32), sigma)
        return Frame(np.clip(np.rint(values), 0, 255).astype(np.uint8), self.size, self.softness)

    def room(self, sigma: float, *, turned: bool = False) -> float:
        """Side of the central square that the frame's own edges don't reach into, turned or not."""
        whole = len(self.pixels) - 2 * (math.ceil(2 * sigma) + _REACH)
        return min(self.size, whole / math.sqrt(2) if turned else whole)

    def resampled(
        self, size: int, *, side: float, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)
    ) -> Frame:
        """Show the square of `side` pixels around the centre, turned and shifted, at `size` pixels."""
        scale, half = side / size, size / 2
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        middle = len(self.pixels) / 2
        x, y = middle + shift[0], middle + shift[1]
        data = (cos, -sin, x - cos * half + sin * half, sin, cos, y - sin * half - cos * half)
        affine, kernel = Image.Transform.AFFINE, Image.Resampling.BICUBIC
        drawn = [
            picture.transform((size, size), affine, data, kernel) for picture in pictures_of(self.pixels)
        ]
        return Frame(pixels_of(drawn), self.size, self.softness)

    def jittered(
        self, random: np.random.Generator, *, side: float, shift: tuple[float, float] = (0.0, 0.0)
    ) -> Pixels:
        """Move by part of a pixel and back, which resamples as much in either half; then show a window."""
        x, y = random.uniform(-0.5, 0.5, size=2)
        whole = len(self.pixels)
        moved = self.resampled(whole, side=whole, shift=(x, y))
        return moved.resampled(self.size, side=side, shift=(shift[0] - x, shift[1] - y)).pixels


Picture = Callable[[Frame, np.random.Generator, bool], Pixels]


@dataclass(frozen=True)
class Transformation:
    """One thing that may be done to images.

    Parameters
    ----------
    words
        What images mind or don't, such as ``being mirrored``.
    picture
        Frame, generator, and whether it is to be transformed -> (s, s, c) uint8.
    """

    words: str
    picture: Picture


def _quarter(frame: Frame, random: np.random.Generator, transformed: bool) -> Pixels:
    turns = int(random.choice([1, 3]))
    return np.rot90(frame.shown, turns) if transformed else frame.shown


def _half(frame: Frame, _: np.random.Generator, transformed: bool) -> Pixels:
    return np.rot90(frame.shown, 2) if transformed else frame.shown


def _mirror(frame: Frame, _: np.random.Generator, transformed: bool) -> Pixels:
    return frame.shown[:, ::-1] if transformed else frame.shown


def _angle(frame: Frame, random: np.random.Generator, transformed: bool) -> Pixels:
    first = random.uniform(0, 2 * math.pi)
    angle = random.uniform(LEAST_ANGLE, 2 * math.pi - LEAST_ANGLE)
    side, whole = frame.room(frame.softness, turned=True), len(frame.pixels)
    turned = frame.softened(frame.softness).resampled(whole, side=whole, angle=first)
    return turned.resampled(frame.size, side=side, angle=angle * transformed - first).pixels


def _zoom(frame: Frame, random: np.random.Generator, transformed: bool) -> Pixels:
    # As soft in the picture that comes out: enlarging enlarges the kernel too.
    soft = frame.softness * ZOOM
    side = frame.room(soft)
    if transformed:
        return frame.softened(frame.softness).jittered(random, side=side / ZOOM)
    return frame.softened(soft).jittered(random, side=side)


def _shift(frame: Frame, random: np.random.Generator, transformed: bool) -> Pixels:
    direction = random.uniform(0, 2 * math.pi)
    side = min(frame.size, frame.room(frame.softness) / (1 + 2 * SHIFT))
    far = SHIFT * side * transformed
    shift = (far * math.cos(direction), far * math.sin(direction))
    return frame.softened(frame.softness).jittered(random, side=side, shift=shift)


def _brightness(frame: Frame, _: np.random.Generator, transformed: bool) -> Pixels:
    values = np.rint(frame.shown * np.float32(BRIGHT if transformed else DARK))
    return np.asarray(values, dtype=np.uint8)


def _blur(frame: Frame, random: np.random.Generator, transformed: bool) -> Pixels:
    most = BLUR * frame.softness
    soft = frame.softened(most if transformed else frame.softness)
    return soft.jittered(random, side=frame.room(most))


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "quarter-turn": Transformation("being turned by a quarter", _quarter),
    "half-turn": Transformation("being turned by a half", _half),
    "angle": Transformation("being turned by any angle", _angle),
    "mirror": Transformation("being mirrored, left to right", _mirror),
    "zoom": Transformation("being enlarged by a quarter", _zoom),
    "shift": Transformation("being shifted by an eighth", _shift),
    "brightness": Transformation("being made a third brighter", _brightness),
    "blur": Transformation("being blurred", _blur),
}


def key_of(image_id: str) -> int:
    """Return a number that stands for an image in the seeds of what is random."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")


def pictures(frame: Frame, transformed: NDArray[np.bool_], *, key: int, seed: int) -> Pixels:
    """Return one picture a transformation (t, s, s, c), transformed or not.

    What is random depends on `seed`, the image's `key` and the transformation alone, not on which half it is
    in.
    """
    return np.stack(
        [
            one.picture(frame, np.random.default_rng([seed, key, number]), bool(transformed[number]))
            for number, one in enumerate(TRANSFORMATIONS.values())
        ]
    )
