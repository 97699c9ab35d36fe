"""Tensors of a file -> the state of a timm model: every one of them taken, left for a reason, or refused."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.backbones.checkpoints.clip_activation import activation_fault
from embedkit.backbones.checkpoints.layouts import is_foreign, to_timm
from embedkit.backbones.checkpoints.leftovers import leftover
from embedkit.backbones.checkpoints.likely import looks_like
from embedkit.backbones.checkpoints.torchvision_layouts import padding_fault
from embedkit.backbones.checkpoints.tracing import plain, sources, traced
from embedkit.backbones.checkpoints.wrappers import Unwrapped, unwrap
from embedkit.errors import EmbedkitError, first_line
from embedkit.images.quiet import no_warnings

# What timm may resample, because it depends on the size of the input and not on what was learnt of it.
POSITIONS = (
    "pos_embed",
    "relative_position_bias_table",
    "rel_pos",
    "attention_biases",
    "pos_emb",
    "pos_bias",
)
# The names under which timm keeps the conversion of its published files, by module.
CONVERSIONS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
# How one of several files is named, whose index lies beside them.
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
# Half of a network's names are enough to know that the wrappers are off.
ENOUGH = 0.5


@dataclass(frozen=True)
class Fit:
    """What became of the tensors of a weights file.

    Parameters
    ----------
    taken
        Names in the file that the model has.
    ignored
        Why each of the others was left, by its name in the file.
    resampled
        Position embeddings of the model that were resampled to its input size, with both sizes.
    taken_from
        The wrappers that were taken off, joined by dots; empty for a bare network.
    """

    taken: tuple[str, ...]
    ignored: Mapping[str, str]
    resampled: tuple[str, ...]
    taken_from: str

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps: counts and digests, since a file may hold thousands of names."""
        kinds = Counter(self.ignored.values())
        return {
            "n": len(self.taken) + len(self.ignored),
            "n_taken": len(self.taken),
            "taken_sha256": names_sha256(self.taken),
            "taken_from": self.taken_from,
            "ignored": dict(sorted(kinds.items())),
            "resampled": list(self.resampled),
        }

    def sentence(self) -> str:
        """Say what was left and resampled; empty where all was taken as it is."""
        parts = []
        if self.ignored:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in sorted(Counter(self.ignored.values()).items()))
            parts.append(
                f"{len(self.taken)} of {len(self.taken) + len(self.ignored)} tensors taken; left: {kinds}"
            )
        if self.resampled:
            parts.append(f"resampled to the input size: {', '.join(self.resampled[:2])}")
        return "; ".join(parts)


def names_sha256(names: tuple[str, ...]) -> str:
    """Digest of a set of names."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def fit(model: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> Fit:
    """Load tensors into a timm model, in float32.

    Parameters
    ----------
    model
        Without a classifier, at its input size.
    tensors
        By their names in the file.
    path
        What an error names.

    Raises
    ------
    EmbedkitError
        They are not this architecture's: something is missing, of another shape, or has no place.
    """
    own = model.state_dict()
    found = unwrap(traced(tensors), lambda some: is_foreign(some) or _overlap(some, model, own) >= ENOUGH)
    _check_merged(path, found)
    fault = _prefix_fault(model, to_timm(found.tensors, {})) or padding_fault(model, found.tensors)
    fault = fault or activation_fault(model, tensors, found.tensors, path)
    if fault:
        raise _refusal(path, model, found, fault)
    try:
        made = _converted(found.tensors, model, own)
    except Exception as error:  # timm's conversions take another network apart as they like
        raise _refusal(path, model, found, f"timm can't convert it ({first_line(error)})") from error
    _check(path, model, found, made, own)
    state, resampled = {}, []
    for name, value in own.items():
        if name not in made:
            state[name] = value  # num_batches_tracked, which old files lack
            continue
        state[name] = _as_weight(plain(made[name]), value, path, name)
        change = _resampling(name, made, found.tensors)
        if change:
            resampled.append(change)
    taken = {name for key in own if key in made for name in _origin(key, made[key], found)}
    ignored = _accounted(path, model, found, tensors, made, taken)
    model.load_state_dict(state)
    return Fit(tuple(sorted(taken)), ignored, tuple(resampled), found.taken_from)


def channels_of(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return how many channels the first convolution of a file takes; None where it can't be told."""
    name = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv")
    own = model.state_dict()
    key = f"{name}.weight"
    if not isinstance(name, str) or key not in own:
        return None
    found = unwrap(traced(tensors), lambda some: is_foreign(some) or _overlap(some, model, own) >= ENOUGH)
    weight = to_timm(found.tensors, {}).get(key)
    if weight is None or weight.ndim != 4 or own[key].shape[1] != 3:
        return None
    return int(weight.shape[1])


# --- conversion -------------------------------------------------------------------------------------


