"""A sound file passes; every planted fault is found, and named with the right exit code."""

import json
import re
import shutil
import sys

import h5py
import numpy as np
import pytest
import safetensors.torch
import timm
from PIL import Image
from safetensors.torch import save_file

from embedkit.backbones.options import BackboneSpec
from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.extraction.extract import extract
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.verify import verify
from embedkit.extraction.verify_options import VerifyOptions
from embedkit.files.hdf5_gaps import Gaps
from embedkit.files.store import FeatureFile
from embedkit.images.options import Overrides

SMALL = Overrides(image_size=32, resize=32)
FP32 = ExtractOptions(precision="fp32")


@pytest.fixture
def made(image_folder, tiny, tmp_path):
    """A folder of 12 images in three classes, and its feature file."""
    folder = image_folder(12, classes=3)
    extract(str(folder), tmp_path / "f.h5", backbone=tiny, options=FP32)
    return folder, tmp_path / "f.h5"


def test_a_sound_file(made, capsys):
    _, path = made
    assert main(["verify", str(path)]) == 0
    said = capsys.readouterr().out
    assert "f.h5: 12 x 256, every invariant holds." in said
    assert "8 rows extracted again agree (cosine at least 1.00000)" in said


@pytest.mark.parametrize("second", [False, True], ids=["alone", "with imagecodecs"])
def test_json(second, made, capsys, monkeypatch):
    _, path = made
    if second:
        pytest.importorskip("imagecodecs")
        looked_at = "imagecodecs decodes 3 of 3 of these images to the same pixels."
    else:
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        looked_at = "Images are decoded by what decoded them before: a decoder's own fault would not be seen."
    assert main(["verify", str(path), "--n-rows", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("lowest_cosine") > 0.99999
    assert found == {
        "path": str(path),
        "n": 12,
        "d": 256,
        "problems": [],
        "n_compared": 3,
        "not_compared": "",
        "weights": "",
        "source": looked_at,
    }


def test_no_rows_checks_the_file_alone(made, capsys):
    folder, path = made
    shutil.rmtree(folder)
    assert main(["verify", str(path), "--n-rows", "0"]) == 0
    said = capsys.readouterr()
    assert "every invariant holds" in said.out
    assert "extracted again" not in said.out + said.err


@pytest.mark.parametrize(
    "options",
    [
        ExtractOptions(precision="fp32", views="galaxy:3", seed=4),
        ExtractOptions(precision="fp32", pool="patch", layers="b1,b3", storage="float16"),
        ExtractOptions(precision="bf16", views="rot4", pool="model"),
        ExtractOptions(precision="fp32", limit=5),
    ],
    ids=["random views", "float16", "bf16", "limit"],
)
def test_every_way_of_extracting_is_found_in_the_provenance(options, image_folder, tiny, tmp_path):
    extract(str(image_folder(9)), tmp_path / "f.h5", backbone=tiny, options=options)
    found = verify(tmp_path / "f.h5")
    assert found.problems == []
    assert found.n_compared == min(8, found.n)


@pytest.mark.parametrize("crop", [None, 30])
def test_preprocessing_is_found_in_the_provenance(crop, image_folder, tmp_path):
    own = Overrides(center_crop=crop, interpolation="nearest", mean=(0.1, 0.2, 0.3))
    extract(
        str(image_folder(4)),
        tmp_path / "f.h5",
        backbone=BackboneSpec("pixels:16", preprocessing=own),
        options=FP32,
    )
    assert verify(tmp_path / "f.h5").lowest_cosine == 1.0


# --- planted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["tiny", "pixels:16"])
def test_permuted_rows_are_found(backbone, image_folder, tiny, tmp_path, capsys):
    spec = tiny if backbone == "tiny" else BackboneSpec(backbone)
    extract(str(image_folder(12)), tmp_path / "f.h5", backbone=spec, options=FP32)
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file["features"][...] = np.roll(file["features"][...], 1, axis=0)
    assert main(["verify", str(tmp_path / "f.h5"), "--n-rows", "12"]) == 1
    said = capsys.readouterr().out
    assert said.count("gives other features now") == 12
    assert "f.h5: '0000.jpg' gives other features now" in said
    assert "every invariant holds" not in said


def test_permuted_rows_are_found_where_all_features_point_the_same_way(tmp_path):
    folder = tmp_path / "alike"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(12):  # cosines of 0.9993 between any two, as random weights give them
        pixels = np.rint(128 + random.normal(0, 3.2, (8, 8, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    spec = BackboneSpec("pixels:8")
    extract(str(folder), tmp_path / "f.h5", backbone=spec, options=ExtractOptions(precision="bf16"))
    assert verify(tmp_path / "f.h5", VerifyOptions(n_rows=12)).problems == []
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file["features"][...] = file["features"][...][::-1]
    found = verify(tmp_path / "f.h5", VerifyOptions(n_rows=12))
    assert found.lowest_cosine > 0.999
    assert len(found.problems) == 12


def test_a_replaced_image_of_the_same_size_is_found(made, tmp_path, capsys):
    folder, path = made
    target = folder / "class0" / "0003.jpg"
    other = (folder / "class1" / "0004.jpg").read_bytes()
    size = target.stat().st_size
    if len(other) > size:  # a JPEG may be followed by anything
        target, other = folder / "class1" / "0004.jpg", target.read_bytes()
        size = target.stat().st_size
    target.write_bytes(other + bytes(size - len(other)))
    assert main(["verify", str(path), "--n-rows", "12"]) == 1
    said = capsys.readouterr().out
    assert said.count("gives other features now") == 1
    assert f"'{target.parent.name}/{target.name}' gives other features now" in said


def test_an_image_that_cannot_be_read_any_more(made, capsys):
    folder, path = made
    target = folder / "class0" / "0000.jpg"
    target.write_bytes(bytes(target.stat().st_size))
    assert main(["verify", str(path)]) == 1
    assert "0000.jpg: not an image that can be read" in (said := capsys.readouterr().err)
    assert "It could be read when" in said


def test_other_weights_are_found(image_folder, tmp_path, capsys):
    weights = tmp_path / "w.safetensors"

    def save(seed):
        import torch

        torch.manual_seed(seed)
        save_file(timm.create_model("test_vit").state_dict(), weights)

    save(0)
    spec = BackboneSpec("test_vit", weights=weights, preprocessing=SMALL)
    path = tmp_path / "f.h5"
    extract(str(image_folder(4)), path, backbone=spec, options=FP32)
    assert main(["verify", str(path)]) == 0
    moved = weights.rename(tmp_path / "moved.safetensors")
    assert main(["verify", str(path)]) == 0
    assert "its weights" in (said := capsys.readouterr().err)
    assert "are gone. Give --weights." in said
    assert main(["verify", str(path), "--weights", str(moved)]) == 0
    assert "4 rows extracted again agree" in capsys.readouterr().out
    save(1)
    assert main(["verify", str(path)]) == 1
    assert "the weights of test_vit are not the ones it was made with" in capsys.readouterr().err


def test_the_values_of_a_weights_file_are_read_once(image_folder, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), weights)
    path = tmp_path / "f.h5"
    spec = BackboneSpec("test_vit", weights=weights, preprocessing=SMALL)
    extract(str(image_folder(4)), path, backbone=spec, options=FP32)
    read = []
    load = safetensors.torch.load_file
    monkeypatch.setattr(safetensors.torch, "load_file", lambda file: read.append(file) or load(file))
    assert main(["verify", str(path)]) == 0
    said = capsys.readouterr()
    assert re.search(r"w\.safetensors: \d+ of \d+ tensors taken", said.out + said.err)
    assert read == [weights]


def test_a_moved_dataset_is_found_with_path(made, tmp_path, capsys):
    folder, path = made
    moved = folder.rename(tmp_path / "moved")
    assert main(["verify", str(path)]) == 0
    said = capsys.readouterr()
    assert "every invariant holds" in said.out
    assert "No image was extracted again: its dataset can't be read" in said.err
    assert "Give --path." in said.err
    assert main(["verify", str(path), "--path", str(moved)]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out
    (moved / "class0" / "0000.jpg").rename(moved / "class1" / "0000.jpg")
    assert main(["verify", str(path), "--path", str(moved)]) == 1
    assert "is not the one it was made from: its names, sizes or labels differ" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--path", "--weights", "--adapter"])
def test_a_place_named_in_vain_is_an_error(option, made, tmp_path, capsys):
    assert main(["verify", str(made[1]), option, str(tmp_path / "nowhere")]) in (1, 2)
    said = capsys.readouterr().err
    assert re.search(r"nowhere: no (such|adapter_config\.json)", said)


def test_broken_invariants_end_with_1_and_nothing_is_extracted(made, capsys):
    _, path = made
    with h5py.File(path, "a") as file:
        file["features"][3] = np.nan
    assert main(["verify", str(path)]) == 1
    said = capsys.readouterr().out
    assert said.splitlines() == [
        f"{path}: 1 rows marked ok hold NaN or infinity in their features. Extract again with --precision "
        "fp32."
    ]
    assert main(["verify", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (len(found["problems"]), found["n_compared"], found["lowest_cosine"]) == (1, 0, None)


def test_black_images_agree_with_themselves(tmp_path):
    folder = tmp_path / "black"
    folder.mkdir()
    for name in "ab":
        Image.new("RGB", (20, 20)).save(folder / f"{name}.png")
    extract(str(folder), tmp_path / "f.h5", backbone=BackboneSpec("pixels:8"))
    assert verify(tmp_path / "f.h5").problems == []


def test_failed_rows_are_not_compared(image_folder, tiny, tmp_path):
    folder = image_folder(4)
    skip = ExtractOptions(precision="fp32", on_error="skip")
    (folder / "0001.jpg").write_bytes(b"")
    extract(str(folder), tmp_path / "some.h5", backbone=tiny, options=skip)
    assert verify(tmp_path / "some.h5").n_compared == 3
    for file in folder.iterdir():
        file.write_bytes(b"")
    extract(str(folder), tmp_path / "none.h5", backbone=tiny, options=skip)
    found = verify(tmp_path / "none.h5")
    assert (found.n_compared, found.lowest_cosine) == (0, None)
    assert found.not_compared == "none of them could be read."


def test_a_file_that_does_not_say_where_it_is_from(made, capsys):
    _, path = made
    with h5py.File(path, "a") as file:
        file.attrs["provenance"] = "{}"
    assert main(["verify", str(path)]) == 0
    assert "No image was extracted again: the file does not say" in capsys.readouterr().err


def test_views_with_the_noise_of_before_are_not_compared(image_folder, tiny, tmp_path):
    options = ExtractOptions(precision="fp32", views="galaxy:2")
    path = tmp_path / "f.h5"
    extract(str(image_folder(5)), path, backbone=tiny, options=options)
    with h5py.File(path, "a") as file:
        record = json.loads(file.attrs["provenance"])
        assert record["views"].pop("noise") == "hashed"
        file.attrs["provenance"] = json.dumps(record)
    found = verify(path)
    assert (found.sound, found.n_compared) == (True, 0)
    assert found.not_compared.startswith("its random views had noise that is not drawn any more")
    with pytest.raises(EmbedkitError, match=r"made in another way .*views"):
        extract(str(image_folder(5)), path, backbone=tiny, options=options)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"mean": value}
            for value in ([0.5, 0.5, None], ["0"] * 3, [[0.5]] * 3, "abc", 0.5, [], [float("nan")] * 3)
        ),
        *({"std": value} for value in ([1, 1, 0], [1, 1, float("inf")], None, {"a": 1})),
        *({"image_size": value} for value in (None, "32", 32.5, -1, 2**70, [32])),
        *(
            {"interpolation": "x"},
            {"interpolation": 3},
            {"channels": None},
            {"channels": 4},
            {"center_crop": "5"},
        ),
        *({"center_crop": "5"}, {"crop_mode": []}, {"resize": "x"}, {"resize": None}),
    ],
    ids=str,
)
def test_preprocessing_that_is_none_is_not_compared(made, change):
    _, path = made
    with h5py.File(path, "a") as file:
        record = json.loads(file.attrs["provenance"])
        record["preprocessing"] |= change
        file.attrs["provenance"] = json.dumps(record)
    found = verify(path)
    assert found.sound
    assert found.n_compared == 0
    assert re.match(
        "its preprocessing is recorded in another way|the file does not say what", found.not_compared
    )


def test_not_a_feature_file_at_all(tmp_path, capsys):
    (tmp_path / "x.h5").write_text("hello")
    assert main(["verify", str(tmp_path / "x.h5")]) == 1
    assert main(["verify", str(tmp_path / "nowhere.h5")]) == 1
    assert main(["verify", str(tmp_path / "x.h5"), "--n-rows", "-1"]) == 2
    said = capsys.readouterr().err
    assert "x.h5: not a readable HDF5 file" in said
    assert "nowhere.h5: no such file" in said
    assert "--n-rows -1: give an integer of at least 0" in said


def test_verify_in_python_raises_for_another_dataset(made):
    folder, path = made
    (folder / "class0" / "0000.jpg").unlink()
    with pytest.raises(EmbedkitError, match="is not the one it was made from"):
        verify(path)
    with FeatureFile(path) as file:
        assert file.problems() == []


def test_features_of_images_that_the_source_never_held(tiny, tmp_path, monkeypatch, capsys):
    """As files were made before chunks were counted: zeros, and the same zeros again."""
    source = tmp_path / "sky.h5"
    images = np.random.default_rng(0).integers(1, 255, (6, 32, 32, 3), dtype=np.uint8)
    with h5py.File(source, "w") as file:
        file.create_dataset("images", images.shape, "u1", chunks=(1, 32, 32, 3))[:4] = images[:4]
    with monkeypatch.context() as patch:
        patch.setattr("embedkit.datasets.hdf5.gaps", lambda item, _: Gaps(np.zeros(len(item), np.bool_)))
        extract(str(source), tmp_path / "f.h5", backbone=tiny, options=FP32)
        assert main(["verify", str(tmp_path / "f.h5")]) == 0
    assert "The source holds all 6 images" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "f.h5")]) == 1
    out, err = capsys.readouterr()
    assert "2 rows marked ok, such as '4', are of images that the source does not hold (2 of 6 chunks" in out
    assert "the source does not hold all of its images" in err


