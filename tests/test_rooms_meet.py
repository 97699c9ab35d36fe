"""What one room leaves on the disk, another takes up."""

import numpy as np
import pytest

from clustering.compare import compare
from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.cli import main
from embedkit.files.results import locate_results, read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.scoring.outcomes import read_outcomes
from probes.apply import apply
from probes.options import ProbeOptions
from probes.run import probe
from reports.leaderboard.table import leaderboard
from reports.map.evidence import find_evidence


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


def test_ids_and_classes_that_a_spreadsheet_would_execute_reach_the_reader_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 30)
    ids = [f"{'=+-@'[i % 4]}cmd|' /C calc'!A{i}" for i in range(59)] + ["'=quoted"]
    x = (np.eye(2, 4)[labels] * 9 + rng.normal(size=(60, 4))).astype(np.float32)
    rows = Rows(ids, labels=labels, class_names=("=round", "@'edge"))
    path = write_features(tmp_path / "f.h5", x, rows)
    assert main(["cluster", str(path), "-o", str(tmp_path / "runs"), "--n-init", "1"]) == 0
    assert main(["probe", str(path), "--kind", "knn", "-o", str(tmp_path / "runs")]) == 0
    for written in (tmp_path / "runs").glob("*.csv"):
        for line in written.read_text().splitlines()[1:]:
            assert line.lstrip('"')[0] not in "=+-@"
    with FeatureFile(path) as file:
        evidence = find_evidence(
            locate_results(tmp_path / "runs"), file, file.rows.ids, where=tmp_path / "runs"
        )
    assert not evidence.notes
    (clustering,) = evidence.clusterings
    assert (clustering.cluster >= 0).all()
    assert {clustering.name(i).partition(" (")[2] for i in (0, 1)} == {"=round)", "@'edge)"}
    assert set(evidence.predictions[0].names) == {"=round", "@'edge"}
    for folder, result in locate_results(tmp_path / "runs"):
        outcomes = read_outcomes(result, folder)
        assert set(outcomes.ids) <= set(ids)
        assert outcomes.mean == pytest.approx(result.metrics["accuracy"].value)


def test_records_show_themselves_in_a_notebook(features, tmp_path):
    run = cluster(features, ClusterOptions(n_init=1))
    assert ">balanced_accuracy</td>" in run._repr_html_()
    assert "accuracy" in set(run.to_pandas()["metric"])
    compared = compare(features, ClusterOptions("all", n_init=1, epochs=1, n_heads=1))
    assert set(compared.to_pandas()["method"]) == {one.result.method for one in compared.runs}
    assert "hdbscan" in compared._repr_html_()
    model = tmp_path / "p.model"
    report = probe(features, ProbeOptions(kind="knn"), save_model=model)
    assert report.result.metrics["accuracy"].value in set(report.to_pandas()["value"])
    assert "knn probe of" in report._repr_html_()
    applied = apply(model, features)
    frame = applied.to_pandas()
    assert list(frame) == ["id", "true", "predicted", "probability", *(f"probability:{c}" for c in "abc")]
    assert len(frame) == 90
    assert "accuracy" in applied._repr_html_()
