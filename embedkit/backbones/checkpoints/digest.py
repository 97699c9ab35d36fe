"""One digest for one model, in whatever container or precision its weights came."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


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
