import csv
import json

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.schema import usable
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.preparing.preparation import prepare
from embedkit.scoring.splits import stratified_split
from probes.kinds.knn import KNNProbe
from probes.kinds.linear import LinearProbe
from probes.options import ProbeOptions
from probes.run import probe


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_the_command_gives_what_the_estimator_gives(make_file, tmp_path, kind):
    path = make_file()
    report = probe(path, ProbeOptions(kind=kind, seed=4), output=tmp_path / "runs")
    with FeatureFile(path) as file:
        x, y = file.read(), file.rows.labels
    split = stratified_split(y, seed=4)
    model = LinearProbe() if kind == "linear" else KNNProbe()
    model.fit(x[split.train], y[split.train], validation=(x[split.validation], y[split.validation]))
    predicted = model.predict(x[split.test])
    assert report.result.metrics["accuracy"].value == pytest.approx((predicted == y[split.test]).mean())
    assert report.result.metrics["accuracy"].value > 0.8
    test = report.predictions.part == "test"
    assert np.array_equal(report.predictions.index[test], split.test)
    assert np.array_equal(report.predictions.predicted[test], predicted)
    [result] = read_results(tmp_path / "runs")
    assert result == report.result
    assert (result.task, result.dataset, result.method) == ("probe", "test galaxies", kind)
    assert result.n == len(split.test)
    assert result.outcomes["division"] == [{"name": "stratified 70/15/15", **split.counts}]
    assert np.sum(result.outcomes["confusion"]) == result.n
    assert result.outcomes["c" if kind == "linear" else "k"] == (model.c_ if kind == "linear" else model.k_)
    majority = (y[split.test] == np.bincount(y[split.train]).argmax()).mean()
    assert result.metrics["majority_accuracy"].value == pytest.approx(majority)
    assert result.provenance["features_sha256"]
    assert result.provenance["predictions"] == report.predictions_path.name


def test_predictions_hold_every_validation_and_test_row(make_file, tmp_path):
    report = probe(make_file(), output=tmp_path)
    lines = table(report.predictions_path)
    assert len(lines) == len(report.splits[0].validation) + len(report.splits[0].test)
    assert list(lines[0]) == ["id", "split", "fold", "true", "predicted", "probability"]
    right = [line["true"] == line["predicted"] for line in lines if line["split"] == "test"]
    assert np.mean(right) == pytest.approx(report.result.metrics["accuracy"].value)
    assert {line["true"] for line in lines} == {"edge on", "merger", "spiral, tight"}
    assert all(1 / 3 <= float(line["probability"]) <= 1 for line in lines)


def test_every_k_is_scored_and_the_choice_is_made_on_validation(make_file):
    result = probe(make_file(), ProbeOptions(kind="knn")).result
    choice = result.params["choice"]
    assert choice["grid"] == [10, 20, 100, 200]
    assert "k" not in result.params
    scores = result.outcomes["choice"]["scores"][0]
    assert result.outcomes["k"] == min(int(k) for k, s in scores.items() if s == max(scores.values()))
    assert result.metrics[f"accuracy_k{result.outcomes['k']}"] == result.metrics["accuracy"]
    assert {"accuracy_k10", "accuracy_k200"} <= set(result.metrics)


def test_test_rows_decide_nothing(make_file):
    """Scrambled features and labels of the test rows leave every choice as it is."""
    honest = probe(make_file())
    test = honest.splits[0].test

    def scramble(x):
        x[test] = np.random.default_rng(1).normal(size=(len(test), x.shape[1])) * 1e3
        return x

    scrambled = probe(make_file(features=scramble, name="scrambled.h5"))
    assert np.array_equal(scrambled.splits[0].test, test)
    assert scrambled.result.outcomes["choice"] == honest.result.outcomes["choice"]
    assert scrambled.result.outcomes["c"] == honest.result.outcomes["c"]
    assert scrambled.result.metrics["accuracy"].value < 0.6


def test_kfold_tests_every_row_once(make_file):
    report = probe(make_file(), ProbeOptions(split="kfold:3"))
    assert np.array_equal(report.predictions.index, np.arange(300))
    assert set(report.predictions.part) == {"test"}
    assert report.result.split == "kfold:3"
    assert len(report.result.outcomes["c"]) == 3
    predictions = report.predictions
    right = predictions.true == predictions.predicted
    means = [right[predictions.fold == f].mean() for f in (1, 2, 3)]
    assert report.result.metrics["accuracy"].value == pytest.approx(np.mean(means))


