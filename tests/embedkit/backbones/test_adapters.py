"""Adapter folders: only declared fields reach PEFT, every tensor has its place, a classifier's are left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import DEFAULT_BACKBONE, BackboneSpec
from embedkit.errors import EmbedkitError
from embedkit.images.options import Overrides

TINY = "test_vit"
SMALL = Overrides(image_size=32, resize=32)
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def trained(folder: Path, config: Any, *, name: str = TINY, num_classes: int = 0) -> torch.Tensor:
    """Write an adapter with drawn tensors on seed 0's weights; return PEFT's own features with it."""
    from peft import PeftModel, get_peft_model

    torch.manual_seed(0)
    base = timm.create_model(name, num_classes=num_classes)
    base.load_state_dict(load_backbone(BackboneSpec(name, random_init=0)).model.state_dict(), strict=False)
    start = {key: value.clone() for key, value in base.state_dict().items()}
    adapted = get_peft_model(base, config)
    random = torch.Generator().manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=random) * 0.1
    adapted.save_pretrained(folder, save_embedding_layers=False)
    fresh = timm.create_model(name, num_classes=num_classes)
    fresh.load_state_dict(start)
    model = PeftModel.from_pretrained(fresh, str(folder)).get_base_model().eval()
    if hasattr(model, "set_input_size"):
        model.set_input_size(img_size=(32, 32))
    with torch.inference_mode():
        return model.forward_head(model.forward_features(X), pre_logits=True)


def features(folder: Path, name: str = TINY) -> torch.Tensor:
    model = load_backbone(BackboneSpec(name, random_init=0, adapter=folder, preprocessing=SMALL)).model
    with torch.inference_mode():
        return model(X)


def lora(**changes: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["qkv"]} | changes)


def ia3() -> Any:
    from peft import IA3Config

    return IA3Config(target_modules=["qkv", "fc2"], feedforward_modules=["fc2"])


KINDS = {
    "LoRA": lambda: lora(),
    "rsLoRA": lambda: lora(use_rslora=True),
    "DoRA": lambda: lora(use_dora=True),
    "PiSSA": lambda: lora(init_lora_weights="pissa"),
    "all linear layers": lambda: lora(target_modules="all-linear"),
    "a regular expression": lambda: lora(target_modules=r"blocks\.[0-3]\..*qkv"),
    "some layers": lambda: lora(layers_to_transform=[0, 2], layers_pattern="blocks"),
    "ranks and alphas": lambda: lora(rank_pattern={"blocks.1.attn.qkv": 2}, alpha_pattern={"2.attn.qkv": 3}),
    "biases": lambda: lora(bias="lora_only"),
    "biases of the low-rank layers": lambda: lora(lora_bias=True),
    "convolutions": lambda: lora(target_modules=["proj"]),
    "modules in full": lambda: lora(modules_to_save=["norm", "blocks.5.mlp"]),
    "IA3": ia3,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_features_are_pefts_own_to_the_last_bit(kind, tmp_path):
    expected = trained(tmp_path, KINDS[kind]())
    assert torch.equal(features(tmp_path), expected)


@pytest.mark.parametrize("changes", [{"modules_to_save": ["head"]}, {"target_modules": ["qkv", "head"]}])
def test_what_it_adapts_of_a_classifier_is_left_and_said(changes, tmp_path, capsys):
    expected = trained(tmp_path, lora(**changes), num_classes=5)
    assert torch.equal(features(tmp_path), expected)
    assert "no part of the features: head" in capsys.readouterr().err


def test_a_cnn_with_its_classifier_saved(tmp_path):
    expected = trained(
        tmp_path, lora(target_modules=["conv2"], modules_to_save=["fc"]), name="test_resnet", num_classes=3
    )
    assert torch.equal(features(tmp_path, "test_resnet"), expected)


def test_nothing_but_a_classifier_is_refused(tmp_path):
    trained(tmp_path, lora(target_modules=["head"]), num_classes=5)
    with pytest.raises(EmbedkitError, match=r"nothing but a classifier \(head\)"):
        features(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trained(tmp_path / "adapter", lora())
    return tmp_path / "adapter"


def change(folder: Path, **changes: Any) -> None:
    place = folder / "adapter_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


@pytest.mark.parametrize("base", [TINY, f"timm/{TINY}", f"hf-hub:timm/{TINY}", f"hf_hub:timm/{TINY}", None])
def test_the_base_may_be_named_as_the_hub_names_it(base, folder):
    change(folder, base_model_name_or_path=base)
    assert features(folder).shape == (2, 64)


def test_another_base_is_named_as_embedkit_takes_it(folder):
    change(folder, base_model_name_or_path="timm/vit_tiny_patch16_224.augreg_in21k")
    with pytest.raises(EmbedkitError, match=r"trained on vit_tiny_patch16_224\.augreg_in21k, not test_vit"):
        features(folder)


@pytest.mark.parametrize("base", ["facebook/dinov2-small", "/home/me/models/dinov2"])
@pytest.mark.parametrize("asked", [TINY, DEFAULT_BACKBONE])
def test_no_backbone_is_advised_that_there_is_none_of(base, asked, folder):
    change(folder, base_model_name_or_path=base)
    with pytest.raises(EmbedkitError, match=rf"trained on {base}, which names no backbone here\. Merge"):
        load_backbone(BackboneSpec(asked, adapter=folder, random_init=0))


@pytest.mark.parametrize(
    "harmless",
    [
        {"target_modules": "(a+)+$" * 30},  # a regular expression that would hang
        {"auto_mapping": {"parent_library": "antigravity", "base_model_class": "X"}},
        {"layers_pattern": "(x+x+)+y", "layers_to_transform": [1]},
        {"exclude_modules": "(a*)*b"},
        {"task_type": "NONSENSE", "peft_version": "99", "inference_mode": False},
    ],
)
def test_what_only_training_needed_never_reaches_peft(harmless, folder):
    expected = features(folder)
    change(folder, **harmless)
    assert torch.equal(features(folder), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type 'LOHA', and embedkit knows LORA, IA3"),
        ({"r": "4"}, "Expected `int`, got `str`"),
        ({"r": 0}, "r of 0"),
        ({"lora_alpha": None}, "Expected `float|Expected `int"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "more than a module's name"),
        ({"rank_pattern": {".*qkv": 3}}, "more than a module's name"),
        ({"rank_pattern": [1]}, "Expected `object"),
        ({"modules_to_save": "norm"}, "Expected `array"),
        ({"init_lora_weights": "corda"}, "'corda', which changes the weights below it"),
        ({"layer_replication": [[0, 4], [2, 6]]}, "'layer_replication' that embedkit doesn't know"),
        ({"megatron_config": {"a": 1}}, "'megatron_config' that embedkit doesn't know"),
        ({"target_parameters": ["a"]}, "'target_parameters' that embedkit doesn't know"),
    ],
)
def test_fields_are_declared(changes, message, folder):
    change(folder, **changes)
    with pytest.raises(EmbedkitError, match=message) as error:
        features(folder)
    assert "adapter_config.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\x00", '{"peft_type": NaN}', "[" * 100_000])
def test_broken_configurations_are_named(text, folder):
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(EmbedkitError, match=r"adapter_config\.json: not an adapter's configuration"):
        features(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"sizeless_sha256": 3}', '{"preprocessing": {"resize": 3}}'])
def test_broken_bases_are_named(text, folder):
    (folder / "base.json").write_text(text)
    with pytest.raises(EmbedkitError, match=r"base\.json: not what embedkit pretrain writes"):
        features(folder)


FIRST = "blocks.0.attn.qkv.lora_A.weight"


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("blocks.99.attn.qkv.lora_A.weight", torch.ones(4, 64), "does not fit test_vit"),
        (FIRST, torch.ones(4, 65), r"has shape \(4, 65\), not \(4, 64\)"),
        (FIRST, torch.ones(4), "does not fit test_vit|has shape"),
        (FIRST, torch.full((4, 64), torch.nan), "NaN"),
        (FIRST, torch.ones(4, 64, dtype=torch.int8), "whole numbers"),
        ("cls_token", torch.ones(1, 1, 64), "no counterpart"),
        ("stray", torch.ones(3), "no counterpart"),
    ],
)
def test_tensors_without_their_place_are_refused(key, tensor, message, folder):
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {f"base_model.model.{key}": tensor}, file)
    with pytest.raises(EmbedkitError, match=message):
        features(folder)


def test_missing_tensors_are_refused(folder):
    file = folder / "adapter_model.safetensors"
    state = load_file(file)
    del state["base_model.model.blocks.2.attn.qkv.lora_B.weight"]
    save_file(state, file)
    with pytest.raises(EmbedkitError, match=r"no counterpart, such as .*blocks\.2\.attn\.qkv\.lora_B"):
        features(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "base.json"])
def test_only_regular_files_are_read(name, folder):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(EmbedkitError, match="a named pipe"):
        features(folder)


def test_old_folders_keep_their_tensors_in_a_torch_file(folder):
    expected = features(folder)
    file = folder / "adapter_model.safetensors"
    torch.save(load_file(file), folder / "adapter_model.bin")
    file.unlink()
    assert torch.equal(features(folder), expected)


def test_backbone_weights_and_size_come_from_the_folder(folder, tmp_path):
    from pretrain.artefact import save_checkpoint

    weights = save_checkpoint(
        load_backbone(BackboneSpec(TINY, random_init=3)).model, tmp_path / "w.safetensors"
    )
    geometry = {"image_size": 64, "resize": 80, "center_crop": None}
    base = {"name": TINY, "weights": str(weights), "preprocessing": geometry}
    (folder / "base.json").write_text(json.dumps(base))
    found = load_backbone(BackboneSpec(adapter=folder))
    assert (found.name, found.source, found.preprocessing.image_size, found.preprocessing.resize) == (
        TINY, "w.safetensors", 64, 80,
    )  # fmt: skip
    assert load_backbone(BackboneSpec(adapter=folder, preprocessing=SMALL)).preprocessing.image_size == 32
    (folder / "base.json").write_text(json.dumps({"name": TINY, "random_init": 3}))
    assert load_backbone(BackboneSpec(adapter=folder)).source == "random 3"
    weights.unlink()
    (folder / "base.json").write_text(json.dumps(base))
    with pytest.raises(EmbedkitError, match=r"w\.safetensors, are gone. Give --weights"):
        load_backbone(BackboneSpec(adapter=folder))
