"""PCA at 95 % of the variance: `embedkit.preparing.pca` against scikit-learn's full SVD, time and agreement.

    python benchmarks/pca.py
    python benchmarks/pca.py --features gz1.h5

The two take turns; times are medians and minima of the rounds. Components are compared where their
eigenvalue is separated from both neighbours by at least 1 % of itself: closer ones may turn within their
plane by rounding alone, in either implementation. The same is done with fewer rows than columns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA as SklearnPCA  # noqa: N811

from embedkit.files.store import FeatureFile
from embedkit.preparing.pca import PCA

SEPARATION = 0.01


def features(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Draw rows whose eigenvalues fall by 3 % each, turned at random: about 100 components hold 95 %."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(0.97 ** np.arange(d) + 1e-5)
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    x = (rng.normal(size=(n, d)) * scale) @ turn.T + rng.normal(size=d)
    return np.asarray(x, dtype=np.float32)


def seconds(job: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def compare(x: NDArray[np.float32], rounds: int) -> None:
    times: dict[str, list[float]] = {"embedkit": [], "scikit-learn full SVD": []}
    for _ in range(rounds):
        spent, ours = seconds(lambda: PCA(0.95, device="cpu").fit(x))
        times["embedkit"].append(spent)
        spent, svd = seconds(lambda: SklearnPCA(0.95, svd_solver="full").fit(x))
        times["scikit-learn full SVD"].append(spent)
    print(f"{x.shape[0]:,} x {x.shape[1]:,} float32, {rounds} rounds")
    for name, took in times.items():
        print(f"  {name:22} median {statistics.median(took):6.2f} s   best {min(took):6.2f} s")
    ours_s, svd_s = times.values()
    print(
        f"  ratio                  median {statistics.median(svd_s) / statistics.median(ours_s):6.2f}     "
        f"best {min(svd_s) / min(ours_s):6.2f}"
    )
    m = min(ours.n_components_, svd.n_components_)
    values = ours.explained_variance_[:m]
    gaps = -np.diff(values, append=0) / values
    separated = np.minimum(gaps, np.append(np.inf, -np.diff(values) / values[1:])) > SEPARATION
    a, b = ours.components_[:m], svd.components_[:m]
    b = b * np.sign((a * b).sum(axis=1, keepdims=True))
    print(f"  components             {ours.n_components_} and {svd.n_components_}")
    print(
        f"  largest difference     {np.abs(a - b)[separated].max():.1e} of the {int(separated.sum())} whose "
        f"eigenvalues are {SEPARATION:.0%} apart, signs aside"
    )
    print(
        f"  eigenvalues            {np.abs(values / svd.explained_variance_[:m] - 1).max():.1e} apart at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", help="a feature file to take rows from, instead of drawing them")
    parser.add_argument("-n", type=int, default=17736)
    parser.add_argument("-d", type=int, default=1536)
    parser.add_argument("--few", type=int, default=1000, help="rows of the second comparison")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    x = FeatureFile(args.features).read() if args.features else features(args.n, args.d, args.seed)
    compare(x, args.rounds)
    if args.few < min(x.shape):
        compare(x[: args.few], args.rounds)


if __name__ == "__main__":
    main()
