"""What happens to features before they are clustered, probed or mapped: steps in a stated order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from embedkit.console import progress
from embedkit.errors import DataError, UsageError
from embedkit.matrix import BLOCK, CONSTANT, check_finite
from embedkit.pca import PCA, RANK_TOLERANCE, Moments
from embedkit.store import MAKE_VIEWS, FeatureFile, Views

if TYPE_CHECKING:
    import h5py

SYNTAX = (
    "none, center, l2, pca95 (percent of the variance: 90, 95, 98 or 99), pca64 (components), whiten30 (the "
    "same, at unit variance), view-whiten or view-whiten:30, joined with + in the order they are applied"
)
PERCENTAGES = (90, 95, 98, 99)
DIRECTIONS = "icc0.7"
SHRINKAGE = 1e-2
POWER = 0.375


@dataclass(frozen=True)
class Center:
    """Subtract the mean of the fitted rows."""

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        return "center"


@dataclass(frozen=True)
class Normalise:
    """Scale every row to length 1; a row of zeros stays one."""

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        return "l2"


@dataclass(frozen=True)
class Principal:
    """Centre and rotate to the principal components.

    Parameters
    ----------
    keep
        A number of components, or a fraction of the variance in (0, 1).
    whiten
        Scale each component to unit variance.
    """

    keep: int | float
    whiten: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.keep, int) and not isinstance(self.keep, bool) and self.keep >= 1
        if not (whole or (isinstance(self.keep, float) and 0 < self.keep < 1)):
            raise UsageError(
                f"--prep: PCA cannot keep {self.keep!r}. Give a number of components of at least 1, as in "
                "pca64, or a fraction of the variance between 0 and 1, as in pca:0.95."
            )

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        kind = "whiten" if self.whiten else "pca"
        if isinstance(self.keep, int):
            return f"{kind}:{self.keep}" if self.keep in PERCENTAGES else f"{kind}{self.keep}"
        percent = round(100 * self.keep)
        return (
            f"{kind}{percent}"
            if percent in PERCENTAGES and self.keep == percent / 100
            else (f"{kind}:{self.keep:g}")
        )


@dataclass(frozen=True)
class ViewWhiten:
    """Keep the directions in which images differ more than the views of one image do.

    T is the covariance of the images' mean L2-normalised view features, W that of one image's views
    around their mean, both of the feature file. With W shrunk, ``T v = lambda W v`` is solved; lambda is
    the variance between images in units of the nuisance. This is within-class covariance normalisation
    [1]_ with an image's own views as the class, so it needs no label.

    Parameters
    ----------
    directions
        How many to keep, by falling lambda; or ``iccR``: those where images account for at least the
        fraction R of one view's variance (the intraclass correlation [2]_ of views,
        ``r / (1 + r)`` with ``r = lambda - 1 / n_views``); or ``noise``: those above the largest lambda
        that images without any difference would show (the edge of the spectrum of an F-matrix [3]_).
    shrinkage
        s in [0, 1]: W becomes ``(1 - s) W + s tr(W) / d I``.
    power
        Coordinates, of unit nuisance, are scaled by lambda^-power: 0 leaves them so, 0.5 gives unit
        variance. In [0, 1].

    References
    ----------
    .. [1] Hatch & Stolcke 2006, Generalized linear kernels for one-versus-all classification: application
           to speaker recognition, ICASSP.
    .. [2] Shrout & Fleiss 1979, Psychological Bulletin 86, 420.
    .. [3] Bai & Silverstein 2010, Spectral Analysis of Large Dimensional Random Matrices, chapter 4.
    """

    directions: int | str = DIRECTIONS
    shrinkage: float = SHRINKAGE
    power: float = POWER

    def __post_init__(self) -> None:
        number = isinstance(self.directions, int) and not isinstance(self.directions, bool)
        if not ((number and int(self.directions) >= 1) or self.directions == "noise" or self._icc()):
            raise UsageError(
                f"--prep view-whiten: directions {self.directions!r} is neither a number of at least 1, nor "
                "icc0.7 (or another fraction between 0 and 1), nor noise."
            )
        for name, value in (("shrinkage", self.shrinkage), ("power", self.power)):
            if not 0 <= value <= 1:
                raise UsageError(f"--prep view-whiten: {name} {value:g} is not between 0 and 1.")

    def _icc(self) -> float | None:
        match = re.fullmatch(r"icc(0?\.\d+)", str(self.directions))
        return float(match[1]) or None if match else None

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        options = [] if self.directions == DIRECTIONS else [str(self.directions)]
        options += [f"shrinkage={self.shrinkage:g}"] * (self.shrinkage != SHRINKAGE)
        options += [f"power={self.power:g}"] * (self.power != POWER)
        return "view-whiten" + ":" * bool(options) + ",".join(options)

    def n_keep(self, values: NDArray[np.float64], *, n: int, n_within: int, n_views: int) -> int:
        """How many directions to keep.

        Parameters
        ----------
        values : (d,)
            lambda, falling.
        n
            Images that T is the covariance of.
        n_within
            Degrees of freedom of W.
        n_views
            Views an image.
        """
        d = len(values)
        rank = min(n - 1, d)
        if isinstance(self.directions, int):
            if self.directions > rank:
                raise DataError(
                    f"view whitening to {self.directions} directions, but {n} rows of {d} columns vary in "
                    f"only {rank}. Ask for at most {rank}, as in --prep view-whiten:{rank}."
                )
            return self.directions
        icc = self._icc()
        if icc is not None:
            least = icc / (1 - icc) + 1 / n_views
            what = f"images account for {100 * icc:g} % of one view's variance"
        else:
            across, within = d / (n - 1), d / n_within
            if within >= 1:
                raise DataError(
                    f"the rule `noise` needs more views than dimensions: {n_within} degrees of freedom for "
                    f"{d} dimensions. Give a number, as in --prep view-whiten:30, or a rule such as icc0.7."
                )
            edge = (1 + np.sqrt(across + within - across * within)) / (1 - within)
            least = float(edge**2) / n_views
            what = "images differ more than chance makes them"
        kept = min(int((values >= least).sum()), rank)
        if not kept:
            raise DataError(
                f"view whitening found no direction in which {what} (largest lambda {values[0]:.3g}, needed "
                f"{least:.3g}). Give a number of directions, as in --prep view-whiten:10, or take pca95."
            )
        return kept


Step = Center | Normalise | Principal | ViewWhiten


@dataclass(frozen=True)
class Preparation:
    """Steps that are applied to features one after the other; none of them by default.

    Raises
    ------
    UsageError
        View whitening that isn't the first step: the file's view statistics are of features as extracted.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if any(isinstance(step, ViewWhiten) for step in self.steps[1:]):
            raise UsageError(
                f"--prep {self.name}: view-whiten comes first, because the view statistics in the file are "
                "of L2-normalised features. Leave out what stands before it."
            )

    @property
    def name(self) -> str:
        """What `parse` reads back."""
        return "+".join(step.name for step in self.steps) or "none"

    @property
    def uses_views(self) -> bool:
        """Whether it needs a file with view statistics to be fitted."""
        return bool(self.steps) and isinstance(self.steps[0], ViewWhiten)

    @classmethod
    def parse(cls, text: str) -> Preparation:
        """Read steps joined with ``+``, in the order they are applied.

        ``none``; ``center``; ``l2``; ``pca95`` (a percentage of the variance: 90, 95, 98 or 99; any other
        number counts components, as in ``pca64``; ``pca:95`` is 95 components and ``pca:0.8`` a fraction);
        ``whiten30``: the same with unit variance; ``view-whiten``, ``view-whiten:30``,
        ``view-whiten:icc0.5,shrinkage=0.1,power=0.5``: see `ViewWhiten`.
        """
        text = text.strip().lower()
        if text in ("", "none"):
            return cls()
        return cls(tuple(_parse_step(part.strip(), text) for part in text.split("+")))


