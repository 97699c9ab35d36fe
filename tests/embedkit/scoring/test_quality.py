import json
from dataclasses import replace

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import DataError, UsageError
from embedkit.files.results import Metric, Result, append_result, read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, file_sha256, write_features
from embedkit.scoring.label_free import (
    Quality,
    alpha_req,
    effective_rank,
    lidar,
    quality,
    rank_me,
    umap_silhouette,
    uniformity,
)
from embedkit.scoring.quality import agreement


def test_rank_me_and_effective_rank():
    # s_i = 4, 2, 2: p = 1/2, 1/4, 1/4, whose entropy is 1.5 ln 2.
    x = np.diag([4.0, 2.0, 2.0])
    assert rank_me(x) == pytest.approx(2**1.5, rel=1e-5)
    assert effective_rank(np.array([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.zeros(2)) == rank_me(np.zeros((3, 2))) == 1


def test_alpha_of_a_power_law_is_its_exponent():
    variances = 3.0 * np.arange(1, 201) ** -1.3
    variances[:4] *= 9  # before the range of the fit
    assert alpha_req(variances) == pytest.approx(1.3)
    assert alpha_req(np.r_[np.ones(13), np.full(50, 1e-20)]) is None


def test_uniformity_is_the_mean_over_all_pairs(monkeypatch):
    x = np.random.default_rng(0).normal(size=(40, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [np.exp(-2 * ((unit[i] - unit[j]) ** 2).sum()) for i in range(40) for j in range(i)]
    assert uniformity(x) == pytest.approx(np.log(np.mean(pairs)))
    assert uniformity(np.array([[1.0, 0], [-3, 0]])) == pytest.approx(-8)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0)
    assert uniformity(np.eye(3) * [1, 1, 0]) is None
    monkeypatch.setattr("embedkit.scoring.label_free.N_UNIFORMITY", 10)
    assert uniformity(x, seed=1) == uniformity(x, seed=1) != uniformity(x, seed=2)


def test_lidar_is_the_rank_in_units_of_the_views_scatter():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(6, 6))
    within = a @ a.T
    x = rng.normal(size=(200, 6))
    # Ridge and root as the paper writes them.
    values, vectors = np.linalg.eigh(within + 1e-4 * np.trace(within) / 6 * np.eye(6))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    p = np.linalg.eigvalsh(root @ np.cov(x.T) @ root)
    p = p / p.sum() + 1e-7
    assert lidar(x, within) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert lidar(100 * x, within) == pytest.approx(lidar(x, 1e4 * within))
    assert lidar(x, np.zeros((6, 6))) is None
    for broken in (within - 4 * np.diag(np.diag(within)) * np.eye(6)[0], within * [np.nan, 1, 1, 1, 1, 1]):
        with pytest.raises(DataError, match="within-image covariance is none.* negative variance.* again"):
            lidar(x, broken)
    with pytest.raises(DataError, match="1 of 200 rows hold NaN"):
        lidar(np.where(np.arange(200)[:, None] == 7, np.nan, x), within)


@pytest.mark.slow
def test_silhouette_in_umap_space_is_higher_where_there_are_clusters():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 8))
    groups = noise + 12 * np.eye(10, 8)[np.arange(300) % 10]
    assert umap_silhouette(groups) > umap_silhouette(noise) + 0.1
    assert umap_silhouette(noise) == umap_silhouette(noise)
    assert umap_silhouette(noise[:40]) is None


def test_quality_refuses_what_it_cannot_judge():
    with pytest.raises(DataError, match="at least 3 rows"):
        quality(np.ones((2, 4)))
    with pytest.raises(DataError, match="NaN"):
        quality(np.full((5, 4), np.nan))


def probed(sha256: str, accuracy: float, *, seed: int = 0) -> Result:
    params = {"prep": "view-whiten"}
    metrics = {"accuracy": Metric(accuracy)}
    provenance = {"features_sha256": sha256}
    return Result("probe", "g", "f", "knn", params, {}, "kfold", seed, metrics, 9, 0.1, "numpy", provenance)


