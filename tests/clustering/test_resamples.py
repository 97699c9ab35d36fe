"""Tables drawn a few at a time are the tables that would be drawn at once."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import random_table

from clustering import resamples
from clustering.resamples import bootstrap_tables, permuted_tables
from clustering.scores import labelled_scores


@pytest.mark.parametrize("last", [0, 4])
@pytest.mark.parametrize("cells", [1, 60, 1 << 22])
def test_blocks_draw_what_one_call_draws(monkeypatch, cells, last):
    """Against numpy's and SciPy's own single calls, with empty cells, and bit for bit."""
    monkeypatch.setattr(resamples, "CELLS", cells)
    table = np.array([[30, 0, 2, 0], [0, 11, 0, 1], [3, 0, 40, last]])
    n = table.sum()
    whole = np.random.default_rng(3).multinomial(n, table.reshape(-1) / n, size=50).reshape(-1, 3, 4)
    blocks = list(bootstrap_tables(table, np.random.default_rng(3), 50))
    assert np.array_equal(np.concatenate([block.dense for block in blocks]), whole)
    assert max(block.dense.size for block in blocks) <= max(cells, table.size)
    margins = table.sum(axis=1), table.sum(axis=0)
    peer = random_table(*margins, seed=np.random.default_rng(5)).rvs(size=50, method="patefield")
    permuted = permuted_tables(table, np.random.default_rng(5), 50)
    assert np.array_equal(np.concatenate([block.dense for block in permuted]), peer)


def test_memory_is_bounded_with_hundreds_of_classes_and_clusters(monkeypatch):
    """200 x 200 tables, 1,000 at once, were 320 MB and their scores several times that."""
    monkeypatch.setattr("clustering.scores.N_BOOTSTRAP", 40)
    monkeypatch.setattr("clustering.scores.N_PERMUTATIONS", 20)
    monkeypatch.setattr(resamples, "CELLS", 1 << 16)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(200), 5))
    clusters = np.where(rng.random(1000) < 0.7, labels, rng.integers(200, size=1000))
    tracemalloc.start()
    scores = labelled_scores(labels, clusters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.6 < scores.metrics["accuracy"].value < 0.8
    assert peak < 12e6
