"""Which share of the neighbours that a report's page shows are the true ones, by scikit-learn in float64.

    python benchmarks/map_neighbours.py FEATURES PAGE [--pca D]

The page is read as a browser reads it. Truth is an exact search of all pairs in the space that the page
names: cosine of the features as extracted, or with --pca D, for a page made with `--prep pcaD`, Euclidean
distance in scikit-learn's D principal components.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from embedkit.files.store import FeatureFile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--pca", type=int, metavar="D")
    args = parser.parse_args()
    data = json.loads(args.page.read_text().split('<script type="application/json" id="data">')[1]
                      .split("</script>")[0])  # fmt: skip
    near = data["neighbours"]
    with FeatureFile(args.features) as file:
        place = {name: i for i, name in enumerate(file.rows.ids)}
        x = file.read(np.array([place[name] for name in data["ids"]])).astype(np.float64)
    if args.pca:
        x, metric = PCA(args.pca, svd_solver="full").fit_transform(x), "euclidean"
    else:
        metric = "cosine"
    shown = unpack(near["index"]).reshape(len(x), near["k"])
    searched = NearestNeighbors(n_neighbors=near["k"], algorithm="brute", metric=metric).fit(x)
    true = searched.kneighbors(return_distance=False)
    print(f"page: {near['text']}; truth: {metric}, {x.shape[1]} dimensions, n = {len(x):,}")
    for k in sorted({1, 5, near["k"]}):
        same = [len(np.intersect1d(a, b)) for a, b in zip(shown[:, :k], true[:, :k], strict=True)]
        exact = int((np.array(same) == k).sum())
        print(f"k = {k}: recall {np.sum(same) / (k * len(x)):.5f}; all {k} the same in {exact:,} rows")


def unpack(packed: dict[str, str]) -> NDArray[Any]:
    """Return the numbers that the page packed; rows of three bytes are little-endian."""
    raw = base64.b64decode(packed["data"])
    if packed["type"] != "u3":
        return np.frombuffer(raw, dtype=f"<{packed['type']}")
    three = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3)
    return np.pad(three, ((0, 0), (0, 1))).view("<u4").ravel()


if __name__ == "__main__":
    main()
