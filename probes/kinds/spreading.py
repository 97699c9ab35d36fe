"""Labels that spread over the graph of neighbours, to images that have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import torch_device
from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import features
from probes.kinds.around import Around, Pool
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.knn import TEMPERATURE
from probes.kinds.selection import check_varies, choose, class_index, class_weights
from probes.neighbours.search import check_k, nearest

K = 10
CLAMPING = (0.5, 0.9, 0.99)
# What a row has of every class before any label reaches it, over what a labelled row has of its own.
PRIOR = 1e-6
TOLERANCE = 1e-8


class LabelSpreadingProbe(Classifier):
    """Spread labels along a graph of nearest neighbours, of images with and without a label.

    Rows are joined to their k nearest by cosine similarity s, with weight exp((s - 1) / temperature). What a
    row answers is, to the share of the clamping, what its neighbours do, and for the rest its own label, if
    it has one. A new row is answered by its k nearest, with the same weights.

    Parameters
    ----------
    k
        Neighbours of each row, or several numbers to choose from; 10 by default, as far as there are rows.
    clamping
        Above 0 and below 1: how much of an answer comes from the neighbours; or several to choose from.
    temperature
        Of the weights, above 0.
    select
        What the validation rows choose by.
    class_weight
        ``balanced`` gives the labels of each class the same weight in all.
    refit
        Spread the labels of the validation rows too, once the settings are chosen.
    device
        Where neighbours are searched: ``cpu``, ``cuda`` (torch) or ``auto``.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    answers_ : (n, c) float64
        Probabilities of every row that was learnt from.

    References
    ----------
    Zhou et al. 2003, Learning with Local and Global Consistency (NIPS 16); new rows after Delalleau, Bengio
    and Le Roux 2005, Efficient Non-Parametric Function Induction in Semi-Supervised Learning (AISTATS).
    """

    def __init__(
        self,
        *,
        k: int | Sequence[int] | None = None,
        clamping: float | Sequence[float] = CLAMPING,
        temperature: float = TEMPERATURE,
        select: str = "accuracy",
        class_weight: str | None = None,
        refit: bool = False,
        device: str = "cpu",
    ) -> None:
        self.k = k
        self.clamping = clamping
        self.temperature = temperature
        self.select = select
        self.class_weight = class_weight
        self.refit = refit
        self.device = device

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        around: Around | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> LabelSpreadingProbe:
        """Spread (n,) labels of (n, d) features over them and all rows `around` them.

        Validation rows take part as rows without a label. Without `around`, they and x are all there is.
        """
        x = features(x)
        self.classes_, label = class_index(y, len(x))
        check_varies(x)
        around = _alone(x, validation) if around is None else around
        self._device = torch_device(self.device)
        self._bank = around.pool.bank
        pairs = self._pairs(len(self._bank))
        self.validation_scores_: dict[tuple[int, float], float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        best = pairs[0]
        if validation is not None and around.held is not None:
            spread = {pair: self._spread(around.pool, around.at, label, *pair) for pair in pairs}
            given = {pair: answers[around.held] for pair, answers in spread.items()}
            position, scores = choose(given, validation, self.classes_, self.select)
            best = pairs[position]
            self.validation_scores_ = dict(zip(pairs, scores, strict=True)) if len(pairs) > 1 else {}
            self.validation_output_ = given[best]
        elif len(pairs) > 1:
            raise DataError(
                "several settings and no validation rows to choose by. Give k and clamping one value."
            )
        at = around.at
        if self.refit and validation is not None and around.held is not None:
            at = np.concatenate([at, around.held])
            self.classes_, label = class_index(
                np.concatenate([np.asarray(y), np.asarray(validation[1])]), len(at)
            )
        self.k_, self.clamping_ = best
        self.answers_ = self._spread(around.pool, at, label, *best)
        self.chosen_, self.backend_ = {"k": self.k_, "clamping": self.clamping_}, "scipy-cpu"
        self.details_ = {"n_unlabelled": len(self._bank) - len(at)}
        lost = int(self._lost.sum())
        self.notes_ = [
            f"{lost:,} of {len(self._bank):,} rows are joined to no label and get the classes' shares. Label "
            "some of them, or raise --n-neighbors."
        ] * bool(lost)
        advance()
        return self

    def _pairs(self, n: int) -> list[tuple[int, float]]:
        given = self.k if self.k is not None else min(K, n - 1)
        ks = (given,) if isinstance(given, int) else tuple(sorted(set(given)))
        clamping = (self.clamping,) if isinstance(self.clamping, float) else tuple(sorted(set(self.clamping)))
        for k in ks:
            check_k(k, n - 1)
        if not ks or not clamping or self.temperature <= 0 or not all(0 < one < 1 for one in clamping):
            raise UsageError(
                "label spreading needs a k, a clamping between 0 and 1 and a temperature above 0."
            )
        return list(product(ks, clamping))

    def _spread(
        self, pool: Pool, at: NDArray[np.int64], label: NDArray[np.int64], k: int, clamping: float
    ) -> NDArray[np.float64]:
        """Return (n, c) probabilities of all rows of the pool."""
        from scipy.sparse import csr_array, diags_array
        from scipy.sparse.csgraph import connected_components
        from scipy.sparse.linalg import cg

        n, c = len(pool.bank), len(self.classes_)
        found = pool.neighbours(k, device=self._device)
        rows = np.repeat(np.arange(n), k)
        joined = csr_array((self._weight(found.similarity - 1).ravel(), (rows, found.index.ravel())), (n, n))
        joined = joined.maximum(joined.T)
        root = diags_array(1 / np.sqrt(joined.sum(axis=1)))
        system = diags_array(np.ones(n)) - clamping * (root @ joined @ root)
        start = np.zeros((n, c))
        weights = class_weights(label, c, self.class_weight)
        start[at, label] = 1 if weights is None else weights
        answers = np.column_stack([cg(system, column, rtol=TOLERANCE)[0] for column in start.T])
        _, piece = connected_components(joined, directed=False)
        self._lost = ~np.isin(piece, piece[at])
        shares = start.sum(axis=0) / start.sum()
        answers = np.maximum(answers, 0) + PRIOR * shares
        return np.asarray(answers / answers.sum(axis=1, keepdims=True))

    def _weight(self, below: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of similarities that are so far below another; never quite 0."""
        return np.exp(np.maximum(below / self.temperature, -500))

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities: of the k nearest rows that were learnt from, weighted."""
        found = nearest(x, self._bank, self.k_, device=self._device)
        weight = self._weight(found.similarity - found.similarity[:, :1])
        weight /= weight.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("nk,nkc->nc", weight, self.answers_[found.index]))

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays: all rows and their answers."""
        return {
            "classes": self.classes_,
            "bank": self._bank,
            "answers": self.answers_,
            "k": np.array(self.k_),
            "temperature": np.array(self.temperature),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls(temperature=float(state["temperature"]))
        probe.classes_, probe._bank, probe.answers_ = state["classes"], state["bank"], state["answers"]
        probe.k_, probe._device = int(state["k"]), None
        return probe


def _alone(x: NDArray[np.float32], validation: Validation | None) -> Around:
    """Return labelled rows and validation rows as all that there is."""
    if validation is None:
        return Around(Pool(x), np.arange(len(x)))
    held = features(validation[0])
    places = np.arange(len(x) + len(held))
    return Around(Pool(np.concatenate([x, held])), places[: len(x)], places[len(x) :])
