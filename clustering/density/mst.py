"""The exact minimum spanning tree over mutual reachability, without a search tree.

Two ways to the same weights:

- **Prim** over a stored ``(n, n)`` float32 matrix of lower bounds, each row read once. It visits rows and
  breaks ties as the ``hdbscan`` package does, so that its tree is the package's edge for edge.
- **Borůvka** where that matrix would be too large, or on a GPU: O(n * block) memory.

Mutual reachability ties by construction: all edges from a row into its neighbourhood may weigh its core
distance. So several trees are minimal, all with the same sorted weights, and clusterings drawn from them
differ in the few points that reach two clusters at one distance. Borůvka's tree is therefore walked again by
Prim together with the neighbour lists, where such edges stand, and becomes Prim's own. Only where many
distances tie themselves, as on a grid, can it remain another of the minimal trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from clustering.density.boruvka import boruvka
from clustering.density.distances import F64, I64, Frame, Points, checked
from clustering.density.prim import prim
from embedkit.computing.device import choose_device
from embedkit.errors import UsageError

# The stored matrix of 20,000 rows takes 1.6 GB. Without it the tree takes about a fifth longer on two cores.
DENSE_ROWS = 20_000

Method = Literal["auto", "prim", "boruvka"]


@dataclass(frozen=True)
class SpanningTree:
    """A minimum spanning tree over mutual reachability distances.

    Attributes
    ----------
    edges : ndarray of int64, (n - 1, 2)
        Row indices, in the order in which the edges were found.
    weights : ndarray of float64, (n - 1,)
        ``max(core[i], core[j], |x_i - x_j|)`` of each edge, in the units of the data.
    core_distances : ndarray of float64, (n,)
        The distance of each row to its ``min_samples``-th nearest other row.
    backend : str
        What computed it, such as ``"prim cpu float32"``.
    """

    edges: I64
    weights: F64
    core_distances: F64
    backend: str


def spanning_tree(
    x: ArrayLike, *, min_samples: int = 5, device: str = "cpu", method: Method = "auto"
) -> SpanningTree:
    """Return the exact minimum spanning tree of ``x`` over Euclidean mutual reachability.

    Parameters
    ----------
    x : array_like, (n, d)
        At least two finite rows.
    min_samples : int
        Which nearest other row gives the core distance; at most n - 1 is used, as in the ``hdbscan`` package.
    device : str
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a CUDA GPU where there is one.
    method : {"auto", "prim", "boruvka"}
        ``auto`` takes Prim on a CPU up to 20,000 rows and Borůvka otherwise.

    Returns
    -------
    SpanningTree

    Raises
    ------
    DataError
        If ``x`` holds NaN or infinity, or fewer than two rows.
    UsageError
        If ``min_samples`` is less than one, or Prim is asked for on a GPU.

    References
    ----------
    Campello, Moulavi & Sander 2013, "Density-based clustering based on hierarchical density estimates";
    March, Ram & Gray 2010, "Fast Euclidean minimum spanning tree".
    """
    rows = checked(x, least=2)
    if min_samples < 1:
        raise UsageError(f"min_samples={min_samples}: it counts neighbours, so at least 1.")
    target = choose_device(device, float64=True)
    on_cpu = target.type == "cpu"
    if method == "auto":
        method = "prim" if on_cpu and len(rows) <= DENSE_ROWS else "boruvka"
    if method not in ("prim", "boruvka"):
        raise UsageError(f"method={method!r} is unknown. Known: auto, prim, boruvka.")
    if method == "prim" and not on_cpu:
        raise UsageError(f"method='prim' runs on the CPU only. Take method='boruvka' on {target}.")
    k = min(min_samples, len(rows) - 1)
    points = Points(rows, Frame.of(rows), device=target)
    edges, weights, core = prim(points, k) if method == "prim" else boruvka(points, k)
    scale = points.frame.scale
    precision = str(points.frame.precision).removeprefix("torch.")
    return SpanningTree(edges, weights / scale, core / scale, f"{method} {points.device.type} {precision}")
