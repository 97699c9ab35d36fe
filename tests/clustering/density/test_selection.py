"""How clusters are drawn from the tree, and soft memberships: the hdbscan package's own, on its own trees."""

import csv

import hdbscan
import numpy as np
import pytest

from clustering.calls import cluster
from clustering.density.hdbscan import HDBSCAN
from clustering.options import ClusterOptions, ClusterPlaces
from embedkit.errors import UsageError
from embedkit.files.tables import ASSIGNMENTS, read_table


def nested(seed=0):
    """Return two far groups, each of two near ones, and noise: float32, as features are."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 0], [4, 0, 0], [30, 0, 0], [34, 0, 0]])
    x = np.repeat(centres, 40, axis=0) + rng.normal(scale=0.6, size=(160, 3))
    return np.vstack([x, rng.uniform(-20, 50, size=(20, 3))]).astype(np.float32)


CASES = [
    {},
    {"cluster_selection_method": "leaf"},
    {"cluster_selection_epsilon": 4.0},
    {"cluster_selection_method": "leaf", "cluster_selection_epsilon": 6.0},
    {"allow_single_cluster": True},
]


@pytest.mark.parametrize("options", CASES)
def test_clusters_and_memberships_are_the_packages(options):
    x = nested()
    model = HDBSCAN(10, min_samples=5, device="cpu", **options).fit(x)
    peer = hdbscan.HDBSCAN(10, min_samples=5, prediction_data=True, **options).fit(x.astype(np.float64))
    assert model.labels_.tolist() == peer.labels_.tolist()
    assert model.probabilities_ == pytest.approx(peer.probabilities_, abs=1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        soft = hdbscan.all_points_membership_vectors(peer)
        later = hdbscan.membership_vector(peer, x[:9].astype(np.float64) + 0.01)
    assert model.membership_vectors() == pytest.approx(np.nan_to_num(soft.reshape(180, -1)), abs=1e-6)
    assert model.membership_vectors(x[:9] + 0.01) == pytest.approx(np.nan_to_num(later), abs=1e-4)


def test_memberships_hold_with_copies_and_after_saving():
    x = nested()
    x[:20] = x[0]
    model = HDBSCAN(12, min_samples=5, device="cpu").fit(x)
    soft = model.membership_vectors()
    assert np.isfinite(soft).all()
    assert (soft.sum(axis=1) <= 1 + 1e-9).all()
    assert HDBSCAN.from_state(model.state()).membership_vectors() == pytest.approx(soft)


def test_the_command_writes_memberships_and_applies_them(feature_file, tmp_path):
    places = ClusterPlaces(output=tmp_path / "runs")
    options = ClusterOptions(
        "hdbscan", prep="none", selection="leaf", epsilon=0.5, min_cluster_size=10, memberships=True
    )
    path = feature_file(nested()[:120], np.repeat([0, 1, 2], 40))
    run = cluster(path, options, places)
    table = read_table(run.assignments_path, ASSIGNMENTS)
    k = len(run.clusters.sizes)
    written = np.column_stack([table[f"membership:{c}"] for c in range(k)])
    assert written == pytest.approx(run.memberships, abs=1e-5)
    params = run.result.params
    assert (params["cluster_selection_method"], params["cluster_selection_epsilon"]) == ("leaf", 0.5)
    later = cluster(
        path, ClusterOptions(memberships=True), ClusterPlaces(output=tmp_path, apply=run.model_path)
    )
    with later.assignments_path.open(newline="") as stream:
        header = next(csv.reader(stream))
    assert [name for name in header if name.startswith("membership:")] == [
        f"membership:{c}" for c in range(k)
    ]


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_other_methods_write_their_own(feature_file, tmp_path, method):
    run = cluster(
        feature_file(), ClusterOptions(method, k=3, memberships=True), ClusterPlaces(output=tmp_path)
    )
    assert run.memberships.shape == (120, 3)
    assert run.memberships.sum(axis=1) == pytest.approx(1)
    assert (run.memberships.argmax(axis=1) == run.clusters.labels).all()


def test_they_are_of_hdbscan_alone():
    with pytest.raises(UsageError, match="--selection is for --method hdbscan or umap"):
        ClusterOptions("kmeans", selection="leaf")
    with pytest.raises(UsageError, match="--epsilon -1: give a number of at least 0"):
        ClusterOptions("hdbscan", epsilon=-1.0)
