"""Rows that are drawn in, and what ``auto`` comes to."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from embedkit.errors import UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.preparing.preparation import Prepared, auto_remark, preparation_for, prepare
from embedkit.preparing.steps import Preparation
from tests.embedkit.preparing.test_preparation import planted, statistics


@pytest.fixture(scope="module")
def views():
    x, labels = planted()
    return (*statistics(x), labels)


def opened(tmp_path, features, stats=None, name="f.h5"):
    ids = np.array([f"{i}" for i in range(len(features))])
    return FeatureFile(write_features(tmp_path / name, features, Rows(ids), views=stats))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("clip50", "clip50"),
        ("clip:0.5", "clip50"),
        ("clip:0.125", "clip:0.125"),
        ("view-whiten+clip90", "view-whiten+clip90"),
        ("auto", "auto"),
    ],
)
def test_words_and_back(text, name):
    assert Preparation.parse(text).name == name
    assert Preparation.parse(name) == Preparation.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip0", "0 is no share of the rows"),
        ("clip:1.5", "1.5 is no share"),
        ("clip", "unknown step 'clip'"),
        ("auto+clip50", "auto is the whole preparation"),
    ],
)
def test_words_that_mean_nothing(text, message):
    with pytest.raises(UsageError, match=message):
        Preparation.parse(text)


def test_clipping_by_its_definition():
    x = np.random.default_rng(0).standard_cauchy((101, 3)).astype(np.float32)
    middle = np.median(x, axis=0)
    away = x - middle
    distance = np.linalg.norm(away, axis=1)
    radius = np.quantile(distance, 0.8)
    z = prepare(x, "clip80").transform(x)
    near = distance <= radius
    assert_allclose(z[near], away[near], rtol=1e-5, atol=1e-6)
    assert_allclose(np.linalg.norm(z[~near], axis=1), radius, rtol=1e-5)
    # Directions stay.
    assert_allclose(z[~near] / radius, away[~near] / distance[~near, None], rtol=1e-4, atol=1e-6)


def test_clipped_outliers_take_no_cluster():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 100)
    x = np.eye(2)[labels] * 4 + rng.normal(size=(200, 2))
    x[:3] = [500, -500]  # three damaged images
    x = x.astype(np.float32)

    def agreement(prep):
        z = prepare(x, prep).transform(x)
        return adjusted_rand_score(labels, KMeans(2, n_init=10, random_state=0).fit_predict(z))

    assert agreement("none") < 0.1
    assert agreement("clip50") > 0.9


def test_copies_of_one_row_are_not_all_drawn_to_it():
    x = np.zeros((20, 2), dtype=np.float32)
    x[15:] = np.random.default_rng(0).normal(size=(5, 2))
    z = prepare(x, "clip50").transform(x)
    assert_allclose(z, x)


WHOLE = "view-whiten:power=0.25+neighbor-whiten:power=0.25+clip50"


def test_auto_goes_by_what_the_file_holds(tmp_path, views):
    features, stats, labels = views
    with opened(tmp_path, features, stats) as file:
        chosen = preparation_for(file, "auto", n_clusters=3)
        assert chosen.name == WHOLE
        assert "4 views" in (auto_remark("auto", chosen, file) or "")
        prepared = prepare(file, "auto", n_clusters=3)
        assert prepared.name == WHOLE
        z = prepared.transform_file(file)
        assert adjusted_rand_score(labels, KMeans(3, n_init=10, random_state=0).fit_predict(z)) > 0.95
        unknown = preparation_for(file, "auto")
        assert unknown.name == WHOLE.replace("whiten:power=0.25+clip", "whiten:10,power=0.25+clip")
        few = preparation_for(file, "auto", n_rows=50)
        assert few.name == "l2+pca95"
        assert "too few" in (auto_remark("auto", few, file) or "")
        assert preparation_for(file, "l2").name == "l2"
    with opened(tmp_path, features, name="one.h5") as file:
        chosen = preparation_for(file, "auto")
        assert chosen.name == "l2+pca95"
        assert "--views galaxy:4" in (auto_remark("auto", chosen, file) or "")
        assert auto_remark("l2", chosen, file) is None


def test_directions_of_the_clusters_are_no_more_than_there_are(views):
    _, stats, _ = views
    prepared = prepare(stats, "view-whiten:2+neighbor-whiten", n_clusters=5)
    assert prepared.n_out == 2


def test_auto_saved_and_loaded_is_the_same(tmp_path, views):
    features, stats, _ = views
    with opened(tmp_path, features, stats) as file:
        prepared = prepare(file, "auto", n_clusters=3)
        loaded = Prepared.load(prepared.arrays())
        assert loaded.name == WHOLE
        np.testing.assert_array_equal(loaded.transform_file(file), prepared.transform_file(file))


@pytest.mark.parametrize("n", [2, 3, 5, 12, 99, 101])
def test_few_rows(tmp_path, n):
    x, _ = planted(n)
    features, stats = statistics(x)
    for name, given in (("views.h5", stats), ("one.h5", None)):
        with opened(tmp_path, features, given, name) as file:
            assert np.isfinite(prepare(file, "auto", n_clusters=2).transform_file(file)).all()


def test_one_component_that_holds_nearly_all_is_said():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert "of them alone" not in prepare(x, "pca95").describe()
    x[:, 0] *= 100
    assert "The first of them alone holds 100 %" in prepare(x, "pca95").describe()
    assert "of them alone" not in prepare(x, "whiten4").describe()
    # What was done already is no advice.
    assert prepare(x, "l2+pca95").describe().endswith("so distances are little more than one number.")
    assert "try --prep l2+pca95" in prepare(x, "pca95").describe()
