import base64
import io

import numpy as np
from PIL import Image

from embedkit.datasets.load import load_dataset
from reports.map.thumbnails import read_thumbnails


def test_a_picture_shows_what_the_backbone_saw(tmp_path):
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[30:60, 45:75] = 255  # the central 30 px are white, the rest is black
    Image.fromarray(pixels).save(tmp_path / "a.png")
    dataset = load_dataset(str(tmp_path))
    whole = read_thumbnails(dataset, ["a.png"], [0], size=30)
    central = read_thumbnails(dataset, ["a.png"], [0], size=30, center_crop=30)
    assert whole.brightness[0] < 30
    assert central.brightness[0] == 255
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(central.pictures[0]))).convert("L"))
    assert picture.shape == (30, 30)
    assert picture.min() > 240
    # A crop larger than the image shows the image.
    assert read_thumbnails(dataset, ["a.png"], [0], size=30, center_crop=100).brightness == whole.brightness
