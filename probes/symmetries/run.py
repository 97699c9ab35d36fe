"""`embedkit symmetries` as a function: which transformations a set of images minds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.console import counted
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction.bound import Clock
from embedkit.extraction.job import Job, forward, load_with, model_in
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.precision import choose_precision
from embedkit.files import showing
from embedkit.images.options import Overrides
from probes.symmetries.options import LEAST_IMAGES, SymmetriesOptions
from probes.symmetries.telling_apart import halves, told_apart
from probes.symmetries.transformations import TRANSFORMATIONS, Frame, key_of, pictures

# From here on images are said to mind: turned views helped k-means on five of six sets below, and on one of
# six above.
MINDS = 0.65
# Below, a transformation leaves no room for the kernels that hide its traces.
LEAST_SIDE = 32
YES, NO, UNCLEAR = "mind", "don't mind", "may mind"


@dataclass(frozen=True)
class Symmetry:
    """Whether a set of images minds one transformation.

    Parameters
    ----------
    name
        One of `probes.symmetries.transformations.TRANSFORMATIONS`.
    words
        The same as a phrase.
    roc_auc
        How well a linear probe tells transformed images from others: 0.5 not at all, 1 always.
    low, high
        95 % interval; None where the halves are perfectly apart.
    verdict
        ``don't mind`` where the interval lies below 0.65, ``mind`` where it lies above, else ``may mind``.
    """

    name: str
    words: str
    roc_auc: float
    low: float | None
    high: float | None
    verdict: str

    @property
    def figures(self) -> str:
        """Such as ``0.55, 0.50 to 0.61``."""
        interval = "" if self.low is None else f", {self.low:.2f} to {self.high:.2f}"
        return f"{self.roc_auc:.2f}{interval}"


@dataclass(frozen=True, repr=False)
class Symmetries(showing.Shown):
    """What a set of images minds.

    Parameters
    ----------
    dataset
        Its name.
    features
        By which features.
    n
        Images that were asked.
    found
        One a transformation.
    notes
        What a reader must know.
    """

    dataset: str
    features: str
    n: int
    found: tuple[Symmetry, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Symmetry:
        """Return what was found of a transformation."""
        return next(one for one in self.found if one.name == name)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Say it in words: what these images don't mind, what they do, and what stays open."""
        said = []
        for verdict in (NO, YES, UNCLEAR):
            listed = [f"{one.words} (AUC {one.figures})" for one in self.found if one.verdict == verdict]
            if listed:
                end = "; more images would tell" if verdict == UNCLEAR else ""
                words = _listed(listed, "and" if verdict == YES else "or")
                said.append(f"These images {verdict} {words}{end}.")
        return tuple(said)

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "dataset": self.dataset,
            "features": self.features,
            "n": self.n,
            "symmetries": [asdict(one) for one in self.found],
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """Return it as a pandas DataFrame, a row a transformation."""
        return showing.data_frame(self.document()["symmetries"])

    def _shown(self) -> showing.Parts:
        cells = [{"do they mind": one.words, "AUC": one.figures, "": one.verdict} for one in self.found]
        return f"Symmetries of {self.n:,} images of {self.dataset}", cells, (*self.sentences, *self.notes)


def _listed(items: list[str], word: str) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


