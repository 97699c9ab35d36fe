"""Weights from a file: read without executing anything in it, and made to fit a timm model."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.errors import EmbedkitError, first_line


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of a state dict: names, shapes and values as float32, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu()
        digest.update(f"{key}{tuple(tensor.shape)}".encode())
        digest.update(tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def sizeless_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of a state dict without its position embeddings, which are resampled at another image size."""
    return state_sha256({key: value for key, value in state.items() if "pos_embed" not in key})


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint file into a timm model without executing anything in it.

    Accepts timm's own keys, the original DINO and DINOv2 files, and full training checkpoints, of which the
    teacher (else the student) is taken; fp16 and bf16 become float32. A classifier in the file is ignored.

    Raises
    ------
    EmbedkitError
        The file is missing, unreadable, or does not hold this architecture's weights.
    """
    state = _backbone_state(read_checkpoint(path))
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            state = convert(state, model)
        except (KeyError, RuntimeError, ValueError, AttributeError) as error:
            raise EmbedkitError(f"{path}: {_no_fit(model)} ({first_line(error)}).") from error
    own = model.state_dict()
    missing = [key for key in own if key not in state]
    misfit = [key for key, value in own.items() if key in state and state[key].shape != value.shape]
    if missing or misfit:
        what = (
            f"{len(missing)} of {len(own)} tensors are missing, such as {missing[0]}"
            if missing
            else f"{misfit[0]} has shape {tuple(state[misfit[0]].shape)}, not {tuple(own[misfit[0]].shape)}"
        )
        raise EmbedkitError(f"{path}: {_no_fit(model)}: {what}. Name its architecture with --backbone.")
    model.load_state_dict(
        {key: state[key].float() if state[key].is_floating_point() else state[key] for key in own}
    )


def _no_fit(model: nn.Module) -> str:
    cfg = getattr(model, "pretrained_cfg", {}) or {}
    return f"not the weights of {cfg.get('architecture', type(model).__name__)}"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a .safetensors or torch file into a dict; torch files with ``weights_only=True``."""
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such weights file. Check --weights.")
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            try:
                return dict(load_file(path))
            except SafetensorError as error:
                raise EmbedkitError(
                    f"{path}: not a readable safetensors file ({first_line(error)})."
                ) from error
        # DINO's own training checkpoints keep their command line as an argparse.Namespace, plain data.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Detected pickle protocol"
            )  # refused or read all the same
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EmbedkitError(
            f"{path}: refused, because it is no plain tensor file; loading it could run code. Save its state "
            "dict alone with safetensors or torch.save, where you trust the file."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise EmbedkitError(f"{path}: not a readable checkpoint ({first_line(error)}).") from error
    if not isinstance(loaded, dict):
        raise EmbedkitError(f"{path}: holds a {type(loaded).__name__}, expected a state dict.")
    return loaded


def _backbone_state(loaded: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Find the backbone in a checkpoint: the teacher's before the student's, without its prefixes."""
    for key in ("teacher", "student", "model_ema", "state_dict_ema", "state_dict", "model"):
        if isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    state = {key: value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    for prefix in ("module.", "teacher.", "student.", "backbone.", "encoder.", "base_model.model."):
        stripped = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if stripped:
            state = stripped
    return state
