"""Tied ranks, controls, and the outcomes that they rest on."""

import csv
import json

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.files.results import Metric, Result, append_result
from embedkit.scoring.confusions import kept
from embedkit.scoring.outcomes import Outcomes, compare_outcomes, read_outcomes
from embedkit.scoring.paired import mcnemar, paired_difference
from reports.leaderboard.controls import control, control_notes, permuted_accuracy
from reports.leaderboard.significance import significance
from reports.map.predicted import prediction_columns, read_predictions

N = 200


def result(method="linear", **changes):
    fields = {
        "task": "probe",
        "dataset": "gz",
        "features": "vit",
        "method": method,
        "params": {},
        "outcomes": {},
        "split": "kfold:5",
        "seed": 0,
        "metrics": {"accuracy": Metric(0.5)},
        "n": N,
        "seconds": 1.0,
        "backend": "test",
    }
    return Result(**(fields | changes))


def outcomes(n_right, rows="same"):
    right = (np.arange(N) < n_right).astype(float)
    return Outcomes(np.arange(N).astype(str), right[:, None], rows)


def test_what_cannot_be_told_apart_ties():
    results = [[result(name)] for name in ("a", "b", "c")]
    by = dict(zip(("a", "b", "c"), map(outcomes, (150, 147, 60)), strict=True))
    found = significance(results, lambda r: by[r.method])
    assert found.ranks == ((1, 2), (1, 2), (3, 3))
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    assert found.pairs[0].difference.value == pytest.approx(-3 / N)
    assert found.pairs[0].p_holm == pytest.approx(mcnemar(3, 0))  # the largest of three is multiplied by one
    assert found.pairs[1].p_holm == pytest.approx(3 * mcnemar(90, 0))
    assert "Holm-corrected over 3 pairs" in found.notes[0]


def test_pairs_that_are_not_on_the_same_rows_say_why():
    def read(r):
        if r.method == "c":
            raise EmbedkitError("c.csv is not beside it")
        return outcomes(150 if r.method == "a" else 10, rows=r.method)

    found = significance([[result(name)] for name in ("a", "b", "c")], read)
    assert found.ranks == ((1, 3),) * 3
    assert not found.pairs
    assert found.notes[0].startswith("Not tested: 1 pair with other test rows or folds.")
    assert found.notes[1] == "Not tested: 1 row, because c.csv is not beside it."


def seeds(rng, n_seeds, shift, spread):
    """One method's outcomes over seeds: each image has its own difficulty, each seed its own luck."""
    difficulty = rng.normal(size=N)
    luck = rng.normal(0, spread, n_seeds)
    right = [(difficulty + rng.normal(size=N) < shift + one).astype(float)[:, None] for one in luck]
    return [Outcomes(np.arange(N).astype(str), score, f"{i}") for i, score in enumerate(right)]


def test_rows_of_several_seeds_are_paired_image_by_image_over_all_of_them():
    rng = np.random.default_rng(0)
    a, b = seeds(rng, 5, 0.0, 0.0), seeds(rng, 3, 0.8, 0.0)
    by = {("a", i): one for i, one in enumerate(a)} | {("b", i): one for i, one in enumerate(b)}
    rows = [[result("a", seed=i) for i in range(5)], [result("b", seed=i) for i in range(3)]]
    found = significance(rows, lambda r: by[r.method, r.seed])
    (pair,) = found.pairs
    assert found.ranks == ((2, 2), (1, 1))
    expected = np.mean([two.mean - one.mean for one, two in zip(a, b, strict=False)])
    assert pair.difference.value == pytest.approx(expected)
    assert pair.difference.n == N
    assert "paired bootstrap tests" in found.notes[0]


def test_luck_of_the_seeds_is_not_taken_for_a_difference():
    """Two methods that differ in nothing: the images alone would tell them apart far too often."""
    rng = np.random.default_rng(1)
    rejected, naive = [], []
    for _ in range(60):
        pairs = list(zip(seeds(rng, 8, 0.0, 0.5), seeds(rng, 8, 0.0, 0.5), strict=True))
        rejected.append(compare_outcomes(pairs).p <= 0.05)
        a, b = (np.mean([pair[side].score[:, 0] for pair in pairs], axis=0) for side in (0, 1))
        naive.append(paired_difference(a, b).p <= 0.05)
    assert np.mean(naive) > 0.15
    assert np.mean(rejected) < 0.12


