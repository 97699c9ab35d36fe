"""What happens to features before they are clustered, probed or mapped: steps in a stated order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.errors import DataError
from embedkit.files.schema import usable
from embedkit.files.store import MAKE_VIEWS, FeatureFile, Views
from embedkit.files.usable_rows import unusable_rows
from embedkit.preparing.fitted import FittedStep, unit_rows
from embedkit.preparing.matrix import BLOCK, are_checked, check_finite
from embedkit.preparing.pca import PCA
from embedkit.preparing.steps import (
    AUTO,
    AUTO_ROWS,
    Auto,
    Center,
    Clip,
    NeighborWhiten,
    Normalise,
    Preparation,
    Principal,
    ViewWhiten,
)
from embedkit.preparing.whitening import Blocks, Within, fit_clip, fit_neighbor_whiten, fit_view_whiten

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True)
class Prepared:
    """A `Preparation` fitted on rows; made by `prepare` or `load`.

    Parameters
    ----------
    preparation
        What was asked.
    steps
        What each step learned.
    d
        Dimensions that go in.
    n_rows
        Rows it was fitted on.
    """

    preparation: Preparation
    steps: tuple[FittedStep, ...]
    d: int
    n_rows: int

    @property
    def name(self) -> str:
        """What was asked, such as ``l2+pca95``."""
        return self.preparation.name

    @property
    def n_out(self) -> int:
        """Dimensions that come out."""
        return next((s.matrix.shape[1] for s in reversed(self.steps) if s.matrix is not None), self.d)

    def record(self) -> dict[str, Any]:
        """Return what a `Result` keeps: ``prep``, and ``preparation`` with all that was resolved."""
        steps = [dict(step.settings) for step in self.steps]
        return {"prep": self.name, "preparation": {"steps": steps, "n_rows": self.n_rows}}

    def describe(self) -> str:
        """Say in words what is done; empty for none."""
        scaled = self.steps[:1] and self.steps[0].settings["step"] == "l2"
        said = [step.sentence(scaled=bool(scaled)) for step in self.steps]
        if self.preparation.turns_about_mean:
            said.append(
                "Scaled after they were centred, rows keep their direction from the mean, not their own."
            )
        return " ".join(said)

    def transform(self, x: Any, *, view_mean: bool = False) -> NDArray[np.float32]:
        """Prepare rows that it was fitted on, or new ones.

        Parameters
        ----------
        x : (n, d)
            Features, as extracted. View whitening takes them for features of one view and L2-normalises
            them first.
        view_mean
            That `x` is `Views.mean` instead: means of features that were normalised view by view.

        Returns
        -------
        (n, m) float32

        Raises
        ------
        DataError
            NaN or infinity, or another d.
        """
        x = _matrix(x)
        self._check_d(x.shape[1])
        check_finite(x)
        out = np.empty((len(x), self.n_out), dtype=np.float32)
        for start in range(0, len(x), BLOCK):
            out[start : start + BLOCK] = self._apply(x[start : start + BLOCK], view_mean=view_mean)
        return out

    def transform_file(
        self, file: FeatureFile, rows: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """Prepare rows of a feature file, block by block.

        View whitening takes the view means of a file that has them, and the features of one that hasn't.

        Parameters
        ----------
        file
            The file it was fitted on, or another of the same features.
        rows : (n,) int
            Rows of the file; all whose image could be read by default.

        Returns
        -------
        (n, m) float32
            In the order of `rows`.

        Raises
        ------
        DataError
            NaN or infinity in these rows, or another d.
        """
        self._check_d(file.d)
        view_mean = self.preparation.uses_views and file.n_views > 1
        source = _FileRows(file, rows, view_mean=view_mean)
        out = np.empty((source.n, self.n_out), dtype=np.float32)
        for where, block in source.blocks(f"preparing ({self.name})"):
            out[where] = self._apply(block, view_mean=view_mean)
        return out

    def _apply(self, x: NDArray[np.floating[Any]], *, view_mean: bool) -> NDArray[np.floating[Any]]:
        if self.preparation.uses_views and not view_mean:
            x = unit_rows(x, dtype=np.float64)
        for step in self.steps:
            x = step.apply(x)
        return x

    def _check_d(self, d: int) -> None:
        if d != self.d:
            raise DataError(
                f"features have {d} dimensions, the preparation ({self.name}) was fitted on {self.d}. "
                "Extract the images with the same backbone, layers and pooling."
            )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, for ``np.savez`` or an HDF5 group; `load` reads them."""
        about = {
            "prep": self.name,
            "d": self.d,
            "n_rows": self.n_rows,
            "steps": [dict(step.settings) for step in self.steps],
        }
        found: dict[str, NDArray[Any]] = {
            "preparation": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        }
        for i, step in enumerate(self.steps):
            for name, array in (("mean", step.mean), ("matrix", step.matrix)):
                if array is not None:
                    found[f"{name}_{i}"] = array
        return found

    def save(self, group: h5py.Group) -> None:
        """Write `arrays` into an HDF5 group."""
        for name, array in self.arrays().items():
            group.create_dataset(name, data=array)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `save` wrote to an HDF5 group, or `arrays` gave to an ``.npz``.

        Raises
        ------
        DataError
            No preparation there, or a broken one.
        """
        try:
            about = json.loads(np.asarray(stored["preparation"]).tobytes())
            steps = []
            for i, settings in enumerate(about["steps"]):
                mean, matrix = (
                    np.asarray(stored[f"{name}_{i}"], dtype=np.float64) if f"{name}_{i}" in stored else None
                    for name in ("mean", "matrix")
                )
                steps.append(FittedStep(settings, mean, matrix))
            return cls(Preparation.parse(about["prep"]), tuple(steps), int(about["d"]), int(about["n_rows"]))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"no preparation is stored there ({error}). Name the file that was saved."
            ) from error


def prepare(
    source: FeatureFile | Views | NDArray[Any],
    preparation: Preparation | str,
    *,
    rows: NDArray[np.integer[Any]] | None = None,
    device: str = "auto",
    n_clusters: int | None = None,
) -> Prepared:
    """Fit a preparation.

    Each step is fitted on the rows as the steps before it leave them, in one pass over blocks, so a file
    may be larger than memory. No label is read and nothing is random.

    Parameters
    ----------
    source
        A feature file; or view statistics; or features (n, d).
    preparation
        What to do, as `Preparation` or in the words of `Preparation.parse`.
    rows : (n,) int
        Rows to fit on; by default all, or of a file all whose image could be read. The within-image
        covariance is the file's, pooled over all of its images whatever `rows` says.
    device
        For PCA: ``cpu``, ``cuda`` or ``auto``, see `PCA`.
    n_clusters
        How many clusters will be looked for, from which neighbour whitening takes its directions.

    Raises
    ------
    DataError
        NaN or infinity in these rows, too few rows, rows that are all equal, or view whitening without
        view statistics.
    """
    if isinstance(preparation, str):
        preparation = Preparation.parse(preparation)
    n_rows = _n_rows(source, rows)
    preparation = preparation.on(n_views=_n_views(source), n_rows=n_rows, n_clusters=n_clusters)
    uses_views = preparation.uses_views
    within: Within | None = None
    fit_on: _FileRows | _ArrayRows
    if isinstance(source, FeatureFile):
        if uses_views and source.within_covariance is not None:
            within = Within(source.within_covariance, source.n_views, int(source.ok.sum()))
        elif uses_views:
            raise DataError(f"no view statistics, which view whitening needs. {MAKE_VIEWS}")
        fit_on = _FileRows(source, rows, view_mean=uses_views)
    elif isinstance(source, Views):
        if not uses_views:
            raise DataError(f"{preparation.name} works on features, not on view statistics: give (n, d).")
        within = Within(source.within_covariance, source.n_views, len(source.mean))
        fit_on = _ArrayRows(_matrix(source.mean), rows)
    else:
        if uses_views:
            raise DataError(
                f"an array has no view statistics, which view whitening needs: give the feature file. "
                f"{MAKE_VIEWS}"
            )
        fit_on = _ArrayRows(_matrix(source), rows)
    if not fit_on.n:
        raise DataError("no rows to prepare.")

    fitted: list[FittedStep] = []
    for step in preparation.steps:
        blocks = _blocks_after(fit_on, tuple(fitted), step.name)
        if isinstance(step, ViewWhiten):
            assert within is not None  # for mypy: a source without was refused above
            fitted.append(fit_view_whiten(step, blocks, within))
        elif isinstance(step, NeighborWhiten):
            fitted.append(fit_neighbor_whiten(step, blocks, n_clusters))
        elif isinstance(step, Clip):
            fitted.append(fit_clip(step, blocks, fit_on.n))
        else:
            assert not isinstance(step, Auto)  # for mypy: `on` has put others in its place
            fitted.append(_fit(step, blocks, device))
    return Prepared(preparation, tuple(fitted), fit_on.d, fit_on.n)


def preparation_for(
    file: FeatureFile, words: str, *, n_rows: int | None = None, n_clusters: int | None = None
) -> Preparation:
    """Read the words of ``--prep``, with ``auto`` decided for this file, or for so many rows of it."""
    n = _n_rows(file, None) if n_rows is None else n_rows
    return Preparation.parse(words).on(n_views=_n_views(file), n_rows=n, n_clusters=n_clusters)


def auto_remark(words: str, chosen: Preparation, file: FeatureFile) -> str | None:
    """Say what ``auto`` came to and why; None for other words."""
    if words.strip().lower() != AUTO:
        return None
    if chosen.uses_views:
        return (
            f"--prep auto is {chosen.name} here: the {file.n_views} views of each image tell what differs "
            "between images from what differs between views."
        )
    if file.n_views > 1:
        return f"--prep auto is {chosen.name} here: fewer than {AUTO_ROWS} rows are too few to whiten by."
    return (
        f"--prep auto is {chosen.name} here, for the file has one view of each image. Views usually find "
        "more: `embedkit extract DATASET --views galaxy:4 -o FILE`, at four times the time."
    )


def _n_views(source: FeatureFile | Views | NDArray[Any]) -> int:
    """Return the views an image that view whitening could go by."""
    return source.n_views if isinstance(source, FeatureFile | Views) else 1


def _n_rows(source: FeatureFile | Views | NDArray[Any], rows: NDArray[np.integer[Any]] | None) -> int:
    if rows is not None:
        return len(rows)
    if isinstance(source, FeatureFile):
        return int(source.ok.sum())
    return len(source.mean if isinstance(source, Views) else source)


def view_whiten_hint(file: FeatureFile, preparation: Preparation) -> str | None:
    """Say that the file would allow view whitening; None where it doesn't, or where it is used."""
    if file.n_views == 1 or preparation.uses_views:
        return None
    return (
        f"The file has {file.n_views} views an image: --prep view-whiten would take out what differs between "
        f"views of one image, which {preparation.name} leaves in."
    )


