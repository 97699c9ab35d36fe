import faiss
import numpy as np
import pytest
from planted import blobs
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from clustering.kmeans import restarts
from clustering.kmeans.kmeans import KMeans
from clustering.kmeans.lloyd import Problem
from clustering.kmeans.restarts import EFFORTS, SideBySide, swap_search
from embedkit.errors import DataError


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([KMeans(3, n_init=2, device="cpu")])
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def overlapping(n=3000, d=8, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(12, d))[rng.integers(12, size=n)] + 0.7 * rng.normal(size=(n, d))).astype(
        np.float32
    )


def test_finds_separate_groups_and_orders_them_by_size():
    x, labels = blobs(n=130, k=3)
    x, labels = x[np.r_[0:120]], labels[:120]
    keep = np.r_[
        np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)[:30], np.flatnonzero(labels == 2)[:20]
    ]
    model = KMeans(3).fit(x[keep])
    assert adjusted_rand_score(labels[keep], model.labels_) == 1
    assert np.bincount(model.labels_).tolist() == [40, 30, 20]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [2, 7, 12])
def test_inertia_is_no_worse_than_scikit_learns(k, seed):
    x = overlapping()
    ours = KMeans(k, random_state=seed, device="cpu").fit(x)
    assert ours.inertia_ <= SklearnKMeans(k, n_init=10, random_state=seed).fit(x).inertia_ * (1 + 1e-4)


@pytest.mark.parametrize("k", [7, 12])
def test_a_quick_search_is_no_worse_than_scikit_learns_on_average(k):
    # Its restarts and trials see 4,096 of the rows.
    x = overlapping(n=9000)
    ours = [KMeans(k, search="quick", random_state=seed, device="cpu").fit(x).inertia_ for seed in range(4)]
    peers = [SklearnKMeans(k, n_init=10, random_state=seed).fit(x).inertia_ for seed in range(4)]
    assert np.mean(ours) <= np.mean(peers) * (1 + 1e-5)


def test_the_search_is_thorough_where_rows_are_few():
    x = overlapping(n=6000)
    found = [KMeans(5, n_init=2).fit(rows).search_ for rows in (x[:5000], x)]
    assert found == ["thorough", "quick"]
    assert KMeans(101, n_init=1).fit(x[:500]).search_ == "quick"
    assert KMeans(5, n_init=2, search="thorough").fit(x).search_ == "thorough"
    with pytest.raises(DataError, match="search='long' is not one of quick, thorough"):
        KMeans(5, search="long").fit(x)


def test_a_thorough_search_swaps_among_many_clusters_too():
    x = overlapping(n=1500)
    quick, thorough = (KMeans(110, search=search, device="cpu").fit(x) for search in ("quick", "thorough"))
    assert thorough.inertia_ < quick.inertia_


@pytest.mark.parametrize("search", ["quick", "thorough"])
def test_is_a_fixed_point_over_all_rows(search):
    # faiss' own training would have seen 256 rows a centroid: here 512 of 6,000.
    x = overlapping(n=6000)
    model = KMeans(2, search=search, device="cpu").fit(x)
    centers = np.stack([x[model.labels_ == c].mean(axis=0, dtype=np.float64) for c in range(2)])
    np.testing.assert_allclose(model.cluster_centers_, centers, atol=1e-5)
    distances = np.linalg.norm(x[:, np.newaxis] - model.cluster_centers_, axis=2)
    assert (distances.argmin(axis=1) == model.labels_).mean() > 0.9995
    assert model.inertia_ == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)
    np.testing.assert_allclose(model.transform(x), distances, atol=1e-3)
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    assert model.score(x) == pytest.approx(-model.inertia_, rel=1e-6)


def test_the_seed_decides_everything():
    x = overlapping(n=800)
    a, b, other = (KMeans(9, n_init=3, random_state=seed).fit(x) for seed in (4, 4, 5))
    np.testing.assert_array_equal(a.labels_, b.labels_)
    np.testing.assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    assert (a.cluster_centers_ != other.cluster_centers_).any()


@pytest.mark.parametrize("k", [20, 300])
def test_bounds_find_what_lloyd_finds(k):
    x = overlapping(n=1500)
    x /= x.std()
    start = x[np.random.default_rng(0).choice(1500, k, replace=False)]
    problem = Problem(x, k, spherical=False, max_iter=300, backend="faiss-cpu")
    run = problem.descend(start, 0.0)
    centers = start.astype(np.float64)
    for _ in range(300):
        labels = ((x[:, np.newaxis] - centers) ** 2).sum(axis=2).argmin(axis=1)
        centers = np.stack([x[labels == c].mean(axis=0, dtype=np.float64) for c in range(k)])
    np.testing.assert_array_equal(run.labels, labels)
    np.testing.assert_allclose(run.centers, centers, atol=1e-5)


