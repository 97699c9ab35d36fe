"""What every probe can do, and what the registry says of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError

Validation = tuple[NDArray[Any], NDArray[Any]]
State = dict[str, NDArray[Any]]


class Probe(Protocol):
    """A classifier or a regressor on cached features, in scikit-learn's manner.

    `fit` chooses settings on `validation` only and leaves behind ``chosen_`` (setting to value),
    ``validation_scores_`` (candidate to score), ``validation_output_`` (what the probe fitted on training
    rows alone gives for the validation rows), ``notes_`` (sentences for a reader), ``details_`` (for the
    record) and ``backend_``.
    """

    chosen_: dict[str, Any]
    validation_scores_: dict[str, float]
    validation_output_: NDArray[np.float64] | None
    notes_: list[str]
    details_: dict[str, Any]
    backend_: str

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = ...,
    ) -> Any:
        """Fit (n, d) features and (n,) labels or (n, t) targets."""

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the (n,) most probable classes, or (n, t) targets."""

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""


class Classifier:
    """What classifiers share: the most probable class is the prediction; ties go to the first."""

    classes_: NDArray[Any]

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        raise AttributeError(f"{type(self).__name__} gives no probabilities for {len(x)} rows.")

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the (n,) most probable classes."""
        predicted: NDArray[Any] = self.classes_[self.predict_proba(x).argmax(axis=1)]
        return predicted


@dataclass(frozen=True)
class Kind:
    """An entry of the registry.

    Parameters
    ----------
    make
        The class.
    regression
        Whether it predicts targets instead of labels.
    unchosen
        The settings that validation rows choose, each with what it is where no rows can be spared to choose
        by; several in the order of a candidate's parts.
    """

    make: type[Any]
    regression: bool = False
    unchosen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def semi_supervised(self) -> bool:
        """Whether it learns from images without a label too."""
        return "around" in inspect.signature(self.make.fit).parameters

    @property
    def arguments(self) -> frozenset[str]:
        """What its constructor takes."""
        return frozenset(inspect.signature(self.make).parameters)


def one_of(value: str, known: tuple[str, ...], flag: str) -> str:
    """Return `value`, or refuse it and list what is known."""
    if value not in known:
        raise UsageError(f"{flag} {value}: unknown. Give one of {', '.join(known)}.")
    return value
