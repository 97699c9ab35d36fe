"""What one room leaves on the disk, another takes up."""

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from reports.leaderboard.table import leaderboard


@pytest.fixture
def features(tmp_path):
    """Three blobs that overlap enough for seeds to differ, with the class of each row."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    x = np.eye(3, 8)[labels] * 2 + rng.normal(size=(90, 8))
    rows = Rows([f"g{i}" for i in range(90)], labels=labels, class_names=("a", "b", "c"))
    return str(write_features(tmp_path / "f.h5", x.astype(np.float32), rows))


@pytest.mark.parametrize(
    "options",
    [
        ["cluster", "--n-init", "1", "--stability"],
        ["cluster", "--n-init", "1", "--explain"],
        ["cluster", "--n-init", "1", "-k", "auto"],
        ["cluster", "--n-init", "1", "--seeds", "2"],
        ["probe", "--kind", "knn"],
        ["probe", "--kind", "linear", "--prep", "pca95"],
        ["probe", "--kind", "nearest-centroid", "--budget", "20%", "--draws", "2"],
    ],
    ids=" ".join,
)
def test_three_seeds_of_one_command_are_one_row_with_their_spread(features, tmp_path, options, capsys):
    verb, *rest = options
    for seed in range(3):
        assert main([verb, features, *rest, "--seed", str(seed), "-o", str(tmp_path / "runs")]) == 0
    results = read_results(tmp_path / "runs")
    (entry,) = leaderboard(results).entries
    assert entry.seeds == (0, 1, 2)
    assert entry.n_older == 0
    accuracies = [result.metrics["accuracy"].value for result in results]
    mean = entry.result.metrics["accuracy"]
    assert mean.value == pytest.approx(np.mean(accuracies))
    assert mean.low < mean.value < mean.high
    capsys.readouterr()
    assert main(["leaderboard", str(tmp_path / "runs"), "--format", "markdown"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) == 3  # header, rule, row
    assert " 3 (0-2) " in lines[2]


def test_another_look_at_a_clustering_is_the_same_clustering(features, tmp_path):
    for more in ([], ["--stability"], ["--explain"], ["--seeds", "2"]):
        assert main(["cluster", features, "--n-init", "1", *more, "-o", str(tmp_path / "runs")]) == 0
    (entry,) = leaderboard(read_results(tmp_path / "runs")).entries
    assert entry.n_older == 3
