"""Where DINO's prototypes begin: at clusters of what the untrained head makes of the images."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

ROWS_PER_PROTOTYPE = 50  # enough for a centre, and a bound on the pass over the images
ITERATIONS = 20


def cluster_directions(z: torch.Tensor, k: int, *, seed: int) -> torch.Tensor:
    """Return the unit centres (k, d) of spherical k-means of (n, d) rows, n at least k; on the CPU."""
    import faiss

    rows = F.normalize(z.float(), dim=1).cpu().numpy()
    kmeans = faiss.Kmeans(
        rows.shape[1],
        k,
        niter=ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    kmeans.train(rows)
    return torch.from_numpy(kmeans.centroids)