def test_one_clustering_meets_every_seed_of_another():
    by = {("a", 0): outcomes(150), ("b", 0): outcomes(100), ("b", 1): outcomes(110)}
    rows = [[result("a")], [result("b"), result("b", seed=1)]]
    (pair,) = significance(rows, lambda r: by[r.method, r.seed]).pairs
    assert pair.difference.value == pytest.approx(-45 / N)


def features(name, random_init=None):
    return {"features": {"backbone": {"name": name, "origin": {"random_init": random_init}}}}


def test_controls_are_recognised_and_missing_ones_named():
    pixels = result(provenance=features("pixels:32"))
    assert control(pixels) == "pixels"
    assert control(result(provenance=features("vit", 0))) == "random"
    assert control(result(provenance=features("vit"))) is None
    assert control(result()) is None
    notes = control_notes([pixels])
    assert len(notes) == 1
    assert "--random-init 0" in notes[0]
    assert "the same probe command" in notes[0]


def test_permuted_labels_are_cohens_chance_agreement():
    rng = np.random.default_rng(0)
    true, answer = rng.integers(3, size=400), rng.integers(2, size=400)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (true, answer), 1)
    simulated = np.mean([(rng.permutation(true) == answer).mean() for _ in range(2000)])
    expected = permuted_accuracy(result(outcomes={"confusion": confusion.tolist()}))
    assert expected == pytest.approx(simulated, abs=0.002)
    many = np.kron(confusion, np.ones((80, 80), int))
    assert permuted_accuracy(result(outcomes=kept(many))) == pytest.approx(expected / 80)
    for other in ([[3, 1, 0]], [[3], [1]], [[1, -1], [-1, 1]]):  # of another hand than embedkit's
        assert permuted_accuracy(result(outcomes={"confusion": other})) is None
    of_clusters = result(task="cluster", metrics={"null_accuracy": Metric(0.3)})
    assert permuted_accuracy(of_clusters) == 0.3


