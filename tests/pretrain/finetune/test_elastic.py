"""Batches that follow memory: what is decided, at which rates, and that processes and resumes agree."""

import csv
import json
import math
import signal

import numpy as np
import pytest
import torch
from injected_memory import IMAGE, inject
from test_joint_and_killed import log, run, weights

import pretrain.finetune.training as training
from embedkit.cli import main
from embedkit.computing.peak import Peak, is_out_of_memory
from embedkit.errors import EmbedkitError, UsageError
from embedkit.strict_json import UndeclaredError
from pretrain.elastic import BEGUN, GROWN, KEPT, SHRUNK, USABLE, Elastic, Held
from pretrain.finetune.options import FinetuneCall
from pretrain.finetune.supervised import Supervised
from pretrain.trainer import Run

RECIPE = """
about = "all of it"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
batch_plan = "8"
optimiser = "sgd"

[[phase]]
name = "whole"
train = "all"
epochs = 4
lr = 1e-3
"""


class Given:
    """A memory in which an image of a part takes a byte, and a hundred are held anyway."""

    base = 100

    def __init__(self, limit, images):
        self.most, self.images = limit, images

    def peak(self):
        return self.base + self.images

    def limit(self):
        return math.ceil(self.most / USABLE)


def elastic(folder, memory=None, *, size=8, parts=1, largest=64, asked=None):
    return Elastic(size, parts, largest=largest, memory=memory, folder=folder, asked=asked or {"seed": 0})


def said(one):
    return [(held.step, held.size, held.parts, held.why) for held in one.held]


def test_it_doubles_while_twice_the_part_fits(tmp_path):
    memory = Given(132, 8)
    one = elastic(tmp_path, memory)
    one.grow(5, n_rows=40)
    assert one.at(4).size == 8
    assert one.at(5).size == 16
    memory.images = 16
    one.grow(7, n_rows=40)  # 100 + 2 * 16 are just the limit
    memory.images = 32
    one.grow(8, n_rows=40)
    assert said(one) == [(0, 8, 1, BEGUN), (5, 16, 1, GROWN), (7, 32, 1, GROWN), (8, 32, 1, KEPT)]
    assert one.layout(40, 4) == ([8] * 5 + [16] * 2 + [32] + [32], [5, 7, 8, 9])
    assert elastic(tmp_path).held == one.held  # of the same run, begun again
    assert said(elastic(tmp_path, asked={"seed": 1})) == [(0, 8, 1, BEGUN)]  # of another run


def test_no_batch_is_larger_than_what_is_asked_for_or_there(tmp_path):
    one = elastic(tmp_path, Given(10_000, 8), largest=20)
    one.grow(1, n_rows=40)
    one.grow(2, n_rows=40)
    assert one.at(2).size == 16
    one = elastic(tmp_path / "b", Given(10_000, 8), largest=64)
    one.grow(1, n_rows=15)
    assert one.at(1).size == 8


def test_memory_that_runs_out_makes_parts_and_is_not_tried_again(tmp_path):
    memory = Given(10_000, 8)
    one = elastic(tmp_path, memory, size=12)
    one.shrink(3)
    assert one.at(3) == Held(3, 12, 2, SHRUNK)
    one.shrink(3)
    assert one.at(3).parts == 4
    memory.images = 3
    one.grow(10, n_rows=100)  # parts of six ran out of memory, whatever the peak says
    assert one.at(10) == Held(10, 12, 4, KEPT, 103, memory.limit())
    one.shrink(11)
    assert one.at(11).parts == 12  # of one image: 8 parts are no equal ones
    with pytest.raises(EmbedkitError, match="a step of 1 image in one process does not fit into memory"):
        one.shrink(11)


def test_fewer_parts_come_before_larger_batches(tmp_path):
    one = elastic(tmp_path, Given(10_000, 2), size=16)
    one.held += [Held(2, 16, 2, SHRUNK), Held(2, 16, 4, SHRUNK), Held(2, 16, 8, SHRUNK)]
    one.grow(5, n_rows=100)
    assert (one.at(5).size, one.at(5).parts) == (16, 8)  # 4 ran out
    other = elastic(tmp_path / "b", Given(10_000, 2), size=16, parts=2)
    other.held += [Held(1, 16, 4, GROWN)]
    other.grow(5, n_rows=100)
    assert (other.at(5).size, other.at(5).parts) == (16, 2)
    other.grow(9, n_rows=100)  # --accumulate 2 was asked for, and stays
    assert (other.at(9).size, other.at(9).parts) == (32, 2)


