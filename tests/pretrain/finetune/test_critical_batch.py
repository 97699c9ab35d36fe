"""The critical batch size against a problem where it is known, and the branches it is measured by."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.files.results import read_results
from pretrain.finetune.branches import length, looks
from pretrain.finetune.critical_batch import factors, fit, measured
from pretrain.finetune.curve import Curve
from pretrain.finetune.noise_scale import compensation
from pretrain.finetune.options import FinetuneCall, FinetuneOptions
from pretrain.finetune.phase_options import Phase

D, SPEED = 400, 0.05
RECIPE = """
about = "head first, then all"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
batch_plan = "8"
optimiser = "sgd"

[[phase]]
name = "head"
train = "head"
epochs = 1
lr = 1e-3

[[phase]]
name = "whole"
train = "all"
epochs = 3
lr = 1e-2
head_lr = 2e-2
"""


def descended(size, noise_scale, seed, n_images=4096):
    """Plain descent on |w|^2 / 2, |G|^2 = |w|^2 and tr(S) = D s^2, at a share of the best rate of a size."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.ones(D)
    s = math.sqrt(noise_scale)
    rate = SPEED * compensation(size, 1, noise_scale, power=1.0) / (1 + noise_scale)  # by their rule
    losses, images = [float(w.square().sum() / 2)], [0.0]
    for step in range(n_images // size):
        gradient = w + s / math.sqrt(size) * torch.randn(D, generator=generator)
        w = w - rate * gradient
        losses.append(float(w.square().sum() / 2))
        images.append(float(size * (step + 1)))
    return Curve(np.array(images), np.zeros(len(images)), np.minimum.accumulate(losses))


@pytest.mark.parametrize("noise_scale", [16.0, 64.0, 256.0])
def test_it_is_the_noise_scale_of_a_quadratic_problem(noise_scale):
    sizes = [int(noise_scale * share) for share in (0.25, 1, 4)]
    found = []
    for seed in range(4):
        # Few of them, so that |G|^2 and with it the scale stay about what they are at the start.
        branches = {(b, 1.0): descended(b, noise_scale, seed, n_images=32 * sizes[-1]) for b in sizes}
        target = 0.9 * D / 2
        cut = {
            key: Curve(
                np.array([0.0, one.reached(target, one.images)]), np.zeros(2), np.array([D / 2, target])
            )
            for key, one in branches.items()
        }
        found.append(measured(cut, predicted=noise_scale).value)
    # |G|^2 falls by a tenth on the way, and the scale rises by as much.
    assert np.mean(found) == pytest.approx(noise_scale / 0.95, rel=0.1)


def test_the_line_is_the_trade_off_of_steps_against_examples():
    e_min, s_min = 3000.0, 40.0
    sizes = [8, 32, 64, 300]
    images = [e_min + s_min * b for b in sizes]
    assert fit(sizes, images) == pytest.approx((e_min, s_min))
    for b, e in zip(sizes, images, strict=True):
        assert (e / b / s_min - 1) * (e / e_min - 1) == pytest.approx(1)
    # Half the steps at half the size would be a rising gain, which no line of two positive parts has.
    assert fit([8, 16, 32], [800, 790, 780])[1] == 0
    assert fit([8, 16, 32], [800, 1700, 3500])[0] == 0


def curve(images, loss):
    return Curve(np.array(images, float), np.zeros(len(images)), np.array(loss, float))


def test_the_loss_is_the_lowest_that_all_sizes_reach_each_at_its_best_rate():
    branches = {
        (8, 1.0): curve([0, 100, 200], [2.0, 1.0, 0.5]),
        (16, 1.0): curve([0, 100, 200], [2.0, 1.9, 1.8]),
        (16, 2.0): curve([0, 100, 200], [2.0, 1.5, 1.0]),
        (16, 4.0): curve([0, 100, 200], [2.0, 2.0, 2.0]),  # went up, and its best is the start
    }
    found = measured(branches, predicted=10.0)
    assert found.target == 1.0
    assert [(one.size, one.factor, one.images) for one in found.each] == [(8, 1.0, 100), (16, 2.0, 200)]
    assert found.e_min == pytest.approx(0, abs=1e-6)
    assert "Critical batch size below 8 images, the smallest of the sizes" in found.sentence()
    assert found.sentence().endswith(
        "to a validation loss of 1 branches took 100 images at 8, 200 images at 16. "
        "The gradient noise scale predicts 10."
    )


def test_what_can_not_be_measured_is_said():
    flat = {(8, 1.0): curve([0, 100], [1.0, 1.0]), (16, 1.0): curve([0, 100], [1.0, 0.5])}
    found = measured(flat, predicted=None)
    assert math.isnan(found.value)
    assert found.record()["critical_batch"] is None
    assert "never came below the loss of its start" in found.sentence()
    free = {(8, 1.0): curve([0, 100], [1.0, 0.5]), (16, 1.0): curve([0, 100], [1.0, 0.5])}
    found = measured(free, predicted=math.inf)
    assert found.value == math.inf
    assert "above 16 images, the largest of the sizes: to a" in found.sentence()
    assert "hidden by the noise" in found.sentence()
    json.dumps(found.record(), allow_nan=False)


def test_rates_between_both_ends_of_what_a_size_can_want():
    assert factors(64, 64, power=1.0) == (1.0,)
    assert factors(256, 64, power=1.0) == (1.0, 2.0, 4.0)
    assert factors(16, 64, power=0.5) == pytest.approx((0.5, 0.5**0.5, 1.0))
    for scale in (0.0, 3.0, 64.0, 1e9, math.inf):
        assert 1 <= compensation(256, 64, scale, power=1.0) <= 4


def test_branches_of_as_many_images():
    phase = Phase(name="x", epochs=4)
    assert length(phase, 10_000, [16, 64]) == 64 * 64
    assert length(phase, 500, [16, 64]) == 2000
    with pytest.raises(
        UsageError, match="4 epochs of 100 images are fewer than 8 batches of 64. Give sizes of 50 or"
    ):
        length(phase, 100, [16, 64])
    with pytest.raises(UsageError, match="Give sizes of 30 or less"):
        length(Phase(name="x", epochs=100), 30, [16, 64])
    assert looks(4096, 64) == [4 * (i + 1) for i in range(16)]
    assert looks(40, 8) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("text", ["16", "16,16", "0,8", "8,-8"])
def test_what_is_no_list_of_sizes(text):
    with pytest.raises(UsageError, match="--critical-batch"):
        FinetuneOptions(critical_batch=tuple(int(size) for size in text.split(",")))


def test_variants_have_none():
    with pytest.raises(UsageError, match="--critical-batch with --sweep"):
        FinetuneCall(critical_batch=(8, 16), sweep="lr=1,2")
    with pytest.raises(UsageError, match="--critical-batch with --beside-normal"):
        FinetuneCall(critical_batch=(8, 16), beside_normal=True)


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(0, 160, (40, 40, 3), dtype=np.uint8)
            pixels[..., channel] += 90
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i:02}.png")
    return tmp_path / "images"


