"""The command, on a miniature ViT and images whose class is their colour."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import embedkit
from embedkit.backbones.saved_network import read_about, read_network
from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.files.tables import APPLIED_CLASSES, CLASS_PREDICTIONS, read_table
from embedkit.files.training import read_record
from pretrain.finetune.report import unfinished_sentence

RECIPE = """
about = "head first, then all"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
augmentation = ["flip", "rotate"]
batch_plan = "8"

[[phase]]
name = "head"
train = "head"
epochs = 2
lr = 1e-2

[[phase]]
name = "whole"
train = "all"
epochs = 2
lr = 1e-3
stop_after = 2
"""
NOT_SQUARE = (40, 52)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    random = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir()
        for i in range(20):
            pixels = random.integers(0, 120, (*NOT_SQUARE, 3), dtype=np.uint8)
            pixels[..., channel] += 60
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "colours.toml"
    path.write_text(RECIPE)
    return path


def command(images, recipe, out, *more):
    line = ["finetune", str(images), "--recipe", str(recipe), "-o", str(out), "--device", "cpu"]
    return [*line, "--split", "stratified", *more]


@pytest.fixture(scope="module")
def run(images, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert main(command(images, recipe, out)) == 0
    return out


def test_it_learns_and_says_what_training_bought(run, images, recipe, capsys):
    assert main(command(images, recipe, run)) == 0  # again: nothing is trained, everything is there
    said = capsys.readouterr()
    assert "has its 10 steps done already" in said.err
    assert "Training and a linear probe of pixels:32 can't be told apart" in said.out
    assert "Copies: 0 of 9 test images" in said.err
    by_task = {result.task: result for result in read_results(run / "results.jsonl")}
    trained = by_task["finetune"]
    assert trained.metrics["accuracy"].value > trained.metrics["majority_accuracy"].high
    assert trained.method == "colours"
    assert trained.outcomes["epochs"] == [4]
    assert trained.outcomes["images_seen"] == [2 * 40 + 2 * 40]  # of 42, in batches of 8
    assert trained.outcomes["n_trainable"] == trained.outcomes["n_parameters"]
    assert trained.split == by_task["probe"].split
    predicted = read_table(run / "predictions-colours.csv", CLASS_PREDICTIONS)
    probed = read_table(run / by_task["probe"].provenance["predictions"], CLASS_PREDICTIONS)
    assert predicted["id"].tolist() == probed["id"].tolist()
    assert predicted["split"].tolist() == probed["split"].tolist()
    log = (run / "log.csv").read_text().splitlines()
    assert log[0].split(",")[:3] == ["epoch", "loss", "seconds"]
    assert "validation_loss" in log[0]
    assert len(log) == 1 + 5
    record = read_record(run)
    assert (record.kind, record.method, record.dataset) == (
        "training with labels",
        "colours",
        trained.dataset,
    )
    assert record.fingerprint == trained.provenance["dataset"]["fingerprint"]
    words = shlex.split(record.command)
    assert words[:3] == ["embedkit", "finetune", str(images)]
    assert words[-2:] == ["-o", str(run)]


def test_its_page_asks_no_network_and_shows_scores_losses_views_and_the_recipe(run):
    page = (run / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for words in ("balanced accuracy", "validation loss 1", "images seen", "head first, then all"):
        assert words in page
    assert "--image-size 32 --resize 32 -o after.h5" in page
    assert page.count("<td class=number>3</td>") == 3  # test images a class
    assert len(re.findall(r'<td class="number strong" style="[^"]*,0\.940\)">3</td>', page)) == 3  # all right
    assert "embedkit finetune " in page


def test_it_stands_on_the_leaderboard_beside_the_probe_and_is_tested_against_it(run, capsys):
    board = embedkit.leaderboard(run)
    (group,) = board.groups()
    assert [entry.runs[0].task for entry in group[1]] in (["finetune", "probe"], ["probe", "finetune"])
    assert all(entry.rank is not None for entry in group[1])


def test_predict_says_what_the_test_rows_were_scored_by(run, images, tmp_path, capsys):
    out = tmp_path / "said.csv"
    assert main(["predict", str(run / "model"), str(images), "-o", str(out), "--device", "cpu"]) == 0
    assert "too good to be true" in capsys.readouterr().err
    said = read_table(out, APPLIED_CLASSES)
    scored = read_table(run / "predictions-colours.csv", CLASS_PREDICTIONS)
    of_id = dict(zip(said["id"].tolist(), said["predicted"].tolist(), strict=True))
    assert [of_id[name] for name in scored["id"].tolist()] == scored["predicted"].tolist()
    total = sum(said.repeated("probability").values())
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_predict_is_the_network_on_images_as_timm_prepares_them(run, images):
    from timm.data import create_transform

    saved = read_network(run / "model")
    own = saved.about.preprocessing
    transform = create_transform(
        input_size=(3, 32, 32), interpolation=own.interpolation, mean=own.mean, std=own.std, crop_pct=1.0
    )
    path = images / "red" / "00.png"
    with Image.open(path) as image, torch.inference_mode():
        raw = saved.network(transform(image)[None])
    p = (raw.double() / saved.about.temperature).softmax(dim=1)[0].numpy()
    said = embedkit.predict(run / "model", images, None, device="cpu")
    place = said.ids.tolist().index("red/00.png")
    # Both round pixels once; a resized one may differ by 1 of 255.
    np.testing.assert_allclose(said.outputs[place], p, atol=0.02)
    assert said.known.names == ("blue", "green", "red")


def test_the_trained_backbone_gives_features_whose_head_gives_the_predictions(run, images, tmp_path):
    features = tmp_path / "after.h5"
    weights = run / "model" / "model.safetensors"
    line = ["extract", str(images), "--backbone", "test_vit", "--weights", str(weights), "-o", str(features)]
    line += [
        "--image-size",
        "32",
        "--resize",
        "32",
        "--pool",
        "model",
        "--precision",
        "fp32",
        "--device",
        "cpu",
    ]
    assert main(line) == 0
    saved = read_network(run / "model")
    with FeatureFile(features) as file:
        raw = saved.network.head(torch.from_numpy(file.read()))
        ids = file.rows.ids.tolist()
    p = (raw.double() / saved.about.temperature).softmax(dim=1).numpy()
    said = embedkit.predict(run / "model", images, None, device="cpu")
    assert said.ids.tolist() == ids
    np.testing.assert_allclose(p, said.outputs, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "p", "words"),
    [
        (
            0.05,
            0.01,
            "Training bought 5.0 points of accuracy over a linear probe of vit (+4.0 to +6.0, paired",
        ),
        (
            -0.05,
            0.01,
            "Training lost 5.0 points of accuracy against a linear probe of vit (-6.0 to -4.0, paired",
        ),
        (0.05, 0.2, "Training and a linear probe of vit can't be told apart (+4.0 to +6.0, paired"),
    ],
)
def test_the_last_sentence_says_which_way_it_went(value, p, words):
    from embedkit.files.results import Metric, Result
    from embedkit.scoring.paired import Difference
    from pretrain.finetune.calls import bought

    def result(accuracy, method):
        metrics = {"accuracy": Metric(accuracy)}
        return Result("probe", "d", "vit", method, {}, {}, "none", 0, metrics, 10, 1.0, "cpu")

    difference = Difference(value, value - 0.01, value + 0.01, p, "McNemar, exact", 10)
    said = bought(difference, [result(0.7, "linear")], [result(0.7 + value, "recipe")])
    assert said.startswith(words)
    assert said.endswith(f"; accuracy {0.7 + value:.3f} against 0.700).")


def test_votes_are_learnt_and_predicted_and_never_contradict_their_tree(tmp_path):
    from embedkit.files.vote_tree import contradictions, tree_of

    recipe = tmp_path / "votes.toml"
    recipe.write_text(
        'about = "votes"\nbackbone = "test_vit"\nweights = "random"\nimage_size = 32\nresize = 32\n'
        'loss = "multinomial"\nbatch_plan = "16"\n[head]\noutput = "tree"\n'
        '[[phase]]\ntrain = "all"\nepochs = 3\nlr = 1e-3\n'
    )
    made = embedkit.finetune(
        "simulated", tmp_path / "run", votes=True, n=96, size=40, recipe=str(recipe), device="cpu"
    )
    (result,) = made.results
    assert result.metrics["rmse"].value < result.metrics["mean_rmse"].value + 0.02
    assert made.frozen[0].method == "ridge"
    assert "mean squared error" in made.sentence or "can't be told apart" in made.sentence
    said = embedkit.predict(made.model, "simulated", None, votes=True, n=96, size=40, device="cpu")
    assert not contradictions(said.outputs, tree_of(said.known.names), tolerance=1e-6).any()
    assert said.metrics["rmse"].value > 0
    assert said.contradictory == 0


def test_a_run_of_other_options_is_refused_and_names_them(run, images, recipe, capsys):
    assert main(command(images, recipe, run, "--batch-plan", "4")) == 1
    assert "begun with other options (batch_plan: 8 there, 4 asked for)" in capsys.readouterr().err


def test_epochs_of_each_phase_can_be_given(images, recipe, tmp_path, capsys):
    assert main(command(images, recipe, tmp_path / "x", "--phase-epochs", "1")) == 2
    assert "--phase-epochs gives 1 number, and the recipe has 2 phases" in capsys.readouterr().err
    made = embedkit.finetune(
        images,
        tmp_path / "y",
        recipe=str(recipe),
        phase_epochs=(1, 1),
        device="cpu",
        probe=False,
        split="stratified",
    )
    assert made.results[0].outcomes["epochs"] == [2]
    assert made.frozen == ()
    assert made.model == tmp_path / "y" / "model"


def test_folds_and_seeds_are_networks_of_their_own(images, recipe, tmp_path):
    folds = embedkit.finetune(
        images,
        tmp_path / "folds",
        recipe=str(recipe),
        phase_epochs=(1, 1),
        device="cpu",
        probe=False,
        split="kfold:3",
    )
    assert folds.results[0].n == 60
    assert [network.folder.parent.name for network in folds.reports[0].networks] == [
        "fold-1",
        "fold-2",
        "fold-3",
    ]
    seeds = embedkit.finetune(
        images,
        tmp_path / "seeds",
        recipe=str(recipe),
        phase_epochs=(1, 1),
        device="cpu",
        split="stratified",
        seeds=2,
    )
    assert [result.seed for result in seeds.results] == [0, 1]
    assert len(seeds.frozen) == 2
    assert "2 seeds" in seeds.sentence
    (group,) = embedkit.leaderboard(tmp_path / "seeds").groups()
    assert sorted(len(entry.runs) for entry in group[1]) == [2, 2]


def test_the_split_is_said_before_anything_is_trained(images, recipe, tmp_path, capsys):
    line = command(images, recipe, tmp_path / "x", "--split", "auto", "--phase-epochs", "1,1", "--no-probe")
    assert main(line) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("Split: kfold:5") == 1
    assert said.index("Split: kfold:5") < said.index("Fold 1 of 5")


def test_a_class_of_one_image_names_no_option_of_another_verb(images, recipe, tmp_path, capsys):
    table = tmp_path / "few.csv"
    names = [*(f"red/{path.name},red" for path in sorted((images / "red").iterdir())[:9])]
    others = sorted((images / "green").iterdir())[:1]
    table.write_text("\n".join(["file,label", *names, *(f"green/{p.name},green" for p in others)]) + "\n")
    assert main(command(table, recipe, tmp_path / "x", "--root", str(images))) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "'green' (1 row)" in said
    assert said.endswith("leave them out of the dataset, or merge them with others.")
    assert "--min-per-class" not in said


def test_the_network_that_would_be_replaced_is_not_the_start(images, recipe, tmp_path, capsys):
    start = tmp_path / "x" / "model" / "model.safetensors"
    start.parent.mkdir(parents=True)
    start.write_bytes(b"mine")
    assert main(command(images, recipe, tmp_path / "x", "--weights", str(start))) == 2
    assert "is the file that is read" in " ".join(capsys.readouterr().err.split())
    assert start.read_bytes() == b"mine"


def test_what_is_not_finite_ends_the_run_and_names_the_images(images, recipe, tmp_path, monkeypatch, capsys):
    from pretrain.finetune import losses

    monkeypatch.setitem(losses.LOSSES, "cross-entropy", lambda raw, *_a, **_k: raw.sum() * float("nan"))
    assert main(command(images, recipe, tmp_path / "x")) == 1
    said = capsys.readouterr().err
    assert "the loss is nan at step 0" in said
    kept = json.loads((tmp_path / "x" / "phase-1" / "not-finite.json").read_text())
    assert len(kept["ids"]) == 8
    assert kept["step"] == 0


def test_a_validation_loss_that_is_not_finite_ends_the_run_too(images, recipe, tmp_path, monkeypatch, capsys):
    from pretrain.finetune.training import PhaseTask

    judge = PhaseTask._raw

    def broken(task, rows):
        raw = judge(task, rows)
        raw[-1] = float("nan")  # training never sees it
        return raw

    monkeypatch.setattr(PhaseTask, "_raw", broken)
    assert main(command(images, recipe, tmp_path / "x", "--no-probe")) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "the validation loss is nan after epoch 1. Its images are named in" in said
    assert said.endswith("Lower the rate (lr, head_lr) in the recipe.")
    kept = json.loads((tmp_path / "x" / "phase-1" / "not-finite.json").read_text())
    assert kept["epoch"] == 1
    assert len(kept["ids"]) == 1
    assert main(command(images, recipe, tmp_path / "x", "--no-probe")) == 1  # goes on, and meets it again
    assert "the validation loss is nan after epoch 2" in " ".join(capsys.readouterr().err.split())


def test_labels_that_can_not_be_learnt_are_refused(tmp_path, recipe, capsys):
    for i in range(4):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{i}.png")
    (tmp_path / "one.csv").write_text("file,label\n" + "".join(f"{i}.png,only\n" for i in range(4)))
    assert main(command(tmp_path / "one.csv", recipe, tmp_path / "x")) == 1
    assert "give two classes" in capsys.readouterr().err
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "flat" / "a.png")
    assert main(command(tmp_path / "flat", recipe, tmp_path / "x")) == 1
    assert "no labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.update(format="other"), "says nothing of a trained network"),
        (lambda about: about.update(schema_version=9), "schema version 9"),
        (lambda about: about["names"].append("more"), "damaged"),
        (lambda about: about.update(temperature=-1), "damaged"),
        (lambda about: about["head"].update(widths=[7]), "weights of another network"),
        (lambda about: about.update(backbone="no_such_thing"), "no_such_thing"),
        (lambda about: about.update(weights_sha256="0"), "not the weights that model.json was written with"),
    ],
)
def test_a_damaged_model_is_refused_by_name(run, tmp_path, change, words):
    import shutil

    shutil.copytree(run / "model", tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))
    with pytest.raises(EmbedkitError, match=words):
        read_network(tmp_path / "model")


def test_a_model_that_is_not_there_is_refused(tmp_path, images, capsys):
    assert main(["predict", str(tmp_path), str(images), "-o", str(tmp_path / "x.csv")]) == 1
    assert "no model.json there. Give a folder that `embedkit finetune` wrote." in capsys.readouterr().err
    assert read_about.__doc__


@pytest.mark.slow
def test_two_processes_share_the_whole_command(run, images, recipe, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "embedkit.cli", *command(images, recipe, tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("can't be told apart") == 1  # one process speaks for both
    alone, shared = (
        read_table(folder / "predictions-colours.csv", CLASS_PREDICTIONS)
        for folder in (run, tmp_path / "two")
    )
    np.testing.assert_allclose(shared["probability"], alone["probability"], atol=0.02)
    assert shared["predicted"].tolist() == alone["predicted"].tolist()


@pytest.mark.parametrize(("keep", "kept"), [("last", 3), ("best", 0)])
def test_a_recipe_says_which_epoch_is_kept(images, tmp_path, keep, kept, capsys):
    path = tmp_path / "mine.toml"
    text = RECIPE.partition("[[phase]]")[0] + f'keep = "{keep}"\n'
    # So high a rate makes every epoch worse than the start.
    path.write_text(text + '[[phase]]\ntrain = "all"\nepochs = 3\nlr = 1.0\nschedule = "constant"\n')
    made = embedkit.finetune(
        images, tmp_path / "run", recipe=str(path), device="cpu", probe=False, split="stratified"
    )
    assert made.results[0].outcomes["kept"] == [[kept]]
    said = "than its start, which is kept. Lower the rate (lr, head_lr) in the recipe."
    assert (said in " ".join(capsys.readouterr().err.split())) == (keep == "best")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ((), ["--batch-plan", "43"], "Give --batch-plan 42 or less"),
        ((), ["--batch-plan", "8", "--accumulate", "3"], "does not divide into equal parts"),
        ((), ["--batch-plan", "8x1,4x2"], "is for 3 epochs, and the phase has 2"),
        (('train = "all"', 'train = "last-blocks:9"'), [], "test_vit has 6 blocks"),
        (('train = "all"', 'train = "last-convs:2"'), [], "Give last-convs:1 or less"),
        ((), ["--backbone", "pixels:4"], "pixels:4 has no weights"),
        ((), ["--resize", "5000"], "training is for 4,096 or fewer"),
        ((), ["--split", "kfold:21"], "a class needs at least 21"),
    ],
)
def test_what_can_not_be_trained_is_said_before_anything_is_computed(
    change, options, said, images, tmp_path, capsys, monkeypatch
):
    def decode(*_):
        raise AssertionError("an image was read")

    monkeypatch.setattr("pretrain.finetune.run.read_frames", decode)
    mine = tmp_path / "mine.toml"
    text = RECIPE.replace(*change) if change else RECIPE
    mine.write_text(text.replace('weights = "random"\n', "") if "pixels:4" in options else text)
    out = tmp_path / "out"
    assert main(command(images, mine, out, *options)) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_an_image_that_can_not_be_read_is_named_with_what_to_do(images, recipe, tmp_path, capsys):
    shutil.copytree(images, tmp_path / "copy")
    (tmp_path / "copy" / "red" / "07.png").write_bytes(b"no picture")
    assert main(command(tmp_path / "copy", recipe, tmp_path / "out")) == 1
    said = capsys.readouterr().err
    assert "07.png" in said
    assert "mend this one, or take it out of the dataset" in said


@pytest.mark.parametrize(
    ("verb", "more"),
    [("finetune", ["--recipe", "custom-cnn"]), ("pretrain", ["--batch-size", "8", "--method", "dino"])],
)
def test_images_that_memory_does_not_hold_are_refused_beforehand(
    verb, more, images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("embedkit.computing.memory.available", lambda: 60 * 3 * 40 * 40 - 1)
    more += ["--backbone", "test_vit", "--random-init", "0", "--image-size", "32", "--resize", "40"]
    more += ["--batch-plan", "8"] if verb == "finetune" else []
    assert main([verb, str(images), "-o", str(tmp_path / "out"), *more]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "60 images, decoded to 40 x 40 pixels and held all at once, need 0.0 GB of memory" in said
    assert "Give a smaller --image-size" in said


def test_a_checkpoint_of_another_log_is_damaged(images, recipe, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(images, recipe, out, "--no-probe", "--phase-epochs", "1,1")) == 0
    path = out / "phase-1" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    for log in ([], [{"loss": 1.0}], [{"epoch": 0, "validation_loss": 1.0}, {"epoch": 1}]):
        torch.save({**state, "log": log}, path)
        assert main(command(images, recipe, out, "--no-probe", "--phase-epochs", "1,1")) == 1
        assert "damaged, or no checkpoint of a training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kept", "lengths", "said"),
    [
        ([(2, 3)], (2, 3), "more of them may be better still: --phase-epochs 2,6."),
        ([(3,)], (3,), "--phase-epochs 6."),
        ([(2, 2)], (2, 3), ""),  # an earlier one was better
        ([(3,), (2,)], (3,), ""),  # in one of the folds
        ([(0,)], (0,), ""),
    ],
)
def test_that_the_last_epoch_was_the_best_is_said(kept, lengths, said):
    logs = tuple(tuple({"epoch": float(epoch)} for epoch in range(n + 1)) for n in lengths)
    found = unfinished_sentence([SimpleNamespace(kept=one, logs=logs) for one in kept])
    assert found.endswith(said) if said else found == ""
