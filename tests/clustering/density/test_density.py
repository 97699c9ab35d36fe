import hdbscan
import numpy as np
import pytest
from planted import blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from clustering.density.hdbscan import HDBSCAN
from embedkit.errors import DataError


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([HDBSCAN()])
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def test_gives_what_the_package_gives():
    x, labels = blobs(n=300, spread=0.5)
    x = np.vstack([x, np.random.default_rng(1).uniform(-8, 8, size=(60, 6))])
    ours = HDBSCAN(12, min_samples=4).fit(x)
    package = hdbscan.HDBSCAN(min_cluster_size=12, min_samples=4).fit(x.astype(np.float64))
    np.testing.assert_array_equal(ours.labels_, package.labels_)
    np.testing.assert_allclose(ours.probabilities_, package.probabilities_)
    np.testing.assert_allclose(ours.outlier_scores_, package.outlier_scores_)
    assert (ours.labels_ == -1).sum() > 20
    inside = ours.labels_[:300] >= 0
    assert adjusted_rand_score(labels[inside], ours.labels_[:300][inside]) == 1


def test_states_the_defaults_that_it_took():
    model = HDBSCAN().fit(blobs(n=60)[0])
    assert (model.min_cluster_size_, model.min_samples_, model.n_clusters_) == (5, 5, 3)
    model = HDBSCAN().fit(blobs(n=1200)[0])
    assert (model.min_cluster_size_, model.min_samples_) == (12, 12)
    tiny = HDBSCAN().fit(blobs(n=3)[0])
    assert (tiny.min_cluster_size_, tiny.min_samples_) == (3, 2)


def test_all_rows_can_be_noise():
    x = np.random.default_rng(0).normal(size=(60, 20))
    model = HDBSCAN(30).fit(x)
    assert (model.labels_ == -1).all()
    assert model.n_clusters_ == 0


def test_refuses_what_cannot_be_clustered():
    x, _ = blobs()
    for size in (1, 121, 2.5):
        with pytest.raises(DataError, match="min_cluster_size=.*: give an integer from 2 to 120"):
            HDBSCAN(size).fit(x)
    with pytest.raises(DataError, match="min_samples=120: give an integer from 1 to 119"):
        HDBSCAN(min_samples=120).fit(x)
    with pytest.raises(DataError, match="all 9 rows are equal"):
        HDBSCAN().fit(np.ones((9, 2)))
    with pytest.raises(DataError, match="give one of eom, leaf"):
        HDBSCAN(cluster_selection_method="best").fit(x)
    with pytest.raises(DataError, match="1 sample"):
        HDBSCAN().fit(x[:1])
    with pytest.raises(DataError, match="NaN"):
        HDBSCAN().fit(np.full((9, 2), np.nan))
