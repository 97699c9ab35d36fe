import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clustering.kmeans.kmeans import KMeans
from clustering.kmeans.sharing import Together, shared_by, sharing
from embedkit.files.feature_set import part_name
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


class Meeting(Together):
    """Processes that are threads here."""

    def __init__(self, rank, world, met, brought):
        super().__init__(rank, world)
        self.met, self.brought = met, brought

    def added(self, array):
        self.brought[self.rank] = array
        self.met.wait(60)
        total = sum(self.brought)
        self.met.wait(60)
        return total

    def joined(self, labels, n):
        every = np.zeros(n, np.int64)
        every[self.rows(n)] = labels
        return self.added(every)


@pytest.mark.parametrize("k", [8, 300])
def test_shares_change_nothing_where_rows_lie_between_clusters(k, monkeypatch):
    # Without groups a last bit that differs sends the iterations elsewhere.
    x = np.random.default_rng(0).normal(size=(12_000, 6)).astype(np.float32)
    alone = KMeans(k, device="cpu").fit(x)
    met, brought, mine = threading.Barrier(3), [None] * 3, threading.local()
    monkeypatch.setattr("clustering.kmeans.kmeans.sharing", lambda: mine.share)

    def fit(rank):
        mine.share = Meeting(rank, 3, met, brought)
        return KMeans(k, device="cpu").fit(x)

    with ThreadPoolExecutor(3) as pool:
        shared = list(pool.map(fit, range(3)))
    for model in shared:
        assert model.n_iter_ == alone.n_iter_
        np.testing.assert_array_equal(model.labels_, alone.labels_)
        np.testing.assert_array_equal(model.cluster_centers_, alone.cluster_centers_)


def overlapping(folder, n=9000):
    """Write a folder of three parts."""
    x = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float16)
    for number, rows in enumerate(np.array_split(np.arange(n), 3)):
        write_features(folder / part_name(number), x[rows], Rows(ids=rows.astype(str)))


DIES = """
import os
from clustering.kmeans.sharing import Together
from embedkit.cli import main
added, calls = Together.added, []
def dies(self, array):
    calls.append(1)
    if self.rank == 1 and len(calls) == 6:
        os._exit(9)
    return added(self, array)
Together.added = dies
raise SystemExit(main())
"""


@pytest.mark.slow
def test_a_process_that_dies_ends_all_and_nothing_is_written(tmp_path):
    (tmp_path / "parts").mkdir()
    overlapping(tmp_path / "parts")
    with socket.create_server(("localhost", 0)) as place:
        port = str(place.getsockname()[1])
    # As on two machines, where nobody ends the one that is left.
    told = {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    command = [sys.executable, "-c", DIES, "cluster", str(tmp_path / "parts"), "-k", "120", "--device", "cpu"]
    others = [
        subprocess.Popen(
            [*command, "-o", str(tmp_path / "found")],
            env=os.environ | told | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [other.communicate(timeout=120)[1] for other in others]
    assert [other.returncode for other in others] == [1, 9]
    assert "error: process 0 of 2 lost another one, which has ended or can't be reached" in said[0]
    assert "Traceback" not in said[0]
    assert not (tmp_path / "found").exists() or not list((tmp_path / "found").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("k", ["6", "120"])
def test_torchrun_gives_the_labels_of_one_process(k, tmp_path):
    (tmp_path / "parts").mkdir()
    overlapping(tmp_path / "parts")
    found = []
    for command, output in ((TORCHRUN, "two"), ([sys.executable], "one")):
        arguments = ["-m", "embedkit.cli", "cluster", str(tmp_path / "parts"), "--method", "kmeans", "-k", k]
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