def test_swaps_leave_a_local_minimum():
    # Two centroids in the first group and one between the other two: Lloyd's iterations stay there.
    x, labels = blobs(n=300)
    x -= x.mean(axis=0)
    x /= x.std()
    groups = [x[labels == c] for c in range(3)]
    bad = np.stack([groups[0][0], groups[0][1], (groups[1].mean(axis=0) + groups[2].mean(axis=0)) / 2])
    problem = Problem(x, 3, spherical=False, max_iter=300, backend="faiss-cpu")
    stuck = problem.descend(bad, 0.0)
    assert adjusted_rand_score(labels, stuck.labels) < 0.7
    with SideBySide("faiss-cpu", one_thread_each=True) as threads:
        best = swap_search(problem, problem, stuck, EFFORTS["thorough"], np.random.default_rng(0), threads)
    assert adjusted_rand_score(labels, best.labels) == 1


def test_the_number_of_threads_changes_nothing():
    x = overlapping(n=800)
    threads = faiss.omp_get_max_threads()
    try:
        results = []
        for n in (1, 2):
            faiss.omp_set_num_threads(n)
            results.append(KMeans(6, n_init=4, device="cpu").fit(x).labels_)
    finally:
        faiss.omp_set_num_threads(threads)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("shift", "scale"), [(1e4, 1), (0, 1e12), (0, 1e-12), (-3, 1e-3)])
def test_the_place_and_unit_of_features_change_nothing(shift, scale):
    x, labels = blobs()
    model = KMeans(3).fit((x * scale + shift).astype(np.float32))
    assert adjusted_rand_score(labels, model.labels_) == 1


def test_spherical_clusters_by_direction():
    rng = np.random.default_rng(0)
    x, labels = blobs(spread=0.2)
    stretched = x * rng.uniform(0.01, 100, size=(len(x), 1)).astype(np.float32)
    model = KMeans(3, spherical=True).fit(stretched)
    assert adjusted_rand_score(labels, model.labels_) == 1
    np.testing.assert_allclose(np.linalg.norm(model.cluster_centers_, axis=1), 1, rtol=1e-5)
    unit = stretched / np.linalg.norm(stretched, axis=1, keepdims=True)
    cosine = unit @ model.cluster_centers_.T
    np.testing.assert_array_equal(cosine.argmax(axis=1), model.predict(stretched))
    np.testing.assert_allclose(model.transform(stretched) ** 2, 2 - 2 * cosine, atol=1e-5)
    with pytest.raises(DataError, match="row 5 is all zeros"):
        KMeans(3, spherical=True).fit(np.where(np.arange(120)[:, np.newaxis] == 5, 0, x))


