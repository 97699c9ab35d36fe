"""What the views of an extraction draw, on a few of the images."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.errors import EmbedkitError
from embedkit.files.store import FeatureFile
from embedkit.images.decode import THUMBNAIL_TYPE, decode, thumbnail
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing, preprocessing_of
from embedkit.images.views import make_views
from embedkit.strict_json import UndeclaredError

IMAGES, VIEWS = 5, 7
SIDE, GAP = 96, 6
# Larger inputs would take seconds and memory for a picture of 96 pixels.
LARGEST_INPUT = 1024


@dataclass(frozen=True)
class ViewSheet:
    """A picture: a row an image, the image itself and then its views.

    Parameters
    ----------
    ids
        Of the images.
    n_columns
        Pictures in a row.
    data
        Address of the picture, which holds it; `SIDE` pixels a side and `GAP` between.
    name, seed
        Of the views.
    dataset
        Of the images.
    file
        Name of the feature file.
    """

    ids: tuple[str, ...]
    n_columns: int
    data: str
    name: str
    seed: int | None
    dataset: str
    file: str


def view_sheet(
    file: FeatureFile, images: Callable[[], Dataset], say: Callable[[str], None]
) -> ViewSheet | None:
    """Draw what the views of a file drew; None where it has one view an image, or no images are there.

    Parameters
    ----------
    file
        Open.
    images
        Opens its dataset.
    say
        Is told why there is no picture where there should be one.
    """
    record = file.made.extraction
    if record is None or file.n_views < 2:
        return None
    try:
        views, how = ViewSet.parse(record.views.name), preprocessing_of(record.preprocessing)
        if max(how.image_size, how.resize) > LARGEST_INPUT:
            return None
        found = images()
        rows, ids = _some(file, found)
        drawn = [_row(found, row, how, views, record.views.seed or 0) for row in rows]
    except (EmbedkitError, OSError, UndeclaredError) as error:
        say(f"No picture of the views. {error}")
        return None
    if not drawn:
        return None
    sheet = _joined(drawn)
    data = f"data:{THUMBNAIL_TYPE};base64,{base64.b64encode(thumbnail(sheet, max(sheet.shape))).decode()}"
    seed = record.views.seed if views.kind == "galaxy" else None
    return ViewSheet(tuple(ids), len(drawn[0]), data, views.name, seed, file.dataset_name, file.path.name)


def _some(file: FeatureFile, images: Dataset) -> tuple[list[int], list[str]]:
    """Return rows of the dataset, and their ids: of readable images of the file, spread evenly."""
    place = {str(name): row for row, name in enumerate(images.rows.ids)}
    known = [str(name) for name in file.rows.ids[file.ok] if str(name) in place]
    chosen = [known[i] for i in spread_rows(len(known), IMAGES)] if known else []
    return [place[name] for name in chosen], chosen


def _row(images: Dataset, row: int, how: Preprocessing, views: ViewSet, seed: int) -> list[NDArray[np.uint8]]:
    """Return the model's input of an image, and that of its first views, each (SIDE, SIDE, 3)."""
    where = images.where(row)
    pixels = decode(images.read(row), where, channels=how.channels)
    some = ViewSet(views.kind, min(views.n, VIEWS)) if views.kind == "galaxy" else views
    drawn = make_views(pixels, how, some, image_id=str(images.rows.ids[row]), seed=seed)
    return [_small(one) for one in (how(pixels, where), *drawn[:VIEWS])]


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(s, s, c) -> (SIDE, SIDE, 3): one channel is grey, and of many the first three are seen."""
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    return np.asarray(Image.fromarray(shown).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _joined(rows: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    step = SIDE + GAP
    sheet = np.zeros((len(rows) * step - GAP, len(rows[0]) * step - GAP, 3), np.uint8)
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            sheet[i * step : i * step + SIDE, j * step : j * step + SIDE] = pixels
    return sheet
