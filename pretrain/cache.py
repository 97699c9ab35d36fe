"""Decode a dataset once into memory, at the size that the views need."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from embedkit import console
from embedkit.computing.memory import check_memory
from embedkit.datasets.dataset import Dataset
from embedkit.errors import ImageError
from embedkit.images.decode import center, decode
from embedkit.images.preprocess import Preprocessing

MARGIN = 1.6  # a turned and zoomed out view of the region reaches this far


def read_frames(dataset: Dataset, preprocessing: Preprocessing) -> torch.Tensor:
    """Return (n, 3, h, h) uint8; the region of interest is the central `image_size` square.

    Raises
    ------
    EmbedkitError
        More than there is memory for, or an image that can't be read.
    """
    first = _frame(dataset, 0, preprocessing, None)
    side = first.shape[0]
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's: each holds all images
    check_memory(
        len(dataset) * 3 * side * side * processes,
        f"{dataset.name}: {len(dataset):,} images, decoded to {side} x {side} pixels and held all at once,",
        "Give a smaller --image-size, or fewer images.",
    )
    frames = np.empty((len(dataset), 3, side, side), np.uint8)

    def fill(row: int) -> None:
        frames[row] = _frame(dataset, row, preprocessing, side).transpose(2, 0, 1)

    with (
        ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
        console.progress("decode", len(dataset), unit="images") as advance,
    ):
        for _ in pool.map(fill, range(len(dataset))):
            advance()
    return torch.from_numpy(frames)


def _frame(dataset: Dataset, row: int, preprocessing: Preprocessing, side: int | None) -> np.ndarray:
    where = dataset.where(row)
    try:
        pixels = preprocessing.frame(decode(dataset.read(row), where, channels=preprocessing.channels), where)
    except ImageError as error:
        raise ImageError(
            f"{error} Training leaves no image out: mend this one, or take it out of the dataset."
        ) from error
    target = side or min(int(MARGIN * preprocessing.image_size), *pixels.shape[:2])
    pixels = center(pixels, target)
    pad = [(max(0, target - length)) for length in pixels.shape[:2]]
    if any(pad):
        pixels = np.pad(
            pixels, ((pad[0] // 2, pad[0] - pad[0] // 2), (pad[1] // 2, pad[1] - pad[1] // 2), (0, 0)), "edge"
        )
    return pixels
