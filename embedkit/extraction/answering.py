"""What a trained network says of the images of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.saved_network import SavedNetwork
from embedkit.computing.memory import check_memory
from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError, ImageError
from embedkit.images.decode import decode
from embedkit.images.preprocess import Preprocessing


@dataclass(frozen=True)
class Answers:
    """What a network says.

    Parameters
    ----------
    outputs : (n, c) or (n, t) float64
        Probabilities of classes, not calibrated, or targets; NaN where the image could not be read.
    errors : (n,)
        Why an image could not be read; empty where it could.
    """

    outputs: NDArray[np.float64]
    errors: tuple[str, ...]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) whether the image could be read."""
        return np.array([not error for error in self.errors], bool)


def ask(
    saved: SavedNetwork,
    dataset: Dataset,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    batch_size: int = 64,
    skip: bool | None = None,
) -> Answers:
    """Ask a network about some images of a dataset, in float32.

    Parameters
    ----------
    rows : (n,)
        Which images.
    skip
        Leave out images that can't be read, instead of ending; None where the caller offers no such choice.

    Raises
    ------
    ImageError
        An image that can't be read.
    EmbedkitError
        Outputs that are not finite.
    """
    preprocessing = saved.about.preprocessing
    n, side = min(batch_size, len(rows)), preprocessing.image_size
    check_memory(
        n * side * side * 3 * 6,  # two batches of bytes, and one of float32
        f"batches of {n:,} images of {side} x {side} pixels",
        "Give a smaller --batch-size.",
    )
    network = saved.network.to(device).eval()
    outputs, errors = [], []
    with console.progress("predict", len(rows), unit="images") as advance:
        for images in _batches(dataset, rows, preprocessing, batch_size):
            broken = [str(one) if isinstance(one, ImageError) else "" for one in images]
            if any(broken) and not skip:
                choice = "" if skip is None else " With --on-error skip such images are left out, and marked."
                raise ImageError(f"{next(filter(None, broken))}{choice}")
            blank = np.zeros((preprocessing.image_size,) * 2 + (max(3, preprocessing.channels),), np.uint8)
            stack = np.stack([blank if isinstance(one, ImageError) else one for one in images])
            with torch.inference_mode():
                x = preprocessing.normalize(torch.from_numpy(stack).to(device))
                said = saved.answers(network(x).float()).cpu().numpy()
            said[[bool(error) for error in broken]] = np.nan
            outputs.append(said)
            errors += broken
            advance(len(images))
    found = Answers(np.concatenate(outputs), tuple(errors))
    if not np.isfinite(found.outputs[found.ok]).all():
        raise EmbedkitError("the network gives NaN or infinite outputs. Train it anew with a lower rate.")
    return found


Read = NDArray[np.uint8] | ImageError


def _batches(
    dataset: Dataset, rows: NDArray[np.int64], preprocessing: Preprocessing, batch_size: int
) -> Iterator[list[Read]]:
    """Yield decoded images, the next batch in work while one is computed on."""
    parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:

        def begin(part: NDArray[np.int64]) -> list[Future[Read]]:
            return [pool.submit(_read, dataset, int(row), preprocessing) for row in part]

        coming = begin(parts[0]) if parts else []
        for number in range(len(parts)):
            now, coming = coming, begin(parts[number + 1]) if number + 1 < len(parts) else []
            yield [future.result() for future in now]


def _read(dataset: Dataset, row: int, preprocessing: Preprocessing) -> Read:
    where = dataset.where(row)
    try:
        return preprocessing(decode(dataset.read(row), where, channels=preprocessing.channels), where)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(f"{where}: {error.strerror or error}.")
