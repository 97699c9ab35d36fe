"""KoLeo: spread the features of a batch over the sphere.

Sablayrolles et al. 2019, Spreading vectors for similarity search, ICLR.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)


def koleo_loss(x: torch.Tensor) -> torch.Tensor:
    """Mean of -log of the distance from each row of (n, d), at length 1, to its nearest other."""
    x = F.normalize(x.float(), dim=-1)
    with torch.no_grad():
        nearest = (x @ x.T).fill_diagonal_(-2).argmax(dim=1)
    distance: torch.Tensor = torch.linalg.vector_norm(x - x[nearest], dim=1)
    return -(distance + 1e-8).log().mean()
