"""Paths: what is a regular file, and links that lead nowhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.files.aside import aside, write_text
from embedkit.files.regular import check_input, check_output, read_bytes, resolved
from embedkit.files.rows import Rows
from embedkit.files.standing import done_again
from embedkit.files.store import write_features

LOOP = "a link that leads back to itself"


@pytest.fixture
def loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a circle of links by every ending, beside sound features and images."""
    monkeypatch.chdir(tmp_path)
    for ending in ("h5", "csv", "json", "jsonl", "npy", "npz", "png", "html", "toml", "safetensors", "tif"):
        (tmp_path / f"loop.{ending}").symlink_to(f"loop.{ending}")
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    rows = Rows([f"i{i}" for i in range(24)], labels=[i % 2 for i in range(24)], class_names=("a", "b"))
    write_features("f.h5", x, rows)
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


def test_a_path_is_resolved_as_pathlib_does_where_it_can(loops: Path) -> None:
    (loops / "to").symlink_to("images")
    for name in ("images/0.png", "to/0.png", "to/../f.h5", "missing/x", ".", "/"):
        assert resolved(name) == Path(name).resolve()
    assert resolved("loop.h5") == loops / "loop.h5"  # of which pathlib makes a RuntimeError up to 3.12


def test_a_circle_of_links_is_named_wherever_a_file_is_read_or_written(loops: Path) -> None:
    for path in (loops / "loop.h5", loops / "loop"):
        with pytest.raises(EmbedkitError, match=f"{LOOP}, not a regular file. Name another"):
            check_input(path, "Name another.")
        with pytest.raises(EmbedkitError, match=f"{LOOP} is there, which no output replaces"):
            check_output(path)
        with pytest.raises(EmbedkitError, match=LOOP):
            read_bytes(path, "Name another.", at_most=10)
        with pytest.raises(EmbedkitError, match=LOOP):
            write_text(path, "x")
        with pytest.raises(EmbedkitError, match=LOOP), aside(path):
            pytest.fail("something was begun")
        with done_again(path, 0):
            pass
        assert path.is_symlink()


@pytest.mark.parametrize(
    "words",
    [
        *(f"{verb} loop.h5" for verb in ("verify", "leaks", "quality", "report", "cluster", "probe")),
        *(f"extract {name} -o x.h5" for name in ("loop", "loop.csv", "loop.npy", "loop.npz", "loop.h5")),
        "extract images --backbone local-dir:loop -o x.h5",
        "extract images --backbone test_vit --weights loop.safetensors -o x.h5",
        "extract images --backbone test_vit --random-init 0 --adapter loop -o x.h5",
        *(f"datasets {name}" for name in ("loop", "loop.csv", "loop.npy", "loop.npz", "loop.h5")),
        "datasets galaxy10-sdss --path loop",
        "datasets galaxy-zoo-2 --path loop",
        "datasets first-radio --path loop",
        *(f"import {name} -o x.h5" for name in ("loop.csv", "loop.npy", "loop.npz", "loop.h5")),
        "import f.h5 --labels loop.csv -o x.h5",
        "cluster f.h5 --apply loop.h5",
        "probe f.h5 --apply loop.h5",
        "probe f.h5 --kind nearest-centroid --split loop.json",
        "leaderboard loop",
        "leaderboard loop.jsonl",
        "compare f.h5 loop.h5 -o runs",
        "bench loop.toml",
        "pretrain loop -o pre",
        "attention loop.h5 -o a.png",
    ],
)
def test_a_circle_of_links_is_no_input(loops: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) in (1, 2)
    assert "loop" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "extract images --backbone pixels:4 -o loop.h5",
        "import f.h5 -o loop.h5",
        "report f.h5 -o loop.html",
        "cluster f.h5 --method kmeans -k 2 -o loop",
        "cluster f.h5 --method kmeans -k 2 -o runs --save-model loop.h5",
        "probe f.h5 --kind nearest-centroid -o loop",
        "probe f.h5 --kind nearest-centroid -o runs --save-model loop.h5",
        "probe f.h5 --kind nearest-centroid -o runs --save-split loop.json",
        "leaks f.h5 --pairs loop.csv",
        "quality f.h5 -o loop",
        "attention images --backbone test_vit --random-init 0 -o loop.png",
        "bench --feature-files f.h5 --probes nearest-centroid -o loop",
        "compare f.h5 f.h5 -o loop",
        "pretrain images --backbone test_vit --random-init 0 -o loop",
    ],
)
def test_a_circle_of_links_is_no_output(loops: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) in (1, 2)
    assert "loop" in capsys.readouterr().err
    assert not [path for path in loops.rglob("loop*") if not path.is_symlink()]


def test_results_in_place_of_which_is_a_circle_of_links(
    loops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (loops / "runs").mkdir()
    (loops / "runs" / "results.jsonl").symlink_to("results.jsonl")
    assert main(["probe", "f.h5", "--kind", "nearest-centroid", "-o", "runs"]) == 2
    assert f"results.jsonl: {LOOP}" in capsys.readouterr().err
    assert main(["leaderboard", "runs"]) == 1
