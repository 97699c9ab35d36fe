"""Input that no method can do its work on: a clear error of each, or a result that can be stated."""

import warnings

import numpy as np
import pytest
from planted import blobs

from clustering.methods import METHODS
from clustering.options import Settings
from embedkit.errors import DataError

# UMAP compiles for most of a minute when it is first fitted.
FITTED = [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("umap")) for name in METHODS]
GIVEN_K = [name for name in METHODS if not name.endswith("hdbscan")]


def fit(name, x, k=3):
    settings = Settings(k=k, n_init=1, n_heads=1, epochs=60)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="umap|sklearn")
        return METHODS[name].fit(np.asarray(x, np.float32), settings, 0, lambda: None)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=["nan", "float16-overflow"])
def test_names_the_first_row_that_is_not_finite(name, value):
    x, _ = blobs(60)
    x[7, 2] = value
    with pytest.raises(DataError, match="1 of 60 rows hold NaN or infinity, the first of them row 7"):
        fit(name, x)


@pytest.mark.parametrize("name", METHODS)
def test_duplicates_only_are_refused(name):
    x = np.ones((60, 6))
    with pytest.raises(DataError, match="distinct|rows are equal"):
        fit(name, x)


@pytest.mark.parametrize("name", METHODS)
def test_one_row_is_refused(name):
    with pytest.raises(DataError, match="n_samples=1|1 sample|1 row|at least"):
        fit(name, blobs(60)[0][:1])


@pytest.mark.parametrize("name", GIVEN_K)
def test_more_clusters_than_rows_are_refused(name):
    with pytest.raises(DataError, match="20 rows can't make 21 clusters"):
        fit(name, blobs(60)[0][:20], k=21)


@pytest.mark.parametrize("name", FITTED)
def test_a_constant_column_changes_no_shape(name):
    x, _ = blobs(90)
    x[:, 1] = 5
    clusters = fit(name, x)
    assert clusters.labels.shape == (90,)
    assert np.isfinite(clusters.soft).all()


def test_all_noise_is_a_result_of_its_own():
    x = np.random.default_rng(0).uniform(size=(60, 6))
    settings = Settings(min_cluster_size=40)
    clusters = METHODS["hdbscan"].fit(x.astype(np.float32), settings, 0, lambda: None)
    assert (clusters.labels == -1).all()
    assert clusters.soft.shape == (60, 0)
    assert (clusters.model.assign(x[:5]).labels == -1).all()
