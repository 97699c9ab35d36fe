import numpy as np
import pytest
from planted import blobs
from sklearn.cluster import KMeans

from clustering.stability import cluster_stability
from embedkit.errors import DataError


def kmeans(k):
    return lambda x, seed: KMeans(k, n_init=3, random_state=seed).fit(x).labels_


def test_clear_clusters_always_come_back():
    x, _ = blobs()
    found = cluster_stability(x, kmeans(3), n_resamples=5)
    assert found.similarity.tolist() == [1, 1, 1]
    assert found.verdicts == ("stable",) * 3
    assert (found.ari, found.ari_range, found.n_failed) == (1, (1, 1), 0)
    assert found.dissolved.tolist() == [0, 0, 0]


def test_a_cluster_that_is_none_is_told_from_one_that_is():
    # One blob apart and one even disc cut in four, whose cuts turn with every resample.
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, size=400), np.sqrt(rng.uniform(size=400))
    disc = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    x = np.vstack([disc, [20, 0] + 0.1 * rng.normal(size=(100, 2))])
    found = cluster_stability(x, kmeans(5), n_resamples=10)
    blob = found.clusters[-1]
    assert found.similarity[blob] == pytest.approx(1)
    assert np.delete(found.similarity, blob).max() < 0.85
    assert found.spread[blob] == pytest.approx(0)
    assert found.ari_range[0] <= found.ari <= found.ari_range[1] < 1


def test_similarity_is_the_largest_jaccard_over_the_rows_drawn():
    x = np.arange(40.0)[:, None]
    first = np.arange(40) // 10
    calls = []

    def fit(rows, seed):
        values = rows[:, 0].astype(int)
        calls.append((values, seed))
        return np.where(values < 5, -1, values // 15)

    found = cluster_stability(x, fit, clusters=first, n_resamples=3, seed=7)
    assert [seed for _, seed in calls] == [8, 9, 10]
    expected = np.zeros((3, 4))
    for i, (values, _) in enumerate(calls):
        drawn = set(values.tolist())
        for c in range(4):
            own = {v for v in drawn if v // 10 == c}
            others = [{v for v in drawn if v >= 5 and v // 15 == j} for j in range(3)]
            expected[i, c] = max(len(own & other) / len(own | other) for other in others)
    assert found.similarity == pytest.approx(expected.mean(axis=0))
    assert found.spread == pytest.approx(expected.std(axis=0, ddof=1))


def test_names_of_clusters_and_noise_change_nothing():
    x, labels = blobs()
    noisy = np.where(np.arange(len(x)) % 10 == 0, -1, 5 * labels)
    found = cluster_stability(x, lambda rows, seed: 7 * rows[:, :3].argmax(1), clusters=noisy, n_resamples=4)
    assert len(found.similarity) == 3
    # The resample has no noise: a tenth of each of its clusters is none here.
    assert found.similarity == pytest.approx(0.9, abs=0.06)
    again = cluster_stability(x, lambda rows, seed: rows[:, :3].argmax(1), clusters=noisy, n_resamples=4)
    assert again.similarity.tolist() == found.similarity.tolist()


def test_a_resample_that_fails_counts_as_none_found():
    x, labels = blobs()
    seen = []

    def fit(rows, seed):
        seen.append(seed)
        if len(seen) % 2:
            raise DataError("fewer distinct rows than clusters")
        return rows[:, :3].argmax(1)

    ticks = []
    found = cluster_stability(x, fit, clusters=labels, n_resamples=4, on_resample=lambda: ticks.append(1))
    assert (found.n_failed, found.ari, len(ticks)) == (2, 1, 4)
    assert found.similarity.tolist() == [0.5] * 3
    assert found.verdicts == ("dissolved",) * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clusters": np.full(120, -1)}, "every row is noise"),
        ({"clusters": np.zeros(3, int)}, r"clusters of shape \(3,\) don't fit 120 rows"),
        ({"n_resamples": 0}, "n_resamples=0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(DataError, match=message):
        cluster_stability(blobs()[0], kmeans(3), **arguments)


def test_refuses_what_cannot_be_clustered_at_all():
    def fit(rows, seed):
        raise DataError("no")

    with pytest.raises(DataError, match="no resample could be clustered"):
        cluster_stability(np.eye(4), fit, clusters=np.zeros(4, int), n_resamples=2)
    with pytest.raises(DataError, match="hold NaN"):
        cluster_stability(np.full((4, 2), np.nan), fit)
    with pytest.raises(DataError, match="at least 2 rows"):
        cluster_stability(np.ones((1, 2)), fit)
