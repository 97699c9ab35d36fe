"""`embedkit pretrain --seeds`: several trainings in one call, each that of its seed alone."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from embedkit.cli import main
from pretrain.over_seeds import sentences, summary

LINE = [
    "--backbone",
    "test_vit",
    "--random-init",
    "0",
    "--image-size",
    "32",
    "--resize",
    "32",
    "--device",
    "cpu",
]
LINE += ["--batch-size", "8", "--held-out", "8", "--method", "vicreg", "--epochs", "2"]


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i:03}.png")
    return tmp_path / "images"


def test_each_training_is_that_of_its_seed_alone(images, tmp_path, capsys):
    line = ["pretrain", str(images), *LINE]
    assert main([*line, "--seeds", "2", "--seed", "3", "-o", str(tmp_path / "both")]) == 0
    said = capsys.readouterr().err
    assert "2 trainings kept the epochs" in said
    assert main([*line, "--seed", "4", "-o", str(tmp_path / "four")]) == 0
    for name in ("model.safetensors", "chosen.json", "model-last.safetensors"):
        together, alone = tmp_path / "both" / "seed-4" / name, tmp_path / "four" / name
        assert together.read_bytes() == alone.read_bytes()
    other = tmp_path / "both" / "seed-3" / "model.safetensors"
    assert other.read_bytes() != (tmp_path / "four" / "model.safetensors").read_bytes()
    kept = json.loads((tmp_path / "both" / "seeds.json").read_text())
    assert [one["seed"] for one in kept["seeds"]] == [3, 4]
    chosen = [json.loads((tmp_path / "both" / f"seed-{s}" / "chosen.json").read_text()) for s in (3, 4)]
    assert [{k: v for k, v in one.items() if k != "seed"} for one in kept["seeds"]] == chosen
    # Given again, each goes on from what it has.
    assert main([*line, "--seeds", "2", "--seed", "3", "-o", str(tmp_path / "both")]) == 0
    assert json.loads((tmp_path / "both" / "seeds.json").read_text()) == kept
    # And neither kind lies in the folder of the other.
    assert main([*line, "--seed", "3", "-o", str(tmp_path / "both")]) == 2
    assert "holds runs of several seeds (seed-3)" in capsys.readouterr().err
    assert main([*line, "--seeds", "2", "-o", str(tmp_path / "four")]) == 2
    assert "holds the run of one seed (checkpoint.pt)" in capsys.readouterr().err


def record(start, chosen):
    return {"epoch": 2, "last_epoch": 3, "knn_accuracy": {"start": start, "chosen": chosen, "last": chosen}}


def test_the_gain_has_students_interval(tmp_path):
    gains = np.array([0.05, 0.07, 0.02])
    found = summary([0, 1, 2], [record(0.5, 0.5 + gain) for gain in gains])
    low, high = stats.t.interval(0.95, 2, loc=gains.mean(), scale=stats.sem(gains))
    assert (found["gain"]["low"], found["gain"]["high"]) == pytest.approx((low, high))
    words = " ".join(sentences(found, tmp_path))
    assert (
        "+4.7 points over the start, -1.6 to +10.9 (Student's t over the trainings): neither surely" in words
    )
    sure = summary([0, 1, 2], [record(0.5, 0.6), record(0.5, 0.61), record(0.5, 0.62)])
    assert "up." in " ".join(sentences(sure, tmp_path))
    assert summary([0, 1], [{"epoch": 1, "last_epoch": 2}] * 2)["gain"] is None


def test_what_goes_together(images, tmp_path, capsys):
    assert (
        main(["pretrain", str(images), *LINE, "--seeds", "2", "--show-views", "-o", str(tmp_path / "o")]) == 2
    )
    assert "--show-views with --seeds" in capsys.readouterr().err