def test_what_was_decided_is_followed(tmp_path):
    one = elastic(tmp_path, Given(10_000, 8))
    one.grow(5, n_rows=40)
    again = elastic(tmp_path, Given(0, 8))  # there is no memory at all now
    again.grow(5, n_rows=40)
    assert again.held == one.held
    again.grow(7, n_rows=40)
    assert again.at(7).why == KEPT
    lost = elastic(tmp_path / "elsewhere", Given(0, 8))
    lost.follow(json.loads(json.dumps([vars(held) for held in one.held])))
    assert lost.held == one.held
    with pytest.raises(UndeclaredError):
        lost.follow([{"step": "no"}])


def test_a_file_of_other_processes_or_damaged_is_said(tmp_path, monkeypatch):
    one = elastic(tmp_path, Given(10_000, 8))
    one.grow(5, n_rows=40)
    text = one.path.read_text()
    one.path.write_text(text.replace('"processes": 1', '"processes": 2'))
    with pytest.raises(EmbedkitError, match="was begun with 2 processes, and there are 1"):
        elastic(tmp_path)
    one.path.write_text(text[:50])
    with pytest.raises(EmbedkitError, match="batches.json: damaged"):
        elastic(tmp_path)


def test_what_says_that_memory_ran_out():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ):
        assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(KeyError("out of memory"))
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_the_peak_is_that_since_it_was_begun():
    memory = Peak(torch.device("cpu"))
    memory.begin()
    kept = np.ones(64 * 2**20, np.uint8)
    taken = memory.peak() - memory.base
    assert 60 * 2**20 < taken < 120 * 2**20
    assert memory.limit() > len(kept)
    del kept
    memory.begin()
    assert memory.peak() - memory.base < 30 * 2**20


def test_rates_are_in_proportion_to_the_batch_and_follow_the_images(images, tmp_path, monkeypatch, capsys):
    inject(training, Supervised, most=lambda: 16, patch=monkeypatch.setattr)
    rates, update = [], Run.update

    def noted(self, batch):
        loss = update(self, batch)
        rates.append((len(batch.rows), self.optimiser.param_groups[0]["lr"]))
        return loss

    monkeypatch.setattr(Run, "update", noted)
    (tmp_path / "colours.toml").write_text(RECIPE)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--device", "cpu", "--split"]
    line += ["stratified", "--no-probe", "--sky-cell", "60", "-o", str(tmp_path / "out")]
    assert main([*line, "--elastic-batch", "64"]) == 0
    assert (
        "Memory has room (0.01 of 0.02 GB): batches of 16 images from step 5 on, in 1 part"
        in capsys.readouterr().err
    )
    # 42 train: 5 batches of 8, then 2 of 16 an epoch. The schedule is planned for 20 steps.
    sizes = [8] * 5 + [16] * 6
    assert [size for size, _ in rates] == sizes
    planned = [*range(5), *(5 * epoch + 2.5 * j for epoch in (1, 2, 3) for j in (0, 1))]
    expected = [
        s / 8 * 1e-3 * (1 + math.cos(math.pi * at / 20)) / 2 for s, at in zip(sizes, planned, strict=True)
    ]
    assert [rate for _, rate in rates] == pytest.approx(expected)
    with (tmp_path / "out" / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["batch_size"]) for row in rows] == [8, 8, 16, 16, 16]
    assert [float(row["images"]) for row in rows] == [0, 40, 72, 104, 136]
    held = json.loads((tmp_path / "out" / "phase-1" / "batches.json").read_text())["held"]
    assert [one["why"] for one in held] == [BEGUN, GROWN, KEPT, KEPT]
    assert held[1]["peak"] == 8 * IMAGE


def test_what_can_not_be_elastic(images, tmp_path, capsys):
    (tmp_path / "colours.toml").write_text(RECIPE)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--no-probe", "-o"]
    line += [str(tmp_path / "x"), "--split", "stratified", "--device", "cpu"]
    assert main([*line, "--elastic-batch", "64", "--batch-plan", "4x2, 8"]) == 2
    assert "the batch plan says 4, then other sizes" in capsys.readouterr().err
    assert main([*line, "--elastic-batch", "4"]) == 2
    assert "--elastic-batch 4: batches begin with 8 images" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--elastic-batch with --sweep batch_size"):
        FinetuneCall(elastic_batch=64, sweep="batch_size=8,16")


