"""The same network under another library's names gives that library's features."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers as hf
from safetensors.torch import save_file

from embedkit.backbones.checkpoints.fitting import Fit, fit
from embedkit.backbones.checkpoints.reading import read_tensors
from embedkit.errors import EmbedkitError

# Small, but with each tensor's own shape; transformers' own epsilon of 1e-12 is not in the weights.
SMALL = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256,
         "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6}  # fmt: skip
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4, "num_classes": 0}
STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}


def vit(**changes: Any) -> torch.nn.Module:
    return timm.models.vision_transformer.VisionTransformer(**VIT | changes)


def convnext(**changes: Any) -> torch.nn.Module:
    own = {"depths": (1, 1, 2, 1), "dims": (16, 32, 48, 64), "num_classes": 0}
    return timm.models.convnext.ConvNeXt(**own | changes)


def drawn(model: torch.nn.Module) -> torch.nn.Module:
    """Draw every value, so that what begins as zero or one (biases, layer scale) counts."""
    random = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = 0.05 * torch.randn(value.shape, generator=random)
            value.copy_(value + (noise.abs() if "running_var" in name else noise))
    return model.eval()


SWIGLU = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 5.5}
NETWORKS: dict[str, tuple[Callable[[], Any], Callable[[], Any], set[str]]] = {
    "ViT": (lambda: hf.ViTModel(hf.ViTConfig(**SMALL)), vit, {"pooler of transformers"}),
    "DeiT": (
        lambda: hf.DeiTModel(hf.DeiTConfig(**SMALL)),
        lambda: timm.models.deit.VisionTransformerDistilled(**VIT),
        {"pooler of transformers"},
    ),
    "DINOv2": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(**SMALL)),
        lambda: vit(init_values=1e-5),
        {"mask token"},
    ),
    "DINOv2 with SwiGLU": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(**SMALL, use_swiglu_ffn=True)),
        lambda: vit(init_values=1e-5, **SWIGLU),
        {"mask token"},
    ),
    "DINOv2 with registers": (
        lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**SMALL)),
        lambda: vit(init_values=1e-5, reg_tokens=4, no_embed_class=True),
        {"mask token"},
    ),
    "I-JEPA": (
        lambda: hf.IJepaModel(hf.IJepaConfig(**SMALL)),
        lambda: vit(class_token=False, global_pool="avg", fc_norm=False),
        set(),
    ),
    "BEiT": (
        lambda: hf.BeitModel(hf.BeitConfig(**SMALL, use_relative_position_bias=True)),
        lambda: timm.models.beit.Beit(**VIT, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1),
        set(),
    ),
    "DINOv3": (
        lambda: hf.DINOv3ViTModel(
            hf.DINOv3ViTConfig(
                **SMALL | {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12}
                | {"patch_size": 16, "num_register_tokens": 4, "num_attention_heads": 6}
                | {"layer_norm_eps": 1e-5},
            )
        ),
        lambda: timm.create_model("vit_small_patch16_dinov3_qkvb", num_classes=0, img_size=32),
        {"mask token"},
    ),
    "ConvNeXt": (lambda: hf.ConvNextModel(hf.ConvNextConfig(**STAGES)), convnext, set()),
    "ConvNeXt V2": (
        lambda: hf.ConvNextV2Model(hf.ConvNextV2Config(**STAGES)),
        lambda: convnext(use_grn=True, ls_init_value=None),
        set(),
    ),
    "ResNet of bottlenecks": (
        lambda: hf.ResNetModel(hf.ResNetConfig(depths=[2, 2, 2, 2])),
        lambda: timm.create_model("resnet26", num_classes=0, stem_type="", stem_width=64),
        set(),
    ),
    "ResNet of basic blocks": (
        lambda: hf.ResNetModel(
            hf.ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512])
        ),
        lambda: timm.create_model("resnet18", num_classes=0),
        set(),
    ),
}  # fmt: skip


def loaded(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> Fit:
    torch.save(state, path)
    return fit(model, read_tensors(path), path)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("memory", [False, True])
def test_transformers(name, memory, tmp_path):
    theirs, ours, left = NETWORKS[name]
    model, own = drawn(theirs()), ours().eval()
    if memory:  # the names that the running model has, which differ from those on the disk since version 5
        found = loaded(own, model.state_dict(), tmp_path / "w.pth")
    else:
        model.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        found = fit(own, read_tensors(file), file)
    assert set(found.ignored.values()) == left
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, features = model(x).last_hidden_state, own.forward_features(x)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def pooled(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model.forward_head(model.forward_features(x), pre_logits=True)


@pytest.mark.parametrize("whole", [False, True], ids=["image tower", "with its text"])
@pytest.mark.parametrize("kind", ["CLIP", "SigLIP"])
def test_image_towers_of_transformers_pool_as_they_do(kind, whole, tmp_path):
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "CLIP":
        vision, both, config = hf.CLIPVisionModel, hf.CLIPModel, hf.CLIPVisionConfig
        both_config, own = hf.CLIPConfig, vit(pre_norm=True)
    else:
        vision, both, config = hf.SiglipVisionModel, hf.SiglipModel, hf.SiglipVisionConfig
        both_config, own = hf.SiglipConfig, vit(class_token=False, global_pool="map")
    settings = SMALL | {"hidden_act": "gelu"}
    model = (
        both(both_config(text_config=small, vision_config=settings)) if whole else vision(config(**settings))
    )
    drawn(model).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    found = fit(own.eval(), read_tensors(file), file)
    assert set(found.ignored.values()) <= {"text encoder", "computed from the size"}
    assert found.resampled == ()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = (model.vision_model if whole else model)(x).pooler_output
        torch.testing.assert_close(pooled(own, x), expected, rtol=1e-4, atol=1e-4)


def test_clip_of_another_activation_is_refused(tmp_path):
    for theirs, act_layer, fault in (
        ({}, torch.nn.GELU, "trained with QuickGELU, which timm's names with clip_quickgelu"),
        (
            {"hidden_act": "gelu"},
            timm.layers.QuickGELU,
            "trained with gelu, and timm's names with clip_quickgelu",
        ),
    ):
        drawn(hf.CLIPVisionModel(hf.CLIPVisionConfig(**SMALL | theirs))).save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        with pytest.raises(EmbedkitError, match=fault):
            fit(vit(pre_norm=True, act_layer=act_layer), read_tensors(file), file)
        right = timm.layers.QuickGELU if act_layer is torch.nn.GELU else torch.nn.GELU
        assert fit(vit(pre_norm=True, act_layer=right), read_tensors(file), file).taken


def test_openmmlabs_vit(tmp_path):
    state = drawn(vit(init_values=1e-5)).state_dict()
    swaps = """
        patch_embed.proj>patch_embed.projection norm1>ln1 norm2>ln2 mlp.fc1>ffn.layers.0.0
        mlp.fc2>ffn.layers.1 ls1.gamma>attn.gamma1.weight ls2.gamma>ffn.gamma2.weight blocks.>layers.
    """
    theirs = {}
    for key, value in state.items():
        name = key
        for swap in swaps.split():
            name = name.replace(*swap.split(">"))
        theirs["backbone." + re.sub(r"^norm\.", "ln1.", name)] = value
    own = vit(init_values=1e-5)
    found = loaded(
        own, {"state_dict": theirs | {"head.layers.head.weight": torch.ones(5, 64)}}, tmp_path / "w.pth"
    )
    assert set(found.ignored.values()) == {"classifier"}
    assert same(own, state)


def test_transformers_with_a_head_and_a_decoder(tmp_path):
    for model, left in (
        (hf.ViTForImageClassification(hf.ViTConfig(**SMALL)), "classifier"),
        (hf.ViTMAEForPreTraining(hf.ViTMAEConfig(**SMALL, decoder_num_hidden_layers=1)), "decoder or head"),
    ):
        model.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        assert any(left in why for why in fit(vit(), read_tensors(file), file).ignored.values())


def test_torchvision_vit(tmp_path):
    model = torchvision.models.VisionTransformer(32, 8, 3, 4, 64, 256, num_classes=5)
    drawn(model)
    own = vit().eval()
    found = loaded(own, model.state_dict(), tmp_path / "w.pth")
    assert set(found.ignored.values()) == {"classifier"}
    model.heads = torch.nn.Identity()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(own(x), model(x), rtol=1e-5, atol=1e-5)


TORCHVISION = {
    "convnext_tiny": "convnext_tiny",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b5": "efficientnet_b5",  # three blocks in the first stage
    "efficientnet_v2_s": "efficientnetv2_s",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * n.endswith(("b5", "v2_s"))) for n in TORCHVISION]
)
def test_torchvision_convolutions(tmp_path, name):
    """B5 and V2 have batch norms of another epsilon than timm's, which is not in the file."""
    model = drawn(getattr(torchvision.models, name)())
    own = timm.create_model(TORCHVISION[name], num_classes=0).eval()
    content = {f"module.{key}": value for key, value in model.state_dict().items()}
    found = loaded(own, {"model": content}, tmp_path / "w.pth")
    assert set(found.ignored.values()) == {"classifier"}
    # ConvNeXt's classifier begins with a norm, which is of the features.
    model.classifier = model.classifier[:2] if "convnext" in name else torch.nn.Flatten()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(own(x), model(x), rtol=1e-4, atol=1e-5)


