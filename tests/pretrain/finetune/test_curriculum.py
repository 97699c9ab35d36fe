"""A curriculum beside normal training: at equal images, at equal time, to the same loss."""

import json

import numpy as np
import pytest
from scipy.stats import t

from embedkit.cli import main
from embedkit.errors import UsageError
from pretrain.finetune.curriculum import OverSeeds, at_equal, normal, ratios, sentences
from pretrain.finetune.curve import Curve
from pretrain.finetune.recipe import RECIPES, read_recipe

RECIPE = """
about = "sure galaxies first"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
loss = "rmse"
batch_plan = "4"

[head]
output = "sigmoid"

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


def curve(seconds, loss, images=None):
    log = [
        {
            "epoch": float(i),
            "images": float(i if images is None else images[i]),
            "seconds": s,
            "validation_loss": v,
        }
        for i, (s, v) in enumerate(zip(seconds, loss, strict=True))
    ]
    return Curve.of(tuple(log))


def test_the_shipped_curriculum_becomes_one_phase_of_as_many_images():
    recipe = read_recipe("convnext-small-curriculum")
    plain = normal(recipe, recipe.phases, [0.3, 0.3, 0.4])
    assert [(p.rows, p.epochs) for p in plain.phases] == [("all", 20)]
    settings = {"lr": 1e-4, "head_lr": 5e-4, "schedule": "constant", "train": "last-stages:2"}
    assert {name: getattr(plain.phases[0], name) for name in settings} == settings
    straight = read_recipe("convnext-small")
    assert {**vars(plain.phases[0]), "name": ""} == {**vars(straight.phases[0]), "name": ""}


def test_phases_that_differ_otherwise_stay_and_are_as_long():
    recipe = read_recipe("convnext-small-curriculum")
    from dataclasses import replace

    phases = (*recipe.phases[:2], replace(recipe.phases[2], lr=1e-5, warmup_epochs=4))
    plain = normal(recipe, phases, [0.25, 0.25, 0.04])
    assert [(p.rows, p.epochs, p.lr, p.warmup_epochs) for p in plain.phases] == [
        ("all", 10, 1e-4, 0),
        ("all", 1, 1e-5, 0),
    ]


def test_what_is_no_curriculum_is_refused():
    name = next(name for name in RECIPES if "curriculum" not in name)
    recipe = read_recipe(name)
    with pytest.raises(UsageError, match="--beside-normal: no phase of the recipe takes rows by label"):
        normal(recipe, recipe.phases, [1.0] * len(recipe.phases))


def test_the_place_where_a_loss_is_reached():
    found = curve([0, 2, 2, 2], [1.0, 0.5, 0.7, 0.1])
    assert found.loss.tolist() == [1.0, 0.5, 0.5, 0.1]
    assert found.seconds.tolist() == [0, 2, 4, 6]
    assert found.reached(0.75, found.seconds) == 1
    assert found.reached(0.3, found.seconds) == 5
    assert found.reached(2.0, found.seconds) == 0
    assert found.reached(0.01, found.seconds) == np.inf
    assert found.at(1, found.seconds) == 0.75
    gaps = Curve.of(
        ({"epoch": 0.0, "images": 0.0}, {"epoch": 1.0, "images": 5.0, "seconds": 3.0, "validation_loss": 1.0})
    )
    assert (gaps.images.tolist(), gaps.seconds.tolist()) == ([5.0], [3.0])


def test_seventeen_percent_faster():
    random = np.random.default_rng(0)
    loss = np.exp(-np.arange(30) / 8)
    faster = 0.83 * np.exp(0.02 * random.standard_normal(5))
    pairs = [
        (curve([0, *[f] * 29], loss, np.arange(30) * 100), curve([0, *[1.0] * 29], loss, np.arange(30) * 100))
        for f in faster
    ]
    found = ratios(pairs, "seconds")
    logs = np.log(faster)
    half = t.ppf(0.975, 4) * logs.std(ddof=1) / np.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx(
        (logs.mean(), logs.mean() - half, logs.mean() + half)
    )
    assert ratios(pairs, "images").value == 0
    where, difference = at_equal(pairs, "seconds")
    assert where == pytest.approx(29 * faster.min())
    assert difference.high < 0  # at equal time the faster one is lower
    assert at_equal(pairs, "images")[1].value == 0
    said = sentences(pairs)
    assert said[0].startswith(
        "The curriculum is 17 % faster to the same validation loss (-17 % seconds, 95 % interval -18 to"
    )
    assert said[1] == (
        "By the images to the same validation loss, the curriculum and normal training can't be told apart "
        "(+0 %, 95 % interval +0 to +0, 5 runs)."
    )


def test_one_seed_has_no_interval_and_a_start_that_stays_best_is_said():
    one = curve([0, 1, 1], [1.0, 0.5, 0.4])
    assert "(one run, so no interval)" in sentences([(one, one)])[0]
    flat = curve([0, 1, 1], [1.0, 1.0, 1.0])
    assert "never came below the loss of its start" in sentences([(flat, one)])[0]
    assert OverSeeds.of([1.0, 3.0]).n == 2


def test_the_command(tmp_path, capsys):
    recipe = tmp_path / "sure.toml"
    recipe.write_text(RECIPE)
    out = tmp_path / "out"
    line = [
        "finetune",
        "simulated",
        "--votes",
        "--n",
        "120",
        "--size",
        "40",
        "--recipe",
        str(recipe),
        "-o",
        str(out),
    ]
    line += ["--device", "cpu", "--no-probe", "--seeds", "2", "--beside-normal", "--json"]
    assert main(line) == 2  # of 120 images, auto makes folds
    assert "the 5 folds of a seed share images. Give --split stratified" in capsys.readouterr().err
    line += ["--split", "stratified"]
    assert main(line) == 0
    said = json.loads(capsys.readouterr().out)
    rows = said["variants"]
    assert [row["training"] for row in rows] == ["curriculum"] * 2 + ["normal"] * 2
    images = {row["training"]: row["images_seen"] for row in rows}
    # Both see about twice the rows; parts of a batch and of an epoch are left out.
    assert abs(images["curriculum"] - images["normal"]) <= 84 / 2
    assert "to the same validation loss" in said["more"][0]
    assert said["sentence"].startswith("training curriculum, normal")
    assert main([*line, "--sweep", "batch_size=2,4"]) == 2
    assert "--sweep with --beside-normal" in capsys.readouterr().err
    plain = tmp_path / "plain.toml"
    plain.write_text(RECIPE.replace('rows = ">0.7"', 'rows = "all"').replace('rows = "<0.7"', 'rows = "all"'))
    line[line.index(str(recipe))] = str(plain)
    capsys.readouterr()
    assert main(line) == 2
    assert "so it is normal training already" in capsys.readouterr().err


def test_a_stage_with_too_few_images_is_refused_before_any_is_trained(tmp_path, capsys):
    recipe = tmp_path / "sure.toml"
    recipe.write_text(RECIPE)
    line = ["finetune", "simulated", "--votes", "--n", "120", "--size", "40", "--recipe", str(recipe)]
    line += ["-o", str(tmp_path / "out"), "--split", "stratified", "--batch-plan", "64", "--no-probe"]
    assert main(line) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "label confidence >0.7: batch_plan '64': a batch of 64 is more than the" in said
    assert "epoch" not in said
    recipe.write_text(RECIPE.replace('rows = "<0.7"', 'rows = "<0.01"'))
    assert main([*line[:-2], "8", "--no-probe"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "no training image has a label confidence of <0.01" in said
    assert "epoch" not in said
    assert main([*line[:-2], "8", "--no-probe", "--volunteers", "3"]) == 2
    assert "--volunteers is of the losses multinomial and dirichlet, and the recipe has rmse" in " ".join(
        capsys.readouterr().err.split()
    )
