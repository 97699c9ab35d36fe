"""More copies of a row than min_samples: strengths by the package's formula, without infinite densities."""

import hdbscan
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clustering.density.copies import finite_tree, strengths
from clustering.density.hdbscan import HDBSCAN


def two_groups(n_copies, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(100, 4)), rng.normal(size=(100, 4)) + 15
    a[:n_copies] = a[0]
    return np.vstack([a, b]).astype(np.float32)


def fitted(x, size=20, samples=3):
    return HDBSCAN(size, min_samples=samples, device="cpu").fit(x)


@pytest.mark.parametrize("n_copies", [1, 3, 6, 12])
def test_strengths_are_density_over_the_largest_finite_one(n_copies):
    x = two_groups(n_copies)
    model = fitted(x)
    peer = hdbscan.HDBSCAN(20, min_samples=3).fit(x.astype(np.float64))
    assert (model.labels_ == peer.labels_).all()
    tree = peer._condensed_tree
    for node in peer.condensed_tree_._select_clusters():
        mine = tree[(tree["parent"] == node) & (tree["child_size"] == 1)]
        density = mine["lambda_val"]
        most = tree["lambda_val"][(tree["parent"] == node) & np.isfinite(tree["lambda_val"])].max()
        expected = np.minimum(density, most) / most
        assert model.probabilities_[mine["child"]] == pytest.approx(expected, rel=1e-6)


def test_copies_take_no_strength_from_other_members():
    """Rows that are shaken apart by a tenth of the group's width are scored as copies are."""
    x = two_groups(6)
    copies = fitted(x)
    shaken = x.copy()
    shaken[:6] += np.random.default_rng(1).normal(scale=0.1, size=(6, 4)).astype(np.float32)
    apart = fitted(shaken)
    assert (copies.probabilities_[copies.labels_ >= 0] > 0).all()
    rest = np.arange(6, 100)
    assert np.corrcoef(copies.probabilities_[rest], apart.probabilities_[rest])[0, 1] > 0.95
    truth = np.arange(200) < 100
    own = copies.labels_[0]
    assert roc_auc_score(truth, np.where(copies.labels_ == own, copies.probabilities_, 0)) == 1.0
    assert np.isfinite(copies.outlier_scores_).all()


def test_rounding_between_copies_changes_nothing():
    x = two_groups(6)
    rounded = x.copy()
    rounded[:6] *= 1 + np.arange(6, dtype=np.float32)[:, None] * np.finfo(np.float32).eps
    assert fitted(rounded).probabilities_ == pytest.approx(fitted(x).probabilities_, abs=1e-4)


def test_without_copies_everything_is_the_packages():
    x = np.random.default_rng(3).normal(size=(150, 3)) + 9 * np.repeat(np.eye(3), 50, axis=0)
    model = fitted(x, 10, 5)
    peer = hdbscan.HDBSCAN(10, min_samples=5).fit(x)
    tree = model.model_._condensed_tree
    assert finite_tree(tree, model.resolution_) is tree
    own = strengths(tree, model.labels_, model.model_.condensed_tree_._select_clusters())
    assert own == pytest.approx(peer.probabilities_)
    assert model.outlier_scores_ == pytest.approx(peer.outlier_scores_)


@pytest.mark.parametrize("kept", [False, True])
def test_a_copy_of_a_fitted_row_gets_its_strength(kept):
    x = two_groups(8)
    model = fitted(x)
    later = HDBSCAN.from_state(model.state()) if kept else model
    labels, strength = later.approximate_predict(x)
    assert labels.tolist() == model.labels_.tolist()
    assert strength.tolist() == model.probabilities_.tolist()


def test_a_cluster_of_nothing_but_copies():
    rng = np.random.default_rng(0)
    x = np.vstack([np.zeros((30, 2)), rng.normal(size=(60, 2)) + 8]).astype(np.float32)
    model = fitted(x, 10, 5)
    assert (model.probabilities_[:30] == 1).all()
    assert len(set(model.labels_[:30])) == 1
