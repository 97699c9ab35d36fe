import os
import subprocess
import sys

import numpy as np
import pytest

from clustering.kmeans.kmeans import KMeans
from clustering.kmeans.sharing import Together, shared_by, sharing
from embedkit.files.rows import Rows
from embedkit.files.store import write_features

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_shares_are_all_rows_once():
    for n, world in ((10, 3), (7, 2), (2, 3), (1000, 7)):
        runs = [np.arange(n)[Together(rank, world).rows(n)] for rank in range(world)]
        np.testing.assert_array_equal(np.concatenate(runs), np.arange(n))


def test_a_group_that_is_there_for_something_else_is_not_taken():
    assert not sharing().together
    with shared_by(0, 1):
        assert not sharing().together
    with shared_by(1, 2):
        assert sharing().together
    assert not sharing().together


class Doubled(Together):
    """Two processes that have the same rows, played by one: sums are twice its own."""

    def rows(self, n):
        return slice(0, n // 2)

    def added(self, array):
        return 2 * array

    def joined(self, labels, n):
        return np.concatenate([labels, labels])


@pytest.mark.parametrize("k", [5, 120])
def test_two_processes_find_what_one_does(k, monkeypatch):
    rng = np.random.default_rng(0)
    half = (rng.normal(size=(12, 8))[rng.integers(12, size=1500)] + 0.7 * rng.normal(size=(1500, 8))).astype(
        np.float32
    )
    x = np.concatenate([half, half])
    alone = KMeans(k, device="cpu").fit(x)
    monkeypatch.setattr("clustering.kmeans.kmeans.sharing", lambda: Doubled(0, 2))
    shared = KMeans(k, device="cpu").fit(x)
    np.testing.assert_array_equal(shared.labels_, alone.labels_)
    np.testing.assert_allclose(shared.cluster_centers_, alone.cluster_centers_, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("k", ["6", "120"])
def test_torchrun_gives_the_labels_of_one_process(k, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 8))[rng.integers(12, size=6001)] + 0.7 * rng.normal(size=(6001, 8))
    write_features(tmp_path / "f.h5", x.astype(np.float32), Rows(ids=np.arange(6001).astype(str)))
    found = []
    for command, output in ((TORCHRUN, "two"), ([sys.executable], "one")):
        arguments = ["-m", "embedkit.cli", "cluster", str(tmp_path / "f.h5"), "--method", "kmeans", "-k", k]
        done = subprocess.run(
            [*command, *arguments, "-o", str(tmp_path / output), "--device", "cpu"],
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            timeout=300,
            text=True,
        )
        (table,) = (tmp_path / output).glob("*.csv")
        rows = [line.split(",")[:2] for line in table.read_text().splitlines()]
        found.append(rows)
        assert len((tmp_path / output / "results.jsonl").read_text().splitlines()) == 1
        assert done.stdout.count("silhouette") <= 2
    assert found[0] == found[1]
    refused = subprocess.run(
        [*TORCHRUN, *arguments[:4], "--method", "gmm", "-k", "3", "-o", str(tmp_path / "no")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "under torchrun, k-means alone shares its work" in refused.stderr
