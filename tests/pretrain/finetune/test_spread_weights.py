"""Training with labels, the weights spread over processes (FSDP2): they are those of one process."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from injected_memory import inject
from safetensors.torch import load_file
from test_elastic import RECIPE as ELASTIC
from test_elastic import held_in
from test_joint_and_killed import RECIPE, SCRIPT, log, run

import pretrain.finetune.training as training
from embedkit.cli import main
from embedkit.errors import UsageError
from pretrain.elastic import BEGUN, GROWN, SHRUNK
from pretrain.finetune.options import FinetuneCall
from pretrain.finetune.supervised import Supervised

LOW_RANK = """
about = "head, low-rank updates, all; gradients cut"
backbone = "test_vit"
weights = "published"
image_size = 32
resize = 32
augmentation = ["flip", "rotate"]
batch_plan = "8x1, 12"
optimiser = "sgd"
clip_grad = 0.5

[head]
widths = [8]

[lora]
lora_rank = 2
lora_alpha = 4
lora_targets = "qv"

[[phase]]
name = "head"
train = "head"
epochs = 1
lr = 1e-2

[[phase]]
name = "updates"
train = "lora"
epochs = 2
lr = 1e-2

[[phase]]
name = "whole"
train = "all"
epochs = 4
lr = 1e-2
stop_after = 2
"""


def weights(folder, phases):
    """The weights that each phase ended with, and the ones that are kept."""
    found = {"kept": load_file(folder / "run" / "model" / "model.safetensors")}
    for number in range(1, phases + 1):
        path = folder / "run" / f"phase-{number}" / "checkpoint.pt"
        found[f"phase {number}"] = torch.load(path, weights_only=True)["network"]
    return found


def hold_against(one, two, *, phases):
    first, second = weights(one, phases), weights(two, phases)
    for phase, state in first.items():
        assert state.keys() == second[phase].keys()
        for name, value in state.items():
            torch.testing.assert_close(second[phase][name], value, rtol=0, atol=1e-5, msg=f"{phase} {name}")


@pytest.mark.slow
def test_spread_weights_are_those_of_one_process(images, tmp_path):
    """Over three phases, with updates that leave keys alone; killed in the third, and begun again."""
    asked = {"text": LOW_RANK, "random_init": 0}
    alone = run(images, tmp_path / "one", **asked)
    spread = run(images, tmp_path / "two", processes=2, restarts=1, fsdp=True, step=18, **asked)
    assert alone.returncode == 0, alone.stderr
    assert spread.returncode == 0, spread.stderr
    assert "Going on after step" in spread.stderr
    for row, other in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-5, abs=1e-5)
    hold_against(tmp_path / "one", tmp_path / "two", phases=3)


@pytest.mark.slow
def test_a_step_without_memory_begins_again_in_parts(images, tmp_path):
    """The second process has no memory for more than four images after six steps; batches have grown before.

    Begun again after five, it has none for more from the same step on, so that it must have kept to parts of
    four. Weights are those of two processes that hold them whole, which take such a step again at once.
    """
    asked = {"elastic_batch": 16, "fits": [64, 4], "after": [6, 1], "batch_plan": "8", "dropout": 0.3}
    asked |= {"processes": 2, "optimiser": "sgd"}
    spread = run(images, tmp_path / "spread", restarts=1, fsdp=True, **asked)
    whole = run(images, tmp_path / "whole", **asked)
    assert spread.returncode == 0, spread.stderr
    assert whole.returncode == 0, whole.stderr
    assert held_in(tmp_path / "spread", 1) == [(0, 8, 1, BEGUN), (5, 16, 1, GROWN), (6, 16, 2, SHRUNK)]
    assert (
        "The same command goes on from the last checkpoint, with batches of 16 images in 2" in spread.stderr
    )
    for phase in ("phase-1", "phase-2"):
        files = [tmp_path / name / "run" / phase / "batches.json" for name in ("spread", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()
    hold_against(tmp_path / "whole", tmp_path / "spread", phases=2)


@pytest.mark.slow
def test_a_process_that_runs_out_of_memory_leaves_no_other_waiting(images, tmp_path):
    """Started without torchrun, which would end the other one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("OPTIMISER", "sgd").replace("DROPOUT", "0"))
    asked = {"dataset": str(images), "output": str(tmp_path / "run"), "recipe": str(tmp_path / "recipe.toml")}
    asked |= {"split": "stratified", "fsdp": True, "elastic_batch": 8, "batch_plan": "8", "fits": [64, 2]}
    environment = os.environ | address | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(asked)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        other, failed = (one.communicate(timeout=300)[1] for one in both)
    finally:
        for one in both:
            one.kill()
    assert [one.returncode for one in both] == [1, 1]
    assert "EmbedkitError: out of memory at step 0, in which processes wait for each other." in failed
    assert "EmbedkitError: process 0 of 2 lost another one, which has ended or can't be reached" in other
    assert held_in(tmp_path, 1)[1:] == [(0, 8, 2, SHRUNK)]


def test_where_processes_wait_within_a_step_parts_begin_with_the_next_start(
    images,
    tmp_path,
    monkeypatch,
    capsys,
):
    """As under synchronised batch normalisation, here in one process."""
    begin = training.PhaseTask.__init__

    def waiting(self, *asked):
        begin(self, *asked)
        self.waits_within = True

    (tmp_path / "colours.toml").write_text(ELASTIC)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--device", "cpu", "--split"]
    line += ["stratified", "--no-probe", "--phase-epochs", "2", "-o"]
    assert main([*line, str(tmp_path / "parts"), "--accumulate", "4"]) == 0
    monkeypatch.setattr(training.PhaseTask, "__init__", waiting)
    inject(training, Supervised, most=lambda: 3, patch=monkeypatch.setattr)
    place = tmp_path / "elastic"
    for parts in ("2 parts of 4", "4 parts of 2"):
        assert main([*line, str(place), "--elastic-batch", "8"]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert said.endswith(
            "embedkit: error: out of memory at step 0, in which processes wait for each other. The same "
            f"command goes on from the last checkpoint, with batches of 8 images in {parts} in each "
            f"process, as {place / 'phase-1' / 'batches.json'} says now; "
            "on one machine, torchrun --max-restarts 9 starts it by itself."
        )
    assert main([*line, str(place), "--elastic-batch", "8"]) == 0
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("parts", "elastic")]
    assert models[0] == models[1]


def test_what_does_not_go_with_spread_weights(images, tmp_path, capsys):
    with pytest.raises(UsageError, match="--noise-scale with --fsdp: the noise scale is measured by"):
        FinetuneCall(fsdp=True, noise_scale=True)
    with pytest.raises(UsageError, match="--lr-by-noise with --fsdp"):
        FinetuneCall(fsdp=True, lr_by_noise=32)
    assert FinetuneCall(fsdp=True).of_numbers() == FinetuneCall().of_numbers()
    (tmp_path / "colours.toml").write_text(ELASTIC)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--no-probe", "-o"]
    assert main([*line, str(tmp_path / "x"), "--fsdp", "--split", "stratified"]) == 2
    assert "--fsdp spreads a model over processes. Start several with torchrun" in capsys.readouterr().err
