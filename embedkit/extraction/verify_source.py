"""Whether the source holds the images that features were made of, told otherwise than by reading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embedkit.datasets.dataset import spread_rows
from embedkit.errors import ImageError
from embedkit.files.store import FeatureFile
from embedkit.images.decode import decode
from embedkit.images.second_decoder import NAME, decoded_again

# Of 255, on average over an image: decoders of JPEG round otherwise, and spread its colours otherwise.
_MOST_APART = 4.0


@dataclass(frozen=True)
class SourceCheck:
    """What the source says of the rows of a feature file.

    Parameters
    ----------
    problems
        Rows whose image the source never held.
    said
        What was looked at, and what can't be.
    doubts
        Images that two decoders disagree on.
    """

    problems: tuple[str, ...] = ()
    said: str = ""
    doubts: tuple[str, ...] = ()


def check_source(file: FeatureFile, job: Any, n_rows: int) -> SourceCheck:
    """Hold the rows marked ok against what the source has: chunks that were written, virtual sources.

    Extracting again can't find these: HDF5 gives the same zeros twice, and a decoder the same fault. Of image
    files, `n_rows` are decoded by another one, where it is installed.
    """
    dataset = job.dataset
    if dataset.missing is None:
        return _check_decoder(file, job, n_rows)
    rows = np.asarray(job.index)
    never = dataset.missing[rows] & file.ok
    if never.any():
        first = str(file.rows.ids[int(np.argmax(never))])
        return SourceCheck(
            (
                f"{int(never.sum()):,} rows marked ok, such as {first!r}, are of images that the source does "
                f"not hold ({dataset.why_missing}): their features are of black images. Restore the source "
                "and extract again.",
            )
        )
    return SourceCheck(
        said=(
            f"The source holds all {int(file.ok.sum()):,} images: every chunk was written, every virtual "
            "source is there. Whether the right values were written into them can't be checked."
        )
    )


def _check_decoder(file: FeatureFile, job: Any, n_rows: int) -> SourceCheck:
    good = np.flatnonzero(file.ok)
    chosen = good[spread_rows(len(good), n_rows)] if len(good) else good
    doubts, compared = [], 0
    for row in chosen:
        number = int(job.index[row])
        try:
            source = job.dataset.read(number)
            pixels = decode(source, job.dataset.where(number))  # first: the other is for what is sound
            other = decoded_again(source) if isinstance(source, bytes) else None
        except (ImageError, OSError):  # it is said where it is extracted again
            continue
        if other is None:
            continue
        compared += 1
        same_shape = pixels.shape == other.shape
        apart = float(np.abs(pixels.astype(int) - other).mean()) if same_shape else 255.0
        if apart > _MOST_APART:
            doubts.append(
                f"{str(file.rows.ids[row])!r} is decoded otherwise by {NAME} ({apart:.0f} of 255 apart on "
                "average), so one of the two is wrong. Convert the image with a program that shows it right, "
                "and extract again."
            )
    if not compared:
        return SourceCheck(
            said="Images are decoded by what decoded them before: a decoder's own fault would not be seen."
        )
    said = f"{NAME} decodes {compared - len(doubts):,} of {compared:,} of these images to the same pixels."
    return SourceCheck((), said, tuple(doubts))