def _parse_step(part: str, text: str) -> Step:
    if part == "center":
        return Center()
    if part == "l2":
        return Normalise()
    match = re.fullmatch(r"(pca|whiten)(:?)(\d+|\d*\.\d+)", part)
    if match:
        kind, colon, number = match.groups()
        keep: int | float = float(number) if "." in number else int(number)
        if not colon and keep in PERCENTAGES:
            keep = keep / 100
        return Principal(keep, whiten=kind == "whiten")
    name, _, options = part.partition(":")
    if name == "view-whiten":
        return _parse_view_whiten(options, text)
    raise UsageError(f"--prep {text}: unknown step {part!r}. Give {SYNTAX}.")


def _parse_view_whiten(options: str, text: str) -> ViewWhiten:
    given: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals:
            name, value = "directions", option
        try:
            if name == "directions":
                given[name] = int(value) if value.isdigit() else value
            elif name in ("shrinkage", "power"):
                given[name] = float(value)
            else:
                raise ValueError
        except ValueError:
            raise UsageError(
                f"--prep {text}: {option!r} is no option of view-whiten. Give a number of directions, icc0.7 "
                "or noise, shrinkage=0.01, power=0.5, joined with commas."
            ) from None
    return ViewWhiten(**given)


@dataclass(frozen=True)
class FittedStep:
    """One step with what it learned: L2 normalisation, or a shift and a matrix.

    Parameters
    ----------
    settings
        The step's name and everything resolved in it.
    mean : (d,) float64, optional
        None for L2 normalisation.
    matrix : (d, m) float64, optional
        None where the step only centres.
    """

    settings: Mapping[str, Any]
    mean: NDArray[np.float64] | None = None
    matrix: NDArray[np.float64] | None = None

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform rows (b, d) to (b, m)."""
        if self.mean is None:
            return _unit_rows(x)
        x = x - self.mean.astype(np.float32)
        return x if self.matrix is None else x @ self.matrix.astype(np.float32)

    def sentence(self) -> str:
        """Say what the step does."""
        s = self.settings
        if s["step"] == "pca":
            kept = f"{s['n_components']} of {s['d']} dimensions keep {100 * s['kept_variance']:.1f} %"
            return f"PCA: {kept} of the variance{', each scaled to unit variance' * s['whiten']}."
        if s["step"] == "view-whiten":
            return (
                f"View whitening: {s['n_directions']} of {s['d']} directions, in which images differ "
                f"{s['lambda'][-1]:.3g} to {s['lambda'][0]:.3g} times as much as the {s['n_views']} views of "
                f"one image; shrinkage {s['shrinkage']:g}, scaled by lambda^-{s['power']:g}."
            )
        return "Centred." if s["step"] == "center" else "Rows scaled to length 1."


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
        """Return what `Result.params` keeps: ``prep``, and ``preparation`` with all that was resolved."""
        steps = [dict(step.settings) for step in self.steps]
        return {"prep": self.name, "preparation": {"steps": steps, "n_rows": self.n_rows}}

    def describe(self) -> str:
        """Say in words what is done; empty for none."""
        return " ".join(step.sentence() for step in self.steps)

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

    def _apply(self, x: NDArray[np.float32], *, view_mean: bool) -> NDArray[np.float32]:
        if self.preparation.uses_views and not view_mean:
            x = _unit_rows(x)
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

    Raises
    ------
    DataError
        NaN or infinity in these rows, too few rows, rows that are all equal, or view whitening without
        view statistics.
    """
    if isinstance(preparation, str):
        preparation = Preparation.parse(preparation)
    uses_views = preparation.uses_views
    within: _Within | None = None
    fit_on: _FileRows | _ArrayRows
    if isinstance(source, FeatureFile):
        if uses_views and source.within_covariance is not None:
            within = _Within(source.within_covariance, source.n_views, int(source.ok.sum()))
        elif uses_views:
            raise DataError(f"no view statistics, which view whitening needs. {MAKE_VIEWS}")
        fit_on = _FileRows(source, rows, view_mean=uses_views)
    elif isinstance(source, Views):
        if not uses_views:
            raise DataError(f"{preparation.name} works on features, not on view statistics: give (n, d).")
        within = _Within(source.within_covariance, source.n_views, len(source.mean))
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
        fitted.append(_fit(step, _blocks_after(fit_on, tuple(fitted), step.name), within, device))
    return Prepared(preparation, tuple(fitted), fit_on.d, fit_on.n)


