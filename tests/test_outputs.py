"""No output destroys what is read, another output, or a file of another kind: every verb, before any work."""

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import embedkit
from embedkit import UsageError, verbs
from embedkit.backbones.options import BackboneSpec
from embedkit.cli import main
from embedkit.extraction.extract import extract
from embedkit.files.guard import check_outputs, places_of
from embedkit.files.kinds import KINDS, kind_of
from embedkit.files.tables import TABLES
from embedkit.options import READS, Reads, Writes, declared

# Options whose values are words, or names of rows and columns; every other text or path names a place.
PLACES = ("PATH", "DIR", "FILE", "MODEL", "FILE.csv", "FILE.json", "FILE.svg", "HOW")


def classes_of(verb):
    return [verbs.target(name) for name in (*verb.options, *verb.places)]


@pytest.mark.parametrize("name", verbs.VERBS)
def test_every_option_that_names_a_place_says_whether_it_is_read_or_written(name):
    for cls in classes_of(verbs.VERBS[name]):
        for one in declared(cls).values():
            how = one.option
            if one.type is Path or how.metavar in PLACES:
                assert isinstance(how.place, (Reads, Writes)), f"{cls.__name__}.{one.name}"
            if one.name in ("output", "html", "plot", "pairs") or one.name.startswith("save_"):
                assert isinstance(how.place, Writes), f"{cls.__name__}.{one.name}"
            if isinstance(how.place, Writes):
                assert set(how.place.kinds) <= {*KINDS, *(table.name for table in TABLES)}
                assert how.place.kinds or how.place.folder


@pytest.mark.parametrize("name", [name for name, verb in verbs.VERBS.items() if verb.function])
def test_every_function_that_writes_is_guarded(name):
    verb = verbs.VERBS[name]
    writes = any(
        isinstance(one.option.place, Writes) for cls in classes_of(verb) for one in declared(cls).values()
    )
    assert writes == bool(getattr(verbs.target(verb.function), "guarded", False))


@pytest.mark.parametrize("name", verbs.VERBS)
def test_every_flag_that_writes_is_declared(name):
    """One added by hand would not be held against anything; only the demo's is, which reads nothing."""
    parser = argparse.ArgumentParser()
    verbs.target(verbs.VERBS[name].command)(parser)
    known = {option for cls in classes_of(verbs.VERBS[name]) for option in declared(cls)}
    for action in parser._actions:
        if action.option_strings and action.type is Path:
            assert action.dest in known or name == "demo", action


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one of everything."""
    here = tmp_path_factory.mktemp("made")
    (here / "images").mkdir()
    random = np.random.default_rng(0)
    for i in range(24):
        level = 60 if i % 2 else 190
        pixels = np.clip(random.normal(level, 20, (12, 12, 3)), 0, 255).astype(np.uint8)
        folder = here / "images" / ("dark" if i % 2 else "light")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    np.save(here / "array.npy", random.integers(0, 255, (8, 12, 12, 3), dtype=np.uint8))
    (here / "table.csv").write_text("file,label\nimages/dark/01.png,a\nimages/light/00.png,b\n")
    extract(str(here / "images"), here / "x.h5", backbone=BackboneSpec("pixels:4"))
    extract(str(here / "images"), here / "y.h5", backbone=BackboneSpec("pixels:3"))
    for words in (
        "cluster x.h5 -k 2 --prep none --save-model c.h5 -o runs",
        "probe x.h5 --save-model p.h5 --save-split split.json -o runs",
        "leaks x.h5 --pairs pairs.csv",
        "leaderboard runs -o board.md --html board.html",
    ):
        assert run(here, words)[0] == 0, words
    (here / "thesis.docx").write_bytes(b"PK\x03\x04 years of work")
    return here


def run(folder, words):
    """Run a command in this process, in a folder; returns its exit code."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return main(shlex.split(words)), words
    finally:
        os.chdir(before)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Command, and the words that its message names both sides with.
