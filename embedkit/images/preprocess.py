"""Decoded pixels to model input: crop, resize, normalise, as the backbone was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
    """

    image_size: int
    resize: int
    center_crop: int | None = None
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

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

    def changed(self, by: Overrides) -> Preprocessing:
        """Return it with changes; the crop ratio is kept when only the input size changes."""
        changes: dict[str, Any] = {key: value for key, value in asdict(by).items() if value is not None}
        if by.image_size is not None and by.resize is None:
            changes["resize"] = max(round(self.resize * by.image_size / self.image_size), by.image_size)
        return replace(self, **changes)

    def frame(self, pixels: NDArray[np.uint8], where: str) -> Image.Image:
        """Resize the whole image so that the region of interest is the central `image_size` square.

        Parameters
        ----------
        pixels : (h, w, 3) uint8
        where
            What an error message names.
        """
        height, width = pixels.shape[:2]
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
        return (
            image if size == image.size else image.resize(size, Image.Resampling[self.interpolation.upper()])
        )

    def __call__(self, pixels: NDArray[np.uint8], where: str = "image") -> NDArray[np.uint8]:
        """Return the model input before normalisation, as (s, s, 3) uint8."""
        # Cropping first keeps pixels outside the crop from leaking in through the resize kernel.
        pixels = crop(pixels, self.center_crop)
        return center(np.asarray(self.frame(pixels, where)), self.image_size)

    def normalize(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn (b, s, s, 3) uint8 into (b, 3, s, s) float32 with the backbone's mean and std."""
        mean = torch.tensor(self.mean, device=batch.device) * 255
        std = torch.tensor(self.std, device=batch.device) * 255
        return batch.permute(0, 3, 1, 2).float().sub_(mean[:, None, None]).div_(std[:, None, None])

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps."""
        return asdict(self)


def from_timm(config: Mapping[str, Any], *, crop_ratio: float | None = None) -> Preprocessing:
    """Read a resolved timm data configuration; `crop_ratio` replaces its ``crop_pct``."""
    _, height, width = config["input_size"]
    if height != width:
        raise UsageError(f"the backbone takes {height} x {width} input; give a square --image-size.")
    ratio = crop_ratio or config.get("crop_pct") or 1.0
    return Preprocessing(
        image_size=height,
        resize=max(int(height / ratio), height),
        interpolation=str(config.get("interpolation", "bicubic")),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
