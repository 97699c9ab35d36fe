"""How sure probes are: the page's figures are those of the rows, and hostile records do nothing."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from report_world import NASTY

from embedkit.files.results import Metric, Result, append_result, locate_results, result_provenance
from embedkit.files.store import FeatureFile
from embedkit.files.tables import CLASS_PREDICTIONS, LABELLED, TARGET_PREDICTIONS, read_table, write_table
from reports.map.evidence import find_evidence
from reports.map.sections import reliability, results
from reports.map.sureness import sureness


def result(method="linear", accuracy=0.8, **more):
    about = {"task": "probe", "dataset": "d", "features": "f", "params": {}, "outcomes": {}, "split": "file"}
    metrics = {"accuracy": Metric(accuracy, accuracy - 0.05, accuracy + 0.05)}
    about |= {"seed": 0, "metrics": metrics, "n": 50, "seconds": 1.0, "backend": "test"}
    return Result(method=method, **{**about, **more})


def write(path, confidence, right, ids=None, **more):
    n = len(right)
    columns = {
        "id": [f"{i}" for i in range(n)] if ids is None else ids,
        "split": ["test"] * n,
        "fold": [1] * n,
    }
    columns |= {"true": ["a"] * n, "predicted": np.where(right, "a", "b"), "probability": confidence}
    write_table(path, CLASS_PREDICTIONS, columns | more)
    return read_table(path, CLASS_PREDICTIONS)


def drawn(made):
    """Return each picture of a section as a tree."""
    return [
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
        for part in made.body.split("<svg")[1:]
    ]


def test_the_error_is_that_of_a_loop_over_bins_and_every_row_stands_in_a_dot(tmp_path):
    random = np.random.default_rng(0)
    p = random.uniform(0.3, 1, 400).round(6)
    right = random.random(400) < p**2
    expected = 0.0
    for j in range(15):
        inside = (p > j / 15) & (p <= (j + 1) / 15)
        if inside.any():
            expected += inside.sum() / 400 * abs(p[inside].mean() - right[inside].mean())
    one = sureness(write(tmp_path / "p.csv", p, right), result(), "linear", "p.csv")
    made = reliability.section(SimpleNamespace(sure=[one]))
    curve, sides = drawn(made)
    assert f"as fitted: ECE {expected:.3f}" in "".join(curve.itertext())
    told = [dot.findtext("title") for dot in curve.iter("circle")]
    assert sum(int(words.split(", ")[1].split()[0]) for words in told) == 400
    assert f"median of right ones {np.median(p[right]):.2f}" in "".join(sides.itertext())
    assert f"400 test images, {right.sum()} right; p.csv" in made.body
    assert made.script == ""


def test_of_several_draws_the_first_and_of_given_labels_those_kept_aside(tmp_path):
    n = 6
    ids = [str(i % 3) for i in range(n)]
    table = write(tmp_path / "d.csv", [0.5] * n, [True] * 3 + [False] * 3, ids, draw=[1] * 3 + [2] * 3)
    assert sureness(table, result(), "t", "d.csv").right.tolist() == [True] * 3
    columns = {"id": ["a", "b", "c"], "label": ["x", "x", ""], "next": [np.nan, np.nan, 1]}
    columns |= {"predicted": ["x", "y", "y"], "probability": [0.9, 0.6, 0.5], "fold": [1, 2, 0]}
    write_table(tmp_path / "l.csv", LABELLED, columns)
    one = sureness(read_table(tmp_path / "l.csv", LABELLED), result(), "t", "l.csv")
    assert (one.right.tolist(), one.confidence.tolist()) == ([True, False], [0.9, 0.6])


@pytest.mark.parametrize("record", [None, 3, {"bins_scaled": "x"}, {"bins_scaled": [{"n": 1}]}])
def test_a_calibration_that_is_none_is_left_out(tmp_path, record):
    table = write(tmp_path / "p.csv", [0.5, 0.9], [True, False])
    one = sureness(table, result(outcomes={"calibration": record}), NASTY, NASTY)
    assert one.calibrated == ()
    assert "<script" not in reliability.section(SimpleNamespace(sure=[one])).body
    assert sureness(write(tmp_path / "q.csv", [1.5, 0.9], [True, False]), result(), "t", "q.csv") is None


def test_results_are_drawn_with_intervals_and_what_is_worse_is_grey():
    ranks = {"a": (1, 1), "b": (2, 3)}
    from reports.leaderboard.table import leaderboard

    board = leaderboard([result("a", 0.9), result("b", 0.7), result(NASTY, 0.6)])
    entries = [
        SimpleNamespace(**{**vars(one), "result": one.result, "seeds": one.seeds, "n_labels": one.n_labels})
        for one in board.entries
    ]
    for one in entries:
        one.rank = ranks.get(one.result.method)
    groups = [(board.entries[0].group, entries)]
    ranked = SimpleNamespace(groups=lambda: groups, notes=lambda key: ["Say `this`."])
    made = results.section(SimpleNamespace(board=ranked, linked=(), runs="runs", digests=(), name=""))
    (tree,) = drawn(made)
    dots = {dot.findtext("title"): dot for dot in tree.iter("circle")}
    assert list(dots) == ["a: 0.9", "b: 0.7", f"{NASTY}: 0.6"]
    across = [float(dot.get("cx")) for dot in dots.values()]
    assert (across[0] - across[1]) / (across[1] - across[2]) == pytest.approx(2, abs=0.02)
    assert [dot.get("fill") for dot in dots.values()] == ["#1f6fb4", "#808080", "#1f6fb4"]
    whiskers = [
        line.get("points").split() for line in tree.iter("polyline") if line.get("stroke-width") == "2"
    ]
    spans = [float(end.split(",")[0]) - float(start.split(",")[0]) for start, end in whiskers]
    assert spans == pytest.approx([(across[0] - across[1]) / 2] * 3, abs=0.3)
    assert "<code>this</code>" in made.body
    assert "<script" not in made.body


def test_a_network_trained_on_the_same_images_stands_beside_the_probes(world, tmp_path):
    with FeatureFile(world.features) as file:
        ids = file.rows.ids
        write(tmp_path / "n.csv", [0.8] * 60, [True] * 60, ids)
        table = {"predictions": "n.csv", "dataset": {"fingerprint": "f1"}}
        append_result(tmp_path / "results.jsonl", result("net", task="finetune", provenance=table))
        other = {"predictions": "n.csv", "dataset": {"fingerprint": "f2"}}
        append_result(tmp_path / "results.jsonl", result("other", task="finetune", provenance=other))
        probe = {**result_provenance(file), "predictions": "n.csv"}
        append_result(tmp_path / "results.jsonl", result(provenance=json.loads(json.dumps(probe))))
        made = SimpleNamespace(fingerprint="f1")
        here = SimpleNamespace(
            sha256=file.sha256, made=made, dataset_name=file.dataset_name, features_name=file.features_name
        )
        found = find_evidence(locate_results(tmp_path), here, ids, where=tmp_path)
    assert sorted(one.method for one in found.board.runs) == ["linear", "net"]
    assert sorted(one.title for one in found.sure) == ["linear", "net"]


def test_targets_are_drawn_true_against_predicted(tmp_path):
    random = np.random.default_rng(0)
    true = random.uniform(0, 1, (50, 8))
    predicted = (true + random.normal(0, 0.1, true.shape)).clip(0, 1)
    columns = {"id": [str(i) for i in range(50)], "split": ["test"] * 49 + ["validation"], "fold": [1] * 50}
    names = [NASTY, *(f"t{j}" for j in range(1, 8))]
    for j, name in enumerate(names):
        columns |= {f"true:{name}": true[:, j], f"predicted:{name}": predicted[:, j]}
    columns["squared_error"] = ((true - predicted) ** 2).mean(axis=1)
    write_table(tmp_path / "t.csv", TARGET_PREDICTIONS, columns)
    one = sureness(read_table(tmp_path / "t.csv", TARGET_PREDICTIONS), result("ridge"), "ridge", "t.csv")
    made = reliability.section(SimpleNamespace(sure=[one]))
    assert len(drawn(made)) == 6
    assert f"RMSE {np.sqrt(np.mean((true - predicted)[:49, 1] ** 2)):.4g}" in made.body
    assert "49 test images; t.csv; the first 6 of 8 targets" in made.body
    assert "<script" not in made.body
    assert "ECE" not in made.body
