"""What a card buys beyond extraction: each method on it and on the CPU, with the agreement of their answers.

    python benchmarks/card_methods.py [--n 17736] [--d 384] [--hdbscan-n 17736]

Synthetic rows with the falling spectrum of a vision transformer's, ten classes. The CPU has all its cores,
and a first small call on the card is not timed. The `hdbscan` package stands beside exact HDBSCAN where it
is installed. Needs no data.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from clustering.density.hdbscan import HDBSCAN
from clustering.kmeans.kmeans import KMeans
from embedkit.computing.device import choose_device, describe_device
from embedkit.preparing.pca import PCA
from probes.kinds.linear import LinearProbe
from probes.neighbours.search import nearest


def rows(n: int, d: int, c: int = 10) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = random.choice(c, size=n, p=np.linspace(1, 8, c) / np.linspace(1, 8, c).sum())
    spectrum = np.arange(1, d + 1) ** -0.7
    x = (2.7 / np.sqrt(d) * random.normal(size=(c, d))[y] + random.normal(size=(n, d))) * spectrum
    return x.astype(np.float32), y


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    found = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--d", type=int, default=384)
    parser.add_argument("--hdbscan-n", type=int, default=17_736)
    args = parser.parse_args()
    card = str(choose_device("auto"))
    print(
        f"{describe_device(torch.device(card))}; CPU: {os.cpu_count()} cores; {args.n:,} x {args.d}",
        flush=True,
    )
    x, y = rows(args.n, args.d)
    low, _ = rows(args.hdbscan_n, 64)
    train, held = slice(0, int(0.7 * args.n)), slice(int(0.7 * args.n), int(0.85 * args.n))

    def neighbours(device: str, part: slice = slice(None)) -> np.ndarray:
        return np.asarray(nearest(x[part], x[part], 20, device=None if device == "cpu" else device).index)

    def pca(device: str, part: slice = slice(None)) -> PCA:
        return PCA(0.95, device=device).fit(x[part])

    def linear(device: str, part: slice = train) -> LinearProbe:
        return LinearProbe(device=device).fit(x[part], y[part], validation=(x[held], y[held]))

    def density(device: str, part: slice = slice(None)) -> np.ndarray:
        return np.asarray(HDBSCAN(min_cluster_size=50, device=device).fit(low[part]).labels_)

    def kmeans(device: str, part: slice = slice(None)) -> KMeans:
        return KMeans(10, random_state=0, device=device).fit(low[part])

    def same_directions(a: PCA, b: PCA) -> str:
        k = min(len(a.components_), len(b.components_))
        ratio = np.abs(a.explained_variance_[:k] / b.explained_variance_[:k] - 1).max()
        return f"{len(a.components_)} and {len(b.components_)} components, variances within {ratio:.1e}"

    cases: list[tuple[str, Callable[..., Any], Callable[[Any, Any], str]]] = [
        ("20 exact neighbours", neighbours, lambda a, b: f"{(np.sort(a) == np.sort(b)).mean():.4%} the same"),
        ("PCA, 95 %", pca, same_directions),
        (
            "linear probe, 13 C",
            linear,
            lambda a, b: (
                f"C {a.c_:g}, {b.c_:g}; predictions {(a.predict(x) == b.predict(x)).mean():.4%} the same"
            ),
        ),
        ("exact HDBSCAN, 64-d", density, lambda a, b: f"ARI {adjusted_rand_score(a, b):.4f}"),
        (
            "k-means, k = 10, 64-d",
            kmeans,
            lambda a, b: f"{a.backend_}, inertia {a.inertia_ / b.inertia_ - 1:+.1e} against the CPU's",
        ),
    ]
    for name, method, agree in cases:
        try:
            method(card, slice(0, 500))
            ours, a = timed(partial(method, card))
            theirs, b = timed(partial(method, "cpu"))
            print(
                f"{name:24s} {ours:8.3f} s, CPU {theirs:8.3f} s, {theirs / ours:6.1f} times; {agree(a, b)}",
                flush=True,
            )
        except Exception as error:
            print(f"{name:24s} {type(error).__name__}: {error}", flush=True)
    package = find_spec("hdbscan") and import_module("hdbscan")
    if package:
        ours, a = timed(lambda: density(card))
        peer = package.HDBSCAN(min_cluster_size=50, core_dist_n_jobs=-1)
        theirs, b = timed(lambda: peer.fit(low).labels_)
        spent = f"{ours:8.3f} s, package {theirs:8.3f} s, {theirs / ours:6.1f} times"
        print(f"{'HDBSCAN, the package':24s} {spent}; ARI {adjusted_rand_score(a, b):.4f}")


if __name__ == "__main__":
    main()
