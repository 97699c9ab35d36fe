"""Whether the source holds the images that features were made of, told otherwise than by reading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from embedkit.files.store import FeatureFile


@dataclass(frozen=True)
class SourceCheck:
    """What the source says of the rows of a feature file.

    Parameters
    ----------
    problems
        Rows whose image the source never held.
    said
        What was looked at, and what can't be.
    """

    problems: tuple[str, ...] = ()
    said: str = ""


def check_source(file: FeatureFile, job: Any) -> SourceCheck:
    """Hold the rows marked ok against what the source has: chunks that were written, virtual sources.

    Extracting again can't find these: HDF5 gives the same zeros twice.
    """
    dataset = job.dataset
    if dataset.missing is None:
        return SourceCheck(
            said="Images are decoded by what decoded them before: a decoder's own fault would not be seen."
        )
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
