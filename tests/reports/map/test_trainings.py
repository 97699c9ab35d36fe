"""Trainings on a report: which are found, whose weights made the features, and what is drawn of them."""

from types import SimpleNamespace
from xml.etree import ElementTree

from report_world import NASTY

from embedkit.files.provenance import BackboneOrigin
from embedkit.files.training import LOG, TrainingRecord, write_log, write_record
from reports.map.sections import trainings
from reports.map.trainings import Training, find_trainings

EPOCHS = [{"epoch": 0.0, "rankme": 1.0}, {"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0}]


def train(folder, *, fingerprint="", log=EPOCHS):
    folder.mkdir(parents=True)
    write_log(folder / LOG, log)
    if fingerprint:
        write_record(folder, TrainingRecord("pretraining", "dino", "vit", "d", fingerprint, 0, "embedkit x"))
    return folder


def features(path, adapter=None, weights=None):
    origin = BackboneOrigin(weights=weights, adapter=adapter)
    return SimpleNamespace(path=path, made=SimpleNamespace(backbone_origin=origin, fingerprint="mine"))


def test_the_training_that_made_the_features_comes_first_wherever_it_lies(tmp_path):
    runs = tmp_path / "runs"
    train(runs / "a" / "other", fingerprint="theirs")
    train(runs / "b" / "same", fingerprint="mine")
    train(runs / "b" / "same" / "phase-1")
    train(runs / "c" / "copy", fingerprint="mine")
    train(runs / "damaged")
    (runs / "damaged" / LOG).write_text("loss\n1\n")
    made = train(tmp_path / "elsewhere")
    (made / "adapter").mkdir()
    said = []
    file = features(tmp_path / "f.h5", adapter=str(made / "adapter"))
    found = find_trainings([file], runs, said.append)
    assert [one.folder.name for one in found] == ["elsewhere", "same", "other"]
    assert [one.made for one in found] == [("f.h5",), (), ()]
    assert len(said) == 1
    assert "no log of a training" in said[0]


def test_a_network_lies_a_folder_deeper_and_of_folds_the_first_is_shown(tmp_path):
    log = [{"epoch": 0.0, "fold": 1.0}, {"epoch": 1.0, "fold": 1.0}, {"epoch": 0.0, "fold": 2.0}]
    run = train(tmp_path / "run", log=log)
    weights = str(run / "model" / "model.safetensors")
    (found,) = find_trainings([features(tmp_path / "f.h5", weights=weights)], tmp_path / "none", print)
    assert len(found.log) == 2
    assert find_trainings([features(tmp_path / "f.h5")], tmp_path / "none", print) == ()


def test_both_losses_stand_in_one_panel_and_the_kept_epoch_is_dashed(tmp_path):
    log = [{**row, "validation_loss": 3.0 - row["epoch"], "images": 1.0} for row in EPOCHS]
    record = TrainingRecord(NASTY, NASTY, NASTY, NASTY, "f", 0, NASTY, 1, NASTY)
    made = trainings.section(
        SimpleNamespace(trainings=[Training(tmp_path, log, record, (NASTY,), False)], place=None)
    )
    assert "<script" not in made.body
    pictures = [
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
        for part in made.body.split("<svg")[1:]
    ]
    assert [one.get("aria-label") for one in pictures] == ["loss against epochs", "rankme against epochs"]
    told = [one.findtext("title") for one in pictures[0].iter("circle")]
    assert told == ["epoch 1: 2", "epoch 2: 1"] + [f"validation, epoch {i}: {3 - i}" for i in range(3)]
    assert len([one for one in pictures[0].iter("polyline") if one.get("stroke-dasharray")]) == 1
