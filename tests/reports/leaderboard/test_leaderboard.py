"""The leaderboard: a pure function of result lines."""

import csv
import io
import json
import math
import sys

import pytest

from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.files.results import Metric, Result, append_result
from embedkit.scoring.metrics import metric_text, value_of
from reports.leaderboard.cells import cells
from reports.leaderboard.entry import mean_metric
from reports.leaderboard.table import leaderboard
from reports.leaderboard.text import csv_text, markdown, tables, terminal_text


def result(**changes):
    fields = {
        "task": "cluster",
        "dataset": "gz",
        "features": "vit cls-4",
        "method": "kmeans",
        "params": {"k": 4},
        "outcomes": {},
        "split": "none",
        "seed": 0,
        "metrics": {"accuracy": Metric(0.5, 0.45, 0.55)},
        "n": 100,
        "seconds": 1.5,
        "backend": "faiss-cpu",
        "provenance": {"time": "2026-01-01T00:00:00+00:00"},
    }
    return Result(**(fields | changes))


def scored(accuracy, **changes):
    return result(metrics={"accuracy": Metric(accuracy)}, params={"k": round(accuracy * 100)}, **changes)


def values(board, metric="accuracy"):
    return [value_of(entry.result, metric) for entry in board.entries]


def test_best_first_and_missing_last():
    results = [scored(0.2), result(metrics={}, method="none"), scored(0.9), scored(0.5)]
    board = leaderboard(results)
    assert values(board) == [0.9, 0.5, 0.2, None]
    # Pure: neither the order of the lines nor calling it again changes anything.
    assert leaderboard(results[::-1]) == board == leaderboard(results)


def test_lower_is_better_for_errors_and_losses():
    results = [
        result(
            task="probe",
            method="ridge",
            metrics={"rmse": Metric(v), "held_out_loss": Metric(1 - v)},
            params={"i": i},
        )
        for i, v in enumerate((0.11, 0.07, 0.09))
    ]
    assert values(leaderboard(results), "rmse") == [0.07, 0.09, 0.11]
    assert values(leaderboard(results, sort="held_out_loss"), "rmse") == [0.11, 0.09, 0.07]


def test_newest_of_identical_runs_stays():
    old = result(metrics={"accuracy": Metric(0.9)}, provenance={"time": "2026-01-01T00:00:00+00:00"})
    new = result(metrics={"accuracy": Metric(0.4)}, provenance={"time": "2026-02-01T00:00:00+00:00"})
    for lines in ([old, new], [new, old]):
        board = leaderboard(lines)
        assert values(board) == [0.4]
        assert (board.n_older, board.entries[0].n_older) == (1, 1)


def test_without_times_the_last_line_is_the_newest():
    lines = [result(metrics={"accuracy": Metric(v)}, provenance={}) for v in (0.9, 0.4)]
    assert values(leaderboard(lines)) == [0.4]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "x"},
        {"features": "x"},
        {"method": "x"},
        {"params": {"k": 5}},
        {"split": "x"},
        {"task": "x"},
    ],
)
def test_any_other_setting_makes_another_run(change):
    board = leaderboard([result(), result(**change)])
    assert len(board.entries) == 2
    assert board.n_older == 0


def test_what_was_found_makes_no_other_run_and_what_was_asked_does():
    first = result(params={"k": 4, "choice": {"by": "accuracy"}}, outcomes={"confusion": [[1]]})
    again = result(params={"k": 4, "choice": {"by": "accuracy"}}, outcomes={"confusion": [[2]]})
    assert leaderboard([first, again]).n_older == 1
    other = result(params={"k": 4, "choice": {"by": "balanced_accuracy"}}, outcomes={"confusion": [[1]]})
    assert leaderboard([first, other]).n_older == 0


def test_what_was_chosen_is_shown_beside_what_was_asked():
    chosen = [result(seed=s, params={"k": "auto"}, outcomes={"k": k}) for s, k in ((0, 3), (1, 3), (2, 5))]
    assert "| k=3 (auto) |" in markdown(leaderboard(chosen[:1]))
    assert "| k=3 (auto) |" in markdown(leaderboard(chosen[:2]))
    assert "| k=auto |" in markdown(leaderboard(chosen))  # another for another seed
    assert "| c=0.1 |" in markdown(leaderboard([result(params={}, outcomes={"c": 0.1})]))


