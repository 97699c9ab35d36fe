"""A timm name, a checkpoint file, an adapter folder -> a backbone that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.backbones.adapter import add_adapter, read_adapter
from embedkit.backbones.checkpoints.digest import state_sha256
from embedkit.backbones.checkpoints.fitting import channels_of, fit
from embedkit.backbones.checkpoints.reading import read_tensors
from embedkit.backbones.hub import hub_or_cache
from embedkit.backbones.model_folder import LOCAL_DIR, read_model_folder
from embedkit.backbones.named_after import named_after
from embedkit.backbones.naming import check_name, is_published
from embedkit.backbones.options import PIXELS, BackboneSpec
from embedkit.backbones.shipped import SHIPPED
from embedkit.console import note
from embedkit.errors import UsageError, first_line
from embedkit.files.store import file_sha256
from embedkit.images.preprocess import Preprocessing, from_timm
from embedkit.images.quiet import no_warnings

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
    spec
        As asked for, with what an adapter's folder filled in.
    tensors
        What became of the tensors of its weights file (`checkpoints.fitting.Fit.record`); None where they
        came from no file of the user's.
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
    spec: BackboneSpec | None = None
    tensors: Mapping[str, Any] | None = None

    @property
    def title(self) -> str:
        """Its name for tables, with where its weights came from if that is not plain."""
        source = Path(self.source).stem
        if source.startswith(self.name):
            return source  # a weights file that carries its architecture's name
        return self.name if source in ("hub", "pixels") else f"{self.name} ({source})"

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
    adapter = None if spec.adapter is None else read_adapter(spec.adapter)
    spec = spec if adapter is None else adapter.spec(spec)
    made = _build(spec)
    model = made.model
    own = _own_preprocessing(spec.backbone, model, spec.preprocessing.image_size)
    preprocessing = own.changed(spec.preprocessing)
    set_image_size(model, preprocessing.image_size, spec.backbone)
    tensors = None
    if made.file is not None:
        # Once the model has its size, so that weights trained at this size keep their positions exactly.
        tensors = _fill(made)
    weights_sha256 = state_sha256(model.state_dict())
    adapter_sha256 = None
    if adapter is not None:
        model, adapter_sha256 = add_adapter(model, adapter, spec.backbone), file_sha256(adapter.weights)
    model.eval().requires_grad_(False)
    if spec.preprocessing.image_size is not None:
        _try_input(model, preprocessing, spec.backbone)
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
        source=made.source,
        weights_sha256=weights_sha256,
        adapter_sha256=adapter_sha256,
        spec=spec,
        tensors=tensors,
    )


def resolved(spec: BackboneSpec) -> BackboneSpec:
    """Return it with what an adapter's folder fills in: backbone, weights and the size of the input."""
    return spec if spec.adapter is None else read_adapter(spec.adapter).spec(spec)


def check_backbone(spec: BackboneSpec) -> None:
    """Refuse what `load_backbone` would, as far as that is known before a model is built.

    Raises
    ------
    UsageError
        An unknown name, or a file of weights that is not there.
    EmbedkitError
        An adapter that can't be read.
    """
    if spec.backbone.startswith(PIXELS):
        return
    spec = resolved(spec)
    check_name(spec.backbone)
    if spec.weights is not None and not spec.weights.is_file():
        raise UsageError(f"{spec.weights}: no such file. Name the file of weights.")
    _check_published(spec)


def _check_published(spec: BackboneSpec) -> None:
    if spec.weights is None and spec.random_init is None and not is_published(spec.backbone):
        raise UsageError(
            f"{spec.backbone} has no published weights. Give a checkpoint with --weights FILE, or start from "
            "--random-init SEED."
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


@dataclass(frozen=True)
class _Made:
    """A model as built, where its weights come from, and the tensors that still are to be loaded into it."""

    model: nn.Module
    source: str
    file: Path | None = None
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)


