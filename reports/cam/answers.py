"""What a network says of images: how sure it is where it is right and wrong, which are shown, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.saved_network import About
from embedkit.errors import UsageError
from embedkit.options import nearest

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """Predictions of m images whose class is known.

    Parameters
    ----------
    rows : (m,)
        In the dataset.
    ids : (m,) str
    class_names
        Of the network.
    true : (m,)
        Class, as the network numbers them.
    p : (m, c) float64
        Calibrated probabilities.
    target
        The class that maps speak of; None for that of each prediction.
    """

    rows: I64
    ids: NDArray[np.str_]
    class_names: tuple[str, ...]
    true: I64
    p: F64
    target: int | None = None

    @property
    def explained(self) -> I64:
        """(m,) class that the map of an image speaks of."""
        return self.predicted if self.target is None else np.full(len(self.rows), self.target, np.int64)

    @property
    def predicted(self) -> I64:
        """(m,) most probable class."""
        found: I64 = self.p.argmax(axis=1)
        return found

    @property
    def confidence(self) -> F64:
        """(m,) probability of the predicted class."""
        found: F64 = self.p.max(axis=1)
        return found

    @property
    def right(self) -> NDArray[np.bool_]:
        """(m,) whether the prediction is the image's class."""
        return np.asarray(self.predicted == self.true)

    def caption(self, place: int) -> str:
        """Say of an image what it is, what it is taken for, and how surely."""
        true, predicted = (self.class_names[of[place]] for of in (self.true, self.predicted))
        return f"{true} → {predicted} {self.confidence[place]:.3f}"

    def most_confident(self, j: int, *, right: bool, most: int) -> I64:
        """Return places (at most `most`,) of images of class j by confidence, all right or all wrong."""
        places = np.flatnonzero((self.true == j) & (self.right == right))
        found: I64 = places[np.argsort(-self.confidence[places], kind="stable")][:most]
        return found

    def groups(self, most: int, classes: Sequence[int]) -> tuple[tuple[str, I64], ...]:
        """Return words and places (at most `most`,) of the images that are shown of some classes."""
        return tuple(
            (f"{self.class_names[j]}, {words}", self.most_confident(j, right=right, most=most))
            for j in classes
            for right, words in ((True, "right"), (False, "wrong"))
        )


@dataclass(frozen=True)
class SaidVotes:
    """Predictions of one answer for m images.

    Parameters
    ----------
    rows : (m,)
        In the dataset.
    ids : (m,) str
    target
        The answer's place among the network's outputs.
    name
        What it is called, in words.
    share : (m,) float64
        Predicted share of the votes.
    true : (m,) float64
        What the dataset has; NaN where it has nothing.
    """

    rows: I64
    ids: NDArray[np.str_]
    target: int
    name: str
    share: F64
    true: F64

    @property
    def known(self) -> NDArray[np.bool_]:
        """(m,) whether the true share is known."""
        return ~np.isnan(self.true)

    @property
    def rmse(self) -> float | None:
        """Of the images whose true share is known; None without any."""
        if not self.known.any():
            return None
        return float(np.sqrt(np.mean((self.share - self.true)[self.known] ** 2)))

    @property
    def explained(self) -> I64:
        """(m,) the output that the map of an image speaks of: the same one of all."""
        return np.full(len(self.rows), self.target, np.int64)

    @property
    def said_most(self) -> I64:
        """Places of the half for which most is predicted: of the others there is nothing to explain."""
        order = np.argsort(-self.share, kind="stable")
        return np.sort(order[: (len(order) + 1) // 2]).astype(np.int64)

    def caption(self, place: int) -> str:
        """Say of an image which share is predicted, and which was voted."""
        true = float(self.true[place])
        return f"predicted {self.share[place]:.3f}" + ("" if math.isnan(true) else f", voted {true:.3f}")

    def groups(self, most: int) -> tuple[tuple[str, I64], ...]:
        """Return words and places (at most `most`,) of the images that are shown."""
        found = [
            ("predicted most", _largest(self.share, most)),
            ("predicted least", _largest(-self.share, most)),
        ]
        if self.known.any():
            over = np.where(self.known, self.share - self.true, 0.0)
            found += [("predicted too much", _largest(over, most, above=0))]
            found += [("predicted too little", _largest(-over, most, above=0))]
        return tuple(found)


def _largest(values: F64, most: int, *, above: float = -np.inf) -> I64:
    order = np.argsort(-values, kind="stable")[:most]
    return order[values[order] > above].astype(np.int64)


def find_target(about: About, name: str | None, where: object) -> int | None:
    """Return which of a network's outputs a name means, by any of the names of an answer.

    Raises
    ------
    UsageError
        None of them; or no name, of a network of votes.
    """
    tree = about.tree
    known = {one: j for j, one in enumerate(about.names)}
    if tree is not None:
        for j, answer in enumerate(tree.answers):
            known |= {answer.column: j, answer.name: j, tree.title(j): j}
    what = "answers" if about.regression else "classes"
    listed = ", ".join(about.names[:40]) + (", ..." if len(about.names) > 40 else "")
    if name is None:
        if about.regression:
            raise UsageError(
                f"{where}: {about.kind} predicts {len(about.names)} answers, and a map speaks of one. Give "
                f"--target NAME, one of {listed}."
            )
        return None
    if name not in known:
        raise UsageError(
            f"--target {name}: none of the {what} of {where}.{nearest(name, known)} It knows {listed}."
        )
    return known[name]


@dataclass(frozen=True)
class Confidence:
    """How sure the network is of some of its predictions; without any, nothing is known."""

    n: int
    low: float | None
    median: float | None
    high: float | None


def confidence_of(values: F64) -> Confidence:
    """Return number, quartiles and median of confidences (n,)."""
    if not len(values):
        return Confidence(0, None, None, None)
    low, median, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
    return Confidence(len(values), low, median, high)
