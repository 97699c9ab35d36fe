"""Decoded pixels to model input: crop, resize, normalise, as the backbone was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embedkit.errors import ImageError, UsageError
from embedkit.images.decode import center, crop
from embedkit.images.options import INTERPOLATIONS, Overrides

# What is resized reaches this many times as far as the final crop: enough for any rotated and shifted view,
# and an image of 8192 x 1 pixels doesn't become one of 400 million.
_REACH = 8

# Fields that provenance has had only since another value than this was possible.
_YOUNGER = {"channels": 3}
_OVERRIDES = frozenset(one.name for one in fields(Overrides))


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a square model input.

    With `center_crop`, the central square of that many source pixels is resized to `image_size`; otherwise
    the shorter side is resized to `resize` and the central `image_size` square is taken.

    Parameters
    ----------
    image_size
        Side of the model input in pixels.
    resize
        Length of the shorter side before the final crop, in pixels; at least `image_size`.
    center_crop
        Side of the central square of source pixels that is kept, or None.
    interpolation
        One of `embedkit.images.options.INTERPOLATIONS`; always antialiased.
    mean, std
        Per channel, of pixels in [0, 1].
    channels
        Of the model input. 3 are red, green and blue; 1 is their luma, as Pillow's ``L``; of other numbers
        the image itself must have as many.
    """

    image_size: int
    resize: int
    center_crop: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 3

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f"unknown interpolation {self.interpolation!r}. Known: {', '.join(INTERPOLATIONS)}."
            )
        if self.image_size < 1 or self.resize < self.image_size:
            raise UsageError(
                f"resize {self.resize} is smaller than the model input of {self.image_size} pixels. "
                f"Give --resize {self.image_size} or more."
            )
        if self.center_crop is not None and self.center_crop < 1:
            raise UsageError(f"--center-crop {self.center_crop}: give a number of pixels, 1 or more.")
        if min(self.std) <= 0:
            raise UsageError(f"std {self.std} must be positive in every channel.")
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
            changes["resize"] = max(round(self.resize * by.image_size / self.image_size), by.image_size)
        return replace(self, **changes)

    def _for_all_channels(self, name: str, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) > 1:
            raise UsageError(
                f"--{name} gives red, green and blue, but the backbone takes {self.channels} channels. Give "
                "one number three times: it is used for every channel."
            )
        return values[:1] * self.channels

    def frame(self, pixels: NDArray[np.uint8], where: str) -> Image.Image:
        """Resize the whole image so that the region of interest is the central `image_size` square.

        Parameters
        ----------
        pixels : (h, w, 3) uint8
        where
            What an error message names.
        """
        height, width = pixels.shape[:2]
        if self.channels not in (1, 3):
            raise ImageError(
                f"{where}: {pixels.shape[2]} channels, but the backbone takes {self.channels}. Give another "
                "--backbone."
            )
        shorter = min(height, width)
        if self.center_crop is None:
            target, source = self.resize, shorter
        else:
            if self.center_crop > shorter:
                raise ImageError(
                    f"{where}: {width} x {height} pixels, smaller than the centre crop of "
                    f"{self.center_crop}. Give a smaller --center-crop."
                )
            target, source = self.image_size, self.center_crop
        pixels = center(pixels, _REACH * source)
        # Rounded down, as torchvision does.
        size = (pixels.shape[1] * target // source, pixels.shape[0] * target // source)
        image = Image.fromarray(pixels)
        if self.channels == 1:
            # Grey first and resized then, as timm does; three times the same, so that views need not care.
            image = image.convert("L").convert("RGB")
        return (
            image if size == image.size else image.resize(size, Image.Resampling[self.interpolation.upper()])
        )

    def __call__(self, pixels: NDArray[np.uint8], where: str = "image") -> NDArray[np.uint8]:
        """Return the model input before normalisation, as (s, s, 3) uint8."""
        # Cropping first keeps pixels outside the crop from leaking in through the resize kernel.
        pixels = crop(pixels, self.center_crop)
        return center(np.asarray(self.frame(pixels, where)), self.image_size)

    def normalize(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn (b, s, s, 3) uint8 into (b, c, s, s) float32 with the backbone's mean and std."""
        mean = torch.tensor(self.mean, device=batch.device) * 255
        std = torch.tensor(self.std, device=batch.device) * 255
        batch = batch[..., : self.channels]
        return batch.permute(0, 3, 1, 2).float().sub_(mean[:, None, None]).div_(std[:, None, None])

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps; what is younger than a feature file had its default then."""
        kept = asdict(self)
        return {
            name: value for name, value in kept.items() if name not in _YOUNGER or value != _YOUNGER[name]
        }


def from_timm(config: Mapping[str, Any], *, crop_ratio: float | None = None) -> Preprocessing:
    """Read a resolved timm data configuration; `crop_ratio` replaces its ``crop_pct``."""
    channels, height, width = config["input_size"]
    if height != width:
        raise UsageError(f"the backbone takes {height} x {width} input; give a square --image-size.")
    ratio = crop_ratio or config.get("crop_pct") or 1.0
    return Preprocessing(
        image_size=height,
        resize=max(int(height / ratio), height),
        interpolation=str(config.get("interpolation", "bicubic")),
        mean=_per_channel(config["mean"], channels),
        std=_per_channel(config["std"], channels),
        channels=channels,
    )


def _per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Fit a mean or std to the channels: timm leaves red, green and blue in the configuration of others."""
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) * channels


def overrides_of(record: Mapping[str, Any]) -> Overrides:
    """Return what gives a backbone the preprocessing that `Preprocessing.record` returned of it."""
    changes = {name: value for name, value in record.items() if name in _OVERRIDES}
    if changes["center_crop"] is not None:
        del changes["resize"]
    for name in ("mean", "std"):
        # One number for all channels is given three times; more than that can't be asked for.
        values = tuple(changes[name])
        changes[name] = values if len(values) == 3 else values[:1] * 3 if len(set(values)) == 1 else None
    return Overrides(**changes)