def _build(spec: BackboneSpec) -> _Made:
    from embedkit.backbones.networks.registry import timm

    check_name(spec.backbone)
    if spec.backbone.startswith(LOCAL_DIR):
        return _from_folder(spec)
    shipped = SHIPPED.get(spec.backbone)
    name = shipped.architecture if shipped else spec.backbone

    def make(**changes: Any) -> nn.Module:
        made: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **changes)
        return made

    if spec.random_init is not None:
        return _Made(_seeded(make, spec.random_init), f"random {spec.random_init}")
    if spec.weights is not None:
        tensors = read_tensors(spec.weights)
        model = make()
        channels = channels_of(model, tensors)
        if channels not in (None, 3):  # of grey images, say: the file alone knows
            size = (getattr(model, "pretrained_cfg", {}).get("input_size") or (3, 224, 224))[1:]
            model = make(in_chans=channels, pretrained_cfg_overlay={"input_size": (channels, *size)})
        return _Made(model, spec.weights.name, spec.weights, tensors)
    if shipped:
        return _Made(make(), "embedkit", shipped.path, read_tensors(shipped.path))
    _check_published(spec)
    with hub_or_cache(spec.backbone):
        return _Made(timm.create_model(spec.backbone, pretrained=True, num_classes=0), "hub")


def _from_folder(spec: BackboneSpec) -> _Made:
    folder = read_model_folder(Path(spec.backbone.removeprefix(LOCAL_DIR)), weights=spec.weights)
    if spec.random_init is not None:
        return _Made(
            _seeded(lambda: folder.build(n_values=None), spec.random_init), f"random {spec.random_init}"
        )
    tensors = read_tensors(folder.weights)
    model = folder.build(n_values=sum(one.numel() for one in tensors.values()))
    return _Made(model, spec.weights.name if spec.weights else "hub", folder.weights, tensors)


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _fill(made: _Made) -> dict[str, Any] | None:
    assert made.file is not None
    found = fit(made.model, made.tensors, made.file)
    if made.source == "embedkit":
        return None
    said = found.sentence()
    if said:
        note(f"{made.file}: {said}.")
    other = named_after(made.file, made.model)
    if other:
        note(
            f"{made.file}: named after {other}, which has the same tensors and may compute and prepare "
            f"images otherwise. If that is what it is, give --backbone {other}."
        )
    return found.record()


def _own_preprocessing(name: str, model: nn.Module, image_size: int | None) -> Preprocessing:
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(model)
    if name in SHIPPED:
        size = SHIPPED[name].image_size
        return from_timm(config | {"input_size": (3, size, size)}, crop_ratio=1.0)
    # The tag of the weights, rather than the end of the name: timm knows them by older names too.
    tag = str(getattr(model, "pretrained_cfg", {}).get("tag") or "")
    return from_timm(config, crop_ratio=CROP_RATIO.get(tag), image_size=image_size)


def set_image_size(model: Any, image_size: int, name: str) -> None:
    """Give a model of positions those of another input; raises `UsageError` where it can't have them."""
    patch_embed = getattr(model, "patch_embed", None)
    own = getattr(patch_embed, "img_size", None)
    if own is None or tuple(own) == (image_size, image_size):
        return
    if not hasattr(model, "set_input_size"):
        raise UsageError(f"{name} takes {own[0]} x {own[1]} input only: leave out --image-size.")
    try:
        with no_warnings():  # of how PyTorch is used to interpolate
            model.set_input_size(img_size=(image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        patch = getattr(patch_embed, "patch_size", ("?",))[0]
        raise UsageError(
            f"{name}: input of {image_size} pixels does not fit patches of {patch} ({error}). "
            "Give a multiple of the patch size."
        ) from error


def _try_input(model: nn.Module, preprocessing: Preprocessing, name: str) -> None:
    """Ask the model itself, once: what sizes it takes depends on patches, windows and strides."""
    image_size = preprocessing.image_size
    try:
        with torch.inference_mode():
            model(torch.zeros(1, preprocessing.channels, image_size, image_size))
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
