"""`import embedkit` is the front door: light, complete, the very calls of the command."""

import subprocess
import sys

import pytest

import embedkit
from embedkit.verbs import FUNCTIONS, VERBS


def fresh(code, **how):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **how)


def test_importing_it_imports_nothing_heavy():
    code = "import embedkit, sys; print(*({'torch', 'numpy', 'h5py', 'rich', 'argparse'} & set(sys.modules)))"
    done = fresh(code)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_everything_that_it_names_is_there():
    assert set(embedkit.__all__) <= set(dir(embedkit))
    for name in embedkit.__all__:
        assert callable(getattr(embedkit, name)), name
    with pytest.raises(AttributeError, match="no attribute 'clusters'"):
        _ = embedkit.clusters


@pytest.mark.parametrize(("function", "verb"), FUNCTIONS.items())
def test_a_verb_shows_its_options_as_keywords(function, verb):
    import argparse
    import inspect

    from embedkit.verbs import target

    parser = argparse.ArgumentParser()
    target(VERBS[verb].command)(parser)
    flags = {action.dest for action in parser._actions if action.option_strings} - {"help", "json", "dry_run"}
    keywords = set(inspect.signature(getattr(embedkit, function)).parameters)
    assert flags <= keywords, flags - keywords
    for name in flags:
        assert name in getattr(embedkit, function).__doc__


@pytest.mark.parametrize(
    "words",
    [
        "extract x --views galaxy",
        "extract x --layers last",
        "extract x --device toaster",
        "extract x --shard 2/2",
        "extract x --weights w --random-init 0",
        "extract x --backbone pixels:none",
        "extract x --resize 9 --center-crop 9",
        "datasets . --size 8",
        "verify x.h5 --n-rows -1",
        "pretrain x --lora-alpha 1",
        "pretrain . --random-init 0",
        "pretrain x --batch-size 9 --accumulate 2",
        "attention . --before w",
    ],
)
def test_a_wrong_call_is_refused_before_anything_heavy_is_imported(words):
    code = (
        "import sys; from embedkit.cli import main; code = main(sys.argv[1:]); "
        "print(code, *({'torch', 'h5py', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), "Traceback" in done.stderr) == ("2", False), done.stderr


def test_the_version_is_that_of_the_installed_distribution():
    from importlib.metadata import version

    assert embedkit.__version__ == version("embedkit-images")


@pytest.mark.parametrize("place", ["clustering.py", "clustering/__init__.py", "clustering/notes.txt"])
def test_another_clustering_that_python_finds_first_is_named(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("raise SystemExit('ran the user\\'s file')" if place.endswith("py") else "")
    code = "import embedkit; embedkit.cluster('x.h5')"
    done = fresh(code, cwd=tmp_path)
    said = done.stderr.strip().splitlines()[-1]
    if place.endswith("txt") and "no such file" in said:
        return  # where ours is a real folder of the path, it goes before a folder without __init__.py
    assert f"{tmp_path / place}" in said or f"{tmp_path / 'clustering'}" in said
    assert "stands in the way of embedkit's own package 'clustering'" in said
    assert "Rename it, or start from another folder." in said