def test_runs_that_differ_in_their_seed_only_become_one_row():
    def run(seed, accuracy, c, **params):
        choice = {"by": "validation accuracy", "grid": [0.1, 1.0]}
        division = [{"name": "random", "train": 90 + seed}]
        return result(
            seed=seed,
            metrics={
                "accuracy": Metric(accuracy, accuracy - 0.1, accuracy + 0.1),
                "roc_auc": Metric(accuracy),
            },
            params={"choice": choice, **params},
            outcomes={"c": c, "choice": {"scores": [accuracy]}, "division": division, "left_out": {}},
        )

    runs = [run(0, 0.5, 0.1), run(1, 0.6, 1.0), run(4, 0.7, 0.1), run(0, 0.5, 0.1, refit=True)]
    board = leaderboard([runs[2], runs[0], *runs])
    assert [entry.seeds for entry in board.entries] == [(0, 1, 4), (0,)]
    assert board.n_older == 2
    of_seeds = board.entries[0].result
    assert of_seeds.metrics["accuracy"].value == pytest.approx(0.6)
    assert of_seeds.outcomes == {"left_out": {}}  # what they share
    assert of_seeds.metrics["roc_auc"].low is None
    assert "| 3 (0, 1, 4) |" in markdown(board)
    # A C that was given is part of what the run is.
    given = [result(seed=s, params={"c": c, "choice": {"grid": [c]}}) for s, c in ((0, 0.1), (1, 1.0))]
    assert len(leaderboard(given).entries) == 2


def test_interval_of_a_mean_over_seeds_is_never_narrower_than_one_seeds():
    same = [Metric(0.5, 0.4, 0.62)] * 5
    assert mean_metric("accuracy", same) == Metric(0.5, pytest.approx(0.4), pytest.approx(0.62))
    spread = mean_metric("accuracy", [Metric(v, v - 0.1, v + 0.1) for v in (0.4, 0.6)])
    half = math.hypot(0.1, 1.96 * 0.1)  # a standard deviation of 0.1414, divided by the root of two
    assert (spread.low, spread.high) == (
        pytest.approx(0.5 - half, abs=1e-4),
        pytest.approx(0.5 + half, abs=1e-4),
    )
    assert mean_metric("accuracy", [Metric(0.5), Metric(None)]).value is None
    assert mean_metric("accuracy", [Metric(v, 0.8, 1.0) for v in (0.86, 1.0)]).high == 1.0


def test_files_of_one_name_are_told_apart():
    def of(path, digest):
        return result(provenance={"features_file": path, "features_sha256": digest})

    def names(*results):
        header, lines = cells(leaderboard(results).entries)
        return sorted(line[header.index("features")] for line in lines)

    assert names(of("one/f.h5", "a" * 64)) == ["vit cls-4"]
    assert names(of("one/f.h5", "a" * 64), of("one/g.h5", "b" * 64)) == [
        "vit cls-4 (f.h5)",
        "vit cls-4 (g.h5)",
    ]
    folders = names(of("x/one/f.h5", "a" * 64), of("x/two/f.h5", "b" * 64))
    assert folders == ["vit cls-4 (one/f.h5)", "vit cls-4 (two/f.h5)"]
    replaced = names(of("one/f.h5", "a" * 64), of("one/f.h5", "b" * 64))
    assert replaced == ["vit cls-4 (f.h5 aaaaaaaa)", "vit cls-4 (f.h5 bbbbbbbb)"]
    inside = names(of("f.h5", "a" * 64), of("two/f.h5", "b" * 64))
    assert inside == ["vit cls-4 (f.h5)", "vit cls-4 (two/f.h5)"]


def test_an_outcome_that_is_no_number_of_labels_ranks_as_none():
    assert len(leaderboard([result(outcomes={"n_labels": "x"})]).groups()) == 1


def test_budgets_stand_by_size_and_targets_apart():
    def budget(asked, n):
        return result(task=f"probe {asked}", params={"budget": asked}, outcomes={"n_labels": n})

    lines = [
        result(task="probe"),
        budget("100 per class", 400),
        budget("10 %", 90),
        budget("5 per class", 20),
        result(task="probe", method="ridge", metrics={"rmse": Metric(0.1), "mean_rmse": Metric(0.2)}),
    ]
    tasks = [key[1] for key, _ in leaderboard(lines).groups()]
    assert tasks == ["probe 5 per class", "probe 10 %", "probe 100 per class", "probe", "probe, targets"]


def test_groups_by_dataset_and_task():
    board = leaderboard(
        [scored(0.1, dataset="b"), scored(0.2, dataset="a", task="probe"), scored(0.3, dataset="a")]
    )
    assert [key for key, _ in board.groups()] == [("a", "cluster"), ("a", "probe"), ("b", "cluster")]


def test_interval_is_shown_only_where_there_is_one():
    assert metric_text(Metric(0.5714, 0.5512, 0.5903)) == "0.571 [0.551, 0.590]"
    assert metric_text(Metric(0.5714)) == "0.571"
    assert metric_text(Metric(None, note="one class")) == metric_text(None) == ""


