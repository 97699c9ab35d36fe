"""The steps a preparation can be made of, and the words that name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError

SYNTAX = (
    "auto, none, center, l2, pca95 (percent of the variance: 90, 95, 98 or 99), pca64 (components), whiten30 "
    "(the same, at unit variance), view-whiten or view-whiten:30, neighbor-whiten, clip50 (percent of "
    "the rows), joined with + in the order they are applied"
)
AUTO = "auto"
PERCENTAGES = (90, 95, 98, 99)
DIRECTIONS = "icc0.7"
SHRINKAGE = 1e-2
POWER = 0.375
NEIGHBORS = 20
NEIGHBOR_SHRINKAGE = 0.3
NEIGHBOR_POWER = 0.5
# Of `Preparation.on`.
AUTO_POWER = 0.25
AUTO_SHARE = 0.5
AUTO_DIRECTIONS = 10
AUTO_ROWS = 5 * NEIGHBORS


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


@dataclass(frozen=True)
class NeighborWhiten:
    """Keep the directions in which images differ more than an image and its nearest neighbours do.

    As `ViewWhiten`, with the nearest rows by cosine in place of the views: near rows are mostly of one
    class, so what differs between them is what the classes don't differ by. It wants a space whose
    neighbours mean something, so it stands after view whitening, whose coordinates it compares. The same
    pairs train the heads of TEMI [1]_; here they give a covariance, and nothing is trained.

    Parameters
    ----------
    directions
        How many to keep, by falling lambda; None: one more than there are clusters (k clusters differ in at
        most k - 1 directions; two more take up outliers).
    neighbors
        Nearest rows that a row is compared with.
    shrinkage, power
        As for `ViewWhiten`.

    References
    ----------
    .. [1] Adaloglou et al. 2023, Exploring the limits of deep image clustering using pretrained models,
           arXiv 2303.17896.
    """

    directions: int | None = None
    neighbors: int = NEIGHBORS
    shrinkage: float = NEIGHBOR_SHRINKAGE
    power: float = NEIGHBOR_POWER

    def __post_init__(self) -> None:
        if self.directions is not None and self.directions < 1:
            raise UsageError(f"--prep neighbor-whiten: {self.directions} directions. Give at least 1.")
        if self.neighbors < 1:
            raise UsageError(f"--prep neighbor-whiten: {self.neighbors} neighbours. Give at least 1.")
        for name, value in (("shrinkage", self.shrinkage), ("power", self.power)):
            if not 0 <= value <= 1:
                raise UsageError(f"--prep neighbor-whiten: {name} {value:g} is not between 0 and 1.")

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        options = [] if self.directions is None else [str(self.directions)]
        options += [f"neighbors={self.neighbors}"] * (self.neighbors != NEIGHBORS)
        options += [f"shrinkage={self.shrinkage:g}"] * (self.shrinkage != NEIGHBOR_SHRINKAGE)
        options += [f"power={self.power:g}"] * (self.power != NEIGHBOR_POWER)
        return "neighbor-whiten" + ":" * bool(options) + ",".join(options)


@dataclass(frozen=True)
class Clip:
    """Draw rows that lie far from the middle of all in, to the distance that a given share keeps within.

    The middle is the median of each coordinate. With a share of a half it is the multivariate form of
    Huber's winsorising [1]_: no row counts for more than the typical one, so that a few odd images can't
    take a cluster of k-means for themselves. Directions from the middle stay as they are.

    Parameters
    ----------
    share
        Fraction of the rows that stay where they are, in (0, 1).

    References
    ----------
    .. [1] Huber & Ronchetti 2009, Robust Statistics, 2nd edition, section 1.7 and chapter 8.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(
                f"--prep clip: {self.share:g} is no share of the rows. Give a percentage from 1 to 99, as in "
                "clip50."
            )

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        percent = round(100 * self.share)
        return f"clip{percent}" if self.share == percent / 100 else f"clip:{self.share:g}"


@dataclass(frozen=True)
class Auto:
    """The preparation that suits a file: `Preparation.on` says which."""

    @property
    def name(self) -> str:
        """What `Preparation.parse` reads back."""
        return AUTO


Step = Center | Normalise | Principal | ViewWhiten | NeighborWhiten | Clip | Auto


