"""`embedkit.probe` is the command's own call: everything that the flags do, with a result in return."""

import json
from dataclasses import asdict, fields

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.options import declared
from embedkit.scoring.applied import Applied
from probes.kinds.registry import PROBES
from probes.kinds.settings import ARGUMENTS, NAMES, Settings, argument
from probes.options import ProbeOptions, ProbePlaces, ProbeProtocol
from probes.report import BudgetsReport, ProbeReport, SeedsReport

QUICK = {"kind": "nearest-centroid"}


def values(result):
    return {name: metric.value for name, metric in result.metrics.items()}


def test_every_setting_is_an_argument_of_some_probe():
    for name in NAMES:
        assert any(argument(name) in kind.arguments for kind in PROBES.values()), name
    assert set(ARGUMENTS) < set(NAMES)
    # What validation rows choose is a setting, so that it can be given.
    for kind in PROBES.values():
        assert set(kind.unchosen) <= {argument(name) for name in NAMES} & kind.arguments
    assert set(declared(Settings)) == {field.name for field in fields(Settings)}


def test_the_settings_are_what_the_class_is_given():
    options = ProbeOptions(kind="knn", n_neighbors=(3, 5), temperature=0.1)
    assert options.settings == {"k": (3, 5), "temperature": 0.1}
    assert (options.make().k, options.make(k=3).k, options.make().temperature) == ((3, 5), 3, 0.1)
    assert ProbeOptions(kind="mlp", hidden=("8", "8x8")).make().hidden == ("8", "8x8")
    assert ProbeOptions(kind="ridge", clip=True).make().clip is True


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": 8}, "--hidden is for --kind mlp, not linear"),
        ({"kind": "mlp", "hidden": "8x8x8"}, "--hidden 8x8x8: give the width of one layer"),
        ({"kind": "mlp", "weight_decay": -1}, "--weight-decay -1: give a number of at least 0"),
        ({"kind": "linear-sgd", "learning_rates": [0.1, 0]}, "--learning-rates 0: give a number above 0"),
        ({"kind": "nearest-centroid", "metric": "cosin"}, "--metric cosin: unknown. Did you mean 'cosine'"),
        ({"kind": "tree"}, "--kind tree: unknown"),
        ({"split": "kfold"}, "--split kfold: unknown. Give one of auto, file"),
        ({"draws": 2}, "--draws says how often"),
        ({"budget": [5, "five"]}, "--budget 'five': give numbers"),
        ({"budget": 5, "split": "kfold:3"}, "--budget needs one set of test rows"),
        ({"budget": 5, "seeds": 2}, "--seeds is not for --budget"),
        ({"seeds": 2, "plot": "x.svg"}, "--plot is not for --seeds"),
        ({"kind": "ridge", "plot": "x.svg"}, "--plot draws a reliability curve of classes"),
        ({"apply": "m", "leaks": True}, "--apply fits nothing, so --leaks has no say"),
    ],
)
def test_what_cannot_be_is_refused_before_the_file_is_looked_for(wrong, message):
    with pytest.raises(UsageError, match=message):
        embedkit.probe("nowhere.h5", **wrong)


def test_one_probe_with_everything_written(make_file, tmp_path, capsys):
    places = {
        "save_model": tmp_path / "probe.model",
        "save_split": tmp_path / "split.json",
        "plot": tmp_path / "curve.svg",
    }
    report = embedkit.probe(make_file(), **QUICK, seed=3, output=tmp_path / "runs", **places)
    assert isinstance(report, ProbeReport)
    assert all(path.exists() for path in places.values())
    assert read_results(tmp_path / "runs") == [report.result]
    assert (report.before, report.leaks) == (None, None)
    again = embedkit.probe(make_file(), **QUICK, split=places["save_split"], output=None)
    assert values(again.result) == values(report.result)
    assert again.predictions_path is None
    applied = embedkit.probe(make_file(), apply=places["save_model"], output=tmp_path / "p.csv")
    assert isinstance(applied, Applied)
    assert applied.predictions_path == tmp_path / "p.csv"
    assert (tmp_path / "p.csv").exists()
    assert embedkit.probe(make_file(), apply=places["save_model"], output=None).predictions_path is None
    assert capsys.readouterr().out == ""


