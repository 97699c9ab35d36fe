import hdbscan
import numpy as np
import pytest
from planted import blobs
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from sklearn.mixture import GaussianMixture

from clustering import choose
from clustering.choose import choose_k, find_cliffs
from clustering.choose_hdbscan import choose_density
from clustering.density.exact_hdbscan import exact_hdbscan
from embedkit.errors import DataError, UsageError


@pytest.mark.parametrize("n", [3, 4, 8, 10, 12, 14, 16, 17, 40])
def test_few_rows_have_a_choice_too(n):
    x = np.random.default_rng(0).normal(size=(n, 30)) + 8 * (np.arange(n) < n // 2)[:, None]
    choice = choose_k(x, range(2, min(12, n - 1) + 1))
    assert choice.k == 2 or n < 8
    assert len(choice.ks) == len(choice.mean_rank) == len(choice.clusters)
    assert ("hold too few distinct ones" in choice.rule) == (len(choice.ks) < min(12, n - 1) - 1)


def test_few_distinct_rows_end_the_numbers_tried():
    x = np.repeat(np.random.default_rng(0).normal(size=(5, 6)), 8, axis=0)
    choice = choose_k(x, range(2, 13))
    assert choice.ks[-1] <= 5


@pytest.mark.parametrize("k", [3, 5])
def test_finds_the_planted_number(k):
    x, labels = blobs(240, k=k)
    found = choose_k(x, range(2, k + 3), labels=labels, n_resamples=2)
    assert found.k == k
    assert found.mean_rank.min() == found.mean_rank[k - 2]
    assert "best mean rank" in found.rule
    assert "no clusters" not in found.rule
    assert found.tracking.cost == pytest.approx(0)
    assert found.tracking.correlation["mean_rank"] > 0.8
    assert ("silhouette", k, k + 1) in {(c.evidence, c.k, c.next_k) for c in found.cliffs}


def test_curves_are_what_they_are_called():
    x, labels = blobs(150, spread=2.0)
    found = choose_k(x, [4, 2, 2], labels=labels, n_resamples=2)
    assert found.ks.tolist() == [2, 4]
    assert found.n_reduced == 6
    assert found.rows.tolist() == list(range(150))
    for i in range(2):
        assert found.evidence["silhouette"][i] == pytest.approx(
            silhouette_score(x, found.clusters[i]), abs=1e-5
        )
        ami = adjusted_mutual_info_score(labels, found.clusters[i])
        assert found.tracking.scores[i] == pytest.approx(ami)
    single = GaussianMixture(1).fit(x).bic(x)
    double = GaussianMixture(2, random_state=0, n_init=5).fit(x).bic(x)
    assert found.evidence["bic_gain"][0] == pytest.approx((single - double) / 300, abs=0.02)
    ranks = np.mean([rankdata(-curve) for curve in found.evidence.values()], axis=0)
    assert found.mean_rank == pytest.approx(ranks)


def test_labels_change_no_choice_and_seeds_repeat():
    x, labels = blobs(150, spread=2.0)
    a = choose_k(x, [2, 3, 4], n_resamples=2, seed=3)
    b = choose_k(x, [2, 3, 4], labels=np.where(labels == 0, -1, labels), n_resamples=2, seed=3)
    assert a.tracking is None
    assert a.k == b.k
    for name, curve in a.evidence.items():
        assert curve.tolist() == b.evidence[name].tolist()


def test_says_where_there_may_be_no_clusters():
    x = np.random.default_rng(0).normal(size=(300, 4))
    assert "there may be no clusters" in choose_k(x, [2, 3], n_resamples=1).rule


def test_looks_at_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr(choose, "N_ROWS", 60)
    x, labels = blobs()
    steps = []
    found = choose_k(x, [2, 3, 4], labels=labels, n_resamples=2, on_step=lambda: steps.append(1))
    assert (found.k, found.clusters.shape, len(steps)) == (3, (3, 60), 3)


def test_cliffs():
    assert find_cliffs("bic", [2, 3, 5, 8], np.array([0.5, 1.0, 0.6, 0.5])) == (
        choose.Cliff("bic", 3, 5, pytest.approx(0.8)),
    )
    assert find_cliffs("bic", [2, 3], np.array([1.0, 1.0])) == ()
    assert find_cliffs("bic", [2], np.array([1.0])) == ()


@pytest.mark.parametrize(
    ("ks", "error", "message"),
    [
        ([], UsageError, "give some, each at least 2"),
        ([1, 2], UsageError, "each at least 2"),
        ([3, 120], DataError, r"features of shape \(120, 6\) can't make 120 clusters"),
    ],
)
def test_refuses_numbers(ks, error, message):
    with pytest.raises(error, match=message):
        choose_k(blobs()[0], ks)


def moons(n=200, *, noise=60, seed=0):
    """Three dense groups in sparse noise; -1 is the noise."""
    rng = np.random.default_rng(seed)
    x, labels = blobs(n, d=3, seed=seed, spread=0.9)
    x = np.vstack([x, rng.uniform(-6, 10, size=(noise, 3))])
    return x, np.append(labels, np.full(noise, -1))


def test_density_of_highest_validity():
    x, labels = moons()
    grid = ([5, 20, 120], [2, 10, 30])
    found = choose_density(x, grid=grid)
    tracking = found.tracking(labels)
    assert found.n_clusters.shape == (3, 3)
    for i, size in enumerate(grid[0]):
        for j, k in enumerate(grid[1]):
            model = hdbscan.HDBSCAN(
                min_cluster_size=size, min_samples=k, algorithm="prims_kdtree", gen_min_span_tree=True
            ).fit(x)
            assert found.n_clusters[i, j] == model.labels_.max() + 1
            assert found.noise_share[i, j] == pytest.approx((model.labels_ < 0).mean())
            if found.n_clusters[i, j] > 1:
                assert found.validity[i, j] == pytest.approx(model.relative_validity_)
    assert np.nanmax(found.validity) == pytest.approx(
        found.validity[grid[0].index(found.min_cluster_size), grid[1].index(found.min_samples)]
    )
    assert found.clusters[found.place].max() == 2
    assert "highest relative validity" in found.rule
    several = ~np.isnan(found.validity.ravel())
    expected = spearmanr(found.validity.ravel()[several], tracking.scores[several]).statistic
    assert tracking.correlation["validity"] == pytest.approx(expected)


@pytest.mark.parametrize("target", [0.05, 0.3])
def test_target_noise_is_the_nearest_of_the_grid(target):
    x, _ = moons()
    steps = []
    found = choose_density(x, target_noise=target, on_step=lambda: steps.append(1))
    several = found.n_clusters >= 2
    away = np.abs(found.noise_share - target)[several].min()
    assert abs((found.clusters[found.place] < 0).mean() - target) <= away + 0.01
    assert f"noise nearest to {target}" in found.rule
    assert len(steps) == len(found.min_samples_grid) == 6
    again = exact_hdbscan(x, min_cluster_size=found.min_cluster_size, min_samples=found.min_samples)
    assert again.labels_.tolist() == found.clusters[found.place].tolist()


def test_nothing_dense_is_said():
    x = np.random.default_rng(0).normal(size=(40, 3))
    found = choose_density(x, grid=([39], [5]))
    assert found.n_clusters.max() < 2
    assert "no setting finds two clusters" in found.rule


def test_one_tree_serves_every_size(monkeypatch):
    from clustering.density import exact_hdbscan as module

    calls = []
    original = module.spanning_tree
    monkeypatch.setattr(module, "spanning_tree", lambda *a, **k: calls.append(1) or original(*a, **k))
    choose_density(moons()[0], grid=([5, 10, 20, 40], [3, 9]))
    assert len(calls) == 2


def test_a_tree_of_other_rows_is_refused():
    x, _ = moons()
    tree = exact_hdbscan(x).spanning_tree_
    with pytest.raises(DataError, match="a tree of 260 rows doesn't fit 100 rows"):
        exact_hdbscan(x[:100], tree=tree)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.ones((5, 2))}, DataError, "at least 10 rows"),
        ({"x": np.ones((50, 2))}, DataError, "all 50 rows are equal"),
        ({"x": np.full((50, 2), np.nan)}, DataError, "hold NaN"),
        ({"target_noise": 1.0}, UsageError, "--target-noise 1.0"),
        ({"grid": ([1], [1])}, UsageError, "at least 2 and at least 1 neighbour"),
    ],
)
def test_refuses_densities(arguments, error, message):
    with pytest.raises(error, match=message):
        choose_density(**({"x": moons()[0]} | arguments))


def test_refuses_labels_of_other_rows():
    with pytest.raises(DataError, match=r"labels of shape \(3,\) don't fit 260 rows"):
        choose_density(moons()[0], grid=([20], [5])).tracking(np.zeros(3, int))
