"""A dataset whose numbers become pixels in a way that was said, rather than the usual one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.tar_shards import TarImages
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.endings import FITS_ENDINGS
from embedkit.images.decode import decode
from embedkit.images.fits import MISSING, has_astropy, image_parts
from embedkit.images.reading import OF_FITS, PERCENTILES, STRETCH, Reading
from embedkit.images.values import channels_last


@dataclass(frozen=True)
class _Decoded:
    """Reads an image as its dataset does, and makes pixels of it as was said."""

    read: Callable[[int], bytes | NDArray[Any]]
    where: Callable[[int], str]
    reading: Reading

    def __call__(self, row: int) -> NDArray[Any]:
        source, where = self.read(row), self.where(row)
        return decode(source, where, reading=self.reading, channels=self._n_channels(source, where))

    def _n_channels(self, source: bytes | NDArray[Any], where: str) -> int:
        """How many come out: all that there are or were said; whether a model takes them is asked later."""
        if self.reading.channels is not None:
            return len(self.reading.channels)
        return channels_last(source, where).shape[2] if isinstance(source, np.ndarray) else 3


def read_as(dataset: Dataset, reading: Reading) -> Dataset:
    """Return the dataset with its numbers read as was said; its origin and fingerprint tell how.

    Of FITS the stretch is always told, because it is a choice even where it is the usual one.

    Raises
    ------
    UsageError
        Options of FITS, where there is none.
    EmbedkitError
        FITS without the package that reads it.
    """
    n_fits = _n_fits(dataset)
    said = reading.record()
    if n_fits:
        if not has_astropy():
            raise EmbedkitError(f"{dataset.name}: {n_fits:,} of its images are FITS. {MISSING}")
        if reading.white is None:
            reading = replace(
                reading,
                stretch=reading.stretch or STRETCH,
                percentiles=reading.percentiles or PERCENTILES,
            )
            low, high = reading.percentiles or PERCENTILES
            note(
                f"{dataset.name}: {n_fits:,} FITS images, drawn by {reading.stretch} from the {low:g}th to "
                "the "
                f"{high:g}th percentile of each. Change it with --stretch and --percentiles, or --white."
            )
        if reading.hdu is None:
            _say_parts(dataset)
    elif any(name in said for name in OF_FITS):
        name = next(name for name in OF_FITS if name in said)
        raise UsageError(f"--{name} is of FITS, and {dataset.name} has none. Leave it out.")
    record = reading.record()
    if not record:
        return dataset
    return replace(
        dataset,
        read=_Decoded(dataset.read, dataset.where, reading),
        fingerprint=fingerprint(dataset.rows, {"dataset": dataset.fingerprint, "reading": record}),
        origin=dict(dataset.origin) | record,
    )


def _say_parts(dataset: Dataset) -> None:
    where = dataset.where
    names = getattr(getattr(dataset.read, "__self__", None), "names", dataset.rows.ids)
    row = next(row for row in range(len(dataset)) if where(row).lower().rstrip("]").endswith(FITS_ENDINGS))
    try:
        data = dataset.read(row)
        assert isinstance(data, bytes)
        parts = image_parts(data, where(row))
    except Exception:  # a damaged one is said where it is decoded
        return
    if len(parts) > 1:
        note(
            f"{dataset.name}: {names[row]} has images in its parts {', '.join(parts)}: the first is "
            "read. "
            "--hdu names another."
        )


def _n_fits(dataset: Dataset) -> int:
    files = getattr(dataset.read, "__self__", None)
    if isinstance(files, TarImages):
        return files.n_fits
    if not isinstance(files, ImageFiles):
        return 0
    return sum(name.lower().endswith(FITS_ENDINGS) for name in files.names)
