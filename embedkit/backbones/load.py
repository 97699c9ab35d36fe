"""A timm name, a checkpoint file, an adapter folder -> a backbone that is ready to run."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.backbones.checkpoints import load_weights, sizeless_sha256, state_sha256
from embedkit.backbones.hub import hub_or_cache
from embedkit.backbones.options import PIXELS, BackboneSpec
from embedkit.backbones.shipped import SHIPPED
from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.images.preprocess import Preprocessing, from_timm

# DINO evaluates with a resize to 256 and a crop of 224 (eval_knn.py of facebookresearch/dino); timm's
# configuration of the same weights, by their tag, carries its default of 0.9 instead.
CROP_RATIO = {"dino": 0.875}


@dataclass(frozen=True)
class Backbone:
    """A loaded backbone.

    Parameters
    ----------
    name
        As asked for.
    model
        In evaluation mode, on the CPU, float32, without a classifier.
    preprocessing
        What its input needs.
    n_blocks
        Number of blocks (ViT) or stages (CNN) whose output can be asked for.
    n_prefix_tokens
        CLS and register tokens before the patch tokens; 0 for a CNN.
    has_cls
        Whether there is a CLS token.
    is_vit
        Whether the model gives tokens, rather than feature maps.
    source
        ``hub``, ``embedkit``, ``random SEED``, ``pixels``, or the name of the weights file.
    weights_sha256
        SHA-256 over names, shapes and float32 bytes of all parameters and buffers before an adapter, so
        that one model gives one digest in whatever container or precision it came.
    adapter_sha256
        SHA-256 of the adapter's weights file, or None.
    """

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    n_blocks: int
    n_prefix_tokens: int
    has_cls: bool
    is_vit: bool
    source: str
    weights_sha256: str
    adapter_sha256: str | None = None

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps."""
        return {
            "name": self.name,
            "source": self.source,
            "weights_sha256": self.weights_sha256,
            "adapter_sha256": self.adapter_sha256,
            "n_parameters": sum(p.numel() for p in self.model.parameters()),
        }


class Pixels(nn.Module):
    """The control that every backbone must beat: pixels in [0, 1], flattened."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (b, 3 s s) from (b, 3, s, s)."""
        return x.flatten(1)


def load_backbone(spec: BackboneSpec) -> Backbone:
    """Load a backbone onto the CPU in float32, ready to be moved.

    Raises
    ------
    UsageError
        An unknown name.
    EmbedkitError
        Weights that can't be had or don't fit; the message names the ways out.
    """
    if spec.backbone.startswith(PIXELS):
        return _pixels(spec)
    model, source = _load_model(spec)
    own = _own_preprocessing(spec.backbone, model, spec.preprocessing.image_size)
    preprocessing = own.changed(spec.preprocessing)
    _set_image_size(model, preprocessing.image_size, spec.backbone)
    if spec.weights is not None:
        # Once the model has its size, so that weights trained at this size keep their positions exactly.
        load_weights(model, spec.weights)
    elif source == "embedkit":
        load_weights(model, SHIPPED[spec.backbone].path)
    weights_sha256 = state_sha256(model.state_dict())
    adapter_sha256 = None
    if spec.adapter is not None:
        model, adapter_sha256 = _load_adapter(model, spec.adapter, spec.backbone)
    model.eval().requires_grad_(False)
    if spec.preprocessing.image_size is not None:
        _try_input(model, preprocessing.image_size, spec.backbone)
    n_prefix = int(getattr(model, "num_prefix_tokens", 0))
    is_vit = hasattr(model, "blocks") and hasattr(model, "num_prefix_tokens")
    return Backbone(
        name=spec.backbone,
        model=model,
        preprocessing=preprocessing,
        n_blocks=_n_blocks(model, is_vit),
        n_prefix_tokens=n_prefix,
        has_cls=is_vit and getattr(model, "cls_token", None) is not None,
        is_vit=is_vit,
        source=source,
        weights_sha256=weights_sha256,
        adapter_sha256=adapter_sha256,
    )


def _pixels(spec: BackboneSpec) -> Backbone:
    side = spec.backbone.removeprefix(PIXELS)
    own = Preprocessing(image_size=int(side), resize=int(side), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Backbone(
        name=spec.backbone,
        model=Pixels().eval(),
        preprocessing=own.changed(spec.preprocessing),
        n_blocks=1,
        n_prefix_tokens=0,
        has_cls=False,
        is_vit=False,
        source="pixels",
        weights_sha256=state_sha256({}),
    )


def _load_model(spec: BackboneSpec) -> tuple[nn.Module, str]:
    import timm

    _check_name(spec.backbone)
    shipped = SHIPPED.get(spec.backbone)
    name = shipped.architecture if shipped else spec.backbone
    if spec.random_init is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.random_init)
            return timm.create_model(name, pretrained=False, num_classes=0), f"random {spec.random_init}"
    if spec.weights is not None:
        return timm.create_model(name, pretrained=False, num_classes=0), spec.weights.name
    if shipped:
        return timm.create_model(name, pretrained=False, num_classes=0), "embedkit"
    with hub_or_cache(spec.backbone):
        return timm.create_model(spec.backbone, pretrained=True, num_classes=0), "hub"


