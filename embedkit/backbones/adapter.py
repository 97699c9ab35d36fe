"""A PEFT folder -> low-rank updates in a backbone; of its configuration only declared fields reach PEFT."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from embedkit.backbones.checkpoints.digest import sizeless_sha256
from embedkit.backbones.checkpoints.leftovers import leftover
from embedkit.backbones.checkpoints.reading import read_tensors
from embedkit.backbones.naming import check_name, plain_name
from embedkit.backbones.options import ADAPTER_CONFIG, DEFAULT_BACKBONE, BackboneSpec
from embedkit.backbones.options import ADAPTER_FIX as FIX
from embedkit.console import note
from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared, of_shape

KINDS = ("LORA", "IA3")
PREFIX = "base_model.model."
MOST_CONFIG_BYTES = 5_000_000
# PEFT reads the keys of rank and alpha patterns as regular expressions; these can't run away.
TAME = re.compile(r"[\w.^$\\-]{1,300}")
INITS = re.compile(r"gaussian|orthogonal|olora|pissa|pissa_niter_\d{1,3}")
# Fields that say how it was trained or where from, and change nothing of what it computes.
OF_TRAINING = """
    task_type auto_mapping peft_version revision inference_mode exclude_modules lora_dropout
    layers_to_transform layers_pattern target_modules modules_to_save megatron_core
    qalora_group_size init_ia3_weights feedforward_modules runtime_config loftq_config eva_config
"""


@dataclass(frozen=True)
class AdapterConfig:
    """What of ``adapter_config.json`` embedkit uses; which modules are adapted, the tensors say."""

    peft_type: str
    base_model_name_or_path: str | None = None
    r: int = 8
    lora_alpha: int | float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    init_lora_weights: bool | str | None = True
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, int | float] | None = None
    modules_to_save: list[str] | None = None


@dataclass(frozen=True)
class Geometry:
    """Of the preprocessing that an adapter was trained with, what sets the scale."""

    image_size: int
    resize: int
    center_crop: int | None = None


@dataclass(frozen=True)
class Base:
    """``base.json``, which `embedkit pretrain` writes beside an adapter: what it was trained on."""

    name: str | None = None
    source: str | None = None
    sizeless_sha256: str | None = None
    weights: str | None = None
    random_init: int | None = None
    preprocessing: Geometry | None = None


@dataclass(frozen=True)
class Adapter:
    """A checked adapter folder.

    Parameters
    ----------
    folder
        Where it lies.
    config
        The declared part of its configuration.
    base
        What it says it was trained on.
    weights
        The file with its tensors.
    """

    folder: Path
    config: AdapterConfig
    base: Base
    weights: Path = field(repr=False)

    def spec(self, asked: BackboneSpec) -> BackboneSpec:
        """Take from the folder what a call leaves open: backbone, weights and the size of the input.

        Raises
        ------
        EmbedkitError
            The weights file that it names is gone.
        """
        base, found = self.base, asked
        if self.backbone and asked.backbone == DEFAULT_BACKBONE:
            self.check_known()
            found = replace(found, backbone=self.backbone)
        if plain_name(found.backbone) != self.backbone:
            return found  # refused, once the model is there
        if asked.weights is None and asked.random_init is None:
            found = replace(found, weights=self._weights_below(), random_init=base.random_init)
        geometry = ("image_size", "resize", "center_crop")
        if base.preprocessing and all(getattr(asked.preprocessing, name) is None for name in geometry):
            sizes = vars(base.preprocessing)
            # A central crop fixes the scale, and excludes another word on it.
            sizes = sizes | {"resize": None} if base.preprocessing.center_crop else sizes
            found = replace(found, preprocessing=replace(asked.preprocessing, **sizes))
        return found

    def check_known(self) -> None:
        """Refuse a base that no --backbone could name: another library's, or somebody's folder."""
        name = self.backbone or ""
        try:
            check_name(name)
        except UsageError as error:
            raise EmbedkitError(
                f"{self.folder}: this adapter was trained on {name[:80]}, which names no backbone here. "
                "Merge it there (merge_and_unload of PEFT), and give what that saves with --weights."
            ) from error

    def _weights_below(self) -> Path | None:
        if self.base.weights is None or self.base.random_init is not None:
            return None
        place = Path(self.base.weights)
        if not place.is_file():
            raise EmbedkitError(
                f"{self.folder}: the weights that it was trained on, {place}, are gone. Give --weights."
            )
        return place

    @property
    def backbone(self) -> str | None:
        """Name of the backbone that it was trained on, as embedkit takes it; None where it doesn't say."""
        return plain_name(self.base.name or self.config.base_model_name_or_path or "") or None