def symmetries(
    dataset: str | os.PathLike[str] | Dataset,
    data: DatasetOptions = DatasetOptions(),
    backbone: BackboneSpec = BackboneSpec(),
    preprocessing: Overrides = Overrides(),
    options: SymmetriesOptions = SymmetriesOptions(),
) -> Symmetries:
    """Ask images which transformations they mind, without labels.

    Half of the images are transformed, and a linear probe is to tell them from the others, in folds by
    image. What it can't tell is no property of the images; what it can is something that they have.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    data
        Options of the dataset's source.
    backbone, preprocessing
        What computes, and what its input is.
    options
        Of how many images, and by which features.

    Raises
    ------
    UsageError
        A backbone that sees fewer than 32 pixels a side.
    EmbedkitError
        Fewer than 40 images that can be read, or none that shows anything; weights that can't be had.
    """
    images = open_dataset(dataset, data)
    asked = ExtractOptions(
        layers=options.layers,
        pool=options.pool,
        precision=options.precision,
        device=options.device,
        limit=options.limit,
    )
    _enough(images.name, len(images), "")
    job = Job.plan(images, replace(backbone, preprocessing=preprocessing), asked)
    if job.backbone.preprocessing.image_size < LEAST_SIDE:
        raise UsageError(
            f"{job.backbone.name} sees {job.backbone.preprocessing.image_size} pixels a side, and a "
            f"transformation needs {LEAST_SIDE}. Give another --backbone or --image-size."
        )
    precision = choose_precision(job)["used"]
    job = replace(job, backbone=model_in(job.backbone, precision, job.device))
    transformed = halves(len(job.index), len(TRANSFORMATIONS), seed=options.seed)
    looked = _look(job, transformed, options, precision)
    x, ok = looked.features, ~looked.unreadable
    notes = []
    if not ok.all():
        notes.append(
            f"Left out {counted(int((~ok).sum()), 'image')} that could not be read, such as {looked.reason}"
        )
    _enough(images.name, int(ok.sum()), f" that can be read ({looked.reason})" if looked.reason else "")
    if looked.blank == ok.sum():
        raise EmbedkitError(
            f"{images.name}: each of the {looked.blank:,} images is of one colour, and minds nothing but "
            "brightness. Check the path."
        )
    if looked.blank:
        notes.append(f"{looked.blank:,} of {int(ok.sum()):,} images are of one colour.")
    found = []
    for number, (name, one) in enumerate(TRANSFORMATIONS.items()):
        auc = told_apart(x[ok, number], transformed[ok, number], seed=options.seed)
        assert auc.value is not None  # both halves are there
        found.append(
            Symmetry(name, one.words, auc.value, auc.low, auc.high, _verdict(auc.value, auc.low, auc.high))
        )
    return Symmetries(images.name, job.features_name, int(ok.sum()), tuple(found), tuple(notes))


def _enough(name: str, n: int, which: str) -> None:
    if n < LEAST_IMAGES:
        raise EmbedkitError(
            f"{name}: {n:,} images{which}, and at least {LEAST_IMAGES} are needed to tell halves apart. Give "
            "more images."
        )


def _verdict(value: float, low: float | None, high: float | None) -> str:
    if (value if high is None else high) < MINDS:
        return NO
    return YES if (value if low is None else low) > MINDS else UNCLEAR


@dataclass(frozen=True)
class _Looked:
    """Features (n, t, d), which images could not be read and why, and how many are of one colour."""

    features: NDArray[np.float32]
    unreadable: NDArray[np.bool_]
    reason: str
    blank: int


# Pictures (t, s, s, c), and whether the image is of one colour.
_Shown = tuple[NDArray[np.uint8], bool]


def _look(job: Job, transformed: NDArray[np.bool_], options: SymmetriesOptions, precision: str) -> _Looked:
    """Take each image once: read, transformed in every way, and all of it through the network."""
    n, t = transformed.shape
    unreadable, reason, blank = np.zeros(n, bool), "", 0
    features: NDArray[np.float32] | None = None
    with console.progress("look at images", n, unit="images") as advance:
        for row, shown in enumerate(_shown(job, transformed, options)):
            if isinstance(shown, ImageError):
                unreadable[row], reason = True, reason or str(shown)
            else:
                out = forward(job, torch.from_numpy(shown[0]), precision).cpu().numpy()
                if features is None:
                    features = np.zeros((n, t, out.shape[1]), np.float32)
                features[row] = out
                blank += shown[1]
            advance()
    empty = np.zeros((n, t, 0), np.float32)
    return _Looked(empty if features is None else features, unreadable, reason, blank)


def _shown(
    job: Job, transformed: NDArray[np.bool_], options: SymmetriesOptions
) -> Iterator[_Shown | ImageError]:
    """Yield the pictures of each image in order, some of the next in work meanwhile."""
    workers = options.workers or min(16, os.cpu_count() or 1)

    def one(number: int) -> _Shown | ImageError:
        row = int(job.index[number])
        where, key = job.dataset.where(row), key_of(str(job.dataset.rows.ids[row]))

        def prepare(pixels: NDArray[np.uint8]) -> _Shown:
            frame = Frame.of(pixels, job.backbone.preprocessing, where, across=key % 2 == 1)
            shown = pictures(frame, transformed[number], key=key, seed=options.seed)
            return shown, bool((frame.pixels == frame.pixels[0, 0]).all())

        return load_with(prepare, job, row, Clock())

    ahead = 2 * workers + 2
    with ThreadPoolExecutor(workers) as pool:
        coming: list[Future[_Shown | ImageError]] = []
        for number in range(len(job.index) + ahead):
            if number < len(job.index):
                coming.append(pool.submit(one, number))
            if number >= ahead:
                yield coming.pop(0).result()
