from __future__ import annotations

import hdbscan
import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import cdist

from clustering.density import distances, outside
from clustering.density.distances import Frame, Points, checked, lower_bounds, nearest, nearest_torch
from clustering.density.mst import spanning_tree
from clustering.density.outside import nearest_outside_torch
from embedkit.errors import DataError, UsageError


def gaussian():
    return np.random.default_rng(0).normal(size=(300, 12))


def clumps():
    rng = np.random.default_rng(1)
    return rng.normal(size=(6, 20))[rng.integers(0, 6, 400)] * 4 + rng.normal(size=(400, 20))


def grid():
    return np.random.default_rng(2).integers(0, 4, size=(250, 3)).astype(float)


def duplicates():
    return np.repeat(np.random.default_rng(3).normal(size=(60, 5)), 4, axis=0)


def tight_and_far():
    rng = np.random.default_rng(4)
    return np.concatenate([10 + 1e-4 * rng.normal(size=(120, 8)), 1e-4 * rng.normal(size=(120, 8))])


def simplex():
    return np.eye(90)


def one_far_row():
    x = np.random.default_rng(5).normal(size=(200, 4))
    x[17] = 1e9
    return x


SETS = [gaussian, clumps, grid, duplicates, tight_and_far, simplex, one_far_row]
TIED = {grid, duplicates, simplex}  # distances themselves tie, so that more than one tree is Prim's


def mutual_reachability(x, k):
    d = cdist(x, x)
    core = np.sort(d, axis=1)[:, min(k, len(x) - 1)]
    return np.maximum(d, np.maximum(core[:, None], core)), core


@pytest.fixture(params=["prim", "boruvka", "boruvka in small tiles", "torch", "torch in small blocks"])
def method(request, monkeypatch):
    """Every way to the tree; the torch operations that a GPU runs are run here on the CPU."""
    if request.param.endswith("tiles"):
        for module in (distances, outside):
            monkeypatch.setattr(module, "TILE_ROWS", 17)
            monkeypatch.setattr(module, "TILE_COLUMNS", 40)
    if request.param.startswith("torch"):
        monkeypatch.setattr(distances, "_nearest_cpu", nearest_torch)
        monkeypatch.setattr(outside, "_nearest_outside_cpu", nearest_outside_torch)
    if request.param.endswith("blocks"):
        monkeypatch.setattr(distances, "CUDA_BLOCK_BYTES", 50_000)
    return "prim" if request.param == "prim" else "boruvka"


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("k", [1, 5])
def test_the_tree_is_minimal(make, k, method):
    x = make()
    tree = spanning_tree(x, min_samples=k, method=method)
    weights, core = mutual_reachability(x, k)
    # scipy takes a zero for a missing edge; adding one to every weight leaves the tree as it is.
    oracle = np.sort(minimum_spanning_tree(weights + 1).data - 1)
    tolerance = {"rtol": 1e-9, "atol": 1e-9 * weights.max()}
    np.testing.assert_allclose(tree.core_distances, core, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(np.sort(tree.weights), oracle, **tolerance)
    np.testing.assert_allclose(tree.weights.sum(), oracle.sum(), rtol=1e-9)
    i, j = tree.edges.T
    np.testing.assert_allclose(tree.weights, weights[i, j], rtol=1e-7, atol=1e-12)
    assert connected_components(coo_array((np.ones(len(i)), (i, j)), shape=weights.shape))[0] == 1


@pytest.mark.parametrize("make", SETS)
def test_prim_is_the_packages_tree_edge_for_edge(make):
    x = make()
    tree = spanning_tree(x, min_samples=5, method="prim")
    oracle = hdbscan.HDBSCAN(min_samples=5, algorithm="prims_kdtree", gen_min_span_tree=True).fit(x)
    order = np.argsort(tree.weights)
    mine = np.column_stack([tree.edges, tree.weights])[order]
    np.testing.assert_array_equal(mine, oracle.minimum_spanning_tree_.to_numpy())


@pytest.mark.parametrize("make", sorted(set(SETS) - TIED, key=SETS.index))
def test_boruvka_breaks_ties_as_prim_does(make, method):
    x = make()
    first, second = spanning_tree(x, method="prim"), spanning_tree(x, method=method)
    np.testing.assert_array_equal(first.edges, second.edges)
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-12)


