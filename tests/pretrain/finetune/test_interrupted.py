"""Training with labels that is interrupted, or has nowhere to write."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from embedkit import cli
from embedkit.computing import interrupts
from embedkit.files import regular
from embedkit.files.results import read_results

RECIPE = """
about = "all at once"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
augmentation = ["flip", "rotate"]
batch_plan = "8"

[head]
dropout = 0.2

[[phase]]
name = "whole"
train = "all"
epochs = 3
lr = 1e-3
"""
# As a terminal does at Ctrl-C: the signal comes in the middle of the step of that number, of all seeds.
COMMAND = """
import signal, sys
from embedkit import cli
from embedkit.computing import interrupts
from pretrain.trainer import Run

interrupts.GRACE_S = 120  # on a busy machine five seconds may be too few to leave the folder in order
update, done, last = Run.update, [], int(sys.argv.pop(1))

def until(self, batch):
    if len(done) == last:
        signal.raise_signal(signal.SIGINT)
    done.append(None)
    return update(self, batch)

Run.update = until
sys.exit(cli.main())
"""


@pytest.fixture
def one_thread(monkeypatch):
    """Here and in what is started: sums depend on the number of threads, and so would the weights."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def words(tmp_path):
    random = np.random.default_rng(0)
    for i in range(60):
        folder = tmp_path / "images" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(random.normal(60 if i % 2 else 190, 30, (40, 40, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    line = ["finetune", str(tmp_path / "images"), "--recipe", str(tmp_path / "tiny.toml"), "--no-probe"]
    return [*line, "--split", "stratified", "--device", "cpu"]


def weights(folder):
    return {i: load_file(folder / f"seed-{i}" / "model" / "model.safetensors") for i in range(3)}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_in_the_second_of_three_seeds_and_the_same_command_again(words, tmp_path):
    words += ["--seeds", "3"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert cli.main([*words, "-o", str(whole)]) == 0
    # 42 images train: 5 steps an epoch, 15 a seed; the seventh of the second is in its second epoch.
    line = [*words, "-o", str(stopped)]
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, "22", *line], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.rstrip().endswith(f"embedkit: error: {interrupts.INTERRUPTED}")
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in stopped.glob("seed-*")) == ["seed-0", "seed-1"]
    assert not (stopped / "seed-1" / "model").exists()
    assert not [
        path for path in stopped.rglob("*") if path.name.startswith(".")
    ]  # no lock, nothing half-written
    assert cli.main(line) == 0
    first, second = weights(whole), weights(stopped)
    for seed, state in first.items():
        for name, value in state.items():
            assert torch.equal(second[seed][name], value), f"seed {seed}, {name}"
    for seed in range(3):
        one, two = (read_results(folder / f"seed-{seed}") for folder in (whole, stopped))
        assert {str(result.metrics) for result in two} == {str(result.metrics) for result in one}
    assert (stopped / "report.html").is_file()


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_a_folder_for_reading_alone_is_said_before_an_image_is_read(
    verb, words, tmp_path, capsys, monkeypatch
):
    for path in (tmp_path / "images").rglob("*.png"):
        path.write_bytes(b"no picture")  # whose decoding would say so first
    held = tmp_path / "held"
    held.mkdir()
    asked = os.access  # which says yes of everything to root
    monkeypatch.setattr(regular.os, "access", lambda path, mode: path != held and asked(path, mode))
    line = words if verb == "finetune" else ["pretrain", str(tmp_path / "images")]
    for out, where in ((held, ""), (held / "a" / "b", f" in {held}")):
        assert cli.main([*line, "-o", str(out)]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert said == (
            f"embedkit: error: {out}: can't be written{where}. Give another -o, or the right to write there."
        )
    assert not list(held.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(words, tmp_path, capsys):
    held = tmp_path / "held"
    held.mkdir(mode=0o555)
    assert cli.main([*words, "-o", str(held / "out")]) == 1
    assert f"can't be written in {held}" in " ".join(capsys.readouterr().err.split())


def test_a_file_in_the_place_of_the_folder(words, tmp_path, capsys):
    there = tmp_path / "there"
    there.write_text("mine")
    for out, said in ((there, "is no folder"), (there / "out", "is a file, not a folder")):
        assert cli.main([*words, "-o", str(out)]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert there.read_text() == "mine"