def view_whiten_hint(file: FeatureFile, preparation: Preparation) -> str | None:
    """Say that the file would allow view whitening; None where it doesn't, or where it is used."""
    if file.n_views == 1 or preparation.uses_views:
        return None
    return (
        f"The file has {file.n_views} views an image: --prep view-whiten would take out what differs between "
        f"views of one image, which {preparation.name} leaves in."
    )


@dataclass(frozen=True)
class _Within:
    """The within-image covariance and what it was pooled over."""

    covariance: NDArray[np.float64]
    n_views: int
    n_images: int


Blocks = Callable[[], Iterator[NDArray[np.float32]]]


def _blocks_after(source: _FileRows | _ArrayRows, steps: tuple[FittedStep, ...], name: str) -> Blocks:
    def blocks() -> Iterator[NDArray[np.float32]]:
        for _, block in source.blocks(f"fitting {name}"):
            for step in steps:
                block = step.apply(block)
            yield block

    return blocks


def _fit(step: Step, blocks: Blocks, within: _Within | None, device: str) -> FittedStep:
    if isinstance(step, Normalise):
        return FittedStep({"step": "l2"})
    if isinstance(step, Center):
        n, total = 0, np.zeros(1)
        for block in blocks():
            n, total = n + len(block), total + block.sum(axis=0, dtype=np.float64)
        return FittedStep({"step": "center"}, mean=np.asarray(total / n))
    if isinstance(step, Principal):
        pca = PCA(step.keep, whiten=step.whiten, device=device).fit_blocks(blocks())
        settings = {
            "step": "pca",
            "keep": step.keep,
            "whiten": step.whiten,
            "n_components": pca.n_components_,
            "kept_variance": float(pca.explained_variance_ratio_.sum()),
            "d": pca.n_features_in_,
            "backend": pca.backend_,
        }
        return FittedStep(settings, pca.mean_, pca.axes_)
    assert within is not None  # for mypy: `prepare` has refused a source without
    return _fit_view_whiten(step, blocks, within)