DESTROYS = {
    "report x.h5 -o x.h5": ("-o x.h5", "features x.h5"),
    "report x.h5 -o ./images/../x.h5": ("-o", "features x.h5"),
    "report x.h5 -o soft.h5": ("-o soft.h5", "features x.h5"),
    "report x.h5 -o hard.h5": ("-o hard.h5", "features x.h5"),
    "report x.h5 -o y.h5": ("-o y.h5", "a feature file is there"),
    "report x.h5 -o thesis.docx": ("-o thesis.docx", "office document"),
    "report x.h5 -o c.h5": ("-o c.h5", "a saved clustering is there"),
    "report x.h5 -o images/dark/01.png": ("-o images/dark/01.png", "a picture is there"),
    "report x.h5 -o runs/results.jsonl": ("-o runs/results.jsonl", "results is there"),
    "report x.h5 -o x.h5/page.html": ("-o x.h5/page.html", "x.h5 is a file, not a folder"),
    "report x.h5 -o /dev/null": ("-o /dev/null", "a device is there"),
    "report x.h5 -o images": ("-o images", "is a folder"),
    "votes table.csv --target-columns v -o table.csv": ("-o table.csv", "dataset table.csv"),
    "votes table.csv --target-columns v -o y.h5": ("-o y.h5", "a feature file is there"),
    "votes table.csv --target-columns v -o images": ("-o images", "is a folder"),
    "votes table.csv --target-columns v --log a=split.json --kaggle split.json": ("--kaggle split.json",),
    "votes table.csv --target-columns v -o a.csv --kaggle a.csv": ("-o a.csv", "--kaggle a.csv"),
    "cam empty images -o images": ("-o images", "is a folder"),
    "pretrain images -o images": ("-o images", "the folder of the images that are read"),
    "finetune images --recipe custom-cnn -o images": ("-o images", "the folder of the images that are read"),
    "bench images -o images": ("-o images", "the folder of the images that are read"),
    "cam empty images -o y.h5": ("-o y.h5", "a feature file is there"),
    "cam empty images --predictions table.csv -o table.csv": ("-o table.csv", "--predictions table.csv"),
    "cluster x.h5 -k 2 --save-model x.h5": ("--save-model x.h5", "features x.h5"),
    "cluster x.h5 -k 2 --save-model y.h5": ("--save-model y.h5", "a feature file is there"),
    "cluster x.h5 -k 2 --save-model p.h5": ("--save-model p.h5", "a saved probe is there"),
    "cluster x.h5 -k 2 -o x.h5": ("-o x.h5", "features x.h5"),
    "cluster x.h5 -k 2 --save-model runs/results.jsonl -o runs": ("--save-model", "-o"),
    "cluster y.h5 --apply c.h5 -o c.h5": ("-o c.h5", "--apply c.h5"),
    "probe x.h5 --save-model x.h5": ("--save-model x.h5", "features x.h5"),
    "probe x.h5 --save-split x.h5": ("--save-split x.h5", "features x.h5"),
    "probe x.h5 --plot x.h5": ("--plot x.h5", "features x.h5"),
    "probe x.h5 --plot a.svg --save-split a.svg": ("--plot a.svg", "--save-split a.svg"),
    "probe x.h5 --plot a.svg --save-split A.SVG": ("--plot a.svg", "--save-split A.SVG"),
    "probe x.h5 --split split.json --save-split split.json": (
        "--save-split split.json",
        "--split split.json",
    ),
    "probe x.h5 --split split.json --plot split.json": ("--plot split.json", "--split split.json"),
    "probe x.h5 --save-split thesis.docx": ("--save-split thesis.docx", "office document"),
    "probe x.h5 --apply p.h5 -o table.csv": ("-o table.csv", "a text is there"),
    "leaks x.h5 --pairs x.h5": ("--pairs x.h5", "features x.h5"),
    "leaks x.h5 --save-split x.h5": ("--save-split x.h5", "features x.h5"),
    "leaks x.h5 --pairs table.csv": ("--pairs table.csv", "a text is there"),
    "leaks x.h5 --pairs a --save-split a": ("--pairs a", "--save-split a"),
    "leaderboard runs -o runs/results.jsonl --format json": ("-o runs/results.jsonl", "runs runs"),
    "leaderboard runs --html runs/results.jsonl": ("--html runs/results.jsonl", "runs runs"),
    "leaderboard runs/results.jsonl --html runs/results.jsonl": ("--html", "runs runs/results.jsonl"),
    "leaderboard runs -o table.csv": ("-o table.csv", "a text is there"),
    "leaderboard runs -o a.html --html a.html": ("-o a.html", "--html a.html"),
    "quality x.h5 -o x.h5": ("-o x.h5", "files x.h5"),
    "extract images --backbone pixels:4 --overwrite -o images/dark/01.png": (
        "-o images/dark/01.png",
        "dataset images",
    ),
    "extract table.csv --backbone pixels:4 --overwrite -o table.csv": ("-o table.csv", "dataset table.csv"),
    "extract array.npy --backbone pixels:4 --overwrite -o array.npy": ("-o array.npy", "dataset array.npy"),
    "extract images --backbone pixels:4 --overwrite -o table.csv": ("-o table.csv", "a text is there"),
    "extract images --weights c.h5 --overwrite -o c.h5": ("-o c.h5", "--weights c.h5"),
    "extract x.h5.parts --backbone pixels:4 --overwrite -o x.h5": ("-o x.h5.parts", "x.h5.parts"),
    "extract images --backbone pixels:4 -o /dev/null": ("-o /dev/null", "a device is there"),
    "attention images -o images/dark/01.png": ("-o images/dark/01.png", "dataset images"),
    "attention images -o images/new.png": ("-o images/new.png", "dataset images"),
    "attention images -o x.h5": ("-o x.h5", "a feature file is there"),
    "pretrain images --weights run/model.safetensors -o run": ("-o run/model.safetensors", "--weights"),
    "pretrain images --weights run/adapter-last -o run": ("-o run writes run/adapter-last", "--weights"),
    "finetune images --weights run/seed-1/model -o run": ("-o run writes run/seed-1", "--weights"),
    "finetune images --weights run/seed-1/model/model.safetensors -o run": ("-o run writes run/seed-1",),
    "finetune images --weights run/model -o run": ("-o run writes run/model", "--weights run/model"),
    "finetune images --weights run/lr=1e-3/model -o ./run": ("-o run writes run/lr=1e-3", "--weights"),
    "finetune images --weights soft-run/phase-1/x -o run": ("-o run writes run/phase-1", "--weights"),
    "compare x.h5 y.h5 -o x.h5": ("-o x.h5", "a x.h5"),
    "compare out/A/x.h5 out/B/y.h5 -o out": ("-o out/A/x.h5", "reading out/A/x.h5"),
    "bench --feature-files x.h5 -o x.h5": ("-o x.h5", "--feature-files x.h5"),
    "bench images --backbones pixels:4 --feature-files out/features/pixels-4.h5 -o out": (
        "-o out",
        "features/pixels-4.h5",
    ),
}


