"""Images that tests of training with labels share."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A table of sixty small images, red and green, at places on the sky."""
    folder = tmp_path_factory.mktemp("colours")
    random, lines = np.random.default_rng(0), []
    for channel, name in enumerate(("red", "green")):
        (folder / name).mkdir()
        for i in range(30):
            pixels = random.integers(0, 200, (40, 40, 3), dtype=np.uint8)
            pixels[..., channel] += 30
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
            lines.append(f"{name}/{i:02}.png,{name},{random.random() * 360},{random.random() * 90}")
    (folder / "all.csv").write_text("\n".join(["file,label,ra,dec", *lines]) + "\n")
    return folder / "all.csv"
