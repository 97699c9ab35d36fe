"""The `hdbscan` package's clustering on a spanning tree from matrix products, with all of its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hdbscan
import numpy as np
from hdbscan._hdbscan_linkage import label
from hdbscan.prediction import PredictionData
from numpy.typing import ArrayLike, NDArray

from clustering.density.distances import F64, I64, Frame, Points, checked, nearest
from clustering.density.mst import Method, SpanningTree, spanning_tree
from embedkit.errors import DataError, UsageError


def exact_hdbscan(
    x: ArrayLike,
    *,
    min_cluster_size: int = 5,
    min_samples: int | None = None,
    device: str = "cpu",
    method: Method = "auto",
    tree: SpanningTree | None = None,
    **selection: Any,
) -> ExactHDBSCAN:
    """Cluster the rows of ``x`` as ``hdbscan.HDBSCAN`` does, at the speed of matrix products.

    Parameters
    ----------
    x : array_like, (n, d)
        At least two finite rows, compared by Euclidean distance.
    min_cluster_size : int
        The fewest rows that make a cluster, at least 2.
    min_samples : int, optional
        Which nearest other row gives the core distance; ``min_cluster_size`` if left out.
    device : str
        Where the distances are computed: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
    method : {"auto", "prim", "boruvka"}
        How the tree is found; see `clustering.density.mst.spanning_tree`.
    tree : SpanningTree, optional
        The tree of these rows at this `min_samples`, as ``spanning_tree_`` of an earlier fit: it serves every
        `min_cluster_size`, and takes most of the time.
    **selection
        How clusters are drawn from the tree: ``cluster_selection_method``, ``cluster_selection_epsilon``,
        ``allow_single_cluster``, ``max_cluster_size`` and whatever else the installed package takes.

    Returns
    -------
    ExactHDBSCAN
        A fitted estimator of the package: ``labels_`` (n,) with -1 for noise, ``probabilities_`` (n,),
        ``outlier_scores_`` (n,), ``condensed_tree_``, ``relative_validity_``; ready for
        ``hdbscan.approximate_predict`` once ``generate_prediction_data()`` has been called.

    Raises
    ------
    DataError
        If ``x`` holds NaN or infinity, or fewer than two rows.
    UsageError
        If an option is unknown or out of range.

    References
    ----------
    McInnes, Healy & Astels 2017, "hdbscan: Hierarchical density based clustering", JOSS 2(11), 205.
    """
    rows = checked(x, least=2)
    if min_cluster_size < 2:
        raise UsageError(f"min_cluster_size={min_cluster_size}: a cluster has at least 2 rows.")
    if min_samples is not None and min_samples < 1:
        raise UsageError(f"min_samples={min_samples}: it counts neighbours, so at least 1.")
    taken = {"metric", "p", "alpha", "algorithm", "memory", "gen_min_span_tree", "branch_detection_data"}
    known = set(hdbscan.HDBSCAN().get_params()) - taken
    if unknown := sorted(set(selection) - known):
        raise UsageError(f"{', '.join(unknown)}: no option here. Known: {', '.join(sorted(known))}.")
    if tree is not None and len(tree.core_distances) != len(rows):
        raise DataError(f"a tree of {len(tree.core_distances)} rows doesn't fit {len(rows)} rows.")
    source = _Tree(device, method, tree)
    model = ExactHDBSCAN(
        min_cluster_size=int(min_cluster_size),
        min_samples=None if min_samples is None else int(min_samples),
        algorithm="prims_kdtree",
        gen_min_span_tree=True,
        memory=source,
        **selection,
    )
    try:
        model.fit(rows)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise UsageError(str(error)) from error
    assert source.found is not None
    model.spanning_tree_ = source.found
    model.memory = hdbscan.HDBSCAN().memory
    return model


class ExactHDBSCAN(hdbscan.HDBSCAN):  # type: ignore[misc]
    """``hdbscan.HDBSCAN`` as `exact_hdbscan` fits it, with prediction that searches by matrix products.

    Attributes
    ----------
    spanning_tree_ : SpanningTree
        The minimum spanning tree, its core distances, and what computed it.
    """

    spanning_tree_: SpanningTree

    def generate_prediction_data(self) -> None:
        """Keep what ``hdbscan.approximate_predict`` needs."""
        self._prediction_data = _Prediction(
            self._raw_data,
            self.condensed_tree_,
            self.min_samples or self.min_cluster_size,
            tree_type="kdtree",
            metric="euclidean",
        )


class _Tree:
    """Stands in the package's place for a cache of spanning trees, and computes each one here.

    The package calls ``memory.cache(its own routine)(x, min_samples, ...)``. So its checks, its options and
    all that it makes of the tree stay its own, whatever its version.
    """

    def __init__(self, device: str, method: Method, found: SpanningTree | None = None) -> None:
        self.device = device
        self.method = method
        self.found = found

    def cache(self, routine: Callable[..., object]) -> Callable[..., tuple[F64, F64]]:  # noqa: ARG002
        return self.compute

    def compute(self, x: F64, min_samples: int, *_: object, **__: object) -> tuple[F64, F64]:
        tree = self.found or spanning_tree(x, min_samples=min_samples, device=self.device, method=self.method)
        edges = np.column_stack([tree.edges, tree.weights])
        # The same sort as in the package: what it makes of equal weights, it makes of them here.
        edges = edges[np.argsort(tree.weights), :]
        self.found = tree
        return label(edges), edges


class ExactNeighbours:
    """Answers as scikit-learn's ``KDTree`` does, where such trees no longer prune.

    Parameters
    ----------
    data : ndarray, (n, d)
        The rows to search.
    metric : str
        Only ``euclidean``.
    """

    def __init__(self, data: NDArray[Any], metric: str = "euclidean") -> None:
        if metric != "euclidean":
            raise UsageError(f"metric={metric!r}: these neighbours are Euclidean.")
        self.data = checked(data)
        self.frame = Frame.of(self.data)

    def query(self, points: ArrayLike, k: int) -> tuple[F64, I64]:
        """Return distances and indices (m, k) of the ``k`` nearest rows, nearest first.

        With fewer than ``k`` rows the last one is repeated, as core distances stop there too.
        """
        rows = checked(points)
        reached = min(k, len(self.data))
        frame = self.frame.reaching(rows)
        distances, index = nearest(Points(rows, frame), Points(self.data, frame), reached)
        pad = ((0, 0), (0, k - reached))
        return np.pad(distances, pad, mode="edge"), np.pad(index, pad, mode="edge")


class _Prediction(PredictionData):  # type: ignore[misc]
    _tree_type_map = {"kdtree": ExactNeighbours}  # noqa: RUF012 - the package's own name and kind
