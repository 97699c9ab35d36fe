"""Few labels: `--budget`, its draws, and a choice that sees no other label."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import t
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.cli import main
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.scoring.budget import Budget
from embedkit.scoring.outcomes import read_outcomes
from embedkit.scoring.split_file import write_splits
from probes.budgets import probe_budgets
from probes.few_labels import fit_within, held_out, shuffled_classes, take
from probes.kinds.linear import LinearProbe
from probes.kinds.registry import PROBES
from probes.options import ProbeOptions
from probes.run import probe

QUICK = {
    "mlp": {"hidden": ("8",), "weight_decay": (0.1, 10.0)},
    "linear-sgd": {"learning_rates": (0.01, 0.1)},
}


def test_budgets_of_a_draw_are_nested_and_take_what_they_say():
    labels = np.repeat([0, 1, 2], [100, 40, 7])
    train = np.arange(147)
    classes = shuffled_classes(labels, train, np.random.default_rng(0))
    found = {text: take(Budget.parse(text), classes) for text in ("1", "5", "10", "1%", "10%", "100%")}
    counts = {text: np.bincount(labels[rows]).tolist() for text, rows in found.items()}
    assert counts == {
        "1": [1, 1, 1],
        "5": [5, 5, 5],
        "10": [10, 10, 7],
        "1%": [1, 1, 1],  # at least one of each
        "10%": [10, 4, 1],
        "100%": [100, 40, 7],
    }
    assert set(found["1"]) < set(found["5"]) < set(found["10"]) < set(found["100%"])
    assert set(found["1%"]) < set(found["10%"]) < set(found["100%"])
    other = take(Budget.parse("5"), shuffled_classes(labels, train, np.random.default_rng(1)))
    assert set(other) != set(found["5"])


def test_every_fold_learns_every_class():
    labels = np.repeat([0, 1, 2, 3], [9, 5, 2, 1])
    folds = held_out(labels, np.random.default_rng(0))
    assert len(folds) == 5
    held = np.concatenate(folds)
    assert sorted(held) == list(range(16))  # each once, but for the class with a single row
    for fold in folds:
        assert set(np.delete(labels, fold)) == {0, 1, 2, 3}
    assert held_out(np.arange(4), np.random.default_rng(0)) == []


def test_the_choice_is_that_of_scikit_learns_cross_validation():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 8)
    x = (np.eye(3, 10)[y] + random.normal(size=(24, 10))).astype(np.float32)
    grid = (1e-4, 1e-2, 1.0)
    options = ProbeOptions(c_grid=grid)
    model = fit_within(x, y, y, options, seed=3)
    folds = held_out(y, np.random.default_rng(3))
    pairs = [(np.setdiff1d(np.arange(24), fold), fold) for fold in folds]

    for c in grid:
        peer = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000))
        scores = cross_val_score(peer, x, y, cv=pairs)
        mean = np.average(scores, weights=[len(fold) for fold in folds])
        assert model.validation_scores_[c] == pytest.approx(mean)
    assert model.c_ == min(
        c for c in grid if model.validation_scores_[c] == max(model.validation_scores_.values())
    )
    assert np.array_equal(model.coef_, LinearProbe(c_grid=model.c_).fit(x, y).coef_)


def test_labels_of_validation_rows_are_never_looked_at(make_file, tmp_path):
    path = make_file()
    split = probe(path, ProbeOptions(kind="nearest-centroid")).splits[0]
    kept = tmp_path / "split.json"

    def scramble(true):
        changed = true.copy()
        changed[split.validation] = np.random.default_rng(0).permutation(true[split.validation])
        return changed

    other = make_file(labels=scramble, name="scrambled.h5")
    with FeatureFile(path) as file:
        write_splits(kept, [split], file.rows.ids)
    options = ProbeOptions(kind="nearest-centroid", split=str(kept))
    budgets = [Budget(per_class=4), Budget(percent=50)]
    one, two = (probe_budgets(p, options, budgets, draws=2)[0] for p in (path, other))
    assert [r.metrics for r in one] == [r.metrics for r in two]
    assert [r.outcomes["draws"] for r in one] == [r.outcomes["draws"] for r in two]


def test_the_command_gives_a_line_a_budget_and_its_learning_curve(make_file, tmp_path, capsys):
    path, runs = str(make_file(n=400)), tmp_path / "runs"
    command = ["probe", path, "--kind", "nearest-centroid", "--budget", "1,10,5%,100%", "--draws", "4"]
    assert main([*command, "-o", str(runs)]) == 0
    shown = capsys.readouterr().out
    for text in ("1 per class", "10 per class", "5 %", "100 %", "labels", "draws"):
        assert text in shown
    results = read_results(runs)
    assert [r.task for r in results] == [
        f"probe {b}" for b in ("1 per class", "10 per class", "5 %", "100 %")
    ]
    assert [r.params["budget"] for r in results] == ["1 per class", "10 per class", "5 %", "100 %"]
    assert [r.params["n_draws"] for r in results] == [4] * 4
    assert [len(r.outcomes["draws"]) for r in results] == [4, 4, 4, 1]
    assert results[0].metrics["accuracy"].value < results[3].metrics["accuracy"].value
    for result in results[:3]:
        values = np.array([draw["metrics"]["accuracy"] for draw in result.outcomes["draws"]])
        metric = result.metrics["accuracy"]
        half = t.ppf(0.975, 3) * values.std(ddof=1) / 2
        assert metric.value == pytest.approx(values.mean())
        assert metric.high == pytest.approx(min(values.mean() + half, 1))
        outcomes = read_outcomes(result, runs)  # each test image once, right in some of the draws
        assert len(outcomes.ids) == result.n
        assert outcomes.mean == pytest.approx(values.mean())
    with (runs / results[0].provenance["predictions"]).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 4 * results[0].n
    assert {line["draw"] for line in lines} == {"1", "2", "3", "4"}
    assert main([*command, "-o", str(runs), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [b["metrics"]["accuracy"]["value"] for b in document["budgets"]] == [
        r.metrics["accuracy"].value for r in results
    ]


@pytest.mark.parametrize("kind", PROBES)
def test_every_probe_learns_from_few_labels(make_file, kind):
    random = np.random.default_rng(1)
    targets = random.uniform(size=(300, 2))
    path = make_file(features=lambda x: np.hstack([x, 3 * targets]), targets=targets, target_names=("p", "q"))
    weight = "balanced" if "class_weight" in PROBES[kind].arguments else None
    options = ProbeOptions(kind=kind, **QUICK.get(kind, {}), class_weight=weight)
    budgets = [Budget(per_class=2 if PROBES[kind].regression else 1), Budget(per_class=20)]
    draws = 1 if kind in QUICK else 2
    (few, more), _ = probe_budgets(path, options, budgets, draws=draws)
    if PROBES[kind].regression:
        assert few.task == "probe 2 images"
        assert more.metrics["rmse"].value < more.metrics["mean_rmse"].value
    else:
        assert few.outcomes["n_labels"] == 3
        assert few.outcomes["draws"][0]["scores"] == {}  # one row a class: nothing to choose by
        assert more.metrics["accuracy"].value > 0.6
    assert more.outcomes["draws"][0]["scores"]
    again, _ = probe_budgets(path, options, budgets[:1], draws=draws)
    assert again[0].metrics == few.metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "0"], "--budget '0': give numbers of images a class and percentages"),
        (["--budget", "5,ten"], "--budget 'ten': give numbers"),
        (["--budget", "150%"], "--budget '150%': give numbers"),
        (["--budget", "5", "--draws", "0"], "--draws 0: give an integer of at least 1"),
        (["--draws", "3"], "--draws says how often a --budget is drawn"),
        (["--budget", "5", "--split", "kfold:5"], "--budget needs one set of test rows"),
        (["--budget", "5", "--refit"], "--refit is not for --budget, which fits many probes"),
        (["--budget", "5", "--save-model", "m"], "--save-model is not for --budget"),
    ],
)
def test_wrong_calls(make_file, tmp_path, capsys, arguments, message):
    assert main(["probe", str(make_file()), "-o", str(tmp_path / "runs"), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_class_with_fewer_rows_than_the_budget_is_said(make_file):
    path = make_file(n=90)
    (result,), notes = probe_budgets(
        path, ProbeOptions(kind="nearest-centroid"), [Budget(per_class=40)], draws=2
    )
    assert any("fewer training rows than that of" in line and "merger" in line for line in notes)
    assert result.outcomes["n_labels"] < 120
