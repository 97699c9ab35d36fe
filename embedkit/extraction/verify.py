"""Is a feature file sound, and do its images still give its features?"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.dataset import spread_rows
from embedkit.errors import EmbedkitError
from embedkit.extraction.again import NotThereError, same_job
from embedkit.extraction.verify_options import VerifyOptions
from embedkit.extraction.verify_source import SourceCheck, check_source
from embedkit.extraction.verify_weights import WeightsCheck, check_weights, weights_place
from embedkit.files.feature_set import opened
from embedkit.files.showing import data_frame, html_table, named_cells
from embedkit.files.store import FeatureFile

# The same weights and pixels in the same precision agree closer than this on any processor.
SAME_COSINE = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}
# In bf16, two galaxies through random weights agree as closely as that (median cosine 0.998 with ViT-S/16).
# What is left once the file's mean is taken off tells them apart, where it is more than rounding.
SAME_CENTRED_COSINE = 0.5
LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Parameters
    ----------
    path, n, d
        The file and its size.
    problems
        Broken invariants and rows that came out otherwise; empty means sound.
    n_compared
        Rows that were extracted again.
    lowest_cosine
        Between their stored and new features; None where none was compared.
    not_compared
        Why no row was compared; empty where some were.
    weights
        Which tensors of the weights file were taken; empty where the weights came from no file.
    source
        What was looked at in the source of the images, and what can't be.
    """

    path: Path
    n: int
    d: int
    problems: list[str]
    n_compared: int
    lowest_cosine: float | None
    not_compared: str
    weights: str = ""
    source: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_pandas(self) -> Any:
        """Return a DataFrame of one row."""
        return data_frame([asdict(self)])

    def _repr_html_(self) -> str:
        found: dict[str, Any] = {"n": self.n, "d": self.d, "rows extracted again": self.n_compared}
        if self.lowest_cosine is not None:
            found["lowest cosine"] = round(self.lowest_cosine, 5)
        notes = [*self.problems, *(one for one in (self.not_compared, self.weights, self.source) if one)]
        state = "sound" if self.sound else "not sound"
        return html_table(f"{self.path}: {state}", named_cells(found), notes)


def verify(
    features: str | os.PathLike[str] | FeatureFile, options: VerifyOptions | None = None
) -> Verification:
    """Check every invariant of the schema, then extract some rows again and compare.

    Parameters
    ----------
    features
        A feature file, or its path.
    options
        How many rows to extract again, and where the dataset, the weights and the adapter are now.

    Raises
    ------
    FeatureFileError
        Not a feature file at all.
    EmbedkitError
        The dataset or the weights are there, but are not those that the file was made from.
    """
    options = options or VerifyOptions()
    with opened(features) as file:
        problems = file.problems()
        compared, lowest, why_not, weights, source = 0, None, "", WeightsCheck(), SourceCheck()
        if options.n_rows > 0 and not problems:
            try:
                job, precision = same_job(file, options.moved)
                place = weights_place(file.provenance, options.moved)
                weights = check_weights(file.provenance, job.backbone.tensors, place)
                source = check_source(file, job, options.n_rows)
                if source.problems:
                    raise NotThereError("the source does not hold all of its images.")
                cosines, changed = _extract_again(file, options.n_rows, job, precision)
            except NotThereError as error:
                why_not = str(error)
                problems += source.problems
            else:
                compared, lowest = len(cosines), min(cosines.values())
                problems += [*weights.problems, *source.doubts]
                problems += [
                    f"{name!r} gives other features now (cosine {cosine:.4f}). The image or the row order "
                    "has changed: extract again."
                    for name, cosine in changed.items()
                ]
        return Verification(
            file.path, file.n, file.d, problems, compared, lowest, why_not, weights.said, source.said
        )


def _extract_again(
    file: FeatureFile, rows: int, job: Any, precision: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Cosine between stored and fresh features of a few rows, by id: of all, and of those that differ."""
    import torch

    from embedkit.extraction.job import load_image, pooled_views

    good = np.flatnonzero(file.ok)
    if not len(good):
        raise NotThereError("none of them could be read.")
    chosen = good[spread_rows(len(good), rows)]
    some = file.read(good[:: -(-len(good) // 512)]).astype(np.float64)
    mean = some.mean(axis=0)
    spread = np.linalg.norm(some - mean, axis=1).mean() / max(np.linalg.norm(some, axis=1).mean(), 1e-30)
    cosines, changed = {}, {}
    for row in chosen:
        images = load_image(job, int(job.index[row]))
        if not isinstance(images, np.ndarray):
            raise EmbedkitError(f"{images} It could be read when {file.path} was made.")
        fresh = pooled_views(job, torch.tensor(images), precision).cpu().numpy().astype(np.float64)
        stored = file.read(np.array([row]))[0].astype(np.float64)
        name = str(file.rows.ids[row])
        if fresh.shape != stored.shape:
            raise EmbedkitError(
                f"{file.path}: the backbone that it names gives {len(fresh)} features an image, and it holds "
                f"{len(stored)}. It says it was made otherwise than it was: extract again."
            )
        cosines[name] = _cosine(fresh, stored)
        centred = _cosine(fresh - mean, stored - mean) if spread >= LEAST_SPREAD else 1.0
        if not (cosines[name] >= SAME_COSINE[precision] and centred >= SAME_CENTRED_COSINE):
            changed[name] = cosines[name]
    return cosines, changed


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if np.array_equal(a, b):
        return 1.0  # two rows of zeros have no direction: black pixels, say
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0
