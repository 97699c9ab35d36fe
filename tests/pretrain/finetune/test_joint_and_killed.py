"""Training with labels: two processes train what one trains, a killed run what one trains that was not."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("labelled_run.py")
RECIPE = """
about = "head first, then all"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
augmentation = ["flip", "rotate"]
batch_plan = "8x1, 12"
optimiser = "OPTIMISER"

[head]
widths = [8]
dropout = DROPOUT

[[phase]]
name = "head"
train = "head"
epochs = 2
lr = 1e-2

[[phase]]
name = "whole"
train = "all"
epochs = 3
lr = 1e-3
"""
CURRICULUM = """
about = "sure galaxies first"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
loss = "rmse"
batch_plan = "4"
optimiser = "OPTIMISER"

[head]
output = "sigmoid"
dropout = DROPOUT

[[phase]]
name = "sure"
train = "all"
epochs = 2
lr = 1e-2
schedule = "constant"
rows = ">0.7"

[[phase]]
name = "unsure"
train = "all"
epochs = 2
lr = 1e-2
schedule = "constant"
rows = "<0.7"
"""


def run(images, folder, *, processes=1, restarts=0, optimiser="adamw", dropout=0.0, text=RECIPE, **asked):
    recipe = folder / "recipe.toml"
    folder.mkdir(exist_ok=True)
    recipe.write_text(text.replace("OPTIMISER", optimiser).replace("DROPOUT", str(dropout)))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    torchrun += ["--max-restarts", str(restarts)]
    words = {"dataset": str(images), "output": str(folder / "run"), "recipe": str(recipe)}
    return subprocess.run(
        [
            sys.executable,
            *(torchrun if processes > 1 else []),
            str(SCRIPT),
            json.dumps({**words, "split": "stratified", **asked}),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def weights(folder):
    """The weights that each phase ended with, and the ones that are kept."""
    found = {"kept": load_file(folder / "run" / "model" / "model.safetensors")}
    for phase in ("phase-1", "phase-2"):
        path = folder / "run" / phase / "checkpoint.pt"
        found[phase] = torch.load(path, weights_only=True)["network"]
    return found


def log(folder):
    with (folder / "run" / "log.csv").open(newline="") as stream:
        return [
            {name: float(value) for name, value in row.items() if value and name != "seconds"}
            for row in csv.DictReader(stream)
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [{}, {"lr_by_noise": 4}, {"accumulate": 2, "noise_scale": True}, {"sky_cell": 20}], ids=str
)
def test_two_processes_have_the_weights_of_one(images, tmp_path, asked):
    # SGD: where a gradient is zero but for rounding, as that of a key's bias, Adam makes a step of it.
    alone = run(images, tmp_path / "one", optimiser="sgd", **asked)
    joint = run(images, tmp_path / "two", processes=2, optimiser="sgd", **asked)
    assert alone.returncode == 0, alone.stderr
    assert joint.returncode == 0, joint.stderr
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert len(one) == len(two) == 6
    assert ("noise_scale" in one[0]) == bool(asked.keys() & {"noise_scale", "lr_by_noise"})
    for row, other in zip(one, two, strict=True):
        # With parts of their own two processes have four of each batch, and measure by those.
        names = row.keys() - ({"noise_scale"} if "accumulate" in asked else set())
        assert {n: other[n] for n in names} == pytest.approx({n: row[n] for n in names}, rel=1e-3, abs=1e-5)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for phase, state in first.items():
        for name, value in state.items():
            torch.testing.assert_close(second[phase][name], value, rtol=0, atol=1e-5, msg=f"{phase} {name}")


@pytest.mark.slow
def test_two_processes_have_the_weights_of_one_with_adamw(images, tmp_path):
    """All but the biases of keys: softmax takes no notice of them, and Adam makes steps of their rounding."""
    alone, joint = run(images, tmp_path / "one"), run(images, tmp_path / "two", processes=2)
    assert alone.returncode == 0, alone.stderr
    assert joint.returncode == 0, joint.stderr
    for row, other in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-5, abs=1e-5)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for phase, state in first.items():
        for name, value in state.items():
            a, b = value, second[phase][name]
            if name.endswith("qkv.bias"):
                (a, _, values), (b, _, same) = a.chunk(3), b.chunk(3)
                torch.testing.assert_close(same, values, rtol=0, atol=1e-5, msg=f"{phase} {name}")
            torch.testing.assert_close(b, a, rtol=0, atol=1e-5, msg=f"{phase} {name}")


@pytest.mark.slow
def test_a_sweep_of_two_processes_is_that_of_one(images, tmp_path):
    asked = {"optimiser": "sgd", "sweep": "batch_size=4,8"}
    check_tables(images, tmp_path, **asked)


@pytest.mark.slow
def test_a_curriculum_beside_normal_training_of_two_processes_is_that_of_one(tmp_path):
    asked = {"votes": True, "n": 120, "size": 40, "beside_normal": True}
    check_tables("simulated", tmp_path, optimiser="sgd", text=CURRICULUM, **asked)
    for folder in ("curriculum", "normal"):
        first, second = (
            load_file(tmp_path / name / "run" / folder / "model" / "model.safetensors")
            for name in ("one", "two")
        )
        for name, value in first.items():
            torch.testing.assert_close(second[name], value, rtol=0, atol=1e-5, msg=f"{folder} {name}")


def check_tables(images, tmp_path, **asked):
    """Train in one process and in two, and hold the tables of variants against each other."""
    alone = run(images, tmp_path / "one", **asked)
    joint = run(images, tmp_path / "two", processes=2, **asked)
    assert alone.returncode == 0, alone.stderr
    assert joint.returncode == 0, joint.stderr
    tables = []
    for name in ("one", "two"):
        with (tmp_path / name / "run" / "variants.csv").open(newline="") as stream:
            tables.append(
                [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
            )
    assert [row.keys() for row in tables[0]] == [row.keys() for row in tables[1]]
    for row, other in zip(*tables, strict=True):
        assert row.get("training") == other.get("training")
        numbers = ({k: float(v) for k, v in one.items() if v and k != "training"} for one in (row, other))
        assert next(numbers) == pytest.approx(next(numbers), rel=1e-3, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"lr_by_noise": 4, "sky_cell": 20}], ids=str)
def test_a_run_killed_four_times_has_the_weights_of_one_that_was_not(images, tmp_path, asked):
    asked = {"dropout": 0.3, **asked}
    whole = run(images, tmp_path / "whole", **asked)
    assert whole.returncode == 0, whole.stderr
    # In the first epoch; after a checkpoint and before its log; in the second phase, twice.
    for kill in ({"step": 2}, {"checkpoint": 1}, {"step": 5}, {"step": 6}):
        assert run(images, tmp_path / "killed", **asked, **kill).returncode == -9
    ended = run(images, tmp_path / "killed", **asked)
    assert ended.returncode == 0, ended.stderr
    assert "Going on after step" in ended.stderr
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    for phase, state in first.items():
        assert state.keys() == second[phase].keys()
        for name, value in state.items():
            assert torch.equal(second[phase][name], value), f"{phase} {name}"