@pytest.fixture(scope="module")
def sources(made, tmp_path_factory):
    """A copy with links, and folders whose names outputs meet."""
    import shutil

    here = tmp_path_factory.mktemp("sources") / "copy"
    shutil.copytree(made, here)
    (here / "soft.h5").symlink_to("x.h5")
    (here / "hard.h5").hardlink_to(here / "x.h5")
    for side, name in (("A", "x.h5"), ("B", "y.h5")):
        (here / "out" / side).mkdir(parents=True)
        shutil.copy(here / name, here / "out" / side)
    (here / "out" / "features").mkdir()
    shutil.copy(here / "x.h5", here / "out" / "features" / "pixels-4.h5")
    (here / "run").mkdir()
    (here / "run" / "model.safetensors").write_bytes(b"weights")
    for name in ("seed-1/model", "model", "lr=1e-3/model"):
        (here / "run" / name).mkdir(parents=True)
        (here / "run" / name / "model.safetensors").write_bytes(b"weights")
    for name in ("adapter-last", "phase-1"):
        (here / "run" / name).mkdir()
        (here / "run" / name / "x").write_bytes(b"weights")
    (here / "soft-run").symlink_to("run")
    shutil.copytree(here / "images" / "dark", here / "x.h5.parts")
    return here


@pytest.mark.parametrize("words", DESTROYS)
def test_an_output_that_would_destroy_something_is_refused_and_names_both(words, sources, capsys):
    before = digests(sources)
    code, _ = run(sources, words)
    said = capsys.readouterr().err
    assert code == 2, said
    for part in DESTROYS[words]:
        assert part in said
    assert digests(sources) == before


