"""The same network under other libraries' names -> timm's names, fused and split as timm has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from embedkit.backbones.checkpoints import torchvision_layouts

Tensors = Mapping[str, torch.Tensor]

_OPENMMLAB = "patch_embed.projection.weight"
_CLIP = "embeddings.patch_embedding.weight"  # of transformers, and its SigLIP


def is_foreign(tensors: Tensors) -> bool:
    """Whether these are names that `to_timm` converts, or that timm's own conversion expects."""
    return any(
        mark in tensors
        for mark in (
            "embeddings.patch_embeddings.projection.weight",
            "embeddings.patch_embeddings.weight",
            "embedder.embedder.convolution.weight",
            "conv_proj.weight",
            "visual.class_embedding",
            "visual.conv1.weight",
            "visual.trunk.patch_embed.proj.weight",
            "vision_encoder.mask_token",
            "_conv_stem.weight",
            _OPENMMLAB,
            _CLIP,
            torchvision_layouts.CONVNEXT,
            torchvision_layouts.EFFICIENTNET,
        )
    )


def to_timm(tensors: Tensors, own: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Rename what another library wrote; what is timm's already stays as it is.

    Parameters
    ----------
    tensors
        By their names in the file, without wrappers.
    own
        Shapes of the model's own tensors: timm holds queries, keys and values apart in some models, and layer
        scale under two names.
    """
    state = dict(tensors)
    if "embeddings.patch_embeddings.projection.weight" in state:
        state = _transformers_vit(state)
    elif "embeddings.patch_embeddings.weight" in state and any("layer.0.norm1." in n for n in state):
        state = _transformers_dinov3(state)
    elif "embeddings.patch_embeddings.weight" in state:
        state = _transformers_convnext(state)
    elif "embedder.embedder.convolution.weight" in state:
        state = _transformers_resnet(state)
    elif "conv_proj.weight" in state and "class_token" in state:
        state = _torchvision_vit(state)
    elif torchvision_layouts.CONVNEXT in state:
        state = torchvision_layouts.convnext(state)
    elif torchvision_layouts.EFFICIENTNET in state:
        state = torchvision_layouts.efficientnet(state)
    elif _CLIP in state:
        state = _transformers_clip(state)
    elif _OPENMMLAB in state and "layers.0.ln1.weight" in state:
        state = _openmmlab_vit(state)
    elif "_conv_stem.weight" in state:
        state = _efficientnet_pytorch(state, own)
    elif {"0.weight", "1.running_mean", "4.0.conv1.weight"} <= state.keys():
        state = _sequential_resnet(state)
    state = (
        {re.sub(r"^blocks\.\d+\.(\d+)\.(?=\D)", r"blocks.\1.", k): v for k, v in state.items()}
        if (_is_chunked(state))
        else state
    )
    return _as_the_model_has_it(state, own)


def _is_chunked(state: Tensors) -> bool:
    # DINOv2's large models keep their blocks in chunks, each block under its number in the whole.
    return any(re.match(r"blocks\.\d+\.\d+\.(norm1|attn)\.", name) for name in state) and not any(
        re.match(r"blocks\.\d+\.(norm1|attn)\.", name) for name in state
    )


def _as_the_model_has_it(
    state: dict[str, torch.Tensor], own: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in state.items():
        for old, new in ((r"\.gamma_([12])$", r".ls\1.gamma"), (r"\.ls([12])\.gamma$", r".gamma_\1")):
            other = re.sub(old, new, name)
            if name not in own and other in own:
                name = other
        renamed[name] = tensor
    renamed = _gated(renamed, own)
    # timm's conversion of DINOv2 (registers, SwiGLU) goes by the mask token, which some files have lost.
    if "mask_token" not in renamed and any(n == "register_tokens" or ".mlp.w12." in n for n in renamed):
        renamed["mask_token"] = torch.zeros(1)
    return renamed


def _gated(state: dict[str, torch.Tensor], own: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Name the two halves of a gated layer as the model does: apart, or joined with the gate first."""
    made = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        block, _, part = stem.rpartition(".")
        gate = state.get(f"{block}.gate_proj.{kind}") if block.endswith(".mlp") else None
        if part not in ("gate_proj", "up_proj") or not block.endswith(".mlp"):
            made[name] = tensor
        elif gate is None:
            made[f"{block}.fc1.{kind}"] = tensor
        elif f"{block}.fc1_g.{kind}" in own:
            made[f"{block}.{'fc1_g' if part == 'gate_proj' else 'fc1_x'}.{kind}"] = tensor
        elif part == "up_proj":
            made[f"{block}.fc1.{kind}"] = torch.cat([gate, tensor])
    return made


def _renamed(state: Tensors, rules: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    compiled = [(re.compile(old), new) for old, new in rules]
    made = {}
    for name, tensor in state.items():
        for old, new in compiled:
            name = old.sub(new, name)
        made[name] = tensor
    return made


def _fused(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Join queries, keys and values of ``blocks.N.attn.{q,k,v}.*`` to timm's ``qkv``, keys first checked."""
    made = {
        name: tensor
        for name, tensor in state.items()
        if not re.search(r"\.attn\.[qkv]\.(weight|bias)$", name)
    }
    for stem in {name.rsplit(".", 2)[0] for name in state.keys() - made.keys()}:
        for kind in ("weight", "bias"):
            parts = [state.get(f"{stem}.{part}.{kind}") for part in "qkv"]
            q, k, v = parts
            if q is not None and k is not None and v is not None:
                made[f"{stem}.qkv.{kind}"] = torch.cat([q, k, v])
            elif kind == "bias" and q is not None and v is not None:  # BEiT's keys have none
                made[f"{stem}.q_bias"], made[f"{stem}.v_bias"] = q, v
            else:
                made |= {
                    f"{stem}.{p}.{kind}": one for p, one in zip("qkv", parts, strict=True) if one is not None
                }
    return made


def _transformers_vit(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """ViT, DeiT, MAE, I-JEPA, BEiT, DINOv2 and its registers."""
    if "embeddings.register_tokens" in state:
        # timm's conversion of DINOv2 puts the registers between the class token and the patches.
        state = {k: v for k, v in state.items() if k != "embeddings.mask_token"} | {
            "mask_token": torch.zeros(1)
        }
    made = _renamed(
        state,
        [
            (r"^embeddings\.cls_token$", "cls_token"),
            (r"^embeddings\.distillation_token$", "dist_token"),
            (r"^embeddings\.register_tokens$", "register_tokens"),
            (r"^embeddings\.mask_token$", "mask_token"),
            (r"^embeddings\.position_embeddings$", "pos_embed"),
            (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
            (r"^(?:encoder\.|model\.)?layers?\.(\d+)\.", r"blocks.\1."),
            (r"\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
            (r"\.attention\.(q|k|v)_proj\.", r".attn.\1."),
            (r"(?:\.attention)*\.relative_position_bias\.", ".attn."),
            (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
            (r"\.mlp\.down_proj\.", ".mlp.fc2."),
            (r"\.mlp\.weights_in\.", ".mlp.fc1."),
            (r"\.mlp\.weights_out\.", ".mlp.fc2."),
            (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
            (r"\.lambda_([12])$", r".gamma_\1"),
            (r"^(?:layernorm|norm)\.", "norm."),
            # BEiT normalises the mean of its patches, and its own class calls that norm the pooler's.
            (r"^pooler\.layernorm\.", "fc_norm."),
        ],
    )
    return _fused(made)


def _transformers_dinov3(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = {
        f"embeddings.patch_embeddings.projection.{name.rpartition('.')[2]}"
        if "patch_embeddings" in name
        else name: tensor
        for name, tensor in state.items()
    }
    made = _transformers_vit(state)
    if "register_tokens" in made:
        made["storage_tokens"] = made.pop("register_tokens")  # by which timm's conversion knows DINOv3
    return made


def _transformers_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The image towers of CLIP and SigLIP; the second pools by attention."""
    made = _renamed(
        state,
        [
            (r"^embeddings\.class_embedding$", "cls_token"),
            (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
            (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
            (r"^pre_layrnorm\.", "norm_pre."),
            (r"^post_layernorm\.", "norm."),
            (r"^encoder\.layers\.(\d+)\.", r"blocks.\1."),
            (r"\.self_attn\.(q|k|v)_proj\.", r".attn.\1."),
            (r"\.self_attn\.out_proj\.", ".attn.proj."),
            (r"\.layer_norm([12])\.", r".norm\1."),
            (r"^head\.probe$", "attn_pool.latent"),
            (r"^head\.attention\.in_proj_", "attn_pool.qkv."),
            (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
            (r"^head\.layernorm\.", "attn_pool.norm."),
            (r"^head\.mlp\.(fc[12])\.", r"attn_pool.mlp.\1."),
        ],
    )
    for name, ndim in (("cls_token", 3), ("pos_embed", 3)):
        if name in made:
            made[name] = made[name].reshape((1,) * (ndim - made[name].ndim) + tuple(made[name].shape))
    for kind in ("weight", "bias"):
        joined = made.pop(f"attn_pool.qkv.{kind}", None)
        if joined is not None:  # the probe is what asks
            n = len(joined) // 3
            made[f"attn_pool.q.{kind}"], made[f"attn_pool.kv.{kind}"] = joined[:n], joined[n:]
    return _fused(made)


def _transformers_convnext(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = {k: v.reshape(-1) if ".grn." in k else v for k, v in state.items()}
    return _renamed(
        state,
        [
            (r"^embeddings\.patch_embeddings\.", "stem.0."),
            (r"^embeddings\.layernorm\.", "stem.1."),
            (r"^encoder\.stages\.(\d+)\.downsampling_layer\.", r"stages.\1.downsample."),
            (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.", r"stages.\1.blocks.\2."),
            (r"\.dwconv\.", ".conv_dw."),
            (r"(\.blocks\.\d+)\.layernorm\.", r"\1.norm."),
            (r"\.pwconv1\.", ".mlp.fc1."),
            (r"\.pwconv2\.", ".mlp.fc2."),
            (r"\.grn\.weight$", ".mlp.grn.weight"),
            (r"\.grn\.bias$", ".mlp.grn.bias"),
            (r"\.layer_scale_parameter$", ".gamma"),
            (r"^layernorm\.", "head.norm."),
        ],
    )


def _transformers_resnet(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    made = {}
    for name, tensor in state.items():
        name = re.sub(r"^embedder\.embedder\.convolution\.", "conv1.", name)
        name = re.sub(r"^embedder\.embedder\.normalization\.", "bn1.", name)
        found = re.match(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(.*)", name)
        if found:
            stage, block, rest = int(found[1]) + 1, found[2], found[3]
            rest = re.sub(r"^shortcut\.convolution\.", "downsample.0.", rest)
            rest = re.sub(r"^shortcut\.normalization\.", "downsample.1.", rest)
            part = re.match(r"layer\.(\d+)\.(convolution|normalization)\.(.*)", rest)
            if part:
                rest = f"{'conv' if part[2] == 'convolution' else 'bn'}{int(part[1]) + 1}.{part[3]}"
            name = f"layer{stage}.{block}.{rest}"
        made[name] = tensor
    return made


def _torchvision_vit(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return _renamed(
        state,
        [
            (r"^class_token$", "cls_token"),
            (r"^conv_proj\.", "patch_embed.proj."),
            (r"^encoder\.pos_embedding$", "pos_embed"),
            (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
            (r"^encoder\.ln\.", "norm."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.self_attention\.in_proj_", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.(?:linear_1|0)\.", ".mlp.fc1."),
            (r"\.mlp\.(?:linear_2|3)\.", ".mlp.fc2."),
        ],
    )


def _openmmlab_vit(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """MMPretrain and MMSelfSup, which call the norm after the last block as that before its attention."""
    return _renamed(
        state,
        [
            (r"^patch_embed\.projection\.", "patch_embed.proj."),
            (r"^pre_norm\.", "norm_pre."),
            (r"^layers\.(\d+)\.", r"blocks.\1."),
            (r"^ln1\.", "norm."),
            (r"^ln2\.", "fc_norm."),
            (r"\.ln([12])\.", r".norm\1."),
            (r"\.attn\.gamma1\.weight$", ".ls1.gamma"),
            (r"\.ffn\.gamma2\.weight$", ".ls2.gamma"),
            (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
            (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
        ],
    )


def _sequential_resnet(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A torchvision ResNet cut before its classifier and kept as nn.Sequential, as Lightly's examples do."""
    places = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    return {
        (f"{places[first]}.{rest}" if first in places else name): tensor
        for name, tensor in state.items()
        for first, _, rest in [name.partition(".")]
    }


def _efficientnet_pytorch(
    state: dict[str, torch.Tensor], own: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    """The packages efficientnet_pytorch and efficientnet_lite_pytorch: blocks counted through all stages.

    Their weights are TensorFlow's, with its padding: timm's ``tf_efficientnet_*`` compute what they do.
    """
    found = {match[0] for name in own if (match := re.match(r"blocks\.\d+\.\d+\.", name))}
    places = sorted(found, key=lambda place: [int(part) for part in place.split(".")[1:3]])
    layers = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
    layers |= {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    layers |= {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    # The first stage has blocks without the expansion, and so without the first of three norms.
    short = layers | {"_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    ends |= {"_fc": "classifier"}
    made = {}
    for name, tensor in state.items():
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(.*)", name)
        layer, _, rest = name.partition(".")
        if match and int(match[1]) < len(places):
            expands = f"_blocks.{match[1]}._expand_conv.weight" in state
            names = layers if expands else short
            made[f"{places[int(match[1])]}{names.get(match[2], match[2])}.{match[3]}"] = tensor
        else:
            made[f"{ends.get(layer, layer)}.{rest}"] = tensor
    return made
