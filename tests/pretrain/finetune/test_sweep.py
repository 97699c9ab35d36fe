"""A key of a recipe at several values, over seeds, with paired tests."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.scoring.outcomes import Outcomes
from embedkit.scoring.paired import holm, paired_difference
from pretrain.finetune.options import FinetuneCall
from pretrain.finetune.recipe import read_recipe
from pretrain.finetune.sweep_plan import KEYS, Sweep
from pretrain.finetune.variants import _said, paired_tests

RECIPE = """
about = "all of it"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
batch_plan = "8"

[[phase]]
name = "whole"
train = "all"
epochs = 2
lr = 1e-3
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green")):
        (folder / name).mkdir()
        for i in range(20):
            pixels = random.integers(0, 200, (40, 40, 3), dtype=np.uint8)
            pixels[..., channel] += 20
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "colours.toml"
    path.write_text(RECIPE)
    return path


def test_one_table_with_the_spread_over_seeds_and_holms_tests(images, recipe, tmp_path, capsys):
    out = tmp_path / "out"
    line = ["finetune", str(images), "--recipe", str(recipe), "-o", str(out), "--device", "cpu", "--split"]
    line += ["stratified", "--seeds", "2", "--sweep", "batch_size=4,8,14"]
    assert main(line) == 0
    said = capsys.readouterr()
    assert said.err.count("probe test_vit") + said.err.count("Frozen: ") == 1  # of all sizes together
    assert "batch_size 4, 8, 14" in said.out
    assert "Holm's correction for 3 tests" in said.out
    with (out / "variants.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["batch_size"], row["seed"]) for row in rows] == [
        (size, seed) for size in ("4", "8", "14") for seed in ("0", "1")
    ]
    # 28 train in whole batches, twice.
    assert [float(row["images_seen"]) for row in rows] == [56, 56, 48, 48, 56, 56]
    with (out / "variant-pairs.csv").open(newline="") as stream:
        pairs = list(csv.DictReader(stream))
    p, adjusted = ([float(pair[name]) for pair in pairs] for name in ("p", "p_holm"))
    assert adjusted == pytest.approx(list(holm(np.array(p))))
    board = embedkit.leaderboard(out)
    methods = {run.method for entry in board.groups()[0][1] for run in entry.runs if run.task == "finetune"}
    assert methods == {f"colours-batch_size={size}" for size in (4, 8, 14)}
    # The same call again trains nothing, and says the same.
    assert main([*line, "--json"]) == 0
    again = capsys.readouterr()
    assert again.err.count("steps done already") == 6
    document = json.loads(again.out)
    assert document["sentence"] in said.out.replace("\n", " ")
    assert [pair["p_holm"] for pair in document["pairs"]] == pytest.approx(adjusted)


def test_what_can_not_be_trained_is_refused_before_anything_is(images, recipe, tmp_path, capsys):
    line = ["finetune", str(images), "--recipe", str(recipe), "-o", str(tmp_path / "x"), "--no-probe"]
    line += ["--device", "cpu", "--split", "stratified"]
    assert main([*line, "--sweep", "batch_size=8,64"]) == 2
    assert "a batch of 64 is more than the 28 images" in capsys.readouterr().err
    assert not list((tmp_path / "x").glob("**/checkpoint.pt"))
    assert main([*line, "--sweep", "label_smoothing=0,1"]) == 2
    assert "label_smoothing" in capsys.readouterr().err
    assert main([*line, "--sweep", "batch_size=4,8", "--batch-plan", "8"]) == 2
    assert "--batch-plan with --sweep batch_size=...: both say the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size", "Give a key and two values or more"),
        ("batch_size=", "Give a key and two values or more"),
        ("batch_size=8", "Give a key and two values or more"),
        ("batch_size=8,", "Give a key and two values or more"),
        ("batch_size=8,08", "08 stands there twice"),
        ("weight_decay=0.1,1e-1", "1e-1 stands there twice"),
        ("batch_size=8,-8", "'-8' is no number of images"),
        ("batch_size=8,x", "'x' is no number of images"),
        ("batchsize=8,16", "no key 'batchsize' to sweep. Did you mean 'batch_size'"),
        ("lr=1e-3,fast", "fast"),
        ("backbone=a,b", "no key 'backbone' to sweep"),
    ],
)
def test_what_is_no_sweep(text, words):
    with pytest.raises(UsageError, match="--sweep") as error:
        FinetuneCall(sweep=text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("batch_size=16,32", lambda r: r.batch_plan == "32"),
        ("weight_decay=0,0.5", lambda r: r.weight_decay == 0.5),
        ("optimiser=adam,sgd", lambda r: r.optimiser == "sgd"),
        ("dropout=0,0.5", lambda r: r.head.dropout == 0.5),
        ("lr=1e-2,1e-4", lambda r: {phase.lr for phase in r.phases} == {1e-4}),
        ("epochs=1,7", lambda r: {phase.epochs for phase in r.phases} == {7}),
    ],
)
def test_a_value_comes_into_the_recipe(recipe, text, found):
    sweep, read = Sweep.parse(text), read_recipe(str(recipe))
    assert found(sweep.recipe(read, sweep.values[1]))


@pytest.mark.parametrize("text", ["optimiser=sgd,adan", "layer_decay=1,2", "dropout=0,1", "epochs=1,0"])
def test_a_value_that_the_recipe_can_not_have_is_named(recipe, text):
    sweep = Sweep.parse(text)
    with pytest.raises(UsageError, match=f"--sweep, {sweep.key} = {sweep.values[1]}: "):
        sweep.recipe(read_recipe(str(recipe)), sweep.values[1])


def test_every_key_is_one_of_a_recipe():
    for key in KEYS:
        with pytest.raises(ValueError, match=r"Give a key|stands there twice"):
            Sweep.parse(f"{key}=")


def outcomes(right):
    right = np.asarray(right, np.float64)
    ids = np.array([f"{i:03}" for i in range(len(right))])
    return Outcomes(ids, right[:, None], "same")


def test_pairs_are_those_of_the_images_themselves():
    random = np.random.default_rng(0)
    a, b, c = (random.random(200) < p for p in (0.6, 0.6, 0.8))
    pairs = paired_tests(["a", "b", "c"], [[outcomes(x)] for x in (a, b, c)])
    alone = [paired_difference(x.astype(float), y.astype(float)) for x, y in ((a, b), (a, c), (b, c))]
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.difference for pair in pairs] == alone
    assert [pair.p_holm for pair in pairs] == pytest.approx(list(holm(np.array([one.p for one in alone]))))


def test_other_images_are_not_paired():
    one, other = outcomes([1, 0]), outcomes([1, 0])
    other = Outcomes(other.ids, other.score, "others")
    with pytest.raises(EmbedkitError, match="a and b tested other images"):
        paired_tests(["a", "b"], [[one], [other]])


def test_a_difference_is_said_from_the_better_one():
    right, wrong = outcomes([1] * 90 + [0] * 10), outcomes([0] * 30 + [1] * 60 + [0] * 10)
    ((worse_first,), (better_first,)) = (
        paired_tests(["p", "q"], [[one], [other]]) for one, other in ((wrong, right), (right, wrong))
    )
    said = _said(worse_first, of_classes=True)
    assert said.startswith("q better than p by 30.0 points (95 % interval of its own +2")
    assert _said(better_first, of_classes=True) == said.replace("q better than p", "p better than q")