def test_from_python_too(sources, monkeypatch):
    monkeypatch.chdir(sources)
    before = digests(sources)
    calls = [
        lambda: embedkit.report("x.h5", output="x.h5"),
        lambda: embedkit.report(embedkit.FeatureFile("x.h5"), output="hard.h5"),
        lambda: embedkit.extract("images", "images/dark/01.png", backbone="pixels:4", overwrite=True),
        lambda: embedkit.extract(
            embedkit.load_dataset("array.npy"), "array.npy", backbone="pixels:4", overwrite=True
        ),
        lambda: embedkit.cluster("x.h5", k=2, output=None, save_model="x.h5"),
        lambda: embedkit.probe("x.h5", output=None, plot="soft.h5"),
        lambda: embedkit.leaks("x.h5", pairs="x.h5"),
        lambda: embedkit.leaderboard("runs", html="runs/results.jsonl"),
        lambda: embedkit.pretrain("images", "images"),
        lambda: embedkit.attention("images", "images/dark/01.png"),
        lambda: embedkit.compare("x.h5", "y.h5", output="y.h5"),
        lambda: embedkit.bench(feature_files=["x.h5"], output="x.h5"),
        lambda: embedkit.quality(["x.h5", "y.h5"], output="y.h5"),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
    assert digests(sources) == before


# What is overwritten as it was meant.
REPLACES = (
    "report x.h5 --no-thumbnails -o map.html",
    "leaderboard runs -o board.md --html board.html",
    "leaderboard runs -o board.csv",
    "leaderboard runs -o board.json",
    "leaderboard runs -o board.txt --format table",
    "leaks x.h5 --pairs pairs.csv --save-split leaks.json",
    "probe x.h5 --save-model p.h5 --save-split split.json --plot curve.svg -o runs",
    "probe x.h5 --apply p.h5 -o said.csv",
    "cluster x.h5 -k 2 --prep none --save-model c.h5 -o runs",
    "cluster x.h5 -k 2 --prep none --save-model runs -o runs",
    "quality x.h5 -o runs",
    "extract images --backbone pixels:4 -o x.h5",
    "extract images --backbone pixels:3 --overwrite -o z.h5",
    "extract images --backbone pixels:3 --overwrite -o images/inside.h5",
)


@pytest.mark.parametrize("words", REPLACES)
def test_the_same_command_again_replaces_what_it_wrote(words, made):
    for _ in range(2):
        assert run(made, words)[0] == 0


def test_the_default_output_is_held_against_the_input_too(tmp_path, monkeypatch, capsys):
    """`extract runs/cutouts.h5` would by default make runs/cutouts.h5."""
    import h5py

    (tmp_path / "runs").mkdir()
    with h5py.File(tmp_path / "runs" / "cutouts.h5", "w") as file:
        file["images"] = np.zeros((4, 8, 8, 3), np.uint8)
    before = digests(tmp_path)
    code, _ = run(tmp_path, "extract runs/cutouts.h5 --backbone pixels:4 --overwrite")
    assert code == 2
    assert "-o runs/cutouts.h5 is the file that is read" in capsys.readouterr().err
    assert digests(tmp_path) == before


def test_a_wrong_output_is_refused_before_anything_is_imported(made):
    code = "import sys; from embedkit.cli import main; c = main(['report', 'x.h5', '-o', 'x.h5']); "
    code += "print(c, 'torch' in sys.modules, 'umap' in sys.modules, 'sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=made, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["2", "False", "False", "False"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n....", "a picture"),
        (b"RIFF....WEBPVP8 ", "a picture"),
        (b"II*\0....", "a picture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04....", "an archive or office document"),
        (b"\x93NUMPY\x01\0", "an array"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"a":{"dtype":"F32"}}', "weights in safetensors"),
        (b'{"task": "probe", "method": "knn", "metrics": {}}\n', "results"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "an SVG picture"),
        (b"kind,id,other\n", "pairs of copies"),
        (b"id,cluster,distance\na,0,1\n", "cluster assignments"),
        (b"file,label\na.png,x\n", "a text"),
        (b"id,x,y,label,predicted:linear\na,0,1,b,b\n", "an exported map"),
        ("Übersicht".encode(), "a text"),
        ("é".encode() * 2**15 + b"x", "a text"),
        (bytes(100), "a file of no known kind"),
        (b"\xff\xfeh\0i\0", "a file of no known kind"),
    ],
)
def test_a_file_is_known_by_its_beginning(content, kind, tmp_path):
    (tmp_path / "a").write_bytes(content)
    assert kind_of(tmp_path / "a") == kind


