"""local-dir: folders: config.json is declared, the weights are accounted for, channels are the model's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.pooling import Pooling
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.store import FeatureFile

TINY = "test_vit"


def folder_of(
    folder: Path, *, name: str = TINY, seed: int = 0, safe: bool | str = True, **arguments: Any
) -> Any:
    torch.manual_seed(seed)
    model = timm.create_model(name, **arguments).eval()
    size = (arguments.get("in_chans", 3), *model.pretrained_cfg["input_size"][1:])
    config = {"pretrained_cfg": {**model.pretrained_cfg, "input_size": size}}
    save_for_hf(model, folder, model_config=config, model_args=arguments or None, safe_serialization=safe)
    return model


def backbone_of(folder: Path) -> Any:
    return load_backbone(BackboneSpec(f"local-dir:{folder}"))


@pytest.mark.parametrize("in_chans", [1, 3, 5])
@pytest.mark.parametrize("name", [TINY, "test_resnet"])
def test_the_models_own_features(name, in_chans, tmp_path):
    model = folder_of(tmp_path, name=name, in_chans=in_chans, num_classes=4)
    backbone = backbone_of(tmp_path)
    assert backbone.preprocessing.channels == in_chans
    assert backbone.tensors["ignored"] == {"classifier": 2}
    x = torch.randn(2, in_chans, *model.pretrained_cfg["input_size"][1:])
    with torch.inference_mode():
        own = model.forward_head(model.forward_features(x), pre_logits=True)
        assert torch.equal(backbone.model(x), own)


def test_patches_of_a_model_without_prefix_tokens_are_pooled(tmp_path):
    """As SigLIP's: no class token and no registers, of which timm gives no pairs."""
    model = folder_of(tmp_path, class_token=False, global_pool="map", num_classes=0)
    backbone = backbone_of(tmp_path)
    x = torch.randn(2, 3, *model.pretrained_cfg["input_size"][1:])
    with torch.inference_mode():
        tokens = model.forward_features(x)  # (b, p, d)
        assert torch.equal(Pooling.choose(backbone)(backbone, x), model.forward_head(tokens, pre_logits=True))
        for pool in ("avg", "patch"):
            torch.testing.assert_close(Pooling.choose(backbone, pool=pool)(backbone, x), tokens.mean(dim=1))
        assert Pooling.choose(backbone, pool="avg", layers="2")(backbone, x).shape == (2, 2 * tokens.shape[2])
    with pytest.raises(UsageError, match="has no CLS token. Give --pool avg or model"):
        Pooling.choose(backbone, pool="cls")