def test_branches_leave_the_training_as_it_is_and_are_on_the_page(images, tmp_path, capsys):
    (tmp_path / "colours.toml").write_text(RECIPE)
    line = ["finetune", str(images), "--recipe", str(tmp_path / "colours.toml"), "--device", "cpu", "--split"]
    line += ["stratified", "--no-probe", "-o"]
    assert main([*line, str(tmp_path / "plain")]) == 0
    capsys.readouterr()
    assert main([*line, str(tmp_path / "measured"), "--critical-batch", "4,8,12"]) == 0
    said = capsys.readouterr().err
    assert (
        said.count("Branch of 126 images in batches of") == 7
    )  # three rates each, and one of the recipe's own size
    logs = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("plain", "measured")]
    assert logs[0] == logs[1]
    (result,) = read_results(tmp_path / "measured" / "results.jsonl")
    found = result.outcomes["critical_batch"]
    assert [one["size"] for one in found["each"]] == [4, 8, 12]
    assert found["noise_scale"] is None or found["noise_scale"] >= 0
    assert "Critical batch size" in said
    page = (tmp_path / "measured" / "report.html").read_text()
    assert "critical batch size, measured" in page
    # Asked for later it is measured without training again; the same call again measures nothing.
    assert main([*line, str(tmp_path / "plain"), "--critical-batch", "4,8,12"]) == 0
    later = capsys.readouterr().err
    assert "Critical batch size" in later
    assert later.count("steps done already") == 2
    assert main([*line, str(tmp_path / "measured"), "--critical-batch", "4,8,12"]) == 0
    assert capsys.readouterr().err.count("steps done already") == 9
    assert main([*line, str(tmp_path / "x"), "--critical-batch", "4,40"]) == 2
    assert "--critical-batch: 3 epochs of 42 images are fewer than 8 batches of 40" in capsys.readouterr().err
