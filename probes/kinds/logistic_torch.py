"""The rows of a logistic regression on a GPU: the same sums as numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import softplus


class TorchRows:
    """Rows on a device: x (n, d), target (n, m), weight (n,); `probes.kinds.logistic.Rows` in torch."""

    def __init__(
        self, x: NDArray[Any], target: NDArray[Any], weight: NDArray[Any], softmax: bool, device: str
    ) -> None:
        self._x, self._target, self._weight = (
            torch.as_tensor(array, device=device) for array in (x, target, weight)
        )
        self._softmax = softmax

    def value(self, w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """See `probes.kinds.logistic.Rows`."""
        z = self._logits(w)
        if self._softmax:
            losses = torch.logsumexp(z, dim=1) - (z * self._target).sum(dim=1)
        else:
            losses = (softplus(z) - self._target * z).sum(dim=1)
        residual = (self._probability(z) - self._target) * self._weight[:, None]
        gradient = np.empty_like(w)
        gradient[:, :-1] = (residual.T @ self._x).cpu().numpy()
        gradient[:, -1] = residual.sum(dim=0, dtype=torch.float64).cpu().numpy()
        return float((losses.double() * self._weight).sum()), gradient

    def gram(self) -> NDArray[Any]:
        """See `probes.kinds.logistic.Rows`."""
        return np.asarray((self._x.T @ self._x).cpu().numpy())

    def covariance(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `probes.kinds.logistic.Rows`."""
        p, weight = self._probability(self._logits(w)).double(), self._weight.double()
        weight = weight / weight.sum()
        if self._softmax:
            found = torch.diag(weight @ p) - (p * weight[:, None]).T @ p
        else:
            found = torch.diag(weight @ (p * (1 - p)))
        return np.asarray(found.cpu().numpy())

    def _logits(self, w: NDArray[np.float64]) -> torch.Tensor:
        moved = torch.as_tensor(w, dtype=self._x.dtype, device=self._x.device)
        return self._x @ moved[:, :-1].T + moved[:, -1]

    def _probability(self, z: torch.Tensor) -> torch.Tensor:
        return torch.softmax(z, dim=1) if self._softmax else torch.sigmoid(z)
