"""New rows on a map that stays as it is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.schema import unusable, usable
from reports.map.layout import MIN_ROWS, Map, Plan, comparable

# umap-learn's own numbers: epochs for so many new rows and for more, and the strength of its first steps.
FEW, EPOCHS_OF_FEW, EPOCHS_OF_MANY = 10_000, 100, 30
_ALPHA, _REPULSION, _NEGATIVE = 1.0 / 4, 1.0, 5
# The part of the known rows beyond which a new one is said to be far.
FAR = 0.99


@dataclass(frozen=True)
class Placed:
    """Where new rows lie on a map, and how near they are to what it was made of.

    Parameters
    ----------
    xy : (m, 2) float32
        Their places.
    apart : (m,) float32
        Distance of each to the nearest known row, in the space that was laid out.
    known_apart : (n,) float32
        Distance of each known row to the nearest other one.
    how
        How they were placed, in words.
    """

    xy: NDArray[np.float32]
    apart: NDArray[np.float32]
    known_apart: NDArray[np.float32]
    how: str

    @property
    def unit(self) -> float:
        """The median distance of known rows to their nearest; 1 where all have copies."""
        return float(np.median(self.known_apart)) or 1.0

    @property
    def share_far(self) -> float:
        """Part of the new rows that are farther from the known than 99 % of these are from one another."""
        return float(np.mean(self.apart > np.quantile(self.known_apart, FAR)))

    def describe(self) -> str:
        """Say in a few sentences how they were placed, and how sure their places are."""
        median = float(np.median(self.apart)) / self.unit
        far = f"{self.share_far:.0%} are" if self.share_far else "None is"
        unsure = ", and such places say little" if self.share_far else ""
        return (
            f"{self.how} The nearest known image is {median:.2g} times as far from a new one as from a known "
            f"one (medians). {far} farther from it than {FAR:.0%} of the known ones are{unsure}."
        )


def place(x: NDArray[np.floating[Any]], new: NDArray[np.floating[Any]], plan: Plan, onto: Map) -> Placed:
    """Place new rows on a map.

    On a map of principal components a new row lies where its own components are. On one of UMAP it is placed
    as ``UMAP.transform`` does: among its nearest known rows, found exactly here, at their mean weighted by
    UMAP's memberships, from where UMAP's forces move it while the known rows stay [1]_. On one of t-SNE it
    lies at the median of its nearest known rows, from where openTSNE starts [2]_.

    Parameters
    ----------
    x : (n, d) float
        The rows that `onto` was made of, as `reports.map.layout.lay_out` got them.
    new : (m, d) float
        Finite rows, made in the same way.
    plan
        How the map was made.
    onto
        The map.

    Raises
    ------
    DataError
        NaN or infinite features, or a map of fewer than five rows.

    References
    ----------
    .. [1] McInnes, Healy & Melville 2018, UMAP, arXiv 1802.03426.
    .. [2] Poličar, Stražar & Zupan 2024, Journal of Statistical Software 109, 3.
    """
    if len(onto.xy) < MIN_ROWS:
        raise DataError(f"a map of {len(onto.xy)} images is too small to place others on it.")
    new = np.asarray(new, np.float32)
    if (bad := ~usable(new)).any():
        raise DataError(
            f"{int(bad.sum())} of {len(new)} new rows hold {unusable(new[bad])}. Extract again with "
            "--precision fp32."
        )
    known, placed = _laid_out(x, new, plan, onto)
    k = min(plan.n_neighbors, len(known) - 1)
    metric = "manhattan" if plan.metric == "manhattan" else "euclidean"
    index, distance = _nearest(known, placed, k, metric)
    known_apart = _nearest(known, None, 1, metric)[1][:, 0]
    if onto.method == "pca":
        xy, how = _components(comparable(new, plan.metric), onto), "Each lies where its own components are."
    elif onto.method == "tsne":
        xy = np.median(onto.xy[index], axis=1)
        how = f"Each lies at the median of its {k} nearest known images."
    else:
        xy = _by_umap(index, distance, plan, onto)
        how = (
            f"Each is placed among its {k} nearest known images, as UMAP places new ones (seed {plan.seed})."
        )
    return Placed(np.asarray(xy, np.float32), distance[:, 0], known_apart, how)


def _laid_out(
    x: NDArray[np.floating[Any]], new: NDArray[np.float32], plan: Plan, onto: Map
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return known and new rows in the space that was laid out."""
    rows = comparable(new, plan.metric)
    if plan.prepared:
        return onto.reduced, rows
    if plan.metric == "manhattan" and onto.method == "umap":
        return comparable(np.asarray(x), plan.metric), rows
    r = onto.reduced.shape[1]
    return onto.reduced, np.asarray(onto.reduction.transform(rows)[:, :r], np.float32)


