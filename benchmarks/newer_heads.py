"""Newer heads beside k-means on the same prepared features: TEMI, ICCE, TURTLE, EVoC and PLSCAN.

    python benchmarks/newer_heads.py features.h5 [more.h5 ...] [--prep auto] [--seeds 3] [--with OTHER.h5 ...]
        [--heads icce temi]

k is the number of classes, and no label is read otherwise. Accuracy is matched one to one, and a row in no
cluster counts as wrong. EVoC is asked for about k clusters, and of PLSCAN's layers that with the number
of clusters nearest to k is taken; both are left out where their packages (evoc, fast-plscan) are missing.
With ``--with``, a second feature file of the same rows for each of the first, TURTLE takes both.

TURTLE (Gadetsky, Jiang, Brbic 2024, arXiv 2405.14236): a linear labelling of the rows that linear classifiers
learn best, 10 steps of theirs for each of its own, with the entropy of the classes' shares times 10 to keep
them even; 6,000 steps of Adam at 1e-3 on rows of length 1. Of `STARTS` starts that of the least loss is kept.

ICCE (Baydar & Akbas 2025, arXiv 2511.16213), read from its abstract: TEMI's heads on as many of each row's
nearest as lie near enough; a consensus of the heads; a linear classifier trained on the consensus. Near
enough is a cosine of at least the median over all rows and neighbours, and no row keeps fewer than `FEWEST`.
The consensus is Fern & Brodley's (2004) bipartite graph of rows and clusters.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score

from clustering.kmeans.kmeans import KMeans
from clustering.temi import TEMI
from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import prepare

STEPS, INNER, RATE, ENTROPY, STARTS = 6000, 10, 1e-3, 10.0, 2
FEWEST = 5


class Adam:
    """Adam's update in place, for gradients that are known in closed form."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight, self.first, self.second, self.n = (
            weight,
            torch.zeros_like(weight),
            torch.zeros_like(weight),
            0,
        )

    def step(self, gradient: torch.Tensor) -> None:
        self.n += 1
        self.first.mul_(0.9).add_(gradient, alpha=0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scaled = (self.second / (1 - 0.999**self.n)).sqrt_().add_(1e-8)
        self.weight.addcdiv_(self.first, scaled, value=-RATE / (1 - 0.9**self.n))


def turtle(spaces: Sequence[torch.Tensor], k: int, seed: int) -> tuple[float, np.ndarray]:
    """Return the loss and the labels (n,) of one start; `spaces` are (n, d) each."""
    generator = torch.Generator().manual_seed(seed)
    n = len(spaces[0])
    tasks = [torch.randn(x.shape[1], k, generator=generator) / x.shape[1] ** 0.5 for x in spaces]
    probes = [torch.zeros(x.shape[1], k) for x in spaces]
    outer, inner = [Adam(w) for w in tasks], [Adam(w) for w in probes]
    loss = float("nan")
    for _ in range(STEPS):
        each = [(x @ w).softmax(1) for x, w in zip(spaces, tasks, strict=True)]
        p = torch.stack(each).mean(0)
        for x, w, adam in zip(spaces, probes, inner, strict=True):
            for _ in range(INNER):
                adam.step(x.T @ ((x @ w).softmax(1) - p) / n)
        # d loss / d p: cross entropy of what the probes say, and the entropy of the mean.
        said = [(x @ w).log_softmax(1) for x, w in zip(spaces, probes, strict=True)]
        shares = p.mean(0)
        gradient = -torch.stack(said).sum(0) / n + ENTROPY * (shares.log() + 1) / n
        for x, one, adam in zip(spaces, each, outer, strict=True):
            by_logit = one * (gradient - (one * gradient).sum(1, keepdim=True)) / len(spaces)
            adam.step(x.T @ by_logit)
        loss = float(-(p * torch.stack(said).sum(0)).sum(1).mean() + ENTROPY * (shares * shares.log()).sum())
    return loss, p.argmax(1).numpy()


def by_turtle(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    unit = [torch.from_numpy(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)) for x in spaces]
    return min((turtle(unit, k, STARTS * seed + start) for start in range(STARTS)), key=lambda one: one[0])[1]


def by_kmeans(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    return np.asarray(KMeans(k, random_state=seed).fit(spaces[0]).labels_)


class AdaptiveTEMI(TEMI):
    """TEMI whose rows are paired only with those of their nearest that are near enough."""

    def _train(self, x: torch.Tensor, neighbours: torch.Tensor, *rest: Any) -> Any:
        return super()._train(x, near_enough(x, neighbours), *rest)

    def _evaluate(self, teacher: Any, x: torch.Tensor, neighbours: torch.Tensor) -> None:
        super()._evaluate(teacher, x, near_enough(x, neighbours))


def near_enough(x: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """Put one that is near enough, each equally often, in the place of a neighbour (n, m) that isn't."""
    unit = torch.nn.functional.normalize(x, dim=1)
    cosines = torch.stack([(unit * unit[column]).sum(1) for column in neighbours.T], dim=1)
    kept = (cosines >= cosines.median()).sum(1).clamp_min(min(FEWEST, neighbours.shape[1]))
    place = torch.arange(neighbours.shape[1]) % kept[:, None]
    return neighbours.gather(1, place)


def consensus(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the k parts of the graph that joins rows to their clusters, `labels` (heads, n)."""
    graph = np.concatenate([np.eye(k)[one] for one in labels], axis=1)
    graph = graph[:, graph.any(axis=0)] / np.sqrt(len(labels))  # each row has as many clusters as heads
    left = np.linalg.svd(graph / np.sqrt(graph.sum(axis=0)), full_matrices=False)[0][:, :k]
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-12)
    return np.asarray(KMeans(k, random_state=seed).fit(left.astype(np.float32)).labels_)


def by_temi(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    return np.asarray(TEMI(k, random_state=seed).fit(spaces[0]).labels_)


def by_icce(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    heads = AdaptiveTEMI(k, random_state=seed).fit(spaces[0])
    together = consensus(heads.head_labels_, k, seed)
    scaled = spaces[0] / spaces[0].std()
    return np.asarray(LogisticRegression(max_iter=2000).fit(scaled, together).predict(scaled))


def by_evoc(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:
    import evoc

    return np.asarray(evoc.EVoC(approx_n_clusters=k, random_state=seed).fit_predict(spaces[0]))


def by_plscan(spaces: Sequence[np.ndarray], k: int, seed: int) -> np.ndarray:  # noqa: ARG001
    from fast_plscan import PLSCAN

    model = PLSCAN().fit(spaces[0])
    layers = [labels for _, labels, _ in model.cluster_layers(max_peaks=50)]
    return min(layers, key=lambda labels: abs(int(labels.max()) + 1 - k))


def scores(labels: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    table = np.zeros((labels.max() + 1, max(found.max() + 1, 1)), int)
    inside = found >= 0
    np.add.at(table, (labels[inside], found[inside]), 1)
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / len(labels), normalized_mutual_info_score(labels, found)


def read(path: Path, prep: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the prepared features of the labelled rows of a file, and their labels."""
    with FeatureFile(path) as file:
        assert file.rows.labels is not None
        rows = np.flatnonzero(file.ok & (file.rows.labels >= 0))
        y = np.unique(file.rows.labels[rows], return_inverse=True)[1]
        return prepare(file, prep, n_clusters=int(y.max()) + 1).transform_file(file, rows), y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FEATURES.h5")
    parser.add_argument("--with", nargs="+", type=Path, default=[], dest="others", metavar="OTHER.h5")
    parser.add_argument("--prep", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--heads", nargs="+", metavar="HEAD", help="only these (default: all)")
    args = parser.parse_args()
    heads: dict[str, Callable[..., Any]] = {
        "kmeans": by_kmeans,
        "temi": by_temi,
        "icce": by_icce,
        "turtle": by_turtle,
    }
    for name, head in (("evoc", by_evoc), ("fast_plscan", by_plscan)):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out.")
        else:
            heads[name] = head
    if args.others:
        heads["turtle, both files"] = by_turtle
    unknown = sorted(set(args.heads or ()) - set(heads))
    if unknown:
        parser.error(f"--heads {unknown[0]}: there are {', '.join(heads)}.")
    print("| head | " + " | ".join(path.stem for path in args.files) + " | mean |")
    print("|---|" + "---:|" * (len(args.files) + 1), flush=True)
    data = [read(path, args.prep) for path in args.files]
    other = [read(path, args.prep)[0] for path in args.others]
    spaces = [[x] for x, _ in data]
    for name in args.heads or heads:
        head = heads[name]
        cells, means = [], []
        for i, (_, y) in enumerate(data):
            taken = [*spaces[i], other[i]] if name.endswith("both files") else spaces[i]
            found = np.array([scores(y, head(taken, int(y.max()) + 1, seed)) for seed in range(args.seeds)])
            means.append(found.mean(axis=0))
            spread = f" ± {found[:, 0].std(ddof=1):.3f}" if args.seeds > 1 else ""
            cells.append(f"{means[-1][0]:.3f}{spread}, {means[-1][1]:.2f}")
        accuracy, nmi = np.mean(means, axis=0)
        print(f"| {name} | " + " | ".join(cells) + f" | {accuracy:.3f}, {nmi:.2f} |", flush=True)


if __name__ == "__main__":
    main()
