from pathlib import Path

import pytest

from embedkit import cli, verbs
from embedkit.cli import main
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.workflows import demo


@pytest.fixture
def commands(monkeypatch):
    """The commands that the demo would run."""
    made = []
    monkeypatch.setattr(demo, "_run", lambda command: made.append(list(command)))
    return made


def test_its_backbone_is_the_one_that_comes_along(commands, tmp_path):
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert commands[0][commands[0].index("--backbone") + 1] == "embedkit-galaxy"
    assert {command[0] for command in commands} == set(cli.VERBS) - {
        "datasets",
        "import",
        "verify",
        "quality",
        "label",
        "name",
        "leaks",
        "pretrain",
        "recipes",
        "finetune",
        "predict",
        "votes",
        "similar",
        "symmetries",
        "outliers",
        "export",
        "cam",
        "compare",
        "attention",
        "bench",
        "demo",
        "doctor",
    }


def test_another_backbone_and_fewer_images(commands, tmp_path):
    assert main(["demo", "--backbone", "resnet18.a1_in1k", "--limit", "9", "-o", str(tmp_path)]) == 0
    assert commands[0][commands[0].index("--backbone") + 1] == "resnet18.a1_in1k"
    assert all("9" in command for command in commands if command[0] == "extract")


def test_a_command_that_fails_ends_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        cli, "VERBS", cli.VERBS | {"extract": verbs.Verb("planted", "embedkit.nothing:configure")}
    )
    monkeypatch.setattr(cli, "_run", lambda name, argv: demo.configure if name == "x" else _demo(name, argv))
    assert main(["demo", "-o", str(tmp_path)]) == 1
    assert "the demo stopped: `embedkit extract` ended with exit code 1" in capsys.readouterr().err


def _demo(name, argv):
    import argparse

    from embedkit.errors import EmbedkitError

    if name != "demo":
        raise EmbedkitError("planted")
    parser = argparse.ArgumentParser()
    return demo.configure(parser)(parser.parse_args(argv))


@pytest.mark.slow
def test_the_whole_demo_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--limit", "60"]) == 0
    said = capsys.readouterr()
    folder = Path("runs/demo")
    assert str((folder / "report.html").resolve()) in said.err.replace("\n", "")
    for name in ("galaxies.h5", "galaxies-pixels.h5"):
        with FeatureFile(folder / name) as file:
            assert file.n == 60
            assert file.problems() == []
    results = read_results(folder)
    assert {(result.task, result.method) for result in results} == {
        ("cluster", "kmeans"),
        ("probe", "linear"),
        ("probe", "knn"),
    }
    assert len(results) == 6
    assert (folder / "report.html").stat().st_size > 100_000
    for method in ("kmeans", "linear", "knn"):
        assert method in said.out
