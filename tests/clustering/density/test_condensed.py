"""The condensed tree that a run writes, against the hdbscan package's own."""

import hdbscan
import numpy as np
import pytest
from hdbscan._hdbscan_tree import compute_stability

from clustering.density.condensed import condensed_tree
from clustering.density.hdbscan import HDBSCAN
from embedkit import cluster
from embedkit.files.group_tables import TREE
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.files.tables import ASSIGNMENTS, read_table

pytest.importorskip("pandas", reason="the package's to_pandas needs it")


def groups(seed=0, n=90):
    """Two near one another, one far away, each of another width, and a haze around."""
    rng = np.random.default_rng(seed)
    middles, widths = np.array([[0, 0, 0], [4, 0, 0], [30, 0, 0]]), (0.6, 0.8, 1.5)
    parts = [rng.normal(m, w, (n, 3)) for m, w in zip(middles, widths, strict=True)]
    return np.vstack([*parts, rng.uniform(-20, 50, (40, 3))]).astype(np.float32)


@pytest.mark.parametrize("selection", ["eom", "leaf"])
@pytest.mark.parametrize("seed", [0, 1])
def test_groups_rows_and_clusters_are_the_packages(selection, seed):
    x = groups(seed)
    how = {"min_samples": 4, "cluster_selection_method": selection}
    peer = hdbscan.HDBSCAN(12, algorithm="prims_kdtree", **how).fit(x.astype(np.float64))
    frame, n = peer.condensed_tree_.to_pandas(), len(x)
    found = condensed_tree(HDBSCAN(12, device="cpu", **how).fit(x))
    inner = frame[frame.child_size > 1].sort_values("child")
    assert found.parent.tolist() == [-1, *(inner.parent - n)]
    assert found.size.tolist() == [n, *inner.child_size]
    np.testing.assert_allclose(found.birth, [0, *inner.lambda_val], rtol=1e-6)
    np.testing.assert_allclose(found.death, frame.groupby("parent").lambda_val.max(), rtol=1e-6)
    alone = frame[frame.child_size == 1].sort_values("child")
    assert found.node.tolist() == (alone.parent - n).tolist()
    np.testing.assert_allclose(found.density, alone.lambda_val, rtol=1e-6)
    stability = compute_stability(peer.condensed_tree_._raw_tree)
    expected = [stability[n + k] for k in range(len(found.parent))]
    np.testing.assert_allclose(found.stability, expected, rtol=1e-5)
    chosen = [node - n for node in peer.condensed_tree_._select_clusters()]
    assert [int(np.flatnonzero(found.cluster == c)[0]) for c in range(len(chosen))] == chosen
    assert (found.cluster >= 0).sum() == len(chosen) == peer.labels_.max() + 1


def test_a_run_writes_the_tree_beside_the_assignments(tmp_path):
    x = groups()
    write_features(tmp_path / "f.h5", x, Rows(ids=np.array([f"r{i}" for i in range(len(x))])))
    options = {"prep": "none", "min_cluster_size": 12, "min_samples": 4}
    run = cluster(tmp_path / "f.h5", method="hdbscan", output=tmp_path / "runs", **options)
    (line,) = read_results(tmp_path / "runs" / "results.jsonl")
    assert line.provenance["tree"] == run.assignments_path.stem + "-tree.csv"
    tree = read_table(tmp_path / "runs" / line.provenance["tree"], TREE)
    rows = read_table(run.assignments_path, ASSIGNMENTS)
    truth = condensed_tree(HDBSCAN(12, min_samples=4, device="cpu").fit(x))
    assert tree["parent"].tolist() == truth.parent.tolist()
    assert tree["cluster"].tolist() == truth.cluster.tolist()
    assert rows["node"].tolist() == truth.node.tolist()
    np.testing.assert_allclose(rows["density"], truth.density, rtol=1e-5)
    # No group has fewer rows than a cluster may have, so the table is never longer than the assignments.
    assert tree["rows"].min() >= 12
    other = cluster(tmp_path / "f.h5", method="kmeans", k=3, prep="none", output=tmp_path / "runs")
    assert "tree" not in other.result.provenance
    assert "node" not in read_table(other.assignments_path, ASSIGNMENTS)


def test_everything_noise_and_copies_have_a_tree_too():
    rng = np.random.default_rng(0)
    haze = HDBSCAN(25, min_samples=25, device="cpu").fit(rng.uniform(size=(30, 3)).astype(np.float32))
    found = condensed_tree(haze)
    assert found.cluster.tolist() == [-1] * len(found.parent)
    assert (found.node >= 0).all()
    x = groups()
    x[:20] = x[0]
    found = condensed_tree(HDBSCAN(12, min_samples=4, device="cpu").fit(x))
    assert np.isfinite(found.density).all()
    assert np.isfinite(found.stability).all()
