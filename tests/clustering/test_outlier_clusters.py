"""A few odd rows that take a cluster are said to be that."""

import numpy as np
import pytest

from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.files.rows import Rows
from embedkit.files.store import write_features


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    x = np.eye(6)[np.repeat([0, 1], 150)] * 5 + rng.normal(size=(300, 6))
    x[:2, 5] = 400  # two frames that are nothing but glare
    return write_features(tmp_path / "f.h5", x.astype(np.float32), Rows(np.arange(300).astype(str)))


def said(file, **options):
    return " ".join(cluster(file, ClusterOptions(**options)).notes)


def test_outliers_with_a_cluster_to_themselves(file):
    assert "Outliers hold a cluster to themselves: 1 (2 rows)" in (notes := said(file, k=2, prep="none"))
    assert "--prep none+clip50" not in notes  # the words must be ones that can be typed
    assert "--prep clip50 draws them in" in notes


def test_clipped_they_hold_none(file):
    assert "Outliers" not in said(file, k=2, prep="clip50")


def test_small_clusters_among_many_are_no_outliers(file):
    assert "Outliers" not in said(file, k=60, prep="clip50")