def read_adapter(folder: Path) -> Adapter:
    """Read and check what a folder says of its adapter, before PEFT sees any of it.

    Raises
    ------
    EmbedkitError
        Files are missing or no regular ones; a kind, field or value that embedkit doesn't know.
    """
    place = folder / ADAPTER_CONFIG
    weights = next(
        (
            folder / name
            for name in ("adapter_model.safetensors", "adapter_model.bin")
            if (folder / name).exists()
        ),
        folder / "adapter_model.safetensors",
    )
    for file in (place, weights):
        if not file.exists():
            raise EmbedkitError(f"{folder}: no {file.name} there. {FIX}")
    try:
        raw = declared(read_bytes(place, FIX, at_most=MOST_CONFIG_BYTES), dict[str, Any])
        config = of_shape(raw, AdapterConfig)
        _check_config(raw, config)
    except UndeclaredError as error:
        raise EmbedkitError(f"{place}: not an adapter's configuration ({error}). {FIX}") from error
    base = folder / "base.json"
    try:
        found = declared(read_bytes(base, FIX, at_most=MOST_CONFIG_BYTES), Base) if base.exists() else Base()
    except UndeclaredError as error:
        raise EmbedkitError(
            f"{base}: not what embedkit pretrain writes ({error}). Copy the folder again, or leave this file "
            "out."
        ) from error
    return Adapter(folder, config, found, weights)


def _check_config(raw: Mapping[str, Any], config: AdapterConfig) -> None:
    if config.peft_type not in KINDS:
        raise UndeclaredError(f"peft_type {config.peft_type[:40]!r}, and embedkit knows {', '.join(KINDS)}")
    if not 1 <= config.r <= 100_000 or not math.isfinite(config.lora_alpha):
        raise UndeclaredError(f"r of {config.r} and lora_alpha of {config.lora_alpha}")
    init = config.init_lora_weights
    if isinstance(init, str) and not INITS.fullmatch(init):
        # The others change the frozen weights by data that the folder doesn't hold.
        raise UndeclaredError(f"init_lora_weights {init[:40]!r}, which changes the weights below it")
    for pattern in (*(config.rank_pattern or {}), *(config.alpha_pattern or {})):
        if not TAME.fullmatch(pattern):
            raise UndeclaredError(f"a pattern of ranks {pattern[:60]!r}, which is more than a module's name")
    known = {one.name for one in fields(AdapterConfig)} | set(OF_TRAINING.split())
    for name, value in raw.items():
        if name not in known and value:
            raise UndeclaredError(f"a field {name[:40]!r} that embedkit doesn't know, and that is set")


def add_adapter(model: nn.Module, adapter: Adapter, name: str) -> nn.Module:
    """Return the model with an adapter in its modules.

    Raises
    ------
    EmbedkitError
        It was trained on another backbone, or a tensor of it has no place in this one.
    """
    folder = adapter.folder
    _check_base(model, adapter, name)
    tensors, left = _of_features(read_tensors(adapter.weights), model, folder)
    if left:
        note(f"{folder}: left, because no part of the features: {', '.join(left)}.")
    try:
        return _with_peft(model, adapter.config, tensors)
    except _StrayError as error:
        raise EmbedkitError(f"{folder}: this adapter does not fit {name}: {error}.") from error
    except Exception as error:  # modules of another shape or kind fail anywhere in PEFT
        raise EmbedkitError(f"{folder}: this adapter does not fit {name} ({first_line(error)}).") from error


class _StrayError(Exception):
    """Tensors of an adapter without a counterpart in the model."""


