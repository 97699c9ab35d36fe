"""`embedkit.leaderboard`: from a folder or from results as they are, ranked once, written in every form."""

import json
from dataclasses import replace

import pytest
from report_world import page_data

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import Metric, Result, append_result, locate_results
from embedkit.files.store import FeatureFile
from embedkit.scoring import outcomes


def budget(asked, accuracy):
    params, found = ({"budget": asked}, {"n_labels": 10}) if asked else ({}, {})
    task = f"probe {asked}" if asked else "probe"
    metrics = {"accuracy": Metric(accuracy)}
    return Result(task, "gz", "vit", "linear", params, found, "file", 0, metrics, 9, 0.1, "x", {})


@pytest.fixture
def runs(tmp_path):
    for asked, accuracy in (("5 per class", 0.4), ("10 %", 0.5), ("20 images", 0.6), ("", 0.7)):
        append_result(tmp_path / "results.jsonl", budget(asked, accuracy))
    return tmp_path


def test_it_is_what_the_command_prints(runs, capsys):
    board = embedkit.leaderboard(runs)
    assert capsys.readouterr().out == ""
    assert main(["leaderboard", str(runs)]) == 0
    assert capsys.readouterr().out == f"{board}\n"
    assert board.title == f"Leaderboard: {runs.name}"


def test_results_as_they_are_rank_as_those_of_a_folder(world):
    from_folder = embedkit.leaderboard(world.runs)
    located = locate_results(world.runs)
    assert embedkit.leaderboard(located).entries == from_folder.entries
    bare = embedkit.leaderboard([result for _, result in located])
    assert [entry.result for entry in bare.entries] == [entry.result for entry in from_folder.entries]
    with pytest.raises(EmbedkitError, match="no results yet"):
        embedkit.leaderboard([])


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("5", "probe 5 per class"),
        ("5 per class", "probe 5 per class"),
        ("10%", "probe 10 %"),
        ("20", "probe 20 images"),
        ("all", "probe"),
    ],
)
def test_a_budget_is_named_as_a_probe_is_asked_for_it(runs, words, task):
    assert [key for key, _ in embedkit.leaderboard(runs, budget=words).groups()] == [("gz", task)]


def test_a_budget_that_no_result_has(runs):
    with pytest.raises(UsageError, match="--budget 6: no such result. There are: 10%, 20, 5, all."):
        embedkit.leaderboard(runs, budget="6")


def test_every_form_is_of_one_ranking(runs, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("reports.leaderboard.board.significance", lambda *a: calls.append(a) or real(*a))
    from reports.leaderboard.significance import significance as real

    out = tmp_path / "out"
    board = embedkit.leaderboard(runs, output=out / "b.md", html=out / "page")
    n = len(calls)
    for name in ("b.json", "b.csv", "b.html"):
        board.write(out / name)
    board.write(out / "b", "markdown")
    assert len(calls) == n == 4  # groups
    assert (out / "b").read_text() == (out / "b.md").read_text()
    assert page_data(out / "b.html") == page_data(out / "page")
    assert len(json.loads((out / "b.json").read_text())["results"]) == 4
    with pytest.raises(UsageError, match="give --format"):
        board.write(out / "b.txt")


def test_it_shows_itself_in_a_notebook(runs):
    board = embedkit.leaderboard(runs)
    text = board._repr_html_()
    assert text.count("<table>") == 4
    assert "<strong>gz: probe 5 per class</strong>" in text
    assert "Control missing" in text
    nasty = replace(budget("", 0.1), features="<b>vit</b>")
    assert "&lt;b&gt;vit&lt;/b&gt;" in embedkit.leaderboard([nasty])._repr_html_()


def test_its_rows_are_a_data_frame(runs):
    pytest.importorskip("pandas")
    frame = embedkit.leaderboard(runs).to_pandas()
    assert frame["accuracy"].tolist() == [0.5, 0.6, 0.4, 0.7]
    assert frame["task"].tolist()[:2] == ["probe 10 %", "probe 20 images"]


def test_true_classes_are_read_once_or_taken_from_a_file_that_is_open(world, monkeypatch):
    ((folder, line),) = locate_results(world.runs)
    reads = []
    real = outcomes._classes
    monkeypatch.setattr(outcomes, "_classes", lambda *a: reads.append(a) or real(*a))
    classes = outcomes.TrueClasses()
    for _ in range(2):
        outcomes.read_outcomes(line, folder, classes)
    assert len(reads) == 1
    with FeatureFile(world.features) as file:
        moved = Result(**{**vars(line), "provenance": {**line.provenance, "features_file": "gone.h5"}})
        board = embedkit.leaderboard([(folder, moved)], files=[file])
    (found,) = board.tested.values()
    assert found.notes == ()
    (found,) = embedkit.leaderboard([(folder, moved)]).tested.values()
    assert "gone.h5, which holds the classes, is not where it was" in found.notes[0]


def test_how_controls_are_made_is_said_once_and_a_board_shows_itself_as_its_tables(runs):
    board = embedkit.leaderboard(runs)
    assert len(board.groups()) > 1
    assert str(board).count("Control missing: 32 x 32 pixels") == 1
    assert str(board).count("Missing here too: 32 x 32 pixels, random weights.") == len(board.tested) - 1
    assert repr(board) == str(board)