def test_agreement_turns_each_criterion_so_that_more_is_better():
    base = Quality(9, 2, 1.0, 1.0, 1.0, -1.0, None)
    qualities = {
        "a": replace(base, rank_me=3.0, alpha_req=1.1, uniformity=-3.0),
        "b": replace(base, rank_me=1.0, alpha_req=0.7, uniformity=-2.0),
        "c": replace(base, rank_me=2.0, alpha_req=1.6, uniformity=-1.0),
    }
    results = [probed("a", 0.9), probed("b", 0.2), probed("b", 1.0, seed=1), probed("c", 0.5), probed("x", 0)]
    found = {one.criterion: one for one in agreement(qualities, results)}
    assert {one.probe for one in found.values()} == {"knn, view-whiten, kfold"}
    assert found["alpha_req"].rho == pytest.approx(1)  # |alpha - 1| = 0.1, 0.3, 0.6 at 0.9, 0.6, 0.5
    assert found["uniformity"].rho == pytest.approx(1)
    assert found["rank_me"].rho == pytest.approx(0.5)
    assert found["effective_rank"].rho is None  # the same for all
    assert "lidar" not in found
    assert agreement(qualities, results[:3]) == []


def test_the_command_prints_writes_and_compares(tmp_path, capsys):
    rng = np.random.default_rng(0)
    paths = []
    for i, d in enumerate((12, 16, 20)):
        x = rng.normal(size=(60, d)).astype(np.float32)
        rows = Rows(ids=np.arange(60).astype(str))
        views = Views(x, np.eye(d), 3) if i == 0 else None
        paths.append(str(write_features(tmp_path / f"{d}.h5", x, rows, provenance={}, views=views)))
        append_result(tmp_path / "runs/results.jsonl", probed(file_sha256(paths[-1]), 0.1 * i))
    runs = str(tmp_path / "runs")
    assert main(["quality", *paths, "--runs", runs, "-o", runs, "--n-rows", "50", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [file["n"] for file in document["files"]] == [50] * 3
    assert [file["lidar"] is None for file in document["files"]] == [False, True, True]
    [rank] = [one for one in document["agreement"] if one["criterion"] == "rank_me"]
    assert rank["rho"] == pytest.approx(1)
    written = [result for result in read_results(runs) if result.task == "quality"]
    assert [result.metrics["rank_me"].value for result in written] == [
        f["rank_me"] for f in document["files"]
    ]
    assert written[1].metrics["lidar"].note == "needs views"
    assert main(["quality", paths[0], "-o", runs]) == 0
    table = capsys.readouterr().out
    assert "LiDAR" in table
    assert "UMAP" not in table  # not asked for, as alpha-ReQ has too few components: no empty columns
    assert main(["leaderboard", runs, "--format", "json"]) == 0
    assert main(["quality", paths[0], "--n-rows", "2"]) == 2
    assert "--n-rows 2: give an integer of at least 3" in capsys.readouterr().err


def test_the_function_is_the_command(tmp_path, capsys):
    rng = np.random.default_rng(0)
    paths = []
    for n in (60, 80):
        rows = Rows(ids=np.arange(n).astype(str))
        x = rng.normal(size=(n, 12)).astype(np.float32)
        paths.append(write_features(tmp_path / f"{n}.h5", x, rows, provenance={}))
    report = embedkit.quality(paths, seed=1, output=None)
    assert capsys.readouterr().out == ""
    assert [(one.path, one.quality.n) for one in report.files] == [(paths[0], 60), (paths[1], 80)]
    assert "Compare at one, with --n-rows" in report.notes[0]
    assert '<td style="text-align: left">80.h5</td>' in report._repr_html_()
    assert main(["quality", *map(str, paths), "--seed", "1", "-o", str(tmp_path / "runs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(report.document()))
    with FeatureFile(paths[0]) as file:
        one = embedkit.quality(file, n_rows=50, output=tmp_path / "one", runs=tmp_path / "runs")
    assert (one.files[0].quality.n, one.agreements) == (50, ())
    assert "fewer than three of these files" in one.notes[0]
    [written] = read_results(tmp_path / "one")
    assert written == one.files[0].result
    with pytest.raises(UsageError, match="--n-rows 2"):
        embedkit.quality("nowhere.h5", n_rows=2)