def _blocks_after(source: _FileRows | _ArrayRows, steps: tuple[FittedStep, ...], name: str) -> Blocks:
    def blocks() -> Iterator[NDArray[np.floating[Any]]]:
        block: NDArray[np.floating[Any]]
        for _, block in source.blocks(f"fitting {name}"):
            for step in steps:
                block = step.apply(block)
            yield block

    return blocks


def _fit(step: Center | Normalise | Principal, blocks: Blocks, device: str) -> FittedStep:
    if isinstance(step, Normalise):
        return FittedStep({"step": "l2"})
    if isinstance(step, Center):
        n, total = 0, np.zeros(1)
        for block in blocks():
            n, total = n + len(block), total + block.sum(axis=0, dtype=np.float64)
        return FittedStep({"step": "center"}, mean=np.asarray(total / n))
    pca = PCA(step.keep, whiten=step.whiten, device=device).fit_blocks(blocks())
    settings = {
        "step": "pca",
        "keep": step.keep,
        "whiten": step.whiten,
        "n_components": pca.n_components_,
        "kept_variance": float(pca.explained_variance_ratio_.sum()),
        "first_variance": float(pca.explained_variance_ratio_[0]),
        "d": pca.n_features_in_,
        "backend": pca.backend_,
    }
    return FittedStep(settings, pca.mean_, pca.axes_)


