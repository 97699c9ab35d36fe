"""Small real image files, and a backbone that runs in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.backbones.options import BackboneSpec
from embedkit.images.options import Overrides


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes n small JPEGs, in classes if asked, and gives their folder."""

    def make(n: int = 12, *, classes: int = 0, name: str = "images") -> Path:
        random = np.random.default_rng(0)
        for i in range(n):
            folder = tmp_path / name / (f"class{i % classes}" if classes else "")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:04d}.jpg")
        return tmp_path / name

    return make


@pytest.fixture
def tiny() -> BackboneSpec:
    """timm's miniature ViT with random weights, at 32 px input."""
    return BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))