def test_a_backbone_of_another_width_is_said_with_both_numbers(made, capsys):
    _, path = made
    with h5py.File(path, "r+") as file:
        stored = file["features"][...]
        kept = dict(file["features"].attrs)
        del file["features"]
        file["features"] = stored[:, :-8]
        file["features"].attrs.update(kept)
    assert main(["verify", str(path)]) == 1
    said = capsys.readouterr()
    n = stored.shape[1]
    assert f"gives {n} features an image, and it holds {n - 8}" in said.out + said.err


def test_an_origin_without_weights_is_one_of_no_weights(made):
    _, path = made
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["provenance"])
        del record["backbone"]["origin"]["weights"]
        file.attrs["provenance"] = json.dumps(record)
    assert verify(path).sound


def test_a_fault_of_the_decoder_is_found_by_another(made, capsys, monkeypatch):
    pytest.importorskip("imagecodecs")
    _, path = made
    own = Image.Image.transpose

    def upside_down(image, method):  # an orientation that Pillow gets wrong
        return own(own(image, method), Image.Transpose.FLIP_TOP_BOTTOM)

    exif = Image.Exif()
    exif[274] = 6
    folder = path.parent / "turned"
    folder.mkdir()
    y, x = np.mgrid[:40, :60]
    Image.fromarray(np.stack([x * 4, y * 6, x + y], axis=2).astype(np.uint8)).save(
        folder / "a.png", exif=exif
    )
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "transpose", upside_down)
        extract(str(folder), path.parent / "t.h5", backbone=BackboneSpec("pixels:8"), options=FP32)
        assert main(["verify", str(path.parent / "t.h5")]) == 1
        said = " ".join("".join(capsys.readouterr()).split())
    assert "'a.png' is decoded otherwise by imagecodecs" in said
    capsys.readouterr()
    extract(str(folder), path.parent / "u.h5", backbone=BackboneSpec("pixels:8"), options=FP32)
    assert main(["verify", str(path.parent / "u.h5")]) == 0