def _of_features(
    tensors: Mapping[str, torch.Tensor], model: nn.Module, folder: Path
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Part an adapter's tensors from those of a classifier, which the model for features doesn't have."""
    own = {name.rpartition(".")[0] for name in model.state_dict()}
    kept, left = {}, set()
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise EmbedkitError(
                f"{folder}: {name} holds NaN, infinity or whole numbers. Take an earlier checkpoint."
            )
        module = _module(name)
        inside = module in own or any(one.startswith(f"{module}.") for one in own)
        if not inside and leftover(f"{module}.weight") == "classifier":
            left.add(module)
        else:
            kept[name] = tensor
    if not kept:
        raise EmbedkitError(
            f"{folder}: adapts nothing but a classifier ({', '.join(sorted(left))}). Leave it out."
        )
    return kept, sorted(left)


def _module(name: str) -> str:
    """Return the module of a tensor of an adapter."""
    short = name.removeprefix(PREFIX).replace(".base_layer.", ".")
    return re.sub(r"\.(lora_\w+(\.weight|\.bias)?|ia3_l|weight|bias)$", "", short)


def _with_peft(model: nn.Module, config: AdapterConfig, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    adapted = PeftModel(model, _peft_config(config, tensors))
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # PEFT only warns of tensors without a place, and would leave blocks unadapted.
    stray = sorted(set(tensors) ^ set(wanted))
    if stray:
        plural = f"{len(stray)} tensors have" if len(stray) > 1 else "one tensor has"
        raise _StrayError(f"{plural} no counterpart, such as {stray[0]}")
    misfit = next((key for key in sorted(tensors) if tensors[key].shape != wanted[key].shape), None)
    if misfit:
        shapes = f"{tuple(tensors[misfit].shape)}, not {tuple(wanted[misfit].shape)}"
        raise _StrayError(f"{misfit} has shape {shapes}")
    set_peft_model_state_dict(adapted, dict(tensors))
    based: nn.Module = adapted.get_base_model()
    return based


def _peft_config(config: AdapterConfig, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Build PEFT's configuration from declared fields and the tensors' own names and shapes."""
    from peft import IA3Config, LoraConfig

    if config.peft_type == "IA3":
        scales = {_module(name): tensor for name, tensor in tensors.items() if name.endswith(".ia3_l")}
        return IA3Config(
            target_modules=sorted(scales),
            # What scales inputs is a row, what scales outputs is a column.
            feedforward_modules=sorted(
                name for name, one in scales.items() if one.shape[0] == 1 != one.shape[-1]
            ),
            fan_in_fan_out=config.fan_in_fan_out,
            modules_to_save=_saved(config, tensors),
            inference_mode=True,
        )
    ranks = {
        _module(name): int(one.shape[0]) for name, one in tensors.items() if name.endswith(".lora_A.weight")
    }
    if not ranks:
        raise _StrayError("it holds no low-rank matrices of linear or convolutional layers")
    alphas = {name: _of_pattern(config.alpha_pattern or {}, name, config.lora_alpha) for name in ranks}
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        target_modules=sorted(ranks),
        rank_pattern={name: rank for name, rank in ranks.items() if rank != config.r},
        alpha_pattern={name: alpha for name, alpha in alphas.items() if alpha != config.lora_alpha},
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        fan_in_fan_out=config.fan_in_fan_out,
        lora_bias=config.lora_bias,
        bias=config.bias,
        init_lora_weights=config.init_lora_weights if isinstance(config.init_lora_weights, str) else True,
        modules_to_save=_saved(config, tensors),
        inference_mode=True,
    )


def _saved(config: AdapterConfig, tensors: Mapping[str, torch.Tensor]) -> list[str] | None:
    """Those of the modules kept in full that have tensors here; a classifier's are gone."""
    whole = {_module(name) for name in tensors if not re.search(r"\.(lora_\w+|ia3_l)(\.|$)", name)}
    paths = {path for name in whole for path in _paths(name)}
    return [one for one in config.modules_to_save or () if any(path.endswith(one) for path in paths)] or None


def _paths(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _of_pattern(patterns: Mapping[str, float], name: str, otherwise: float) -> float:
    # As PEFT matches them: the first that the end of a module's name is.
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), otherwise)


def _check_base(model: nn.Module, adapter: Adapter, name: str) -> None:
    """Compare the backbone and its weights with those that the folder names; PEFT keeps no digest."""
    base = adapter.base
    if adapter.backbone and adapter.backbone != plain_name(name):
        adapter.check_known()
        raise EmbedkitError(
            f"{adapter.folder}: this adapter was trained on {adapter.backbone}, not {name}. Give --backbone "
            f"{adapter.backbone}."
        )
    if base.sizeless_sha256 is None:
        return
    found = sizeless_sha256(model.state_dict())
    if base.sizeless_sha256 != found:
        raise EmbedkitError(
            f"{adapter.folder}: this adapter was trained on other weights of {name}: on "
            f"{base.sizeless_sha256[:12]} ({base.source or 'unknown'}), and these are {found[:12]}. Give the "
            "same --weights as then."
        )