def _check_name(name: str) -> None:
    import timm

    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "config.json").is_file():
            raise EmbedkitError(
                f"{folder}: no config.json there. local-dir: wants a folder as timm's save_for_hf writes it: "
                "config.json beside model.safetensors."
            )
        return
    if name in SHIPPED or name.startswith(("hf-hub:", "hf_hub:")):
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, [*SHIPPED, *timm.list_models()], n=3)
        hint = f" Close: {', '.join(close)}." if close else ""
        raise UsageError(
            f"unknown backbone {name!r}.{hint} Give a timm name, {', '.join(SHIPPED)}, hf-hub:owner/name, "
            "local-dir:folder or pixels:32."
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UsageError(f"{architecture} has no weights called {tag!r}. Known: {', '.join(tags) or 'none'}.")


def _own_preprocessing(name: str, model: nn.Module, image_size: int | None) -> Preprocessing:
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(model)
    if name in SHIPPED:
        size = SHIPPED[name].image_size
        return from_timm(config | {"input_size": (3, size, size)}, crop_ratio=1.0)
    # The tag of the weights, rather than the end of the name: timm knows them by older names too.
    tag = str(getattr(model, "pretrained_cfg", {}).get("tag") or "")
    return from_timm(config, crop_ratio=CROP_RATIO.get(tag), image_size=image_size)


def _set_image_size(model: Any, image_size: int, name: str) -> None:
    patch_embed = getattr(model, "patch_embed", None)
    own = getattr(patch_embed, "img_size", None)
    if own is None or tuple(own) == (image_size, image_size):
        return
    if not hasattr(model, "set_input_size"):
        raise UsageError(f"{name} takes {own[0]} x {own[1]} input only: leave out --image-size.")
    try:
        model.set_input_size(img_size=(image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        patch = getattr(patch_embed, "patch_size", ("?",))[0]
        raise UsageError(
            f"{name}: input of {image_size} pixels does not fit patches of {patch} ({error}). "
            "Give a multiple of the patch size."
        ) from error


def _try_input(model: nn.Module, image_size: int, name: str) -> None:
    """Ask the model itself, once: what sizes it takes depends on patches, windows and strides."""
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{name} can't take input of {image_size} pixels ({first_line(error)}). Give another "
            "--image-size; a ViT wants a multiple of its patch size."
        ) from error


def _n_blocks(model: nn.Module, is_vit: bool) -> int:
    if is_vit:
        return len(model.blocks)  # type: ignore[arg-type]
    stages = getattr(model, "feature_info", None)
    return len(stages) if stages is not None and hasattr(model, "forward_intermediates") else 1


def _load_adapter(model: nn.Module, folder: Path, name: str) -> tuple[nn.Module, str]:
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    from embedkit.files.store import file_sha256

    weights = folder / "adapter_model.safetensors"
    for file in (folder / "adapter_config.json", weights):
        if not file.is_file():
            raise EmbedkitError(
                f"{folder}: no {file.name} there. --adapter wants a folder as PEFT's save_pretrained "
                "writes it."
            )
    try:
        base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
        if base and base != name:
            raise EmbedkitError(
                f"{folder}: this adapter was trained on {base}, not {name}. Give --backbone {base}."
            )
        _check_base(model, folder, name)
        adapted = PeftModel.from_pretrained(model, str(folder))
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise EmbedkitError(f"{folder}: this adapter does not fit {name} ({first_line(error)}).") from error
    # PEFT only warns of tensors without a place, and would leave blocks unadapted.
    stray = set(load_file(weights)) ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if stray:
        raise EmbedkitError(
            f"{folder}: this adapter does not fit {name}: {len(stray)} tensors have no counterpart, such as "
            f"{min(stray)}."
        )
    return adapted.get_base_model(), file_sha256(weights)


def _check_base(model: nn.Module, folder: Path, name: str) -> None:
    """Compare the weights with those that ``base.json`` records, where there is one; PEFT keeps no digest."""
    file = folder / "base.json"
    if not file.is_file():
        return
    base = json.loads(file.read_text())
    if not isinstance(base, dict) or "sizeless_sha256" not in base:
        return
    wanted, found = str(base["sizeless_sha256"]), sizeless_sha256(model.state_dict())
    if wanted != found:
        raise EmbedkitError(
            f"{folder}: this adapter was trained on other weights of {name}: on {wanted[:12]} "
            f"({base.get('source', 'unknown')}), and these are {found[:12]}. Give the same --weights as then."
        )