def test_a_step_that_does_not_fit_is_taken_again_in_parts(images, tmp_path, monkeypatch):
    """The same weights, to the last bit, as with --accumulate of as many parts."""
    (tmp_path / "colours.toml").write_text(RECIPE)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--device", "cpu", "--split"]
    line += ["stratified", "--no-probe", "--phase-epochs", "2", "-o"]
    assert main([*line, str(tmp_path / "parts"), "--accumulate", "4"]) == 0
    inject(training, Supervised, most=lambda: 3, patch=monkeypatch.setattr)
    assert main([*line, str(tmp_path / "elastic"), "--elastic-batch", "8"]) == 0
    held = json.loads((tmp_path / "elastic" / "phase-1" / "batches.json").read_text())["held"]
    assert [(one["step"], one["parts"], one["why"]) for one in held] == [
        (0, 1, BEGUN),
        (0, 2, SHRUNK),
        (0, 4, SHRUNK),
        (5, 4, KEPT),
    ]
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("parts", "elastic")]
    assert models[0] == models[1]


def held_in(folder, phase=2):
    document = json.loads((folder / "run" / f"phase-{phase}" / "batches.json").read_text())
    return [(one["step"], one["size"], one["parts"], one["why"]) for one in document["held"]]


PLAN = {"batch_plan": "8", "optimiser": "sgd"}


@pytest.mark.slow
def test_two_processes_decide_as_one_and_have_its_weights(images, tmp_path):
    # The second one has room for no more than half of sixteen, so both stay there.
    joint = run(images, tmp_path / "two", processes=2, elastic_batch=32, fits=[64, 8], **PLAN)
    alone = run(images, tmp_path / "one", elastic_batch=16, fits=[64], **PLAN)
    assert joint.returncode == 0, joint.stderr
    assert alone.returncode == 0, alone.stderr
    assert held_in(tmp_path / "two") == [(0, 8, 1, BEGUN), (5, 16, 1, GROWN), (7, 16, 1, KEPT)]
    assert held_in(tmp_path / "one") == held_in(tmp_path / "two")
    for row, other in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-3, abs=1e-5)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for phase, state in first.items():
        for name, value in state.items():
            torch.testing.assert_close(second[phase][name], value, rtol=0, atol=1e-5, msg=f"{phase} {name}")


@pytest.mark.slow
def test_memory_that_runs_out_in_one_process_makes_parts_in_both(images, tmp_path):
    joint = run(images, tmp_path / "two", processes=2, elastic_batch=8, fits=[64, 2], **PLAN)
    parts = run(images, tmp_path / "parts", processes=2, accumulate=2, **PLAN)
    assert joint.returncode == 0, joint.stderr
    assert parts.returncode == 0, parts.stderr
    assert "batches stay 8 images, in 2 parts of 2 in each process" in joint.stderr
    assert held_in(tmp_path / "two")[:2] == [(0, 8, 1, BEGUN), (0, 8, 2, SHRUNK)]
    first, second = weights(tmp_path / "two"), weights(tmp_path / "parts")
    for phase, state in first.items():
        for name, value in state.items():
            assert torch.equal(second[phase][name], value), f"{phase} {name}"


@pytest.mark.slow
def test_a_killed_run_follows_what_was_decided(images, tmp_path):
    asked = {"elastic_batch": 16, "fits": [16], "dropout": 0.3, "batch_plan": "4", "noise_scale": True}
    whole = run(images, tmp_path / "whole", **asked)
    assert whole.returncode == 0, whole.stderr
    # In the epoch after the first growth; after a checkpoint; with less memory.
    for kill in ({"step": 12}, {"checkpoint": 1}, {"step": 3, "fits": [15]}, {"step": 4}):
        assert run(images, tmp_path / "killed", **{**asked, **kill}).returncode == -signal.SIGKILL
    ended = run(images, tmp_path / "killed", **asked)
    assert ended.returncode == 0, ended.stderr
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    assert held_in(tmp_path / "killed") == held_in(tmp_path / "whole")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    for phase, state in first.items():
        for name, value in state.items():
            assert torch.equal(second[phase][name], value), f"{phase} {name}"