def test_markdown():
    text = markdown(leaderboard([result(method="a|b"), scored(0.25)]))
    assert text.splitlines() == [
        "## gz: cluster",
        "",
        "| features | method | settings | n | accuracy |",
        "| --- | --- | --- | ---: | ---: |",
        "| vit cls-4 | a\\|b | k=4 | 100 | 0.500 [0.450, 0.550] |",
        "| vit cls-4 | kmeans | k=25 | 100 | 0.250 |",
    ]


def test_columns_empty_throughout_are_dropped():
    text = markdown(leaderboard([result(metrics={"accuracy": Metric(0.5), "nmi": Metric(None)})]))
    assert "NMI" not in text
    assert "split" not in text


def test_only_telling_settings_are_shown():
    def row(k, iterations, **more):
        return result(params={"k": k, "max_iter": iterations, "n_init": 10, "sizes": [1, 2], **more})

    lines = markdown(leaderboard([row(3, 300), row(3, 500), row(4, 300, refit=True)])).splitlines()[4:]
    assert sorted(line.split(" | ")[2] for line in lines) == [
        "k=3 max_iter=300",
        "k=3 max_iter=500",
        "k=4 max_iter=300 refit",
    ]


def test_seed_is_shown_where_it_differs():
    lines = markdown(leaderboard([scored(0.9, seed=1), scored(0.8, seed=2)])).splitlines()
    assert lines[2] == "| features | method | settings | seeds | n | accuracy |"


def test_silhouette_is_shown_without_labels_only():
    metrics = {"silhouette": Metric(0.3, 0.2, 0.4)}
    assert "| 0.300 [0.200, 0.400] |" in markdown(leaderboard([result(metrics=metrics)]))
    both = metrics | {"accuracy": Metric(0.5)}
    assert "silhouette" not in markdown(leaderboard([result(metrics=both)]))


def test_the_metric_sorted_by_is_always_a_column():
    metrics = {"accuracy": Metric(0.5, 0.4, 0.6), "f1": Metric(0.25, 0.2, 0.3)}
    lines = markdown(leaderboard([result(metrics=metrics)], sort="f1")).splitlines()
    assert lines[2].endswith("| F1 | accuracy |")
    assert lines[4].endswith("| 0.250 [0.200, 0.300] | 0.500 [0.400, 0.600] |")
    by_time = leaderboard([result(seconds=9.0), result(seconds=2.0, method="m")], sort="seconds")
    assert [entry.result.seconds for entry in by_time.entries] == [2.0, 9.0]
    assert markdown(by_time).splitlines()[2].endswith("| seconds |")


def test_chance_is_the_null_or_the_majority():
    board = leaderboard(
        [
            result(metrics={"accuracy": Metric(0.5), "null_accuracy": Metric(0.3, 0.2, 0.4)}),
            result(metrics={"accuracy": Metric(0.4), "majority_accuracy": Metric(0.25)}, method="m"),
        ]
    )
    lines = markdown(board).splitlines()
    assert lines[2].endswith("| chance |")
    assert lines[4].endswith("| 0.300 |")
    assert lines[5].endswith("| 0.250 |")


def test_csv_holds_every_metric_unrounded():
    exact = 0.123456789012
    metrics = {"accuracy": Metric(0.5, 0.25, 0.75), "odd_metric": Metric(exact)}
    rows = list(csv.DictReader(io.StringIO(csv_text(leaderboard([result(metrics=metrics), scored(0.1)])))))
    assert rows[0]["odd_metric"] == str(exact)
    assert (rows[0]["accuracy_low"], rows[0]["accuracy_high"]) == ("0.25", "0.75")
    assert rows[1]["odd_metric"] == ""
    assert "odd_metric_low" not in rows[0]


def test_csv_holds_nothing_that_a_spreadsheet_would_execute():
    text = csv_text(
        leaderboard([result(dataset="=1+1", features="@x", metrics={"silhouette": Metric(-0.5)})])
    )
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["dataset"], row["features"], row["silhouette"]) == ("'=1+1", "'@x", "-0.5")


def test_terminal_table_has_no_markup_from_data():
    from rich.console import Console

    board = leaderboard([result(dataset="[red]x[/red]", method="[bold]m")])
    console = Console(file=io.StringIO(), width=160)
    for table in tables(board):
        console.print(table)
    assert "[red]x[/red]: cluster" in console.file.getvalue()
    assert "[bold]m" in console.file.getvalue()