def write(folder, method, n_right, fold="1"):
    with (folder / f"{method}.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "split", "fold", "true", "predicted", "probability"])
        writer.writerow(["left out", "validation", fold, "x", "x", 1])
        for i in range(N):
            writer.writerow([f"row {i}", "test", fold, "x", "x" if i < n_right else "y", 1])
    line = result(
        method,
        metrics={"accuracy": Metric(n_right / N)},
        provenance={"predictions": f"{method}.csv"},
        outcomes={"confusion": [[n_right, N - n_right], [0, 0]]},
    )
    append_result(folder / "results.jsonl", line)
    return line


def test_outcomes_are_of_test_rows_and_rows_know_their_folds(tmp_path):
    first, other = write(tmp_path, "a", 150), write(tmp_path, "b", 20)
    found = read_outcomes(first, tmp_path)
    assert (len(found.ids), found.score.sum()) == (N, 150)
    assert read_outcomes(other, tmp_path).rows == found.rows
    assert read_outcomes(write(tmp_path, "c", 150, fold="2"), tmp_path).rows != found.rows
    with pytest.raises(EmbedkitError, match=r"a.csv is not beside it"):
        read_outcomes(first, tmp_path / "elsewhere")


TARGETS = """id,split,fold,true:smooth,true:disc,predicted:smooth,predicted:disc,squared_error
b,test,1,0.5,0.5,0.5,0.9,0.08
a,test,1,1,0,0.5,0.5,0.25
c,validation,1,0,0,1,1,1
"""
DRAWS = """id,split,fold,draw,true,predicted,probability
a,test,1,0,x,x,1
a,test,1,1,x,y,1
b,test,1,0,x,x,1
b,test,1,1,x,x,1
"""


def test_outcomes_of_targets_are_their_squared_errors(tmp_path):
    (tmp_path / "p.csv").write_text(TARGETS)
    found = read_outcomes(result("ridge", provenance={"predictions": "p.csv"}), tmp_path)
    assert found.ids.tolist() == ["a", "b"]
    assert found.score.tolist() == [[-0.25], [-0.08]]
    (tmp_path / "p.csv").write_text(TARGETS.replace("0.5,0.5,0.5", "0.4,0.5,0.5"))
    assert read_outcomes(result("ridge", provenance={"predictions": "p.csv"}), tmp_path).rows != found.rows


def test_outcomes_keep_the_draws_of_a_budget_apart(tmp_path):
    (tmp_path / "p.csv").write_text(DRAWS)
    found = read_outcomes(result(provenance={"predictions": "p.csv"}), tmp_path)
    assert found.score.tolist() == [[1, 0], [1, 1]]
    assert found.mean == 0.75


def test_columns_of_predictions_for_the_map(tmp_path):
    def columns(name, title):
        path = tmp_path / name
        return prediction_columns(read_predictions(path), path, np.array(["b", "a", "z"]), title)

    (tmp_path / "t.csv").write_text(TARGETS)
    smooth, disc, error = columns("t.csv", "ridge")
    assert (smooth.key, disc.title) == ("predicted:smooth:ridge", "ridge: predicted disc")
    np.testing.assert_allclose(disc.values, [0.9, 0.5, np.nan])
    np.testing.assert_allclose(error.values, np.sqrt([0.08, 0.25, np.nan]), rtol=1e-6)
    (tmp_path / "d.csv").write_text(DRAWS)
    predicted, verdict = columns("d.csv", "knn")
    assert [predicted.names[code] for code in predicted.codes[:2]] == ["x", "x"]  # of the first draw
    assert verdict.codes[2] == -1
    (tmp_path / "t.csv").write_text(TARGETS.replace("0.9", "much"))
    with pytest.raises(EmbedkitError, match="much.* run `embedkit probe` again"):
        columns("t.csv", "ridge")


def test_rmse_is_tested_and_ranked_too(tmp_path, capsys):
    for name, scale in (("ridge", 0.2), ("sigmoid", 0.6)):
        rng = np.random.default_rng(0)
        error = (scale * rng.normal(size=N)) ** 2
        lines = ["id,split,fold,true:s,predicted:s,squared_error"]
        lines += [f"row {i},test,1,0.5,0.5,{e:.6g}" for i, e in enumerate(error)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
        metrics = {"rmse": Metric(float(np.sqrt(error.mean()))), "mean_rmse": Metric(0.9)}
        line = result(name, metrics=metrics, provenance={"predictions": f"{name}.csv"})
        append_result(tmp_path / "results.jsonl", line)
    assert main(["leaderboard", str(tmp_path), "--format", "markdown", "--sort", "rmse"]) == 0
    out = capsys.readouterr().out
    assert "## gz: probe, targets" in out
    assert [line.split(" | ")[:3:2] for line in out.splitlines()[4:6]] == [
        ["| 1", "ridge"],
        ["| 2", "sigmoid"],
    ]
    assert "Controls: training mean 0.900." in out


def test_outcomes_of_clusters_follow_the_matching(world):
    from embedkit.files.results import read_results

    line = read_results(world.runs)[0]
    found = read_outcomes(line, world.runs)
    # Cluster 1 stands for no class, cluster 2 for red, 0 for blue, and every ninth row is noise.
    noise = np.arange(60) % 9 == 0
    assert len(found.ids) == 60
    assert found.score.sum() == (~noise[:20]).sum() + (~noise[40:]).sum()


def test_command_shows_ranks_controls_and_filters(tmp_path, capsys):
    for name, n_right in (("a", 150), ("b", 147), ("c", 60)):
        write(tmp_path, name, n_right)
    assert main(["leaderboard", str(tmp_path), "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2].startswith("| rank | features |")
    assert [line.split(" | ")[0] for line in out.splitlines()[4:7]] == ["| 1-2", "| 1-2", "| 3"]
    assert "Control missing: 32 x 32 pixels" in out
    assert main(["leaderboard", str(tmp_path), "--json", "--method", "a"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [line["rank"] for line in document["results"]] == [[1, 1]]
    assert document["tested"][0]["pairs"] == []
    assert main(["leaderboard", str(tmp_path), "--dataset", "x"]) == 2
    assert "--dataset x: no such result. There are: gz." in capsys.readouterr().err
