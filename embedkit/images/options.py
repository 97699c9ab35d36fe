"""How images are prepared and which views are made of them, as asked for; imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedkit.errors import UsageError
from embedkit.options import check, option

CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
GROUP = "preprocessing (default: the backbone's own)"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What to change in a backbone's own preprocessing; None keeps the backbone's value.

    Parameters
    ----------
    image_size, resize, center_crop, crop_mode, interpolation, mean, std
        See `embedkit.images.preprocess.Preprocessing`.

    Raises
    ------
    UsageError
        A value out of range, or a `resize` beside a `center_crop`.
    """

    center_crop: int | None = option(
        None, "keep the central PX source pixels", least=1, metavar="PX", group=GROUP
    )
    image_size: int | None = option(None, "side of the model input", least=1, metavar="PX", group=GROUP)
    resize: int | None = option(
        None, "shorter side before the final crop", least=1, metavar="PX", group=GROUP
    )
    crop_mode: str | None = option(
        None,
        "of an oblong image: cut off its ends, squash it, or fit it in and pad",
        choices=CROP_MODES,
        group=GROUP,
    )
    interpolation: str | None = option(None, "how it is resized", choices=INTERPOLATIONS, group=GROUP)
    mean: tuple[float, float, float] | None = option(
        None, "of pixels in [0, 1]", metavar="R G B", group=GROUP
    )
    std: tuple[float, float, float] | None = option(
        None, "of pixels in [0, 1]", above=0, metavar="R G B", group=GROUP
    )

    def __post_init__(self) -> None:
        check(self)
        if self.center_crop is not None and self.resize is not None:
            raise UsageError("--resize and --center-crop exclude each other: the crop fixes the scale.")
        if self.center_crop is not None and self.crop_mode not in (None, "center"):
            raise UsageError(
                f"--crop-mode {self.crop_mode} and --center-crop exclude each other: the crop is a square."
            )


@dataclass(frozen=True)
class ViewSet:
    """Which views are made of each image.

    Parameters
    ----------
    kind
        ``1`` (the image as it is), ``rot4`` (four quarter turns), ``d4`` (the eight symmetries of the
        square) or ``galaxy`` (random views).
    n
        Views an image.
    """

    kind: str
    n: int

    @classmethod
    def parse(cls, text: str) -> ViewSet:
        """Read ``1``, ``rot4``, ``d4`` or ``galaxy:N``."""
        exact = {"1": cls("1", 1), "rot4": cls("rot4", 4), "d4": cls("d4", 8)}
        if text in exact:
            return exact[text]
        match = re.fullmatch(r"galaxy:(\d+)", text)
        if match and int(match[1]) >= 2:
            return cls("galaxy", int(match[1]))
        raise UsageError(f"--views {text}: give 1, rot4, d4 or galaxy:N with N at least 2.")

    @property
    def name(self) -> str:
        """The text that `parse` reads."""
        return f"galaxy:{self.n}" if self.kind == "galaxy" else self.kind