def test_it_says_what_the_command_says(make_file, tmp_path, capsys):
    path = make_file()
    report = embedkit.probe(path, kind="knn", n_neighbors=[5, 20], prep="l2", output=None)
    command = ["probe", str(path), "--kind", "knn", "--n-neighbors", "5", "20", "--prep", "l2", "--json"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"] == {name: asdict(m) for name, m in report.result.metrics.items()}
    assert document["params"] == json.loads(report.result.to_json())["params"]
    assert "n_neighbors" not in document["params"]


def test_an_open_file_stays_open_and_serves_several_calls(make_file, monkeypatch):
    opened = []
    begin = FeatureFile.__init__

    def count(self, path):
        opened.append(path)
        begin(self, path)

    monkeypatch.setattr(FeatureFile, "__init__", count)
    with FeatureFile(make_file()) as file:
        for more in ({"seeds": 2}, {"budget": [2, 4], "draws": 2}, {"leaks": True, "dedupe": "drop"}):
            embedkit.probe(file, **QUICK, **more, output=None)
        embedkit.leaks(file)
        assert file.n == 300
    assert len(opened) == 1


def test_several_seeds(make_file):
    found = embedkit.probe(make_file(), **QUICK, seed=2, seeds=3, output=None)
    assert isinstance(found, SeedsReport)
    assert [result.seed for result in found.results] == [2, 3, 4]
    accuracy = [values(result)["accuracy"] for result in found.results]
    assert found.over_seeds["accuracy"]["mean"] == pytest.approx(np.mean(accuracy))
    assert found.over_seeds["accuracy"]["std"] == pytest.approx(np.std(accuracy, ddof=1))
    shown = found._repr_html_()
    assert len(repr(found.reports[0]).splitlines()) < 30  # no arrays
    assert "3 seeds" in shown
    assert f'<td style="text-align: left">{np.mean(accuracy):.4g}</td>' in shown


def test_budgets_are_numbers_words_and_lists(make_file, tmp_path):
    plot = tmp_path / "learning.svg"
    found = embedkit.probe(make_file(), **QUICK, budget="2,4,50%", draws=2, output=None, plot=plot)
    assert isinstance(found, BudgetsReport)
    assert [r.task for r in found.results] == ["probe 2 per class", "probe 4 per class", "probe 50 %"]
    assert plot.exists()
    assert found._repr_html_().count(">50 %<") == len(found.results[-1].metrics)
    again = embedkit.probe(make_file(), **QUICK, budget=[2, "4,50%"], draws=2, output=None)
    assert [values(r) for r in again.results] == [values(r) for r in found.results]
    assert ProbeProtocol(budget=("1,5", "10%")).budget == ("1", "5", "10%")


def test_copies_come_with_the_score_before_and_after(make_file):
    def twice(x):
        x[200:] = x[:100]
        return x

    path = make_file(features=twice)
    single = embedkit.probe(path, **QUICK, dedupe="drop", output=None)
    assert single.leaks.found["identical"].pairs == 100
    assert single.leaks.found["identical"].test_rows > 0
    counts = [one.splits[0].counts["train"] for one in (single.before, single)]
    assert counts[0] > counts[1]
    seeds = embedkit.probe(path, **QUICK, dedupe="drop", seeds=2, output=None)
    assert [len(seeds.before), len(seeds.reports)] == [2, 2]
    assert values(seeds.before[0].result) == values(single.before.result)
    few = embedkit.probe(path, **QUICK, leaks=True, budget=5, draws=1, output=None)
    assert few.before is None
    assert few.leaks.found == single.leaks.found


def test_leaks_as_a_function(make_file, tmp_path, capsys):
    def twice(x):
        x[200:] = x[:100]
        return x

    path = make_file(features=twice)
    report = embedkit.leaks(path, seed=1, save_split=tmp_path / "s.json", pairs=tmp_path / "pairs.csv")
    assert report.found["identical"].pairs == 100
    assert report.found["exact" if "exact" in report.found else "identical"].test_rows is not None
    assert "exact" in report.not_checked
    assert any("copies kept in" in line for line in report.notes)
    assert len((tmp_path / "pairs.csv").read_text().splitlines()) > 100
    assert report.columns()["kind"].count("identical") == 100
    assert '<td style="text-align: left">identical features</td>' in report._repr_html_()
    assert capsys.readouterr().out == ""
    assert embedkit.probe(path, **QUICK, split=tmp_path / "s.json", output=None).result.n > 0
    with pytest.raises(UsageError, match="--split halves: unknown"):
        embedkit.leaks("nowhere.h5", split="halves")


def test_places_and_protocol_have_no_option_of_the_probe():
    names = [set(declared(cls)) for cls in (ProbeOptions, ProbeProtocol, ProbePlaces)]
    assert len(set.union(*names)) == sum(map(len, names))


def test_several_results_are_data_frames(make_file):
    pytest.importorskip("pandas")
    path = make_file()
    seeds = embedkit.probe(path, **QUICK, seeds=2, output=None).to_pandas()
    assert list(seeds.columns) == ["seed", "metric", "value", "low", "high", "note"]
    assert set(seeds.seed) == {0, 1}
    budgets = embedkit.probe(path, **QUICK, budget=2, draws=2, output=None).to_pandas()
    assert set(budgets.budget) == {"2 per class"}
    assert list(embedkit.leaks(path).to_pandas().columns) == ["kind", "id", "other"]


def test_few_labels_are_tested_in_folds_save_where_one_split_is_needed(make_file, tmp_path):
    few = make_file(n=90)
    plain = embedkit.probe(few, **QUICK, output=tmp_path)
    assert (plain.result.split, plain.result.n, len(plain.splits)) == ("kfold:5", 90, 5)
    assert embedkit.leaks(few).splits[0].name == "kfold:5 fold 1"
    for place in ("save_model", "save_split"):
        one = embedkit.probe(few, **QUICK, output=tmp_path, **{place: tmp_path / f"{place}.json"})
        assert one.result.split == "stratified 70/15/15"
        assert any(f"not for --{place.replace('_', '-')}." in line for line in one.notes)
        # Two results of one folder, each with predictions of its own.
        assert one.predictions_path != plain.predictions_path
    budget = embedkit.probe(few, **QUICK, budget=5, draws=1, leaks=True, output=None)
    assert budget.results[0].split == "stratified 70/15/15"
    kept = embedkit.leaks(few, save_split=tmp_path / "clean.json")
    assert [split.name for split in kept.splits] == ["stratified 70/15/15"]
    rows = plain.predictions_path.read_text(encoding="utf-8").splitlines()
    assert sum(",test," in line for line in rows) == 90
