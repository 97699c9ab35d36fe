from pathlib import Path

import pytest

from embedkit import cli, verbs
from embedkit.backbones import hub
from embedkit.cli import main
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.workflows import demo


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    monkeypatch.setattr(hub, "hub_reachable", lambda _timeout=0: False)
    monkeypatch.setattr(hub, "in_cache", lambda _name: False)


def test_without_the_hub_nothing_is_used_that_was_not_accepted(tmp_path, capsys):
    assert main(["demo", "--fallback", "none", "-o", str(tmp_path / "demo")]) == 1
    said = capsys.readouterr().err
    assert "vit_small_patch16_224.dino" in said
    assert "not in the local cache, and the model hub can't be reached" in said
    assert "--fallback shipped" in said
    assert not (tmp_path / "demo").exists()


@pytest.fixture
def commands(monkeypatch):
    """The commands that the demo would run."""
    made = []
    monkeypatch.setattr(demo, "_run", lambda command: made.append(list(command)))
    return made


def test_a_cached_backbone_is_taken_as_it_is(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "in_cache", lambda _name: True)
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert not any("--random-init" in command for command in commands)
    assert {command[0] for command in commands} == set(cli.VERBS) - {
        "datasets",
        "import",
        "verify",
        "quality",
        "label",
        "leaks",
        "pretrain",
        "recipes",
        "finetune",
        "predict",
        "votes",
        "similar",
        "outliers",
        "cam",
        "compare",
        "attention",
        "bench",
        "demo",
        "doctor",
    }


def test_the_accepted_fallback_is_said_and_used(commands, tmp_path, capsys):
    assert main(["demo", "--fallback", "random", "--limit", "9", "-o", str(tmp_path)]) == 0
    assert "RANDOM WEIGHTS" in capsys.readouterr().err
    assert "--random-init" in commands[0]
    assert all("9" in command for command in commands if command[0] == "extract")


def test_the_shipped_backbone_stands_in(commands, tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert "embedkit-galaxy" in capsys.readouterr().err
    assert commands[0][commands[0].index("--backbone") + 1] == "embedkit-galaxy"


def test_offline_mode_does_not_ask_the_hub(commands, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "hub_reachable", lambda _timeout=0: pytest.fail("asked"))
    assert main(["demo", "--fallback", "none", "-o", str(tmp_path)]) == 1


def test_a_command_that_fails_ends_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        cli, "VERBS", cli.VERBS | {"extract": verbs.Verb("planted", "embedkit.nothing:configure")}
    )
    monkeypatch.setattr(cli, "_run", lambda name, argv: demo.configure if name == "x" else _demo(name, argv))
    assert main(["demo", "--fallback", "random", "-o", str(tmp_path)]) == 1
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