def test_tied_distances_leave_the_weights_equal(method):
    for make in TIED:
        x = make()
        first, second = spanning_tree(x, method="prim"), spanning_tree(x, method=method)
        np.testing.assert_allclose(np.sort(first.weights), np.sort(second.weights), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("k", [1, 5, 1000])
def test_fewer_rows_than_min_samples(n, k, method):
    x = np.random.default_rng(6).normal(size=(n, 4))
    tree = spanning_tree(x, min_samples=k, method=method)
    weights, core = mutual_reachability(x, k)
    np.testing.assert_allclose(
        np.sort(tree.weights), np.sort(minimum_spanning_tree(weights).data), rtol=1e-12
    )
    np.testing.assert_allclose(tree.core_distances, core, rtol=1e-12)


def test_one_point_many_times(method):
    tree = spanning_tree(np.ones((50, 3)), method=method)
    assert not tree.weights.any()
    assert connected_components(coo_array((np.ones(49), tree.edges.T), shape=(50, 50)))[0] == 1


def test_float16_is_widened_before_it_is_squared(method):
    x = (gaussian() * 3000).astype(np.float16)
    with np.errstate(over="ignore"):
        assert np.isinf(x * x).any()
    tree = spanning_tree(x, method=method)
    np.testing.assert_array_equal(tree.weights, spanning_tree(x.astype(np.float64), method=method).weights)
    assert np.isfinite(tree.weights).all()


@pytest.mark.parametrize("power", [-600, -100, 100, 500])
def test_the_unit_does_not_matter(power, method):
    x = clumps()
    tree, scaled = spanning_tree(x, method=method), spanning_tree(np.ldexp(x, power), method=method)
    np.testing.assert_array_equal(tree.edges, scaled.edges)
    np.testing.assert_array_equal(np.ldexp(tree.weights, power), scaled.weights)


def test_coarse_products_asked_for_elsewhere_change_nothing(method):
    before = torch.get_float32_matmul_precision()
    expected = spanning_tree(clumps(), method=method)
    try:
        torch.set_float32_matmul_precision("medium")
        tree = spanning_tree(clumps(), method=method)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(tree.weights, expected.weights)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 7, 64, 1536])
def test_lower_bounds_are_below_the_distances_and_near_them(precision, d):
    rng = np.random.default_rng(d)
    x = checked(rng.normal(size=(300, d)) * 10 ** rng.uniform(-4, 4, size=(300, 1)) + 37)
    frame = Frame.of(x)
    points = Points(x, Frame(frame.centre, frame.scale, precision))
    bounds = lower_bounds(points.left, points.right).double().numpy()
    squares = cdist(points.exact, points.exact, "sqeuclidean")
    norms = np.square((x - frame.centre) * frame.scale).sum(1)
    error = 3 * distances.margin(d, precision) * (norms[:, None] + norms) + 2e-30 + 2.0**-21 * squares
    assert (bounds <= np.maximum(squares, 0)).all()
    assert (bounds >= squares - error).all()


def test_the_precision_follows_the_data():
    assert spanning_tree(gaussian()).backend == "prim cpu float32"
    assert spanning_tree(tight_and_far(), method="boruvka").backend == "boruvka cpu float64"


@pytest.mark.parametrize("find", [nearest, lambda q, p, k: nearest_torch(q, p, k)], ids=["cpu", "torch"])
def test_nearest_of_new_rows(find):
    x, new = clumps(), clumps()[:50] + 0.5
    frame = Frame.of(x)
    found, index = find(Points(new, frame), Points(x, frame), 7)
    oracle = cdist(new, x)
    np.testing.assert_array_equal(index, np.argsort(oracle, axis=1)[:, :7])
    found = found if find is nearest else np.sqrt(found) / frame.scale
    np.testing.assert_allclose(found, np.sort(oracle, axis=1)[:, :7], rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 3)), "1 sample is too few: at least 2"),
        (np.ones(5), r"matrix \(n, d\).*shape \(5,\)"),
        (np.ones((5, 0)), "0 feature"),
        ([[0.0, 1.0], [np.nan, 0.0], [1.0, np.inf]], "2 of 3 rows hold NaN or infinity.*row 1"),
        ([[-1.7e308], [1.7e308], [0.0]], "Distances.*exceed the range of float64"),
    ],
)
def test_bad_rows(x, message):
    with pytest.raises(DataError, match=message):
        spanning_tree(x)


def test_bad_options():
    with pytest.raises(UsageError, match="min_samples=0"):
        spanning_tree(gaussian(), min_samples=0)
    with pytest.raises(UsageError, match="'kruskal' is unknown. Known: auto, prim, boruvka"):
        spanning_tree(gaussian(), method="kruskal")
    with pytest.raises(UsageError, match="unknown. Give auto, cpu, cuda"):
        spanning_tree(gaussian(), device="abacus")