def _fit_view_whiten(step: ViewWhiten, blocks: Blocks, within: _Within) -> FittedStep:
    w = within.covariance
    d = len(w)
    moments = Moments(d)
    for block in blocks():
        moments.add(block)
    if moments.n < 2:
        raise DataError(f"{moments.n} rows; view whitening needs at least 2.")
    mean, total = moments.mean_and_covariance()
    if np.trace(total) <= 1e-28 * float(mean @ mean):
        raise DataError(CONSTANT.format(n=moments.n))
    values, vectors = _directions(total, w, step.shrinkage)
    n_within = within.n_images * (within.n_views - 1)
    keep = step.n_keep(values, n=moments.n, n_within=n_within, n_views=within.n_views)
    values, vectors = values[:keep], vectors[:, :keep]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(keep)])
    settings = {
        "step": "view-whiten",
        "directions": step.directions,
        "n_directions": keep,
        "shrinkage": step.shrinkage,
        "power": step.power,
        "n_views": within.n_views,
        "lambda": [float(values[0]), float(values[-1])],
        "d": d,
    }
    return FittedStep(settings, mean, vectors * signs * values**-step.power)


def _directions(
    total: NDArray[np.float64], within: NDArray[np.float64], shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve ``total v = lambda within v`` with `within` shrunk: lambda (d,) falling, v (d, d) in columns."""
    d = len(within)
    if within.shape != total.shape or not np.isfinite(within).all():
        raise DataError(
            f"the within-image covariance is no finite ({len(total)}, {len(total)}) matrix. Extract again."
        )
    nuisance = float(np.trace(within))
    if nuisance <= 0:
        raise DataError(
            "the views of every image have the same features, so there is nothing to whiten by. Extract with "
            "other --views, such as galaxy:12, or take pca95."
        )
    if shrinkage < 1e-10:
        spread = linalg.eigvalsh(within)
        rank = int((spread > RANK_TOLERANCE * spread[-1]).sum())
        if rank < d:
            raise DataError(
                f"the within-image covariance is singular (rank {rank} of {d}): the views are too few to "
                "whiten by without shrinkage. Give some, as in --prep view-whiten:30,shrinkage=0.01."
            )
    shrunk = (1 - shrinkage) * within + shrinkage * nuisance / d * np.eye(d)
    values, vectors = linalg.eigh(total, shrunk, check_finite=False)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _unit_rows(x: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64: the squares of float32 features overflow above 1e19 and vanish below 1e-19.
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    return (x / np.where(length > 0, length, 1)).astype(np.float32)


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
        self._file = file
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
                if not np.isfinite(block).all():
                    self._refuse()
                yield where, block
                advance(len(where))

    def _refuse(self) -> None:
        n_bad, first, infinite = 0, -1, False
        for start in range(0, self.n, BLOCK):
            rows = self._index[start : start + BLOCK]
            block = self._read(rows)
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                first = int(rows[bad[0]]) if first < 0 else first
                n_bad += len(bad)
                infinite |= bool(np.isinf(block).any())
        overflow = " (float16 overflows above 65,504)" if infinite else ""
        raise DataError(
            f"{n_bad:,} of {self.n:,} rows hold NaN or infinity{overflow}, the first of them "
            f"{str(self._file.rows.ids[first])!r}. Extract again with --precision fp32."
        )
