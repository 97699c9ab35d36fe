"""Data whose clusters are known."""

import numpy as np


def blobs(n=120, d=6, k=3, *, seed=0, spread=0.3):
    """k well separated groups of n / k rows each: (n, d) float32 and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    centers = 5 * np.eye(k, d)
    return (centers[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels
