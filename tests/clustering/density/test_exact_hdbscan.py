from __future__ import annotations

import pickle
from functools import partial

import hdbscan
import numpy as np
import pytest
from PIL import Image
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KDTree

from clustering.density.exact_hdbscan import ExactNeighbours, exact_hdbscan
from clustering.density.hdbscan import HDBSCAN
from embedkit.errors import DataError, UsageError

SETS = {
    "iris": lambda: datasets.load_iris().data,
    "wine": lambda: datasets.load_wine().data,
    "breast cancer": lambda: datasets.load_breast_cancer().data,
    "diabetes": lambda: datasets.load_diabetes().data,
    "digits": lambda: datasets.load_digits().data,
    "digits, float16": lambda: datasets.load_digits().data.astype(np.float16),
    "blobs 64-d": lambda: datasets.make_blobs(1500, 64, centers=12, cluster_std=3.0, random_state=0)[0],
    "blobs 300-d": lambda: datasets.make_blobs(600, 300, centers=5, cluster_std=6.0, random_state=1)[0],
    "moons": lambda: datasets.make_moons(1000, noise=0.08, random_state=0)[0],
    "circles": lambda: datasets.make_circles(1000, noise=0.05, factor=0.5, random_state=0)[0],
    "swiss roll": lambda: datasets.make_swiss_roll(1000, noise=0.3, random_state=0)[0],
}


def blobs():
    return SETS["blobs 64-d"]()


@pytest.fixture(scope="module")
def pixels(shared):
    """32 x 32 pixels of real galaxies, reduced to 64 dimensions."""
    files = sorted((shared / "data" / "gz1" / "images").glob("*.jp*g"))[:600]
    if not files:
        pytest.skip(f"no galaxies in {shared}")
    rows = []
    for file in files:
        with Image.open(file) as image:
            image.draft("RGB", (64, 64))
            rows.append(np.asarray(image.convert("RGB").resize((32, 32))).reshape(-1) / 255)
    return PCA(64, random_state=0).fit_transform(np.array(rows))


def assert_same(mine, oracle):
    np.testing.assert_array_equal(mine.labels_, oracle.labels_)
    np.testing.assert_allclose(mine.probabilities_, oracle.probabilities_, rtol=1e-9)
    np.testing.assert_allclose(mine.outlier_scores_, oracle.outlier_scores_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mine.cluster_persistence_, oracle.cluster_persistence_, rtol=1e-9)


@pytest.mark.parametrize("method", ["prim", "boruvka"])
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("size", [5, 15])
def test_labels_are_those_of_the_packages_exact_way(name, size, method):
    x = SETS[name]()
    oracle = hdbscan.HDBSCAN(min_cluster_size=size, algorithm="prims_kdtree").fit(x.astype(np.float64))
    mine = exact_hdbscan(x, min_cluster_size=size, method=method)
    assert adjusted_rand_score(oracle.labels_, mine.labels_) >= 0.999
    if method == "prim":
        assert_same(mine, oracle)
        np.testing.assert_array_equal(
            mine.single_linkage_tree_.to_numpy(), oracle.single_linkage_tree_.to_numpy()
        )


def test_labels_of_real_pixels(pixels):
    for size in (3, 10):
        oracle = hdbscan.HDBSCAN(min_cluster_size=size).fit(pixels)
        for method in ("prim", "boruvka"):
            assert_same(exact_hdbscan(pixels, min_cluster_size=size, method=method), oracle)


@pytest.mark.parametrize(
    "options",
    [
        {"cluster_selection_method": "leaf"},
        {"cluster_selection_epsilon": 30.0},
        {"allow_single_cluster": True},
        {"max_cluster_size": 100},
        {"min_samples": 1},
        {"min_samples": 40, "cluster_selection_method": "leaf"},
    ],
    ids=str,
)
def test_the_packages_options(options):
    x = blobs()
    oracle = hdbscan.HDBSCAN(min_cluster_size=10, gen_min_span_tree=True, **options).fit(x)
    mine = exact_hdbscan(x, min_cluster_size=10, **options)
    assert_same(mine, oracle)
    assert mine.relative_validity_ == pytest.approx(oracle.relative_validity_, rel=1e-9)


def test_new_rows_are_assigned_as_by_the_package():
    x = blobs()
    new = np.concatenate([x[:100] + 0.5, 50 + x[:5]])
    oracle = hdbscan.HDBSCAN(min_cluster_size=10, prediction_data=True).fit(x)
    mine = exact_hdbscan(x, min_cluster_size=10)
    mine.generate_prediction_data()
    expected = hdbscan.approximate_predict(oracle, new)
    labels, probabilities = hdbscan.approximate_predict(mine, new)
    np.testing.assert_array_equal(labels, expected[0])
    np.testing.assert_allclose(probabilities, expected[1], rtol=1e-9)
    assert (labels[:100] >= 0).any()
    np.testing.assert_allclose(
        hdbscan.all_points_membership_vectors(mine), hdbscan.all_points_membership_vectors(oracle), rtol=1e-9
    )


def test_new_rows_where_min_samples_exceeds_the_rows():
    x = np.random.default_rng(0).normal(size=(24, 4))
    mine = exact_hdbscan(x, min_cluster_size=4, min_samples=1000)
    mine.generate_prediction_data()
    with pytest.warns(UserWarning, match="predicted as noise"):
        labels, _ = hdbscan.approximate_predict(mine, x)
    assert (labels == -1).all()


def test_a_fitted_model_survives_pickling():
    mine = exact_hdbscan(blobs(), min_cluster_size=10)
    mine.generate_prediction_data()
    again = pickle.loads(pickle.dumps(mine))
    assert_same(again, mine)
    new = blobs()[:20] + 0.1
    for a, b in zip(
        hdbscan.approximate_predict(again, new), hdbscan.approximate_predict(mine, new), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_all_noise():
    x = np.random.default_rng(0).normal(size=(40, 50))
    mine = exact_hdbscan(x, min_cluster_size=15)
    assert (mine.labels_ == -1).all()
    assert not mine.probabilities_.any()


@pytest.mark.parametrize("n", [2, 3, 10])
def test_few_rows(n):
    x = np.random.default_rng(0).normal(size=(n, 3))
    assert (exact_hdbscan(x, min_cluster_size=15).labels_ == -1).all()


def test_duplicates_only():
    x = np.ones((40, 3))
    oracle = hdbscan.HDBSCAN(min_cluster_size=5, algorithm="prims_kdtree").fit(x)
    np.testing.assert_array_equal(exact_hdbscan(x, min_cluster_size=5).labels_, oracle.labels_)


def test_a_cluster_of_duplicates_among_others():
    x = np.concatenate([np.zeros((30, 6)), blobs()[:300, :6]])
    oracle = hdbscan.HDBSCAN(min_cluster_size=5, algorithm="prims_kdtree").fit(x)
    mine = exact_hdbscan(x, min_cluster_size=5)
    np.testing.assert_array_equal(mine.labels_, oracle.labels_)
    assert len(set(mine.labels_[:30])) == 1
    assert mine.labels_[0] >= 0


def test_neighbours_answer_as_a_tree_does():
    x = blobs()
    new = np.concatenate([x[:50] + 0.1, x[:2] * 1e9])
    distances, index = ExactNeighbours(x).query(new, k=9)
    expected = KDTree(x).query(new, k=9)
    np.testing.assert_allclose(distances, expected[0], rtol=1e-12)
    np.testing.assert_array_equal(index[:50], expected[1][:50])
    distances, index = ExactNeighbours(x[:3]).query(x[:2], k=5)
    assert distances.shape == (2, 5)
    np.testing.assert_array_equal(distances[:, 2:], distances[:, [2, 2, 2]])
    with pytest.raises(DataError, match="more than 1e15 times"):
        ExactNeighbours(x).query(x[:1] * 1e20, k=2)
    with pytest.raises(UsageError, match="'manhattan'"):
        ExactNeighbours(x, metric="manhattan")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (partial(exact_hdbscan, np.ones((1, 3))), DataError, "1 sample is too few"),
        (partial(exact_hdbscan, [[0.0], [np.nan], [1.0]]), DataError, "1 of 3 rows hold NaN"),
        (partial(exact_hdbscan, np.eye(9), min_cluster_size=1), UsageError, "min_cluster_size=1"),
        (partial(exact_hdbscan, np.eye(9), min_samples=0), UsageError, "min_samples=0"),
        (
            partial(exact_hdbscan, np.eye(9), metric="cosine"),
            UsageError,
            "metric: no option here. Known: allow",
        ),
        (
            partial(exact_hdbscan, np.eye(9), cluster_selection_method="best"),
            UsageError,
            "Invalid Cluster Sel",
        ),
    ],
    ids=["one row", "nan", "size", "samples", "unknown", "selection"],
)
def test_bad_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_estimator_takes_the_exact_tree_and_keeps_the_package_as_oracle():
    x = blobs()
    new = np.concatenate([x[:100] + 0.5, 50 + x[:5]])
    mine = HDBSCAN(10).fit(x)
    oracle = HDBSCAN(10, algorithm="hdbscan").fit(x)
    assert mine.backend_ == "prim cpu float32"
    assert oracle.backend_ == "hdbscan"
    assert mine.n_clusters_ > 1
    np.testing.assert_array_equal(mine.labels_, oracle.labels_)
    np.testing.assert_allclose(mine.probabilities_, oracle.probabilities_, rtol=1e-9)
    np.testing.assert_allclose(mine.outlier_scores_, oracle.outlier_scores_, rtol=1e-9, atol=1e-12)
    assert mine.model_.relative_validity_ == pytest.approx(oracle.model_.relative_validity_, rel=1e-9)
    np.testing.assert_array_equal(mine.predict(new), oracle.predict(new))
    for a, b in zip(mine.approximate_predict(new), oracle.approximate_predict(new), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_the_estimator_calls_new_rows_noise_where_it_found_only_noise():
    x = np.random.default_rng(0).normal(size=(60, 20))
    labels, probabilities = HDBSCAN(30).fit(x).approximate_predict(x[:7])
    assert (labels == -1).all()
    assert not probabilities.any()
    with pytest.raises(DataError, match="19 features"):
        HDBSCAN(30).fit(x).predict(x[:, 1:])
    with pytest.raises(DataError, match="algorithm='best': give one of exact, hdbscan"):
        HDBSCAN(algorithm="best").fit(x)