def _components(rows: NDArray[np.float32], onto: Map) -> NDArray[np.float32]:
    """Return the first two components of new rows, zeros where there is one alone."""
    xy = np.zeros((len(rows), 2), np.float32)
    scores = onto.reduction.transform(rows)[:, : min(2, onto.reduction.n_components_)]
    # The map's second component is left out where the first holds all.
    both = onto.reduced.shape[1] > 1 or onto.xy[:, 1].any()
    xy[:, : scores.shape[1] if both else 1] = scores if both else scores[:, :1]
    return xy


def _nearest(
    known: NDArray[np.float32], new: NDArray[np.float32] | None, k: int, metric: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k nearest known rows of each new one, exactly; without new ones, of each other known one."""
    from sklearn.neighbors import NearestNeighbors

    middle = known.mean(axis=0, dtype=np.float64)
    model = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=metric).fit(known - middle)
    distance, index = model.kneighbors(None if new is None else new - middle)
    return np.asarray(index, np.int64), np.asarray(distance, np.float32)


def _by_umap(
    index: NDArray[np.int64], distance: NDArray[np.float32], plan: Plan, onto: Map
) -> NDArray[np.float32]:
    """Do what ``UMAP.transform`` does after its search, for which it needs an index that was not made."""
    import scipy.sparse

    with warnings.catch_warnings():
        # Importing umap-learn says that its neural variant, which is not used here, lacks TensorFlow.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import umap_
        from umap.layouts import optimize_layout_euclidean

    m, k = index.shape
    # A new row counts as none of its own neighbours, so nothing is taken for near whatever its distance.
    width, nearest = umap_.smooth_knn_dist(distance, float(k), local_connectivity=0.0)
    rows, columns, weights, _ = umap_.compute_membership_strengths(
        index.astype(np.int32), distance, width, nearest, bipartite=True
    )
    graph = scipy.sparse.coo_matrix((weights, (rows, columns)), shape=(m, len(onto.xy)))
    start = graph.tocsr()
    start.eliminate_zeros()
    xy = umap_.init_graph_transform(start, onto.xy)
    epochs = EPOCHS_OF_FEW if m <= FEW else EPOCHS_OF_MANY
    graph.data[graph.data < graph.data.max() / epochs] = 0.0
    graph.eliminate_zeros()
    a, b = umap_.find_ab_params(1.0, plan.min_dist)
    state = np.random.RandomState(plan.seed).randint(umap_.INT32_MIN, umap_.INT32_MAX, 3).astype(np.int64)
    moved = optimize_layout_euclidean(
        xy,
        onto.xy.astype(np.float32, copy=True),
        graph.row,
        graph.col,
        epochs,
        graph.shape[1],
        umap_.make_epochs_per_sample(graph.data, epochs),
        a,
        b,
        state,
        _REPULSION,
        _ALPHA,
        _NEGATIVE,
        parallel=False,
        verbose=False,
    )
    return np.asarray(moved, np.float32)