def _matrix(x: Any) -> NDArray[np.float32]:
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise DataError(f"features of shape {x.shape} and type {x.dtype}; expected numbers of shape (n, d).")
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused as that
        return np.asarray(x, dtype=np.float32)


def _index(rows: Any, n: int) -> NDArray[np.int64]:
    index = np.asarray(rows)
    if index.dtype == np.bool_:
        index = np.flatnonzero(index) if len(index) == n else np.array([n])
    if index.ndim != 1 or (len(index) and not (index.min() >= 0 and index.max() < n)):
        raise DataError(f"rows outside the {n} that there are, or not a list of them.")
    return index.astype(np.int64)


class _ArrayRows:
    """Rows of a matrix, block by block."""

    def __init__(self, x: NDArray[np.float32], rows: Any) -> None:
        self._x = x if rows is None else x[_index(rows, len(x))]
        self.n, self.d = self._x.shape
        check_finite(self._x)

    def blocks(self, what: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        del what  # nothing to wait for
        for start in range(0, self.n, BLOCK):
            yield slice(start, start + BLOCK), self._x[start : start + BLOCK]


class _FileRows:
    """Rows of a feature file, block by block, in the order they lie there."""

    def __init__(self, file: FeatureFile, rows: Any, *, view_mean: bool) -> None:
        self._file, self._view_mean = file, view_mean
        self._read = file.read_view_mean if view_mean else file.read
        self._index = np.flatnonzero(file.ok) if rows is None else _index(rows, file.n)
        self.n, self.d = len(self._index), file.d

    def blocks(self, what: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (positions in the rows asked for, block)."""
        order = np.argsort(self._index, kind="stable")
        with progress(what, self.n, unit="rows") as advance:
            for start in range(0, self.n, BLOCK):
                where = order[start : start + BLOCK]
                block = self._read(self._index[where])
                if not are_checked() and not usable(block).all():
                    raise unusable_rows(self._file, self._index, view_mean=self._view_mean)
                yield where, block
                advance(len(where))
