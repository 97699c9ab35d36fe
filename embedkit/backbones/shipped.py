"""The backbone that comes with embedkit: small, trained without labels, there where no hub is.

`weights/README.md` is its model card.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Shipped:
    """A backbone in the package.

    Parameters
    ----------
    architecture
        Its timm name.
    file
        fp16 safetensors in `FOLDER`.
    image_size
        Side of its input in pixels; an image is resized to that without a crop.
    center_crop
        Side of the middle of the images that it was trained on, in their pixels.
    layers
        Blocks that its features are of unless asked for others, as ``--layers`` takes them.
    """

    architecture: str
    file: str
    image_size: int
    center_crop: int
    layers: str

    @property
    def path(self) -> Path:
        """Where its weights lie."""
        return FOLDER / self.file


SHIPPED = {
    "embedkit-galaxy": Shipped(
        "vit_tiny_patch16_224",
        "embedkit-galaxy.fp16.safetensors",
        image_size=128,
        center_crop=256,
        layers="1",
    )
}