def test_a_folder_that_is_emptied_holds_nothing_that_is_read(tmp_path):
    (tmp_path / "parts" / "inside").mkdir(parents=True)
    for read in (tmp_path / "parts", tmp_path / "parts" / "inside"):
        with pytest.raises(UsageError, match="emptied"):
            check_outputs("-o", {tmp_path / "parts": Writes(folder=True, emptied=True)}, read)
    check_outputs("-o", {tmp_path / "parts": Writes(folder=True, emptied=True)}, tmp_path)


def test_places_of_options_that_name_none():
    assert list(places_of(BackboneSpec("pixels:4"))) != []
    assert all(one.how is READS for one in places_of(BackboneSpec("pixels:4")))


def test_what_is_made_of_a_file_with_a_long_name_has_a_name_that_fits(tmp_path):
    """255 bytes of a name are what file systems have; names that are cut are told apart by their digest."""
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 20)
    np.savez(tmp_path / "x.npz", features=random.normal(size=(40, 6)).astype(np.float32), labels=labels)
    names = [f"{'ä' * 120}{end}.h5" for end in "12"]
    written = set()
    for name in names:
        embedkit.import_features(tmp_path / "x.npz", output=tmp_path / name[60:])
        (tmp_path / name[60:]).rename(tmp_path / name)
        one = tmp_path / name
        found = embedkit.cluster(one, output=tmp_path / "runs")
        model = tmp_path / f"{'m' * 240}.h5"
        probe = embedkit.probe(
            one, kind="nearest-centroid", output=tmp_path / "runs", save_model=tmp_path / "m"
        )
        (tmp_path / "m").rename(model)
        written |= {
            found.assignments_path,
            embedkit.cluster(one, apply=found.model_path, output=tmp_path / "runs").assignments_path,
            probe.predictions_path,
            embedkit.probe(one, apply=model, output=tmp_path / "runs").predictions_path,
            embedkit.label(one, output=tmp_path / "runs").path,
        }
    assert len(written) == 10
    assert all(path.is_file() for path in written)


@pytest.mark.parametrize("name", ["x" * 240 + ".csv", "ü" * 120 + ".csv", "y" * 256 + "/x.csv"])
def test_an_output_whose_name_is_too_long_is_refused_before_any_work(name, made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    assert main(["outliers", "features.h5", "-o", name]) == 2
    assert "bytes, and there is room for" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["cluster x.h5 -k 2 -o {}", "label x.h5 -o {}/new", "outliers x.h5 -o {}/o.csv"]
)
def test_a_folder_for_reading_alone_is_refused_before_any_work(words, made, tmp_path, monkeypatch, capsys):
    access = os.access  # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    assert run(made, words.format(tmp_path))[0] == 1
    assert f"{tmp_path}" in (said := " ".join(capsys.readouterr().err.split()))
    assert "can't be written" in said
    assert list(tmp_path.iterdir()) == []