def test_torchvision_efficientnet_is_not_tensorflows(tmp_path):
    """The same shapes, padded otherwise: timm's tf_efficientnet_b0 would give other features."""
    state = torchvision.models.efficientnet_b0().state_dict()
    own = timm.create_model("tf_efficientnet_b0", num_classes=0)
    with pytest.raises(EmbedkitError, match="pads all sides alike.*without tf_"):
        loaded(own, state, tmp_path / "w.pth")


def test_a_resnet_in_a_sequential(tmp_path):
    model = drawn(torchvision.models.resnet18())
    cut = torch.nn.Sequential(*list(model.children())[:-1])
    own = timm.create_model("resnet18", num_classes=0).eval()
    state = {f"backbone.{key}": value for key, value in cut.state_dict().items()}
    found = loaded(own, state | {"projection_head.layers.0.weight": torch.ones(3)}, tmp_path / "w.pth")
    assert set(found.ignored.values()) == {"projector of pretraining"}
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(own(x), cut(x).flatten(1))


def same(model: torch.nn.Module, expected: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == expected.keys() and all(torch.equal(own[key], expected[key]) for key in own)


def test_dinov2_in_chunks(tmp_path):
    state = drawn(vit(init_values=1e-5)).state_dict()
    chunks = {
        re.sub(r"^blocks\.(\d)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", k): v for k, v in state.items()
    }
    assert "blocks.1.2.norm1.weight" in chunks
    content = {"teacher": {f"backbone.{key}": value for key, value in chunks.items()}}
    content["teacher"] |= {"backbone.mask_token": torch.ones(1, 64), "dino_head.mlp.0.weight": torch.ones(3)}
    own = vit(init_values=1e-5)
    found = loaded(own, content, tmp_path / "w.pth")
    assert same(own, state)
    assert set(found.ignored.values()) == {"mask token", "head of DINO or iBOT"}


def test_dinov2s_registers_with_and_without_a_mask_token(tmp_path):
    state = drawn(vit(init_values=1e-5, reg_tokens=4, no_embed_class=True)).state_dict()
    first = torch.full((1, 1, 64), 0.25)
    theirs = {key: value for key, value in state.items() if key != "reg_token"} | {
        "register_tokens": state["reg_token"],
        "cls_token": state["cls_token"] - first,
        "pos_embed": torch.cat([first, state["pos_embed"]], dim=1),
    }
    for more in ({"mask_token": torch.ones(1, 64)}, {}):
        own = vit(init_values=1e-5, reg_tokens=4, no_embed_class=True)
        found = loaded(own, theirs | more, tmp_path / "w.pth")
        torch.testing.assert_close(own.state_dict(), state)
        assert not found.resampled
        assert found.ignored == dict.fromkeys(more, "mask token")


def test_ijepas_own_files(tmp_path):
    def own() -> torch.nn.Module:
        return vit(class_token=False, global_pool="avg", fc_norm=False)

    state = drawn(own()).state_dict()
    wrapped = {f"module.{key}": value for key, value in state.items()}
    other = {key: value * 2 for key, value in wrapped.items()}
    content = {"encoder": other, "target_encoder": wrapped, "epoch": 300}
    content |= {"predictor": {"module.norm.weight": torch.ones(3)}, "opt": {"state": {0: torch.ones(3)}}}
    model = own()
    found = loaded(model, content, tmp_path / "w.pth")
    assert same(model, state)
    assert set(found.ignored.values()) == {
        "encoder, of which target_encoder was taken",
        "projector of pretraining",
    }
    del content["target_encoder"]
    model = own()
    loaded(model, content, tmp_path / "w.pth")
    assert same(model, {key.removeprefix("module."): value for key, value in other.items()})


def test_moco_v3_and_mae(tmp_path):
    state = drawn(vit()).state_dict()
    moco = {f"module.base_encoder.{key}": value for key, value in state.items()}
    moco |= {f"module.momentum_encoder.{key}": value * 2 for key, value in state.items()}
    moco |= {"module.base_encoder.head.0.weight": torch.ones(3), "module.predictor.0.weight": torch.ones(3)}
    mae = state | {
        "mask_token": torch.ones(1, 1, 8),
        "decoder_embed.weight": torch.ones(3),
        "decoder_pred.bias": torch.ones(3),
    }
    for content in ({"state_dict": moco}, {"model": mae}):
        own = vit()
        loaded(own, content, tmp_path / "w.pth")
        assert same(own, state)


def test_openai_clip_without_its_text(tmp_path):
    state = drawn(vit(pre_norm=True)).state_dict()
    swaps = """
        patch_embed.proj>conv1 norm_pre>ln_pre attn.qkv.>attn.in_proj_ attn.proj>attn.out_proj
        mlp.fc1>mlp.c_fc
        mlp.fc2>mlp.c_proj norm1>ln_1 norm2>ln_2 blocks.>transformer.resblocks.
    """
    text = {"text_projection": torch.ones(3), "transformer.resblocks.0.ln_1.weight": torch.ones(3)}
    theirs = {"visual.class_embedding": state["cls_token"][0, 0], "visual.proj": torch.ones(64, 8)} | text
    theirs["visual.positional_embedding"] = state["pos_embed"][0]
    for key in state.keys() - {"cls_token", "pos_embed"}:
        name = key
        for swap in swaps.split():
            name = name.replace(*swap.split(">"))
        theirs["visual." + re.sub(r"^norm\.", "ln_post.", name)] = state[key]
    own = vit(pre_norm=True)
    assert set(loaded(own, theirs, tmp_path / "w.pth").ignored.values()) == {"classifier", "text encoder"}
    assert same(own, state)
    theirs |= {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    with pytest.raises(EmbedkitError, match="trained with QuickGELU"):
        loaded(vit(pre_norm=True), theirs, tmp_path / "w.pth")
    own = vit(pre_norm=True, act_layer=timm.layers.QuickGELU)
    assert "sizes of CLIP" in loaded(own, theirs, tmp_path / "w.pth").ignored.values()


def test_queries_that_are_split_stay_refused_where_a_part_is_missing(tmp_path):
    model = drawn(hf.ViTModel(hf.ViTConfig(**SMALL)))
    model.save_pretrained(tmp_path)
    state = read_tensors(tmp_path / "model.safetensors")
    del state["encoder.layer.1.attention.attention.key.bias"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(EmbedkitError, match=r"missing, such as blocks\.1\.attn\.qkv\.bias"):
        fit(vit(), read_tensors(tmp_path / "part.safetensors"), tmp_path / "part.safetensors")


def of_efficientnet_pytorch(model: Any) -> dict[str, torch.Tensor]:
    """Name a network's layers as the package does, by their order alone: both list them as they run."""
    named: list[tuple[str, Any]] = [("_conv_stem", model.conv_stem), ("_bn0", model.bn1)]
    for number, block in enumerate(block for stage in model.blocks for block in stage):
        layers = [m for m in block.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.BatchNorm2d))]
        squeeze = ["_se_reduce", "_se_expand"] if any(m.kernel_size == (1, 1) and m.bias is not None
            for m in layers if isinstance(m, torch.nn.Conv2d)) else []  # fmt: skip
        names = ["_depthwise_conv", "_bn1", *squeeze, "_project_conv", "_bn2"]
        names = names if len(names) == len(layers) else ["_expand_conv", "_bn0", *names]
        named += [(f"_blocks.{number}.{name}", layer) for name, layer in zip(names, layers, strict=True)]
    named += [("_conv_head", model.conv_head), ("_bn1", model.bn2), ("_fc", model.classifier)]
    return {f"{name}.{key}": value for name, layer in named for key, value in layer.state_dict().items()}


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_b0"])
@pytest.mark.parametrize("wrapper", ["", "backbone."])
def test_efficientnet_pytorch(name, wrapper, tmp_path):
    model = drawn(timm.create_model(name))
    state = of_efficientnet_pytorch(model)
    assert "_blocks.1._expand_conv.weight" in state
    assert "_blocks.0._expand_conv.weight" not in state
    assert len(state) == len(model.state_dict())
    ours = timm.create_model(name, num_classes=0).eval()
    found = loaded(ours, {wrapper + key: value for key, value in state.items()}, tmp_path / "w.pth")
    assert set(found.ignored.values()) == {"classifier"}
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), model.forward_head(model.forward_features(x), pre_logits=True))


def test_efficientnet_pytorch_of_another_size_is_refused(tmp_path):
    state = of_efficientnet_pytorch(timm.create_model("tf_efficientnet_b1"))
    with pytest.raises(EmbedkitError, match="not the weights of tf_efficientnet_b0"):
        loaded(timm.create_model("tf_efficientnet_b0", num_classes=0), state, tmp_path / "w.pth")
