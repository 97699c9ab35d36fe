"""Decoded pixels to model input: crop, resize, normalise, as the backbone was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embedkit.errors import ImageError, UsageError
from embedkit.images.decode import center, crop
from embedkit.images.options import CROP_MODES, INTERPOLATIONS, Overrides
from embedkit.strict_json import of_shape

# What is resized reaches this many times as far as the final crop: enough for any rotated and shifted view,
# and an image of 8192 x 1 pixels doesn't become one of 400 million.
REACH = 8

# Of a configuration without one, as in timm.
DEFAULT_CROP_PCT = 0.875

# Fields that provenance has had only since another value than this was possible.
_YOUNGER = {"channels": 3, "crop_mode": "center"}
_OVERRIDES = frozenset(one.name for one in fields(Overrides))


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a square model input.

    With `center_crop`, the central square of that many source pixels is resized to `image_size`; otherwise
    `crop_mode` says what is resized to `resize`, and the central `image_size` square is taken. What is
    smaller than that is padded.

    Parameters
    ----------
    image_size
        Side of the model input in pixels.
    resize
        Length before the final crop, in pixels, of the side or sides that `crop_mode` names.
    center_crop
        Side of the central square of source pixels that is kept, or None.
    interpolation
        One of `embedkit.images.options.INTERPOLATIONS`; always antialiased.
    mean, std
        Per channel, of pixels in [0, 1].
    channels
        Of the model input. 3 are red, green and blue; 1 is their luma, as Pillow's ``L``; of other numbers
        the image itself must have as many.
    crop_mode
        ``center`` resizes the shorter side, so that the ends of an oblong image are cut off; ``squash`` both
        sides, so that it is distorted; ``border`` the longer side, and pads with the mean. As in timm.
    """

    image_size: int
    resize: int
    center_crop: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 3
    crop_mode: str = "center"
    crop_ratio: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f"unknown interpolation {self.interpolation!r}. Known: {', '.join(INTERPOLATIONS)}."
            )
        if self.crop_mode not in CROP_MODES:
            raise UsageError(f"unknown crop mode {self.crop_mode!r}. Known: {', '.join(CROP_MODES)}.")
        if min(self.image_size, self.resize) < 1:
            raise UsageError(f"image size {self.image_size} and resize {self.resize} must be 1 or more.")
        if self.center_crop is not None and self.center_crop < 1:
            raise UsageError(f"--center-crop {self.center_crop}: give a number of pixels, 1 or more.")
        if not all(0 < value < inf for value in self.std):
            raise UsageError(f"std {self.std} must be positive in every channel.")
        if not all(-inf < value < inf for value in self.mean):
            raise UsageError(f"mean {self.mean} must be a number in every channel.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise UsageError(f"{name} {values} has {len(values)} values for {self.channels} channels.")

    def changed(self, by: Overrides) -> Preprocessing:
        """Return it with changes; the crop ratio is kept when only the input size changes."""
        changes: dict[str, Any] = {key: value for key, value in asdict(by).items() if value is not None}
        for name in ("mean", "std"):
            if name in changes and self.channels != 3:
                changes[name] = self._for_all_channels(name, changes[name])
        if by.image_size is not None and by.resize is None:
            # Rounded down, as timm does, from the ratio as it is declared: 248 / 224 is no 1 / 0.9.
            changes["resize"] = (
                max(1, round(self.resize * by.image_size / self.image_size))
                if self.crop_ratio is None
                else int(by.image_size / self.crop_ratio)
            )
        changed = replace(self, **changes)
        if by.resize is not None and by.resize < changed.image_size:
            raise UsageError(
                f"resize {by.resize} is smaller than the model input of {changed.image_size} pixels. "
                f"Give --resize {changed.image_size} or more."
            )
        return changed

    def _for_all_channels(self, name: str, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) > 1:
            raise UsageError(
                f"--{name} gives red, green and blue, but the backbone takes {self.channels} channels. Give "
                "one number three times: it is used for every channel."
            )
        return values[:1] * self.channels

    def frame(self, pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """Resize the whole image so that the region of interest is the central `image_size` square.

        Parameters
        ----------
        pixels : (h, w, c) uint8
        where
            What an error message names.
        """
        if self.channels not in (1, pixels.shape[2]):
            raise ImageError(
                f"{where}: {pixels.shape[2]} channels, but the backbone takes {self.channels}. Take another."
            )
        if self.channels == 1:
            # Grey first and resized then, as timm does; three times the same, so that views need not care.
            pixels = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
        kernel = Image.Resampling[self.interpolation.upper()]
        if self.center_crop is not None:
            return self._cropped(pixels, where, kernel)
        height, width = pixels.shape[:2]
        shorter, longer = sorted((height, width))
        if self.crop_mode == "squash":
            framed = _resized(pixels, (self.resize, self.resize), kernel)
        elif self.crop_mode == "border":
            ratio = longer / self.resize
            size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
            framed = _resized(pixels, size, kernel)
        else:
            framed = _scaled(pixels, self.resize, shorter, kernel)
        return self._padded(framed)

    def _cropped(self, pixels: NDArray[np.uint8], where: str, kernel: int) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        assert self.center_crop is not None
        if self.center_crop > min(height, width):
            raise ImageError(
                f"{where}: {width} x {height} pixels, smaller than the centre crop of "
                f"{self.center_crop}. Take a smaller one, or larger images."
            )
        return _scaled(pixels, self.image_size, self.center_crop, kernel)

    def _padded(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pad what is smaller than the model input to its size: with the mean in `border`, else black."""
        missing = [max(0, self.image_size - length) for length in pixels.shape[:2]]
        if not any(missing):
            return pixels
        # The odd pixel comes after, as in torchvision and timm.
        (above, left), (height, width) = (length // 2 for length in missing), pixels.shape[:2]
        canvas = np.zeros((height + missing[0], width + missing[1], pixels.shape[2]), dtype=np.uint8)
        if self.crop_mode == "border":
            canvas[:] = [round(255 * value) for value in self.mean]
        canvas[above : above + height, left : left + width] = pixels
        return canvas

    def __call__(self, pixels: NDArray[np.uint8], where: str = "image") -> NDArray[np.uint8]:
        """Return the model input before normalisation: (s, s, c) uint8, and for one channel (s, s, 3)."""
        # Cropping first keeps pixels outside the crop from leaking in through the resize kernel.
        pixels = crop(pixels, self.center_crop)
        return center(self.frame(pixels, where), self.image_size)

    def normalize(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn (b, s, s, c) uint8 into (b, c, s, s) float32 with the backbone's mean and std."""
        mean = torch.tensor(self.mean, device=batch.device) * 255
        std = torch.tensor(self.std, device=batch.device) * 255
        batch = batch[..., : self.channels]
        return batch.permute(0, 3, 1, 2).float().sub_(mean[:, None, None]).div_(std[:, None, None])

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps; what is younger than a feature file had its default then."""
        kept = asdict(self)
        del kept["crop_ratio"]  # what came of it is there
        return {
            name: value for name, value in kept.items() if name not in _YOUNGER or value != _YOUNGER[name]
        }


def pictures_of(pixels: NDArray[np.uint8]) -> list[Image.Image]:
    """Make pictures of (h, w, c) pixels: of three channels one, of others one each."""
    if pixels.shape[2] == 3:
        return [Image.fromarray(pixels)]
    return [Image.fromarray(pixels[:, :, c]) for c in range(pixels.shape[2])]


def pixels_of(pictures: list[Image.Image]) -> NDArray[np.uint8]:
    """Return (h, w, c) pixels of what `pictures_of` made."""
    if len(pictures) == 1 and pictures[0].mode == "RGB":
        return np.asarray(pictures[0])
    return np.stack([np.asarray(picture) for picture in pictures], axis=2)


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int], kernel: int) -> NDArray[np.uint8]:
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return pixels_of([picture.resize(size, kernel) for picture in pictures_of(pixels)])


def _scaled(pixels: NDArray[np.uint8], target: int, source: int, kernel: int) -> NDArray[np.uint8]:
    """Scale so that `source` pixels become `target`, of what lies within reach of the centre."""
    pixels = center(pixels, REACH * source)
    # Rounded down, as torchvision does.
    return _resized(pixels, (pixels.shape[1] * target // source, pixels.shape[0] * target // source), kernel)


def from_timm(
    config: Mapping[str, Any], *, crop_ratio: float | None = None, image_size: int | None = None
) -> Preprocessing:
    """Read a resolved timm data configuration.

    Parameters
    ----------
    config
        As ``timm.data.resolve_data_config`` gives it.
    crop_ratio
        Replaces its ``crop_pct``.
    image_size
        The square input that takes the place of an oblong one.

    Raises
    ------
    UsageError
        The input is oblong, and no `image_size` was given.
    """
    channels, height, width = config["input_size"]
    if height != width:
        if image_size is None:
            raise UsageError(
                f"the backbone takes {height} x {width} input, and embedkit makes square ones. Give "
                f"--image-size {min(height, width)}."
            )
        height = image_size
    ratio = crop_ratio or config.get("crop_pct") or DEFAULT_CROP_PCT
    return Preprocessing(
        image_size=height,
        resize=int(height / ratio),
        interpolation=str(config.get("interpolation", "bicubic")),
        mean=_per_channel(config["mean"], channels),
        std=_per_channel(config["std"], channels),
        channels=channels,
        crop_mode=str(config.get("crop_mode") or "center"),
        crop_ratio=ratio,
    )


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Fit a mean or std to the channels: timm leaves red, green and blue in the configuration of others."""
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) * channels


def preprocessing_of(record: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that `Preprocessing.record` returned a record of.

    Raises
    ------
    UndeclaredError, UsageError
        It is of another shape, or holds what is no preprocessing.
    """
    return of_shape(dict(record), Preprocessing)


def overrides_of(record: Mapping[str, Any]) -> Overrides:
    """Return what gives a backbone the preprocessing that `Preprocessing.record` returned of it.

    Raises
    ------
    UndeclaredError, UsageError
        It is of another shape, or holds what is no preprocessing.
    """
    made = preprocessing_of(record)
    changes: dict[str, Any] = {name: getattr(made, name) for name in _OVERRIDES}
    if changes["center_crop"] is not None:
        del changes["resize"]
    for name in ("mean", "std"):
        # One number for all channels is given three times; more than that can't be asked for.
        values = tuple(changes[name])
        changes[name] = values if len(values) == 3 else values[:1] * 3 if len(set(values)) == 1 else None
    return Overrides(**changes)