def _converted(
    inner: Mapping[str, torch.Tensor], model: nn.Module, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    state = to_timm(inner, {name: value.shape for name, value in own.items()})
    convert = conversion(model)
    if convert is None:
        return state
    arguments = (state, model) if len(inspect.signature(convert).parameters) > 1 else (state,)
    # Some conversions print, and PyTorch warns of how they interpolate.
    with contextlib.redirect_stdout(io.StringIO()), no_warnings():
        return dict(convert(*arguments))


def conversion(model: nn.Module) -> Callable[..., Any] | None:
    """Return timm's own conversion of published files for this model, if it has one."""
    module = sys.modules[type(model).__module__]
    return next((getattr(module, name) for name in CONVERSIONS if hasattr(module, name)), None)


def _overlap(some: Mapping[str, torch.Tensor], model: nn.Module, own: Mapping[str, torch.Tensor]) -> float:
    if len(some.keys() & own.keys()) >= ENOUGH * len(own):
        return 1.0
    try:
        made = _converted(some, model, own)
    except Exception:  # not this network's names yet
        return 0.0
    return len(made.keys() & own.keys()) / max(len(own), 1)


def _origin(key: str, tensor: torch.Tensor, found: Unwrapped) -> frozenset[str]:
    """Names in the file of what a tensor was made of; by its own name where NumPy lost them."""
    return sources(tensor) or (sources(found.tensors[key]) if key in found.tensors else frozenset())


def _as_weight(tensor: torch.Tensor, like: torch.Tensor, path: Path, name: str) -> torch.Tensor:
    if not like.is_floating_point():
        return tensor.to(like.dtype)
    if not tensor.is_floating_point():
        raise EmbedkitError(
            f"{path}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, as quantised networks do. "
            "Give the weights in floating point."
        )
    tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        raise EmbedkitError(
            f"{path}: {name} holds NaN or infinity, so every feature would. Take an earlier checkpoint of "
            "that training."
        )
    return tensor


def _resampling(name: str, made: Mapping[str, torch.Tensor], inner: Mapping[str, torch.Tensor]) -> str | None:
    before, after = _grid_shape(name, made, inner), made[name].shape
    if before is None or before.numel() == after.numel():
        return None
    return f"{name} {_shape(before)} to {_shape(after)}"


def _grid_shape(
    name: str, made: Mapping[str, torch.Tensor], inner: Mapping[str, torch.Tensor]
) -> torch.Size | None:
    """Shape in the file of what a tensor was made of; without the row that timm adds to the class token."""
    before = _origin_shape(made[name], inner)
    if before is not None and before.numel() != made[name].numel():
        parts = [one for one in made.values() if sources(one) == sources(made[name])]
        if sum(one.numel() for one in parts) == before.numel():  # taken apart, as SigLIP's keys and values
            return made[name].shape
    if before is None or name != "pos_embed" or len(before) != 3 or "cls_token" not in made:
        return before
    shared = sources(made[name]) <= sources(made["cls_token"])
    return torch.Size((before[0], before[1] - 1, before[2])) if shared else before


def _origin_shape(tensor: torch.Tensor, inner: Mapping[str, torch.Tensor]) -> torch.Size | None:
    """Shape in the file of what a tensor was made of, where that was one."""
    names = sources(tensor)
    if len(names) != 1:
        return None
    return next((one.shape for one in inner.values() if sources(one) == names), None)


def _shape(size: torch.Size) -> str:
    return " x ".join(str(n) for n in size)


# --- refusals ---------------------------------------------------------------------------------------


def _check(
    path: Path,
    model: nn.Module,
    found: Unwrapped,
    made: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
) -> None:
    """Refuse what was resampled and should not be, what is missing, and what has another shape."""
    for name in (key for key in own if key in made):
        before = _grid_shape(name, made, found.tensors)
        if before is None or before.numel() == made[name].numel():
            continue
        if name.endswith("patch_embed.proj.weight") and before[-2:] != made[name].shape[-2:]:
            theirs, ours = _shape(before[-2:]), _shape(made[name].shape[-2:])
            raise _refusal(path, model, found, f"its patches are of {theirs} pixels, not {ours}")
        if _has_own_windows(model) and name.endswith("relative_position_bias_table"):
            windows = [(math.isqrt(n) + 1) // 2 for n in (before[0], own[name].shape[0])]
            what = f"it attends in windows of {windows[0]} patches a side, not {windows[1]}"
            raise _refusal(path, model, found, what)
        if not any(word in name for word in POSITIONS):
            raise _refusal(
                path, model, found, f"{name} has shape {_shape(before)}, not {_shape(own[name].shape)}"
            )
    missing = [name for name in own if name not in made and not name.endswith("num_batches_tracked")]
    if missing:
        what = f"{len(missing)} of {len(own)} tensors are missing, such as {missing[0]}"
        raise _refusal(path, model, found, what)
    for name, value in own.items():
        if name in made and made[name].shape != value.shape:
            shapes = f"{tuple(made[name].shape)}, not {tuple(value.shape)}"
            raise _refusal(path, model, found, f"{name} has shape {shapes}")


def _has_own_windows(model: nn.Module) -> bool:
    """Whether a Swin's windows are those of its architecture, rather than of an input that was asked for."""
    native = (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    of_swin = type(model).__module__.startswith("timm.models.swin_transformer")
    return of_swin and native is not None and size is not None and tuple(native[1:]) == tuple(size)


def _check_merged(path: Path, found: Unwrapped) -> None:
    """Refuse a network with adapters beside its layers, which are part of what it learnt."""
    adapter = next((name for name in found.tensors if ".lora_" in name or ".base_layer." in name), None)
    if adapter is not None:
        raise EmbedkitError(
            f"{path}: holds layers of an adapter that is not merged into the network, such as {adapter}. "
            "Merge it (merge_and_unload of PEFT) and save that, or give the adapter's folder with --adapter."
        )


def _prefix_fault(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str | None:
    """Name positions that make no square grid beside the model's class token and registers."""
    theirs, ours = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if theirs is None or not isinstance(ours, torch.Tensor):
        return None
    if theirs.ndim != ours.ndim:
        return f"pos_embed has shape {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    if ours.ndim != 3:
        return None
    prefix = 0 if getattr(model, "no_embed_class", False) else int(getattr(model, "num_prefix_tokens", 0))
    square = _is_square(ours.shape[1] - prefix) and theirs.shape[1] != ours.shape[1]
    if "register_tokens" in state:
        prefix = 1  # DINOv2's class token, which timm's conversion takes off
    if square and not _is_square(theirs.shape[1] - prefix):
        return (
            f"pos_embed has {theirs.shape[1]} positions, which beside {prefix} of class token and registers "
            "make no square"
        )
    return None


def _is_square(n: int) -> bool:
    return n > 0 and math.isqrt(n) ** 2 == n


def _accounted(
    path: Path,
    model: nn.Module,
    found: Unwrapped,
    tensors: Mapping[str, torch.Tensor],
    made: Mapping[str, torch.Tensor],
    taken: set[str],
) -> dict[str, str]:
    """Say of every tensor that was not taken why; refuse where one can't be said to be no part of it."""
    classifier = _classifier_names(model)
    new_names = {name: key for key, value in made.items() for name in sources(value)}
    ignored, strange = {}, []
    for name in tensors:
        if name in taken:
            continue
        key = new_names.get(name, name)
        why = found.outside.get(name) or leftover(name) or leftover(key)
        if why is None and (
            key in classifier or key.removesuffix(".weight").removesuffix(".bias") in classifier
        ):
            why = "classifier"
        if why is None and name in found.outside and _reads_features(model, name, tensors):
            why = "linear layer beside the network"
        if why is None and name in found.outside and tensors[name].numel() == 1:
            why = "single number beside the network"  # an epoch, a best score
        if why is None and name not in new_names and not tensors[name].any():
            why = "zeros that this architecture has no place for"  # DINOv3's biases of distilled models
        if why is None:
            strange.append(name)
        else:
            ignored[name] = why
    if strange and all(name in found.outside for name in strange):
        n = f"{len(strange)} tensors stand" if len(strange) > 1 else "one tensor stands"
        raise EmbedkitError(
            f"{path}: {n} beside the network, such as {min(strange)}, and can't be told to be no part of it. "
            "The network itself is whole: save its tensors without these."
        )
    if strange:
        plural = f"{len(strange)} tensors have" if len(strange) > 1 else "one tensor has"
        raise _refusal(path, model, found, f"{plural} no place in it, such as {min(strange)}")
    return ignored


def _reads_features(model: nn.Module, name: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a tensor is of a linear layer that takes the model's features: somebody's classifier."""
    weight = tensors.get(f"{name.rpartition('.')[0]}.weight")
    width = {getattr(model, "num_features", None), getattr(model, "head_hidden_size", None)}
    if weight is None or weight.ndim != 2 or weight.shape[1] not in width:
        return False
    return name.endswith(".weight") or (name.endswith(".bias") and tensors[name].shape == weight.shape[:1])


def _classifier_names(model: nn.Module) -> set[str]:
    given = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    return {given} if isinstance(given, str) else set(given)


def _refusal(path: Path, model: nn.Module, found: Unwrapped, what: str) -> EmbedkitError:
    name = (getattr(model, "pretrained_cfg", None) or {}).get("architecture", type(model).__name__)
    close = looks_like({key: value.shape for key, value in to_timm(found.tensors, {}).items()}, not_this=name)
    fix = (
        f"It looks like {close}: give --backbone {close}."
        if close
        else "Name its architecture with --backbone."
    )
    if not close and _SHARD.search(path.name):
        fix = f"It is one of several shards: give their index, {_SHARD.sub('', path.name)}.index.json."
    return EmbedkitError(f"{path}: not the weights of {name}: {what}. {fix}")