@dataclass(frozen=True)
class Preparation:
    """Steps that are applied to features one after the other; none of them by default.

    Raises
    ------
    UsageError
        View whitening that isn't the first step: the file's view statistics are of features as extracted. Or
        ``auto`` with other steps.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if any(isinstance(step, ViewWhiten) for step in self.steps[1:]):
            raise UsageError(
                f"--prep {self.name}: view-whiten comes first, because the view statistics in the file are "
                "of L2-normalised features. Leave out what stands before it."
            )
        if len(self.steps) > 1 and any(isinstance(step, Auto) for step in self.steps):
            raise UsageError(f"--prep {self.name}: auto is the whole preparation. Give it alone.")

    @property
    def name(self) -> str:
        """What `parse` reads back."""
        return "+".join(step.name for step in self.steps) or "none"

    @property
    def uses_views(self) -> bool:
        """Whether it needs a file with view statistics to be fitted."""
        return bool(self.steps) and isinstance(self.steps[0], ViewWhiten)

    def on(self, *, n_views: int, n_rows: int, n_clusters: int | None) -> Preparation:
        """Return what ``auto`` stands for on such a file; any other preparation as it is.

        With views, both whitenings and then `Clip`; without, or with too few rows to have neighbours,
        ``l2+pca95``. The steps were chosen on real images of several fields, and what they give on a field
        that had no say is measured: docs/results/label-free.md.

        Parameters
        ----------
        n_views
            Views an image in the file.
        n_rows
            Rows that it is fitted on.
        n_clusters
            How many clusters will be looked for, None where that is not known.
        """
        if not any(isinstance(step, Auto) for step in self.steps):
            return self
        if n_views < 2 or n_rows < AUTO_ROWS:
            return Preparation((Normalise(), Principal(0.95)))
        near = NeighborWhiten(AUTO_DIRECTIONS if n_clusters is None else None, power=AUTO_POWER)
        return Preparation((ViewWhiten(power=AUTO_POWER), near, Clip(AUTO_SHARE)))

    @property
    def centres(self) -> bool:
        """Whether rows are measured from their mean afterwards: their directions are no longer their own."""
        return any(not isinstance(step, Normalise) for step in self.steps)

    @property
    def turns_about_mean(self) -> bool:
        """Whether rows are scaled to length 1 after they were centred."""
        after = [isinstance(step, Normalise) for step in self.steps]
        return any(unit and not all(after[:i]) for i, unit in enumerate(after))

    @classmethod
    def parse(cls, text: str) -> Preparation:
        """Read steps joined with ``+``, in the order they are applied.

        ``none``; ``center``; ``l2``; ``pca95`` (a percentage of the variance: 90, 95, 98 or 99; any other
        number counts components, as in ``pca64``; ``pca:95`` is 95 components and ``pca:0.8`` a fraction);
        ``whiten30``: the same with unit variance; ``view-whiten``, ``view-whiten:30``,
        ``view-whiten:icc0.5,shrinkage=0.1,power=0.5``: see `ViewWhiten`; ``neighbor-whiten``,
        ``neighbor-whiten:10,neighbors=20,shrinkage=0.3,power=0.5``: see `NeighborWhiten`; ``clip50``,
        ``clip:0.5``: see `Clip`; ``auto``: see `on`.
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
    if part == AUTO:
        return Auto()
    match = re.fullmatch(r"clip(\d{1,2}|:\d*\.\d+)", part)
    if match:
        return Clip(float(match[1][1:]) if match[1].startswith(":") else int(match[1]) / 100)
    match = re.fullmatch(r"(pca|whiten)(:?)(\d+|\d*\.\d+)", part)
    if match:
        kind, colon, number = match.groups()
        keep: int | float = float(number) if "." in number else int(number)
        if not colon and keep in PERCENTAGES:
            keep = keep / 100
        return Principal(keep, whiten=kind == "whiten")
    name, _, options = part.partition(":")
    if name == "view-whiten":
        return ViewWhiten(**_parse_options(name, options, text, VIEW_OPTIONS))
    if name == "neighbor-whiten":
        return NeighborWhiten(**_parse_options(name, options, text, NEIGHBOR_OPTIONS))
    raise UsageError(f"--prep {text}: unknown step {part!r}. Give {SYNTAX}.")


def _directions(text: str) -> int | str:
    return int(text) if text.isdigit() else text


# Options of a step that have a name in the words of --prep; the one without a name is the directions.
Options = Mapping[str, Callable[[str], Any]]
VIEW_OPTIONS: Options = {"directions": _directions, "shrinkage": float, "power": float}
NEIGHBOR_OPTIONS: Options = {"directions": int, "neighbors": int, "shrinkage": float, "power": float}
KNOWN_OPTIONS = {
    "view-whiten": "a number of directions, icc0.7 or noise, shrinkage=0.01, power=0.5",
    "neighbor-whiten": "a number of directions, neighbors=20, shrinkage=0.3, power=0.5",
}


def _parse_options(step: str, options: str, text: str, known: Options) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals:
            name, value = "directions", option
        try:
            given[name] = known[name](value)
        except (KeyError, ValueError):
            raise UsageError(
                f"--prep {text}: {option!r} is no option of {step}. Give {KNOWN_OPTIONS[step]}, joined with "
                "commas."
            ) from None
    return given