def test_auto_takes_the_files_split_then_groups_then_chance(make_file):
    column = np.array(["train", "train", "validation", "test"] * 75)
    groups = np.array([f"plate {i % 60}" for i in range(300)])
    report = probe(make_file(split=column, group=groups, name="a.h5"))
    assert report.result.split == "file"
    assert np.array_equal(report.splits[0].test, np.flatnonzero(column == "test"))
    report = probe(make_file(group=groups, name="b.h5"))
    assert report.result.split == "group 70/15/15"
    assert not set(groups[report.splits[0].train]) & set(groups[report.splits[0].test])
    assert probe(make_file(name="c.h5")).result.split == "stratified 70/15/15"


def test_failed_and_unlabelled_rows_are_left_out_and_said(make_file, capsys, tmp_path):
    path = make_file(failed=(0, 5), labels=lambda y: np.where(np.arange(300) % 100 == 7, -1, y))
    report = probe(path)
    assert report.result.outcomes["left_out"] == {"failed": 2, "unlabelled": 3, "outside_split": 0}
    used = np.concatenate([report.splits[0].train, report.splits[0].validation, report.splits[0].test])
    assert not set(used) & {0, 5, 7, 107, 207}
    assert main(["probe", str(path), "-o", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().err
    assert "Left out 2 rows whose image could not be read" in said
    assert "Left out 3 rows without a label" in said


def test_a_class_that_no_row_has_is_no_class(make_file):
    report = probe(make_file(class_names=("edge on", "merger", "spiral, tight", "never seen")))
    assert report.result.outcomes["class_names"] == ["edge on", "merger", "spiral, tight"]


def test_a_split_that_is_kept_can_be_used_again(make_file, tmp_path, capsys):
    path, kept = make_file(), tmp_path / "split.json"
    arguments = ["-o", str(tmp_path / "runs"), "--json"]
    assert main(["probe", str(path), "--seed", "9", "--save-split", str(kept), *arguments]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["probe", str(path), "--split", str(kept), *arguments]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["metrics"] == second["metrics"]
    missing = make_file(failed=(3, 4), name="missing.h5")
    assert main(["probe", str(missing), "--split", str(kept), *arguments]) == 0
    assert "2 of its entries are rows without features or label here" in capsys.readouterr().err


def test_json_is_one_document(make_file, tmp_path, capsys):
    assert main(["probe", str(make_file()), "-o", str(tmp_path / "runs"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["method"] == "linear"
    assert [c["name"] for c in document["classes"]] == document["outcomes"]["class_names"]
    assert len(document["params"]["choice"]["grid"]) == 13


def test_the_table_shows_metrics_choice_classes_and_the_majority(make_file, tmp_path, capsys):
    assert main(["probe", str(make_file()), "--kind", "knn", "-o", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    for text in ("knn probe of vit cls-4 on test galaxies", "balanced accuracy", "ROC AUC", "majority class"):
        assert text in shown
    for text in ("best validation accuracy of 4", "accuracy, k = 200", "spiral, tight", "recall"):
        assert text in shown


def test_same_seed_same_numbers(make_file):
    path = make_file()
    one, again = (probe(path, ProbeOptions(split="kfold:2", seed=3)).result for _ in range(2))
    assert (one.metrics, one.params, one.outcomes) == (again.metrics, again.params, again.outcomes)


def test_constant_features_and_the_edge_of_the_grid_are_said(make_file):
    def pad(x):
        x[:, 3:5] = 0.25
        return x

    report = probe(make_file(features=pad), ProbeOptions(c_grid=(1e-6, 1e-5)))
    assert "Left out 2 features that are constant on the training rows." in report.notes
    assert any("edge of the grid. `embedkit probe --" in line for line in report.notes)


def test_k_that_do_not_fit_are_left_out_only_when_they_were_not_asked_for(make_file):
    path = make_file(n=60)
    report = probe(path, ProbeOptions(kind="knn", split="stratified"))
    assert report.result.params["choice"]["grid"] == [10, 20]
    assert any("Left out k above the" in line for line in report.notes)
    with pytest.raises(EmbedkitError, match=r"k = 200 neighbours are asked of 4\d training rows"):
        probe(path, ProbeOptions(kind="knn", split="stratified", n_neighbors=(10, 200)))
    tiny = make_file(n=12, labels=np.arange(12) % 3, name="tiny.h5")
    tiny = probe(tiny, ProbeOptions(kind="knn", split="stratified"))
    assert tiny.result.params["choice"]["grid"] == [1, 5]


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_features_too_small_to_be_scaled_up_are_constant(make_file, kind):
    """Of a spread of 1e-42 float32 has no inverse."""
    with pytest.raises(EmbedkitError, match="every feature is constant on the training rows"):
        probe(make_file(features=lambda x: 1e-42 * x), ProbeOptions(kind=kind))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": None}, r"features.h5: no labels stored. Name a table of ids and labels: --labels"),
        ({"labels": np.full(300, -1)}, "no labels stored"),
        ({"labels": np.zeros(300, int)}, "every labelled row is of one class, 'edge on'"),
        ({"labels": np.append(np.arange(299) % 2, 2)}, r"'spiral, tight' \(1 row\)"),
        ({"failed": range(300)}, "none of the 300 images could be read"),
        (
            {"features": lambda x: np.where(np.arange(300)[:, None] == 8, np.nan, x)},
            r"1 of 300 rows hold NaN or infinity.*, the first of them 'images/galaxy 8.jpg'",
        ),
        (
            {"features": lambda x: np.where(np.arange(300)[:, None] == 8, 3e38, x)},
            r"1 of 300 rows hold numbers beyond 1e\+15, the first of them 'images/galaxy 8.jpg'",
        ),
        ({"features": lambda x: np.ones_like(x)}, "every feature is constant on the training rows"),
        ({"split": np.array(["train", "validation"] * 150)}, "split column has no labelled test rows"),
        ({"split": np.array(["validation", "test"] * 150)}, "split column has no labelled train rows"),
    ],
)
@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_bad_files_are_refused_with_what_to_do(make_file, capsys, tmp_path, wrong, message, kind):
    path = make_file(**wrong)
    with pytest.raises(EmbedkitError, match=message):
        probe(path, ProbeOptions(kind=kind))
    assert main(["probe", str(path), "--kind", kind, "-o", str(tmp_path / "runs")]) == 1
    assert "features.h5: " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--kind", "linear", "--n-neighbors", "5"],
            "--n-neighbors is for --kind knn or label-spreading, not linear. Leave it out",
        ),
        (["--kind", "linear", "--temperature", "0.1"], "--temperature is for --kind knn"),
        (
            ["--kind", "knn", "--c-grid", "1"],
            "--c-grid is for --kind linear or sigmoid, not knn. Leave it out",
        ),
        (
            ["--kind", "knn", "--select", "log_loss"],
            "--select log_loss is not for --kind knn: votes can be 0",
        ),
        (
            ["--kind", "knn", "--refit", "--class-weight", "balanced"],
            "--class-weight is for --kind linear or linear-sgd or mlp or label-spreading, not knn",
        ),
        (
            ["--kind", "ridge", "--select", "accuracy"],
            "--select is not for --kind ridge, which chooses by RMSE",
        ),
        (
            ["--kind", "ridge", "--device", "cuda"],
            "--device is for --kind linear or linear-sgd or mlp or knn or label-spreading or sigmoid, "
            "not ridge",
        ),
        (["--kind", "knn", "--n-neighbors", "0"], "--n-neighbors 0: give an integer of at least 1"),
        (["--kind", "knn", "--temperature", "0"], "--temperature 0: give a number above 0"),
        (["--c-grid", "-1"], "--c-grid -1: give a number above 0"),
        (["--split", "random"], "--split random: unknown. Give one of auto"),
        (["--split", "kfold:x"], "--split kfold:x: unknown"),
        (["--split", "kfold:1"], "at least 2 folds"),
        (["--fractions", "0.5", "0.5", "0.5"], "add up to 1"),
        (["--split", "s.json", "--fractions", "0.5", "0.3", "0.2"], "nothing about a saved split"),
    ],
)
def test_bad_options_end_with_code_2(make_file, capsys, tmp_path, arguments, message):
    assert main(["probe", str(make_file()), "-o", str(tmp_path / "runs"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_columns_that_a_split_needs(make_file):
    with pytest.raises(EmbedkitError, match="no split column stored. Use --split stratified"):
        probe(make_file(), ProbeOptions(split="file"))
    with pytest.raises(EmbedkitError, match="no group column stored. Use --split stratified"):
        probe(make_file(), ProbeOptions(split="group"))
    with pytest.raises(UsageError, match="--kind forest: unknown. Give one of linear, linear-sgd, mlp, knn"):
        ProbeOptions(kind="forest")


def test_a_missing_file_says_how_to_make_one(capsys):
    assert main(["probe", "nowhere.h5"]) == 1
    assert "embedkit extract DATASET -o nowhere.h5" in capsys.readouterr().err


# --- preparation -----------------------------------------------------------------------------------


def test_the_preparation_is_fitted_on_training_rows_only(make_file):
    path = make_file()
    report = probe(path, ProbeOptions(prep="l2+pca4", seed=4))
    with FeatureFile(path) as file:
        x, y = file.read(), file.rows.labels
    split = report.splits[0]
    z = prepare(x, "l2+pca4", rows=split.train).transform(x)
    model = LinearProbe().fit(
        z[split.train], y[split.train], validation=(z[split.validation], y[split.validation])
    )
    test = report.predictions.part == "test"
    assert np.array_equal(report.predictions.predicted[test], model.predict(z[split.test]))
    assert report.result.params["prep"] == "l2+pca4"
    [fitted] = report.result.outcomes["preparation"]
    assert fitted["n_rows"] == len(split.train)
    assert fitted["steps"][1]["n_components"] == 4
    assert any(text.startswith("Rows scaled to length 1. PCA: 4 of 12") for text in report.notes)
    # Test rows that lie elsewhere change nothing that is fitted.
    moved = x.copy()
    moved[split.test] += 100
    other = probe(make_file(name="moved.h5", features=lambda _: moved), ProbeOptions(prep="l2+pca4", seed=4))
    assert other.result.outcomes["preparation"] == report.result.outcomes["preparation"]
    assert "prep" not in probe(path).result.params


def test_view_whitening_takes_the_view_means(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    mean = rng.normal(size=(200, 5)) * [9, 1, 1, 1, 1]
    mean[:, 1] += 4 * y
    rows = Rows(ids=[f"r{i}" for i in range(200)], labels=y, class_names=("a", "b"))
    views = Views(mean.astype(np.float32), np.diag([81.0, 1, 1, 1, 1]), 2)
    # The features themselves say nothing of the class.
    path = write_features(tmp_path / "f.h5", rng.normal(size=(200, 5)).astype(np.float32), rows, views=views)
    report = probe(path, ProbeOptions(prep="view-whiten:1", split="kfold:3"))
    assert report.result.metrics["accuracy"].value > 0.9
    assert len(report.result.outcomes["preparation"]) == 3
    assert any(text.startswith("In the first fold: View whitening") for text in report.notes)


def test_a_preparation_that_cannot_be(make_file, tmp_path, capsys):
    path = str(make_file())
    assert main(["probe", path, "--prep", "umap", "-o", str(tmp_path)]) == 2
    assert "--prep umap: unknown step 'umap'" in capsys.readouterr().err
    assert main(["probe", path, "--prep", "view-whiten", "-o", str(tmp_path)]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "no view statistics, which view whitening needs." in message
    assert main(["probe", path, "--prep", "l2", "-o", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"]["prep"] == "l2"


# --- several seeds ---------------------------------------------------------------------------------


def test_seeds_are_several_results_and_their_spread(make_file, tmp_path, capsys):
    path, runs = str(make_file()), tmp_path / "runs"
    command = ["probe", path, "--kind", "nearest-centroid", "--seed", "3", "--seeds", "3", "-o", str(runs)]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    results = read_results(runs)
    assert [r.seed for r in results] == [run["seed"] for run in document["runs"]] == [3, 4, 5]
    alone = probe(path, ProbeOptions(kind="nearest-centroid", seed=4)).result
    assert results[1].metrics == alone.metrics
    values = [r.metrics["accuracy"].value for r in results]
    assert document["over_seeds"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert document["over_seeds"]["accuracy"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert len({r.provenance["predictions"] for r in results}) == 3
    assert main(command) == 0
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in capsys.readouterr().out


def test_seeds_that_change_nothing_are_said_and_none_is_refused(make_file, tmp_path, capsys):
    column = np.array(["train", "train", "validation", "test"] * 75)
    path, runs = str(make_file(split=column)), str(tmp_path / "runs")
    assert main(["probe", path, "--kind", "knn", "--seeds", "2", "-o", runs]) == 0
    assert "draws nothing and the split is given: every seed says the same" in capsys.readouterr().err
    for more, message in (
        (["--seeds", "0"], "--seeds 0: give an integer of at least 1"),
        (["--seeds", "2", "--save-model", "m"], "--save-model is not for --seeds, which fits a probe a seed"),
        (["--seeds", "2", "--budget", "1"], "--seeds is not for --budget"),
    ):
        assert main(["probe", path, "-o", runs, *more]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "prep"), [("linear", "none"), ("knn", "pca5"), ("nearest-centroid", "none")]
)
def test_rows_are_checked_once_where_they_are_read(make_file, monkeypatch, kind, prep):
    looked = []
    isfinite = np.isfinite

    def count(x, **options):
        if np.ndim(x) == 2 and len(x) > 30:
            looked.append(len(x))
        return isfinite(x, **options)

    def count_usable(x):
        looked.append(len(x))
        return usable(x)

    path = make_file()
    monkeypatch.setattr(np, "isfinite", count)
    monkeypatch.setattr("embedkit.files.usable_rows.usable", count_usable)
    probe(path, ProbeOptions(kind=kind, split="kfold:5", prep=prep))
    assert looked == [300]
