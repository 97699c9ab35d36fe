"""`embedkit.extract` and `embedkit.verify`: the very calls of the commands."""

import numpy as np
import pytest
import torch

import embedkit
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.extraction import measuring
from embedkit.extraction import parts as parts_module

SMALL = {"backbone": "test_vit", "random_init": 0, "image_size": 32, "resize": 32, "precision": "fp32"}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


def test_keywords_and_flags_make_the_same_file(image_folder, tmp_path, capsys):
    folder = image_folder(6)
    made = embedkit.extract(folder, tmp_path / "a.h5", **SMALL, views="rot4", limit=4)
    assert capsys.readouterr().out == ""
    assert (made.n, made.d, made.n_failed, made.done) == (4, 256, 0, "extracted")
    assert "a.h5: extracted" in made._repr_html_()
    assert (
        main(["extract", str(folder), "-o", str(tmp_path / "b.h5"), *FLAGS, "--views=rot4", "--limit=4"]) == 0
    )
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    again = embedkit.extract(folder, tmp_path / "a.h5", **SMALL, views="rot4", limit=4)
    assert again.done == "already there"


def test_an_open_dataset_is_taken_as_it_is(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = embedkit.load_dataset(image_folder(3, name="birds"))
    assert "birds" in dataset._repr_html_()
    assert str(embedkit.extract(dataset, backbone="pixels:4").path) == "runs/birds.h5"
    with pytest.raises(UsageError, match="--label-column does not apply to a dataset that is open already"):
        embedkit.extract(dataset, backbone="pixels:4", label_column="kind")


def test_options_of_the_source_are_keywords(tmp_path):
    path = tmp_path / "f.h5"
    made = embedkit.extract(
        "simulated", path, n=4, size=16, dataset_seed=3, backbone="pixels:4", center_crop=8
    )
    assert made.n == 4
    with embedkit.FeatureFile(path) as file:
        assert file.provenance["dataset"]["origin"] == {"source": "simulated", "n": 4, "size": 16, "seed": 3}
        assert file.provenance["preprocessing"]["center_crop"] == 8
    found = embedkit.verify(path, n_rows=2)
    assert (found.sound, found.n_compared) == (True, 2)
    assert "sound" in found._repr_html_()


def test_a_list_of_columns_is_one(image_folder, tmp_path):
    folder = image_folder(2)
    names = sorted(path.name for path in folder.rglob("*.*"))
    rows = "".join(f"{folder}/{name},{i},{2 * i}\n" for i, name in enumerate(names))
    (tmp_path / "t.csv").write_text("file,a,b\n" + rows)
    for columns in (["a", "b"], "a,b"):
        dataset = embedkit.load_dataset(tmp_path / "t.csv", target_columns=columns)
        np.testing.assert_array_equal(dataset.rows.targets, [[0, 0], [1, 2]])


def test_a_plan_says_what_all_images_take(image_folder, tmp_path, monkeypatch):
    folder = image_folder(60)
    monkeypatch.setattr(measuring, "IMAGES", 16)
    monkeypatch.setattr(measuring, "ENOUGH_SECONDS", 0.01)
    plan = embedkit.extract(folder, tmp_path / "f.h5", **SMALL, device="cpu", plan=True)
    found = plan.record()
    assert not list(tmp_path.glob("f.h5*"))
    assert found["images to compute"] == 60
    assert found["bytes of features"] == 60 * 256 * 4
    assert found["measured"].startswith("28 images in ")  # behind a batch of 32 that warmed up
    seconds = 3600 * found["hours"]
    assert seconds == pytest.approx(found["seconds to begin"] + 60 / found["images/s"], rel=0.02)
    assert found["bound by"] in ("read", "decode", "prepare", "forward")
    assert found["core-hours"] == pytest.approx(found["hours"] * torch.get_num_threads(), rel=0.02)


def test_a_plan_counts_what_is_left(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 8)
    folder, call = image_folder(60), {**SMALL, "device": "cpu"}
    embedkit.extract(folder, tmp_path / "f.h5", **call, shard=(0, 4))
    for shard, left in ((None, 60 - 16), ((0, 4), 0), ((3, 4), 12)):
        plan = embedkit.extract(folder, tmp_path / "f.h5", **call, shard=shard, plan=True)
        assert plan.record()["images to compute"] == left
        assert (plan.record()["hours"] == 0) == (left == 0)


def test_a_plan_passes_over_what_cannot_be_read(image_folder, tmp_path):
    folder = image_folder(5)
    (folder / "0003.jpg").write_bytes(b"no image")
    assert embedkit.extract(folder, tmp_path / "f.h5", **SMALL, device="cpu", plan=True).n == 5
    with pytest.raises(UsageError, match="--plan measures this process: leave out --engine torchrun"):
        embedkit.extract(folder, tmp_path / "f.h5", **SMALL, engine="torchrun", plan=True)


def test_a_dry_run_computes_nothing(image_folder, tmp_path):
    plan = embedkit.extract(image_folder(3), tmp_path / "f.h5", **SMALL, dry_run=True)
    assert (plan.n, plan.d, plan.path.exists()) == (3, 256, False)
    assert plan.record()["weights"] == "random 0"
    assert "forward passes" in plan._repr_html_()


def test_what_is_asked_for_in_options_is_what_computes():
    from embedkit.computing.device import PRECISIONS
    from embedkit.extraction import job, options

    assert ("auto", *PRECISIONS) == options.PRECISIONS
    assert tuple(job.STORAGE) == options.STORAGES


def test_an_unknown_option_names_the_nearest(image_folder):
    with pytest.raises(TypeError, match="Did you mean 'center_crop'"):
        embedkit.extract(image_folder(1), centre_crop=8)


def test_a_call_that_could_read_nothing_has_failed(tmp_path):
    from embedkit.backbones.options import BackboneSpec
    from embedkit.errors import EmbedkitError
    from embedkit.extraction.calls import extract
    from embedkit.extraction.options import ExtractCall

    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no image")
    call = {"backbone": BackboneSpec("pixels:4"), "options": ExtractCall(on_error="skip")}
    for _ in range(2):  # and where it is there already
        with pytest.raises(EmbedkitError, match=r"none of its 2 images could be read, such as 'a\.png': "):
            extract(folder, tmp_path / "f.h5", **call)


def test_another_call_may_follow_one_that_finished_nothing(tmp_path, capsys):
    from embedkit.backbones.options import BackboneSpec
    from embedkit.datasets.options import DatasetOptions
    from embedkit.errors import ImageError
    from embedkit.extraction.calls import extract

    np.save(tmp_path / "griz.npy", np.random.default_rng(0).integers(0, 99, (4, 20, 20, 4), dtype=np.uint8))
    places = (tmp_path / "griz.npy", tmp_path / "f.h5")
    with pytest.raises(ImageError, match="--channels 0,1,2"):
        extract(*places, backbone=BackboneSpec("pixels:4"))
    assert extract(*places, DatasetOptions(channels=(0, 1, 2)), BackboneSpec("pixels:4")).n == 4


def test_dark_data_is_said(tmp_path, capsys):
    from embedkit.backbones.options import BackboneSpec
    from embedkit.extraction.calls import extract

    deep = np.random.default_rng(0).integers(0, 4096, (4, 20, 20)).astype(np.uint16)
    deep[:, 0, 0] = 4095
    np.save(tmp_path / "deep.npy", deep)
    extract(tmp_path / "deep.npy", tmp_path / "f.h5", backbone=BackboneSpec("pixels:4"))
    assert "deep: values up to 4,095 of 65,535" in capsys.readouterr().err
