"""k nearest neighbours by cosine similarity, exact, with DINO's weighted vote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import torch_device
from embedkit.errors import UsageError
from embedkit.preparing.matrix import features
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.selection import check_varies, choose, class_index
from probes.neighbours.search import Neighbours, check_k, nearest, normalise

KS = (10, 20, 100, 200)
FEW = (1, 5)  # where there are fewer than 10 rows
TEMPERATURE = 0.07


def vote(
    neighbours: Neighbours,
    labels: NDArray[np.int64],
    *,
    n_classes: int,
    ks: Sequence[int],
    temperature: float = TEMPERATURE,
) -> dict[int, NDArray[np.float64]]:
    """Let neighbours vote with weight exp(similarity / temperature), for several k in one pass.

    Parameters
    ----------
    neighbours
        At least ``max(ks)`` of each query.
    labels : (m,) int64
        Class of every bank row, 0 to n_classes - 1.
    n_classes
        Number of classes c.
    ks
        Numbers of neighbours that vote.
    temperature
        Above 0; a small one lets the nearest decide.

    Returns
    -------
    dict
        k to (n, c) float64: each class's share of the votes. Where several classes have the largest, that of
        the nearest neighbour among theirs is the next number above, so that the order of classes decides
        nothing; neighbours of equal similarity stand by the number of rows of their class, then in the
        bank's order.

    References
    ----------
    Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers (DINO), appendix; after
    Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, section 3.4.
    """
    n = len(neighbours.index)
    # Divided by the nearest one's weight: the shares stay the same, and no temperature overflows.
    weight = np.exp((neighbours.similarity - neighbours.similarity[:, :1]) / temperature)
    cell = np.arange(n)[:, None] * n_classes + labels[neighbours.index]
    sizes = np.bincount(labels, minlength=n_classes)
    votes = np.zeros(n * n_classes)
    shares: dict[int, NDArray[np.float64]] = {}
    done = 0
    for k in sorted(set(ks)):
        some = slice(done, k)
        votes += np.bincount(cell[:, some].ravel(), weights=weight[:, some].ravel(), minlength=n * n_classes)
        total = votes.reshape(n, n_classes)
        shares[k] = _untied(total, neighbours, labels, sizes, k)
        done = k
    return shares


def _untied(
    votes: NDArray[np.float64],
    neighbours: Neighbours,
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    k: int,
) -> NDArray[np.float64]:
    """Return the shares of (n, c) votes, one of several largest raised by the least there is."""
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    tied = np.count_nonzero(shares == shares.max(axis=1, keepdims=True), axis=1) > 1
    rows = np.flatnonzero(tied)
    if not len(rows):
        return shares
    voted = labels[neighbours.index[rows, :k]]  # (ties, k)
    most = votes[rows] == votes[rows].max(axis=1, keepdims=True)  # dividing may have made votes equal
    left = np.take_along_axis(most, voted, axis=1)
    for rank in (neighbours.similarity[rows, :k], sizes[voted]):
        ranked = np.where(left, rank, -np.inf)
        left &= ranked == ranked.max(axis=1, keepdims=True)
    winner = voted[np.arange(len(rows)), left.argmax(axis=1)]
    shares[rows, winner] = np.nextafter(shares[rows, winner], 1)
    return shares


class KNNProbe(Classifier):
    """Classify by the weighted vote of the k nearest training rows; k is chosen on validation rows.

    Parameters
    ----------
    k
        One number, or several to choose from; ties go to the smaller. By default 10, 20, 100 and 200, as far
        as there are training rows; with fewer than ten rows 1 and 5.
    temperature
        Of the vote, above 0.
    select
        ``accuracy`` or ``balanced_accuracy``: what the validation rows choose k by.
    refit
        Add the validation rows to the bank once k is chosen.
    device
        ``cpu``, ``cuda`` (torch) or ``auto``: a GPU where there is one. All find the same neighbours.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    k_ : int
        The k that `predict` uses.
    validation_output_ : (n, c) float64, optional
        Of the validation rows at the chosen k, before any refit; None where there were none.
    """

    def __init__(
        self,
        *,
        k: int | Sequence[int] | None = None,
        temperature: float = TEMPERATURE,
        select: str = "accuracy",
        refit: bool = False,
        device: str = "cpu",
    ) -> None:
        self.k = k
        self.temperature = temperature
        self.select = select
        self.refit = refit
        self.device = device

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> KNNProbe:
        """Keep (n, d) features and their (n,) labels; choose k on `validation`, a pair of the same."""
        x = features(x)
        self.classes_, index = class_index(y, len(x))
        self.notes_: list[str] = []
        ks = self._ks(len(x), several=validation is not None)
        if self.select == "log_loss":
            raise UsageError("votes can be 0, so k can't be chosen by log_loss. Give select='accuracy'.")
        if not ks or self.temperature <= 0:
            raise UsageError("a kNN probe needs at least one k, and a temperature above 0.")
        for k in ks:
            check_k(k, len(x))
        check_varies(x)
        self._device = torch_device(self.device)
        self.ks_: tuple[int, ...] = ks
        self._bank, self._labels = normalise(x), index
        self.validation_scores_: dict[int, float] = {}
        self.k_ = ks[0]
        shares = {} if validation is None else self.predict_proba_each(validation[0])
        if len(ks) > 1:
            best, scores = choose(shares, validation, self.classes_, self.select)
            self.k_ = ks[best]
            self.validation_scores_ = dict(zip(ks, scores, strict=True))
        self.validation_output_ = shares.get(self.k_)
        if self.refit and validation is not None:
            joined = np.concatenate([np.asarray(y), np.asarray(validation[1])])
            self.classes_, self._labels = class_index(joined, len(joined))
            self._bank = np.concatenate([self._bank, normalise(validation[0])])
        self.chosen_ = {"k": self.k_}
        self.details_: dict[str, Any] = {}
        self.backend_ = f"torch-{(self._device or 'cpu').partition(':')[0]}"
        advance()
        return self

    def _ks(self, n: int, *, several: bool) -> tuple[int, ...]:
        if self.k is not None:
            return (self.k,) if isinstance(self.k, int) else tuple(sorted(set(self.k)))
        fitting = tuple(k for k in KS if k <= n) or tuple(k for k in FEW if k <= n)
        if len(fitting) < len(KS):
            tried = ", ".join(map(str, fitting))
            self.notes_.append(f"Left out k above the {n} training rows; tried {tried}.")
        return fitting if several else fitting[:1]

    def predict_proba_each(self, x: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
        """Return k to (n, c) shares of the votes, for every k that was given."""
        return vote(
            nearest(x, self._bank, max(self.ks_), device=self._device),
            self._labels,
            n_classes=len(self.classes_),
            ks=self.ks_,
            temperature=self.temperature,
        )

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) shares of the votes at the chosen k."""
        return self.predict_proba_each(x)[self.k_]

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays: the whole bank."""
        return {
            "classes": self.classes_,
            "bank": self._bank,
            "labels": self._labels,
            "k": np.array(self.k_),
            "temperature": np.array(self.temperature),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls(k=int(state["k"]), temperature=float(state["temperature"]))
        probe.classes_, probe._bank, probe._labels = state["classes"], state["bank"], state["labels"]
        probe.k_, probe.ks_ = int(state["k"]), (int(state["k"]),)
        probe._device = None
        return probe
