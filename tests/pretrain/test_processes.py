"""Two processes train what one trains on their joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from joint_batch import RUNS, SPEC, train

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from pretrain import ranks
from pretrain.options import PretrainOptions
from pretrain.without_labels import WithoutLabels

SCRIPT = Path(__file__).with_name("joint_batch.py")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes leave of every run."""
    folder = tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(SCRIPT), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2, loss") == len(RUNS)  # one process speaks for both
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_have_the_losses_and_weights_of_one(name, two, tmp_path):
    train(name, tmp_path)
    alone, joint = (torch.load(folder / f"{name}.pt", weights_only=True) for folder in (tmp_path, two))
    assert len(alone["log"]) == 3
    for one, other in zip(alone["log"], joint["log"], strict=True):
        assert {**other, "seconds": 0} == pytest.approx({**one, "seconds": 0}, rel=1e-3, abs=1e-5)
    for key, value in alone["last"].items():
        torch.testing.assert_close(joint["last"][key], value, rtol=1e-3, atol=1e-5, msg=key)
    # Each wrote a checkpoint that the other way of running could go on from.
    kept = [
        torch.load(folder / name / "checkpoint.pt", weights_only=True)["student"]
        for folder in (tmp_path, two)
    ]
    assert {k: v.shape for k, v in kept[0].items()} == {k: v.shape for k, v in kept[1].items()}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells the names of threads")
def test_process_groups_end_with_their_threads(two):
    # One that outlives the interpreter aborts it, now and then.
    for number in range(2):
        names = (two / f"threads-{number}").read_text()
        assert names
        assert "gloo" not in names


def test_what_processes_can_not_share_is_refused(monkeypatch):
    pixels = torch.zeros(32, 3, 40, 40, dtype=torch.uint8)
    options = {"batch_size": 8, "held_out": 8, "epochs": 2, "local_views": 0, "device": "cpu"}
    with pytest.raises(UsageError, match="--fsdp spreads a model over processes. Start several with"):
        WithoutLabels(load_backbone(SPEC), pixels, PretrainOptions(**options, fsdp=True))
    monkeypatch.setattr(ranks, "world", lambda: 3)
    with pytest.raises(UsageError, match="--batch-size 8 does not divide into equal parts for 3 processes"):
        WithoutLabels(load_backbone(SPEC), pixels, PretrainOptions(**options))
    monkeypatch.setattr(ranks, "world", lambda: 2)
    cnn = BackboneSpec("test_resnet", random_init=0, preprocessing=SPEC.preprocessing)
    with pytest.raises(UsageError, match="test_resnet has batch normalisation, which PyTorch synchronises"):
        WithoutLabels(load_backbone(cnn), pixels, PretrainOptions(**options, method="vicreg"))
