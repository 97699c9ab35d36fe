"""What keeps k-means from the classes: the features, the preparation, its objective, or the search?

    python benchmarks/what_binds.py gz4-4.h5 mars-4.h5 ... [--prep auto]

Of each labelled file, with as many clusters as classes. Labels are read in all but the first column:

- found: what `embedkit cluster` finds, without a label.
- from the classes: k-means by scikit-learn that starts at the classes' means and goes on to its optimum. If
  that is better, and its inertia no higher, the search missed it.
- inertia of classes: that of the classes themselves about their means, over scikit-learn's best of ten. Above
  1 the objective itself prefers what was found, however long one searches.
- nearest mean: rows by the nearest of the classes' means, which are given. That is the most that round
  clusters of one size can tell apart.
- linear, prepared and linear, features: logistic regression in five folds, on what k-means gets and on the
  features as they are. The first below the second is lost by the preparation, 1 less the second by the
  features.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, normalized_mutual_info_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import embedkit
from clustering.matching import match_clusters
from clustering.report import ClusterRun
from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import preparation_for, prepare
from probes.fitting import read_features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--prep", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    columns = ("found", "from the classes", "inertia of classes", "nearest mean", "linear, prepared")
    print(f"| `{args.prep}` | {' | '.join(columns)} | linear, features |\n|---|" + "---:|" * 6)
    for path in args.features:
        print(f"| {path.stem} | {' | '.join(measured(path, args.prep, args.seeds))} |", flush=True)


def measured(path: Path, prep: str, seeds: int) -> list[str]:
    run = embedkit.cluster(path, prep=prep, seeds=seeds, output=None)
    assert isinstance(run, ClusterRun)  # as one file and one method are asked for
    found = [run.result.metrics[f"{name}_seed_mean"].value or 0.0 for name in ("accuracy", "nmi")]
    with FeatureFile(path) as file:
        y = np.asarray(file.rows.labels)
        rows = np.flatnonzero(file.ok & (y >= 0))
        k = len(np.unique(y[rows]))
        preparation = preparation_for(file, prep, n_rows=len(rows), n_clusters=k)
        features, with_views = read_features(file, rows, preparation)
        prepared = prepare(file, preparation, rows=rows, n_clusters=k)
        x = prepared.transform(features, view_mean=with_views).astype(np.float64)
    y = np.unique(y[rows], return_inverse=True)[1]
    means = np.stack([x[y == j].mean(axis=0) for j in range(k)])
    best = KMeans(k, n_init=10, random_state=0).fit(x)
    started = KMeans(k, init=means, n_init=1).fit(x)
    matched = match_clusters(y, started.labels_.astype(np.int64))
    of_classes = sum(((x[y == j] - means[j]) ** 2).sum() for j in range(k))
    nearest = ((x[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    return [
        "{:.3f}, {:.2f}".format(*found),
        f"{matched.n_correct / matched.n:.3f}, {normalized_mutual_info_score(y, started.labels_):.2f} "
        f"({started.inertia_ / best.inertia_:.3f})",
        f"{of_classes / best.inertia_:.2f}",
        f"{accuracy_score(y, nearest):.3f}",
        f"{linear(x, y):.3f}",
        f"{linear(features, y):.3f}",
    ]


def linear(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Accuracy of logistic regression in five folds, C chosen within each."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    chosen = GridSearchCV(probe, {"logisticregression__C": np.logspace(-4, 1, 6)}, cv=3)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(accuracy_score(y, cross_val_predict(chosen, x, y, cv=folds)))


if __name__ == "__main__":
    main()