def test_soft_assignment_is_fuzzy_c_means():
    x, _ = blobs()
    model = KMeans(3).fit(x)
    d = model.transform(x).astype(np.float64)
    expected = 1 / (d[:, :, np.newaxis] / d[:, np.newaxis, :]) ** 2
    soft = model.predict_proba(x)
    np.testing.assert_allclose(soft, 1 / (1 / expected).sum(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(soft.argmax(axis=1), model.labels_)


def test_a_row_on_a_centroid_belongs_to_it_alone():
    x = np.array([[0, 0], [0, 0], [4, 0], [4, 0]], np.float32)
    np.testing.assert_array_equal(KMeans(2).fit(x).predict_proba(x).max(axis=1), 1)


def test_no_cluster_is_empty_even_where_most_rows_are_copies():
    x = np.zeros((200, 3), np.float32)
    x[:5] = np.arange(15).reshape(5, 3)
    model = KMeans(6, n_init=3).fit(x)  # six distinct rows
    assert np.bincount(model.labels_).tolist() == [195, 1, 1, 1, 1, 1]
    assert model.inertia_ == pytest.approx(0, abs=1e-6)


def test_as_many_clusters_as_rows_and_one_cluster():
    x = overlapping(n=20)
    assert sorted(KMeans(20, n_init=1).fit(x).labels_) == list(range(20))
    one = KMeans(1).fit(x)
    assert (one.labels_ == 0).all()
    np.testing.assert_allclose(one.cluster_centers_[0], x.mean(axis=0), atol=1e-6)
    assert (one.predict_proba(x) == 1).all()


def test_refuses_what_cannot_be_clustered():
    x = overlapping(n=50)
    with pytest.raises(DataError, match="50 rows can't make 51 clusters"):
        KMeans(51).fit(x)
    for name in ("n_clusters", "n_init", "max_iter"):
        with pytest.raises(DataError, match=f"{name}=0: give an integer of at least 1"):
            KMeans(**{name: 0}).fit(x)
    with pytest.raises(DataError, match="only 2 of them distinct, for 3 clusters"):
        KMeans(3).fit(np.repeat(x[:2], 300, axis=0))
    with pytest.raises(DataError, match="only 1 of them distinct"):
        KMeans(2).fit(np.ones((30, 4)))
    with pytest.raises(DataError, match="1 of 50 rows hold NaN or infinity, the first of them row 3"):
        KMeans(2).fit(np.where(np.arange(50)[:, np.newaxis] == 3, np.inf, x))
    with pytest.raises(DataError, match="device='tpu' is not one of auto, cpu, cuda"):
        KMeans(2, device="tpu").fit(x)


@pytest.mark.skipif(
    hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0, reason="there is a GPU"
)
def test_asks_for_a_gpu_in_vain():
    with pytest.raises(DataError, match="neither faiss nor PyTorch sees a GPU"):
        KMeans(2, device="cuda").fit(overlapping(n=50))
    assert KMeans(2).fit(overlapping(n=50)).backend_ == "faiss-cpu"


def test_seeds_of_a_batch_stay_apart():
    # 400 rows in 200 tight pairs: of 200 seeds hardly two go to one pair, though each batch draws blindly.
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(200, 8)), 2, axis=0) + 1e-3 * rng.normal(size=(400, 8))
    model = KMeans(200, max_iter=1, device="cpu").fit(x)
    assert np.bincount(model.labels_).max() == 2
    assert adjusted_rand_score(model.labels_, np.arange(400) // 2) == 1


def test_millions_of_rows_are_begun_on_a_sample(monkeypatch):
    x = overlapping(n=20_000)
    whole = KMeans(120, device="cpu").fit(x)
    assert whole.n_started_on_ is None
    monkeypatch.setattr(restarts, "START_FROM", 15_000)
    monkeypatch.setattr(restarts, "START_ROWS", 50)
    model = KMeans(120, device="cpu").fit(x)
    assert (model.n_started_on_, model.n_iter_) == (6000, restarts.PASSES)
    assert 0 < model.last_gain_ < 0.01
    assert whole.inertia_ < model.inertia_ < whole.inertia_ * 1.03
    distances = np.stack([np.linalg.norm(x - center, axis=1) for center in model.cluster_centers_], axis=1)
    np.testing.assert_array_equal(model.predict(x), model.labels_)
    assert model.inertia_ == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)
    monkeypatch.setattr(restarts, "START_ROWS", 200)  # a sample of more rows than there are is none
    assert KMeans(120, device="cpu", max_iter=2).fit(x).n_started_on_ is None
    assert KMeans(120, search="thorough", n_init=1, max_iter=2).fit(x).n_started_on_ is None


@pytest.mark.parametrize("k", [6, 110])
def test_rows_are_put_back_where_they_were_clustered_in_place(k):
    x = overlapping(n=3000) * 3 + 5
    there = x.copy()
    kept, in_place = KMeans(k, device="cpu").fit(there), KMeans(k, device="cpu", copy_x=False).fit(x)
    np.testing.assert_array_equal(in_place.labels_, kept.labels_)
    np.testing.assert_allclose(x, there, rtol=1e-6, atol=1e-6)
    with pytest.raises(DataError, match="distinct"):
        KMeans(3, copy_x=False).fit(constant := np.full((30, 4), 2.5, np.float32))
    np.testing.assert_array_equal(constant, 2.5)


def test_restarts_are_reported_as_they_end():
    calls = []
    KMeans(3, n_init=5).fit(blobs()[0], on_restart=lambda: calls.append(1))
    assert len(calls) == 5


def test_many_clusters_are_no_worse_than_scikit_learns():
    x = overlapping(n=3000)
    ours = KMeans(300, device="cpu").fit(x)  # one restart, as scikit-learn by default
    peer = SklearnKMeans(300, n_init=1, random_state=0).fit(x)
    assert ours.inertia_ <= peer.inertia_
    assert np.bincount(ours.labels_, minlength=300).min() > 0
    distances = np.linalg.norm(x[:, np.newaxis] - ours.cluster_centers_, axis=2)
    assert ours.inertia_ == pytest.approx((distances.min(axis=1) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("k", [9, 150])
def test_torch_assigns_as_faiss_does(k, monkeypatch):
    x = overlapping(n=2000)
    faiss_run = KMeans(k, n_init=1, device="cpu").fit(x)
    monkeypatch.setattr("clustering.kmeans.kmeans._backend", lambda device: "torch-cpu")
    torch_run = KMeans(k, n_init=1).fit(x)
    assert torch_run.inertia_ == pytest.approx(faiss_run.inertia_, rel=1e-4)
    np.testing.assert_array_equal(torch_run.predict(x), torch_run.labels_)
    assert adjusted_rand_score(faiss_run.labels_, torch_run.labels_) > 0.999
