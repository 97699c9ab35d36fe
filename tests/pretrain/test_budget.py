"""A schedule from a budget of time: its arithmetic, a clock that is given, a run that is gone on with."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from embedkit.cli import main
from embedkit.errors import UsageError
from pretrain import budget
from pretrain.budget import Measured, batch_of, rate_of, schedule_of, sentences
from pretrain.options import PretrainCall, PretrainOptions
from pretrain.schedules import warmup_steps
from pretrain.trainer import Run

HALF_HOUR = PretrainOptions(minutes=30)
# 23 images/s, a look of ten seconds, a minute gone.
MEASURED = Measured(32, 1 / 23, 10.0, 60.0)


def test_the_epochs_fit_into_the_budget_with_their_looks():
    found = schedule_of(MEASURED, 3400, HALF_HOUR)
    of_epoch = 3400 // 32 * 32

    def takes(epochs):
        return 60 + 10 + epochs * (of_epoch / 23 + 10)

    assert takes(found.epochs) <= 0.95 * 1800 < takes(found.epochs + 1)
    rare = schedule_of(MEASURED, 3400, PretrainOptions(minutes=30, monitor_every=100))
    assert rare.epochs >= found.epochs
    said = sentences(found, 3400, HALF_HOUR)
    steps = 106 * found.epochs
    assert said[0].startswith(
        f"At 23 images/s, 30 minutes are {32 * steps:,} images: {found.epochs} epochs of 3,392, {steps:,} "
        "steps of 32, the first 106 to warm up, at a peak rate of 0.000707. "
        f"{found.epochs + 1} looks at held-out images"
    )
    assert warmup_steps(106, steps) == 106
    assert len(said) == 1


def test_a_budget_below_what_helped_is_said_and_the_one_that_is_named_suffices():
    short = PretrainOptions(minutes=6)
    found = schedule_of(MEASURED, 3400, short)
    warned = sentences(found, 3400, short)[1]
    assert "That is little: 11,328 to 21,120 images have helped, 3,520 have not" in warned
    enough = PretrainOptions(minutes=float(warned.rpartition("--minutes ")[2].rstrip(".")) + 3)
    assert len(sentences(schedule_of(MEASURED, 3400, enough), 3400, enough)) == 1


def test_no_time_for_an_epoch_names_the_least_budget():
    with pytest.raises(
        UsageError, match=r"--minutes 2: one epoch of 3,392 images takes 2.5 minutes at 23 im"
    ) as e:
        schedule_of(MEASURED, 3400, PretrainOptions(minutes=2))
    least = float(str(e.value).partition("Give --minutes ")[2].split()[0])
    assert schedule_of(MEASURED, 3400, PretrainOptions(minutes=least)).epochs == 1
    with pytest.raises(UsageError):
        schedule_of(MEASURED, 3400, PretrainOptions(minutes=least - 1))


@pytest.mark.parametrize(
    ("n_images", "n_rows", "more", "unit", "expected"),
    [
        (0, 10_000, {}, 1, 16),
        (660 * 32, 10_000, {}, 1, 32),
        (660 * 64 - 1, 10_000, {}, 1, 32),
        (10**9, 10_000, {}, 1, 512),
        (10**9, 200, {}, 1, 32),  # four steps an epoch
        (0, 10_000, {"method": "vicreg"}, 1, 64),
        (10**9, 10_000, {"batch_size": 48}, 1, 48),
        (660 * 32, 10_000, {}, 3, 30),
        (0, 10, {}, 4, 4),
    ],
)
def test_a_batch_leaves_the_steps_that_have_helped(n_images, n_rows, more, unit, expected):
    assert batch_of(n_images, n_rows, PretrainOptions(minutes=30, **more), unit=unit) == expected


def test_the_rate_follows_the_root_of_the_batch():
    assert rate_of(64, HALF_HOUR) == 1e-3
    assert rate_of(256, HALF_HOUR) == 2e-3
    assert rate_of(16, PretrainOptions(minutes=30, method="dino")) == 2.5e-4
    assert rate_of(16, PretrainOptions(minutes=30, lr=0.1)) == 0.1


def test_what_a_budget_excludes():
    with pytest.raises(UsageError, match="--minutes 30 with --epochs 10: both say how long to train"):
        PretrainCall(minutes=30, epochs=10)
    with pytest.raises(UsageError, match="--minutes 0"):
        PretrainCall(minutes=0)
    plain = PretrainCall()
    assert (plain.epochs, plain.batch_size) == (10, 64)


@pytest.fixture
def line(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(40):
        pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03}.png")
    words = ["pretrain", str(tmp_path / "images"), "--backbone", "test_vit", "--random-init", "0"]
    words += ["--image-size", "32", "--resize", "32", "--held-out", "8", "--device", "cpu"]
    return [*words, "--method", "dino", "--local-size", "32", "--prototypes", "16", "-o"]


def ticking(seconds):
    now = [0.0]

    def clock():
        now[0] += seconds
        return now[0]

    return clock


def test_the_schedule_is_measured_once_and_stays(line, tmp_path, monkeypatch, capsys):
    # Two trials: of each batch 5 steps, between which two looks at the clock pass.
    monkeypatch.setattr(budget, "clock", ticking(1.0))
    folder = tmp_path / "run"
    words = [*line, str(folder), "--minutes", "0.5"]
    update, done = Run.update, []

    def until(self, batch):
        done.append(len(batch.rows))
        if self.folder == folder and self.step == 5:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Run, "update", until)
    assert main(words) != 0
    said = " ".join(capsys.readouterr().err.split())
    kept = json.loads((folder / "schedule.json").read_text())["schedule"]
    assert kept["batch_size"] == 8  # a quarter of 32
    assert kept["epochs"] > 2
    assert f"{kept['epochs']} epochs of 32" in said
    assert "images have helped" in said
    monkeypatch.setattr(Run, "update", update)
    monkeypatch.setattr(budget, "clock", ticking(100.0))  # so slow that there would be no time for an epoch
    assert main(words) == 0
    assert "the schedule that this run was begun with" in " ".join(capsys.readouterr().err.split())
    assert json.loads((folder / "schedule.json").read_text())["schedule"] == kept
    same = ["--epochs", str(kept["epochs"]), "--batch-size", "8", "--lr", str(kept["lr"])]
    assert main([*line, str(tmp_path / "plain"), *same]) == 0
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("run", "plain")]
    assert states[0]["step"] == 4 * kept["epochs"]
    for key, value in states[0]["student"].items():
        assert torch.equal(states[1]["student"][key], value), key
    capsys.readouterr()
    assert main([*words, "--seed", "1"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "schedule.json: was begun with other options (seed: 0 there, 1 asked for)" in said
    older = json.loads((folder / "schedule.json").read_text())
    del older["asked"]["centering"]  # an option that is younger had its default then
    (folder / "schedule.json").write_text(json.dumps(older))
    assert main(words) == 0
    assert main([*line, str(tmp_path / "plain"), "--minutes", "1"]) == 1
    assert "has a run without --minutes" in " ".join(capsys.readouterr().err.split())
    (folder / "schedule.json").write_text("{}")
    assert main(words) == 1
    assert "schedule.json: damaged" in " ".join(capsys.readouterr().err.split())


def test_no_room_for_a_larger_batch_halves_it(monkeypatch):
    seen = []

    def measured(begin, options, *, started):
        seen.append(options.batch_size)
        if options.batch_size > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return Measured(options.batch_size, 0.001, 0.1, 1.0)

    monkeypatch.setattr(budget, "measure", measured)
    options = PretrainOptions(minutes=10, device="cpu")
    assert budget.decide(None, 100_000, options, started=0.0).batch_size == 64
    assert seen == [16, 512, 256, 128, 64]