def test_a_heading_that_is_wider_than_its_column_breaks_at_its_spaces():
    metrics = {"accuracy": Metric(0.5), "balanced_accuracy": Metric(0.4)}
    (table,) = tables(leaderboard([result(metrics=metrics)]))
    headings = [str(column.header) for column in table.columns]
    assert headings == ["features", "method", "settings", "n", "accuracy", "balanced\naccuracy"]


def test_a_terminal_that_is_too_narrow_has_fewer_columns_and_names_the_others(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    names = ("balanced_accuracy", "nmi", "ari", "roc_auc", "null_accuracy")
    metrics = {"accuracy": Metric(0.5, 0.4, 0.6), **{name: Metric(0.4) for name in names}}
    board = leaderboard([result(metrics=metrics, features="vit_small_patch16_224.dino cls-4")])
    assert "0.500 [0.400, 0.600]" in terminal_text(board)  # no terminal: as wide as it must be
    monkeypatch.setenv("TERM", "xterm")
    for width, left_out in ((120, ""), (100, "ROC AUC"), (80, "balanced accuracy, NMI, ARI, ROC AUC")):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", Terminal())
        text = terminal_text(board)
        for whole in ("vit_small_patch16_224.dino", "0.500", "[0.400, 0.600]", "chance"):
            assert whole in text
        wider = f"Too wide for this terminal: {left_out}. See them with --wide."
        assert (wider in " ".join(text.split())) == bool(left_out)
        assert text.count("Too wide") == bool(left_out)
        assert "\x1b" not in text
        every = terminal_text(board, wide=True)
        assert "Too wide" not in every
        assert all(heading in every for heading in ("NMI", "ARI", "AUC", "0.500 [0.400, 0.600]"))


def test_unknown_task_and_metric():
    with pytest.raises(UsageError, match=r"--task prob: no such result. There are: cluster"):
        leaderboard([result()], task="prob")
    with pytest.raises(UsageError, match=r"--sort acc: no result has it. There are: accuracy, seconds, n"):
        leaderboard([result()], sort="acc")


@pytest.fixture
def runs(tmp_path):
    append_result(tmp_path / "a" / "results.jsonl", scored(0.5))
    append_result(tmp_path / "a" / "results.jsonl", scored(0.5))
    append_result(tmp_path / "b" / "results.jsonl", scored(0.7, task="probe"))
    return tmp_path


def test_command_table(runs, capsys):
    assert main(["leaderboard", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert "gz: cluster" in out
    assert "gz: probe" in out
    assert "Left out 1 older run " in err


def test_command_json(runs, capsys):
    assert main(["leaderboard", str(runs), "--json", "--task", "probe"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [line["metrics"]["accuracy"]["value"] for line in document["results"]] == [0.7]


@pytest.mark.parametrize(
    ("name", "start"), [("t.md", "## gz: cluster"), ("t.csv", "dataset,task,"), ("t.json", "{")]
)
def test_command_output_by_ending(runs, capsys, name, start):
    assert main(["leaderboard", str(runs), "-o", str(runs / "new" / name)]) == 0
    assert capsys.readouterr().out.strip() == str(runs / "new" / name)
    assert (runs / "new" / name).read_text().startswith(start)
    assert [path.name for path in (runs / "new").iterdir()] == [name]


def test_command_output_of_unknown_ending(runs, capsys):
    assert main(["leaderboard", str(runs), "-o", str(runs / "t.txt")]) == 2
    assert "give --format, or a name that ends in .md, .csv, .json" in capsys.readouterr().err


def test_command_without_results(tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path)]) == 1
    assert "no results.jsonl there" in capsys.readouterr().err
    (tmp_path / "results.jsonl").write_text("\n")
    assert main(["leaderboard", str(tmp_path)]) == 1
    assert "no results yet" in capsys.readouterr().err


def test_command_names_a_damaged_line(runs, capsys):
    with (runs / "a" / "results.jsonl").open("a") as stream:
        stream.write("{half\n")
    assert main(["leaderboard", str(runs)]) == 1
    assert "results.jsonl:3: not a result" in capsys.readouterr().err


def test_no_name_is_broken_for_a_column_that_is_the_same_in_every_row(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    metrics = {"accuracy": Metric(0.648, 0.544, 0.739), "majority_accuracy": Metric(0.341)}
    words = {"features": "embedkit-galaxy (embedkit)", "method": "linear", "split": "stratified 70/15/15"}
    one = result(task="probe", metrics=metrics, params={"c": 0.003162}, **words)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(sys, "stdout", Terminal())
    text = terminal_text(leaderboard([one]))
    assert "embedkit-galaxy" in text
    assert "In every row: split stratified 70/15/15." in text
    assert "c=0.003162" in text
    monkeypatch.setenv("COLUMNS", "100")
    assert "In every row" not in terminal_text(leaderboard([one]))
