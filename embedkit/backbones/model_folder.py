"""A folder as timm's ``save_for_hf`` writes it -> a model of the architecture that it declares."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.errors import EmbedkitError, first_line
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared, of_shape

LOCAL_DIR = "local-dir:"
WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pth",
    "model.pt",
)
FIX = "local-dir: wants a folder as timm's save_for_hf writes it: config.json beside model.safetensors."
MOST_CONFIG_BYTES = 20_000_000  # 21,841 class names with descriptions are 2 MB
# Beyond these no network of timm goes; a model of a billion blocks would never be built.
MOST_VALUE = 200_000
MOST_BLOCKS = 500
MOST_ITEMS = 64
# Arguments of timm's factory that would read files, ask the network, or change what kind of thing is built.
NOT_OF_A_MODEL = """
    pretrained pretrained_cfg pretrained_cfg_overlay pretrained_strict pretrained_filter_fn checkpoint_path
    pretrained_model_args cache_dir features_only feature_cfg out_indices scriptable exportable no_jit
    model_name kwargs_filter device dtype
"""


@dataclass(frozen=True)
class PretrainedConfig:
    """What of ``pretrained_cfg`` embedkit uses; the rest (urls, hub names, licences) is passed over."""

    input_size: tuple[int, int, int] | None = None
    fixed_input_size: bool | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None
    mean: tuple[float, ...] | float | None = None
    std: tuple[float, ...] | float | None = None
    first_conv: str | list[str] | None = None
    classifier: str | list[str] | None = None
    pool_size: tuple[int, ...] | None = None
    architecture: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class ModelConfig:
    """What of config.json embedkit uses."""

    architecture: str
    pretrained_cfg: dict[str, Any] | None = None
    model_args: dict[str, Any] | None = None
    num_classes: int | None = None


@dataclass(frozen=True)
class ModelFolder:
    """A checked folder.

    Parameters
    ----------
    architecture
        A timm name without a tag.
    config
        What preprocessing and conversion need, with timm's keys.
    arguments
        What the architecture is built with.
    weights
        The file that holds the tensors, or the index of several.
    """

    architecture: str
    config: dict[str, Any] = field(repr=False)
    arguments: dict[str, Any]
    weights: Path

    def build(self, *, n_values: int | None) -> nn.Module:
        """Build the model with random weights.

        Parameters
        ----------
        n_values
            How many values the weights file holds, at which the model's size is looked at before it is built.
        """
        from embedkit.backbones.networks.registry import timm

        def make() -> nn.Module:
            made: nn.Module = timm.create_model(
                self.architecture,
                pretrained=False,
                num_classes=0,
                pretrained_cfg=self.config,
                **self.arguments,
            )
            return made

        place = self.weights.parent / "config.json"
        try:
            if n_values is not None:
                self._check_size(make, n_values)
            return make()
        except EmbedkitError:
            raise
        except Exception as error:  # an argument of the wrong kind fails anywhere in a network's constructor
            raise EmbedkitError(
                f"{place}: {self.architecture} can't be built with its model_args ({first_line(error)})."
            ) from error

    def _check_size(self, make: Any, n_values: int) -> None:
        with torch.device("meta"):
            try:
                n = sum(value.numel() for value in make().state_dict().values())
            except RuntimeError:  # a constructor that looks at values
                return
        # Positions may be of a smaller input than the model's.
        if n > 4 * n_values + 10_000_000:
            raise EmbedkitError(
                f"{self.weights.parent / 'config.json'}: declares {self.architecture} with {n:,} weights, "
                f"and {self.weights.name} holds {n_values:,}. Give the config.json that was saved with it."
            )


def read_model_folder(folder: Path, *, weights: Path | None = None) -> ModelFolder:
    """Read and check what a folder declares, before anything is built of it.

    Parameters
    ----------
    weights
        A file to take instead of the folder's own.

    Raises
    ------
    EmbedkitError
        No such folder, no or a broken config.json, an unknown architecture, values out of bounds, no weights.
    """
    place = folder / "config.json"
    if not place.exists():
        other = f" It is a file: give --weights {folder}." if folder.is_file() else ""
        raise EmbedkitError(f"{folder}: no config.json there. {FIX}{other}")
    try:
        config = declared(read_bytes(place, FIX, at_most=MOST_CONFIG_BYTES), dict[str, Any])
        if "architecture" not in config and "model_type" in config:
            raise EmbedkitError(
                f"{place}: of transformers' {config['model_type']!s:.40}, which names no timm architecture. "
                "Give its model.safetensors with --weights, and the timm name with --backbone."
            )
        own = of_shape(config, ModelConfig)
        # Older folders keep everything at one level.
        pretrained = of_shape(own.pretrained_cfg if "pretrained_cfg" in config else config, PretrainedConfig)
        arguments = own.model_args or {}
        _check_arguments(arguments)
        known = _config(pretrained, arguments)
    except UndeclaredError as error:
        raise EmbedkitError(f"{place}: not a timm model's config ({error}). {FIX}") from error
    return ModelFolder(
        _known(own.architecture, place),
        known,
        {key: value for key, value in arguments.items() if key != "num_classes"},
        weights or _weights(folder),
    )


def _known(name: str, place: Path) -> str:
    import difflib

    from embedkit.backbones.networks.registry import timm

    architecture = name.partition(".")[0]
    if not re.fullmatch(r"\w+", architecture) or not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture[:100], timm.list_models(), n=2)
        hint = f" Close: {', '.join(close)}." if close else ""
        raise EmbedkitError(
            f"{place}: unknown architecture {architecture[:60]!r}.{hint} Give it a timm name."
        )
    return architecture


def _config(pretrained: PretrainedConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    config = {name: value for name, value in vars(pretrained).items() if value is not None}
    channels, height, width = config.get("input_size", (3, 224, 224))
    channels = arguments.get("in_chans", channels)
    side = arguments.get("img_size")
    if isinstance(side, int):
        height = width = side
    config["input_size"] = (channels, height, width)
    for key, value, most in (
        ("in_chans", channels, 1024),
        ("input_size", height, 8192),
        ("input_size", width, 8192),
    ):
        if not isinstance(value, int) or not 1 <= value <= most:
            raise UndeclaredError(f"{key} of {value!r:.40}, expected 1 to {most}")
    for key in ("mean", "std"):
        values = config.get(key)
        if values is None:
            continue
        values = (values,) if isinstance(values, float) else values
        if len(values) not in (1, 3, channels) or (key == "std" and min(values) <= 0):
            raise UndeclaredError(f"{key} of {values!r:.60} for {channels} channels")
        config[key] = values
    if not 0 < config.get("crop_pct", 1.0) <= 4:
        raise UndeclaredError(f"crop_pct of {config['crop_pct']}")
    return config


def _check_arguments(arguments: dict[str, Any]) -> None:
    for key, value in arguments.items():
        if key in NOT_OF_A_MODEL.split() or not re.fullmatch(r"[a-zA-Z]\w*", key):
            raise UndeclaredError(f"model_args has {key[:40]!r}, which is no argument of an architecture")
        _check_value(key, value, 0)


def _check_value(key: str, value: Any, depth: int) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if len(value) > MOST_ITEMS or depth > 4:
            raise UndeclaredError(f"model_args {key} holds more than any architecture")
        for item in value:
            _check_value(key, item, depth + 1)
    elif isinstance(value, (int, float)):
        most = MOST_BLOCKS if re.search(r"depth|layers|blocks", key) else MOST_VALUE
        if abs(value) > most:
            raise UndeclaredError(f"model_args {key} of {value!r:.40}, beyond {most:,}")
    elif value is not None and len(value) > 200:
        raise UndeclaredError(f"model_args {key} is a text of {len(value):,} characters")


def _weights(folder: Path) -> Path:
    found = next((folder / name for name in WEIGHTS if (folder / name).exists()), None)
    if found is None:
        others = sorted(
            p.name for end in ("safetensors", "pth", "pt", "bin") for p in folder.glob(f"*.{end}")
        )
        if len(others) != 1:
            what = f"several weights files ({', '.join(others[:3])})" if others else "no model.safetensors"
            raise EmbedkitError(f"{folder}: {what} there. {FIX}")
        found = folder / others[0]
    return found
