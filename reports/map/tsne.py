"""t-SNE by openTSNE, from exact neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedkit.console import waiting
from embedkit.errors import UsageError
from reports.map.neighbours import nearest_neighbours


def tsne(
    x: NDArray[np.float32], start: NDArray[np.float32], *, perplexity: float, seed: int
) -> NDArray[np.float32]:
    """Lay rows out by t-SNE.

    Parameters
    ----------
    x : (n, d) float32
        At least five rows, compared by Euclidean distance.
    start : (n, 2) float32
        Where they begin: the first two principal components.
    perplexity
        Of a row's neighbours; three times as many are looked at.
    seed
        Parts rows that begin at one place.

    Returns
    -------
    (n, 2) float32
        Places.

    Raises
    ------
    UsageError
        The package openTSNE is not installed.

    References
    ----------
    .. [1] Policar, Strazar & Zupan 2024, Journal of Statistical Software 109(3).
    """
    try:
        from openTSNE import TSNE
        from openTSNE.affinity import PerplexityBasedNN
        from openTSNE.nearest_neighbors import PrecomputedNeighbors
    except ImportError as error:
        raise UsageError(
            "--projection tsne needs openTSNE: pip install 'embedkit-images[tsne]', or take umap."
        ) from error
    near = nearest_neighbours(x, int(3 * perplexity), metric="euclidean")
    affinities = PerplexityBasedNN(
        perplexity=perplexity,
        knn_index=PrecomputedNeighbors(near.index, near.distance.astype(np.float64)),
        n_jobs=1,
        random_state=seed,
    )
    # The extent that openTSNE's own start has; equal starts would never part.
    noise = np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
    begin = start / (start[:, 0].std() or 1) * 1e-4 + noise
    with waiting("laying out the map by t-SNE"):
        model = TSNE(n_jobs=1, random_state=seed, perplexity=perplexity)
        return np.asarray(model.fit(affinities=affinities, initialization=begin), np.float32)
