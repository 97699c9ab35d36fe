"""Which probe and preparation `embedkit label` takes where none is asked for: facts about the file decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.store import FeatureFile
from embedkit.preparing.matrix import checked_rows
from embedkit.preparing.preparation import Prepared, preparation_for, prepare
from probes.fitting import read_features
from probes.labelling.options import (
    LEAST_ROWS,
    MOST_ANSWERS,
    MOST_ROWS,
    PLAIN,
    WITH_VIEWS,
    LabelOptions,
)


@dataclass(frozen=True)
class Settled:
    """Options whose probe and preparation are named, and rows prepared so.

    Parameters
    ----------
    options
        With ``kind`` and ``prep``.
    prepared
        The preparation, fitted on the rows.
    x : (n, m) float32
        The rows.
    remark
        What was taken where nothing was asked for, and why; None where there was no choice.
    """

    options: LabelOptions
    prepared: Prepared
    x: NDArray[np.float32]
    remark: str | None = None


def settled(options: LabelOptions, file: FeatureFile, rows: NDArray[np.int64]) -> Settled:
    """Settle what is left open, and prepare rows (n,) of a file.

    Where neither probe nor preparation is asked for, labels spread over whitened views if the file has some.
    The linear probe of plain features stands where it has none, where there are too few rows or more than
    are soon spread over (`MOST_ROWS`, and `MOST_ANSWERS` of images times classes), and where the views can't
    be whitened by.

    Raises
    ------
    DataError
        Rows that can't be prepared as was asked.
    """
    if options.given or file.n_views < 2:
        return _prepare(options.of(options.probe.kind, options.probe.prep), file, rows)
    kind, prep = WITH_VIEWS
    asking = f"--kind {kind} --prep {prep}"
    n_classes = _n_classes(file, rows)
    if len(rows) < LEAST_ROWS:
        why = f"fewer than {LEAST_ROWS} images are too few to spread labels over."
    elif len(rows) > MOST_ROWS or len(rows) * n_classes > MOST_ANSWERS:
        why = f"{n_classes} classes take long to spread over {len(rows):,} images. Do so with {asking}."
    else:
        remark = f"Labels spread over whitened views ({asking}): the file has {file.n_views} of each image."
        try:
            return _prepare(options.of(kind, prep), file, rows, remark)
        except DataError as error:
            why = f"the views can't be whitened by: {error}"
    return _prepare(options.of(*PLAIN), file, rows, f"{PLAIN[0].capitalize()} probe of the mean views: {why}")


def _n_classes(file: FeatureFile, rows: NDArray[np.int64]) -> int:
    """Return how many classes have a label among rows of a file."""
    labels = file.rows.labels
    return 0 if labels is None else len(np.setdiff1d(labels[rows], [-1]))


def _prepare(
    options: LabelOptions, file: FeatureFile, rows: NDArray[np.int64], remark: str | None = None
) -> Settled:
    words = options.probe.prep
    preparation = preparation_for(file, words, n_rows=len(rows))
    features, with_views = read_features(file, rows, preparation)
    with checked_rows():
        # No label is read, so that images to be predicted may take part.
        prepared = prepare(file, preparation, rows=rows)
        return Settled(options, prepared, prepared.transform(features, view_mean=with_views), remark)
