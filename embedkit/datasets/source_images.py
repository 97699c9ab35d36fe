"""The images that a feature file was made from, found again through its provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import DATASETS, load_again
from embedkit.errors import EmbedkitError
from embedkit.files.provenance import Provenance
from embedkit.files.store import FeatureFile
from embedkit.images.decode import crop, decode


def find_dataset(
    made: Provenance, images: str | None = None, *, ids: Sequence[str] = (), where: str = "the feature file"
) -> Dataset:
    """Open the dataset that a feature file was made from.

    Parameters
    ----------
    made
        How the feature file was made.
    images
        Where the images lie now, if elsewhere: the folder or file that takes the place of the recorded
        one, or of the ``--path`` of a registered dataset.
    ids
        Of the feature file's rows: a folder in which the first of them all are missing is not listed.
    where
        Names the file in a message.

    Raises
    ------
    EmbedkitError
        Nothing recorded, or nothing there.
    """
    origin = made.origin
    if images is not None and origin.get("source") in DATASETS:
        origin["path"] = images
    elif images is not None:
        origin = {key: value for key, value in origin.items() if key not in ("source", "root", "path")}
        origin["source"] = images
    if "source" not in origin:
        if made.imported:
            raise EmbedkitError(f"{where}: its vectors were imported, so it knows of no images.")
        raise EmbedkitError(f"{where}: it doesn't record its dataset.")
    # The images alone: a table of labels may be gone by now.
    return load_again({key: value for key, value in origin.items() if key != "labels"}, ids, named=images)


@dataclass(frozen=True)
class SourceImages:
    """A dataset beside the rows of a feature file.

    Parameters
    ----------
    dataset
        Where the images are.
    place : (n,) int64
        Row in the dataset of each row of the file, found by id; -1 where it is gone.
    center_crop
        Side of the central square that the backbone was shown, in pixels of the source; None for all.
    """

    dataset: Dataset
    place: NDArray[np.int64]
    center_crop: int | None

    @classmethod
    def of(cls, file: FeatureFile) -> SourceImages:
        """Open the dataset that a file records.

        Raises
        ------
        EmbedkitError
            None is recorded, it is not there any more, or it holds none of the file's ids.
        """
        dataset = find_dataset(file.made, ids=file.rows.ids.tolist(), where=str(file.path))
        rows = {str(name): row for row, name in enumerate(dataset.rows.ids)}
        place = np.array([rows.get(str(name), -1) for name in file.rows.ids], dtype=np.int64)
        if (place < 0).all():
            raise EmbedkitError(f"{file.path}: none of its ids is in {dataset.name} any more.")
        return cls(dataset, place, file.made.center_crop)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """Return the image (h, w, 3) of a row of the file, cropped as the extraction did.

        Raises
        ------
        EmbedkitError
            It is gone or can't be read.
        """
        number = int(self.place[row])
        if number < 0:
            raise EmbedkitError(f"{self.dataset.name}: the image of row {row} is not there any more.")
        where = self.dataset.where(number)
        try:
            pixels = decode(self.dataset.read(number), where)
        except OSError as error:
            raise EmbedkitError(f"{where}: {error.strerror or error}.") from error
        return crop(pixels, self.center_crop)