def test_a_grey_model_sees_the_luma_as_timm_does(tmp_path):
    from timm.data import create_transform, resolve_model_data_config

    model = folder_of(tmp_path / "model", in_chans=1, num_classes=0)
    pixels = np.random.default_rng(0).integers(0, 255, (200, 240, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    line = ["extract", str(tmp_path / "images"), "--backbone", f"local-dir:{tmp_path / 'model'}"]
    out = tmp_path / "f.h5"
    assert main([*line, "--pool", "cls", "--layers", "1", "--precision", "fp32", "-o", str(out)]) == 0
    config = resolve_model_data_config(model)
    config |= {
        "mean": (sum(config["mean"]) / 3,),
        "std": (sum(config["std"]) / 3,),
        "input_size": (1, 160, 160),
    }
    x = create_transform(**config)(Image.fromarray(pixels).convert("L"))[None]
    with torch.inference_mode():
        expected = model.forward_features(x)[:, 0]
    with FeatureFile(out) as file:
        torch.testing.assert_close(torch.tensor(file.read()), expected, rtol=1e-4, atol=1e-4)


def test_other_channels_than_the_images_are_a_clear_error(tmp_path, capsys):
    folder_of(tmp_path / "model", in_chans=5)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (200, 200)).save(tmp_path / "images" / "a.png")
    line = ["extract", str(tmp_path / "images"), "--backbone", f"local-dir:{tmp_path / 'model'}"]
    assert main([*line, "-o", str(tmp_path / "f.h5")]) == 1
    assert "channels, but the backbone takes 5" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder_of(tmp_path, num_classes=0)
    return tmp_path


def change(folder: Path, **changes: Any) -> None:
    place = folder / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "test_vitt"}, "unknown architecture 'test_vitt'. Close: test_vit"),
        ({"architecture": "../../x"}, "unknown architecture"),
        ({"architecture": 7}, "Expected `str`, got `int`"),
        ({"architecture": "test_vit2", "model_args": {}}, "not the weights of test_vit2"),
        ({"architecture": "test_resnet", "model_args": {}}, "not the weights of test_resnet"),
        ({"pretrained_cfg": 3}, r"Expected `object"),
        ({"pretrained_cfg": {"input_size": [3, 160]}}, "Expected `array` of length 3"),
        ({"pretrained_cfg": {"input_size": [3, 0, 160]}, "model_args": {}}, "expected 1 to"),
        ({"pretrained_cfg": {"input_size": [10**9, 9, 9]}, "model_args": {}}, "expected 1 to 1024"),
        ({"pretrained_cfg": {"mean": [0.1, 0.2]}}, "for 3 channels"),
        ({"pretrained_cfg": {"std": [0.0, 0.2, 0.2]}}, "for 3 channels"),
        ({"pretrained_cfg": {"std": []}}, "for 3 channels"),
        ({"pretrained_cfg": {"crop_pct": -1.0}}, "crop_pct"),
        ({"num_classes": "many"}, "Expected `int"),
        ({"model_args": [1]}, "Expected `object"),
        ({"model_args": {"depth": 10**9}}, "beyond 500"),
        ({"model_args": {"embed_dim": 10**9}}, "beyond 200,000"),
        ({"model_args": {"embed_dim": 60_000, "num_heads": 1}}, r"weights, and model.safetensors holds"),
        ({"model_args": {"embed_dim": "wide"}}, "can't be built"),
        ({"model_args": {"embed_dim": 0}}, "can't be built|not the weights"),
        ({"model_args": {"no_such": 3}}, "can't be built"),
        ({"model_args": {"checkpoint_path": "x.pth"}}, "'checkpoint_path', which is no argument"),
        ({"model_args": {"pretrained": True}}, "'pretrained', which is no argument"),
        ({"model_args": {"features_only": True}}, "'features_only', which is no argument"),
        ({"model_args": {"embed_dim": 32}}, "not the weights of test_vit"),
    ],
)
def test_what_it_declares_is_checked(changes, message, folder):
    change(folder, **changes)
    with pytest.raises(EmbedkitError, match=message):
        backbone_of(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"architecture": NaN}', "[" * 100_000, "{}"])
def test_broken_configurations_are_named(text, folder):
    (folder / "config.json").write_text(text)
    with pytest.raises(EmbedkitError, match=r"config\.json: not a timm model's config"):
        backbone_of(folder)


def test_a_wrong_number_of_classes_is_of_no_account(folder):
    expected = backbone_of(folder).weights_sha256
    change(folder, num_classes=21_841)
    assert backbone_of(folder).weights_sha256 == expected


def test_the_older_form_keeps_everything_at_one_level(folder):
    config = json.loads((folder / "config.json").read_text())
    expected = backbone_of(folder).weights_sha256
    flat = config["pretrained_cfg"] | {"architecture": TINY, "num_classes": 3}
    (folder / "config.json").write_text(json.dumps(flat))
    assert backbone_of(folder).weights_sha256 == expected


def test_a_folder_of_transformers_is_told_apart(folder):
    (folder / "config.json").write_text('{"model_type": "dinov2", "hidden_size": 384}')
    with pytest.raises(EmbedkitError, match="transformers' dinov2.*--weights"):
        backbone_of(folder)


def test_weights_in_a_torch_file_are_never_executed(tmp_path):
    expected = folder_of(tmp_path, safe=False).state_dict()
    assert (tmp_path / "pytorch_model.bin").is_file()
    assert torch.equal(backbone_of(tmp_path).model.state_dict()["cls_token"], expected["cls_token"])

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"cls_token": Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EmbedkitError, match="refused"):
        backbone_of(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_only_regular_files_are_read_and_missing_ones_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(EmbedkitError, match=f"no {name} there"):
        backbone_of(folder)
    os.mkfifo(folder / name)
    with pytest.raises(EmbedkitError, match="a named pipe"):
        backbone_of(folder)


def test_several_weights_files_are_not_chosen_from(folder):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    assert backbone_of(folder).tensors["n"] > 0
    (folder / "b.pth").write_bytes(b"")
    with pytest.raises(EmbedkitError, match=r"several weights files \(a.safetensors, b.pth\)"):
        backbone_of(folder)


def test_verify_counts_the_tensors_again(folder, image_folder, tmp_path, capsys):
    out = tmp_path / "f.h5"
    line = ["extract", str(image_folder(4)), "--backbone", f"local-dir:{folder}", "-o", str(out)]
    assert main(line) == 0
    capsys.readouterr()
    assert main(["verify", str(out)]) == 0
    assert "78 of 78 tensors taken; left: none" in capsys.readouterr().err
