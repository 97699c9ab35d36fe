"""Tables drawn a few at a time are the tables that would be drawn at once."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import hypergeom, random_table

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


def test_large_tables_are_drawn_by_their_rows_with_the_distribution_of_small_ones(monkeypatch):
    """Margins hold in every draw; each cell has the hypergeometric law's own mean and variance."""
    rng = np.random.default_rng(0)
    large = np.bincount(rng.integers(260 * 270, size=3000), minlength=260 * 270).reshape(260, 270)
    monkeypatch.setattr(resamples, "random_table", lambda *_: pytest.fail("Patefield's, 20 ms a table"))
    for tables in permuted_tables(large, rng, 3):
        assert np.array_equal(tables.dense.sum(axis=2), np.tile(large.sum(axis=1), (3, 1)))
        assert np.array_equal(tables.dense.sum(axis=1), np.tile(large.sum(axis=0), (3, 1)))
    monkeypatch.setattr(resamples, "MANY_CELLS", 0)
    monkeypatch.setattr(resamples, "ROWS_A_CELL", np.inf)
    table = np.array([[30, 0, 2], [3, 11, 40]])
    drawn = np.concatenate([tables.dense for tables in permuted_tables(table, rng, 20_000)])
    law = hypergeom(table.sum(), table.sum(axis=1)[:, np.newaxis], table.sum(axis=0))
    assert np.abs(drawn.mean(axis=0) - law.mean()).max() < 5 * np.sqrt(law.var().max() / 20_000)
    assert drawn.var(axis=0) == pytest.approx(law.var(), rel=0.06)
