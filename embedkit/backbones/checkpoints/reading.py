"""A weights file -> its tensors by dotted name; nothing in it is executed."""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedkit.backbones.options import check_weights
from embedkit.errors import EmbedkitError, first_line
from embedkit.files.regular import check_input, read_bytes
from embedkit.strict_json import UndeclaredError, declared

FIX = "Give a .safetensors, .pth, .pt or .bin file."
INDEX = ".index.json"
# The index of the largest published networks is a few MB; a header of safetensors may be 100 MB.
MOST_INDEX_BYTES = 50_000_000
MOST_DEPTH = 10
# What a container may hold beside a network, by the name that it has there.
TRAINING_STATE = """
    optimizer optimizers optimizer_states optimizer_state_dict optim opt optimizer_state
    scheduler lr_scheduler lr_schedulers scheduler_state_dict lr_scheduler_state_dict
    scaler fp16_scaler grad_scaler amp amp_scaler loss_scaler rng rng_state cuda_rng_state
    ema_loss dino_loss ibot_loss ibot_patch_loss koleo_loss criterion loss loss_fn
    loops callbacks hyper_parameters sampler meta config args
"""


@dataclass(frozen=True)
class Index:
    """``model.safetensors.index.json``: which shard holds which tensor."""

    weight_map: dict[str, str]


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a file, containers joined to names by dots: ``teacher.backbone.norm.weight``.

    Parameters
    ----------
    path
        A safetensors or torch file, or the index of sharded ones (``*.index.json``).

    Raises
    ------
    EmbedkitError
        Missing, no regular file, unreadable, a pickle that would run code, or without a tensor.
    """
    tensors = _read_shards(path) if path.name.endswith(INDEX) else _read_file(path)
    if not tensors:
        raise EmbedkitError(f"{path}: holds no tensors. {FIX}")
    for name, tensor in tensors.items():
        fault = _fault(tensor)
        if fault:
            raise EmbedkitError(f"{path}: {name} {fault}. Save the network's state dict again, as float32.")
    return tensors


def n_tensors(path: Path) -> int:
    """Count the tensors of a file without its values, which stay on the disk where its format lets them.

    Raises
    ------
    EmbedkitError
        As `read_tensors` does.
    """
    if path.name.endswith(INDEX):
        return sum(n_tensors(path.with_name(shard)) for shard in sorted(set(_index(path).values())))
    _check_file(path)
    if path.suffix == ".safetensors":
        return len(_names_of_safetensors(path))
    return len(_read_torch(path, values=False))


def _read_file(path: Path) -> dict[str, torch.Tensor]:
    _check_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _check_file(path: Path) -> None:
    check_weights(path)
    check_input(path, FIX)
    if path.suffix in (".npz", ".npy", ".onnx", ".h5", ".msgpack"):
        raise EmbedkitError(f"{path}: {path.suffix} files hold no torch weights. {FIX}")


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    with _safetensors_words(path):
        return dict(load_file(path))


def _names_of_safetensors(path: Path) -> list[str]:
    from safetensors import safe_open

    with _safetensors_words(path), safe_open(path, framework="pt") as file:
        return list(file.keys())


@contextlib.contextmanager
def _safetensors_words(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise EmbedkitError(
            f"{path}: not a readable safetensors file ({first_line(error)}). Name another, or download it "
            "again."
        ) from error


def _read_torch(path: Path, *, values: bool = True) -> dict[str, torch.Tensor]:
    _check_zip(path)
    mapped = not values and _is_zip(path)
    try:
        # DINO's own training checkpoints keep their command line as an argparse.Namespace, plain data.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols; refused or read all the same
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise EmbedkitError(
            f"{path}: refused, because it is no plain tensor file; loading it could run code. Save its state "
            "dict alone with safetensors or torch.save, where you trust the file."
        ) from error
    except OSError as error:
        raise EmbedkitError(f"{path}: not a readable checkpoint ({first_line(error)}).") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise EmbedkitError(f"{path}: not a readable checkpoint ({first_line(error)}).") from error
    if not isinstance(loaded, Mapping):
        raise EmbedkitError(f"{path}: holds a {type(loaded).__name__}, expected a state dict.")
    return dict(_flat(loaded, "", 0))


def _check_zip(path: Path) -> None:
    """Refuse an archive that grows while it is read: torch stores tensors as they are."""
    if not _is_zip(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [member.filename for member in archive.infolist() if member.compress_type]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return  # torch reads more kinds than Python, and says what is wrong with the rest
    if packed:
        raise EmbedkitError(
            f"{path}: {packed[0]} is compressed, which torch.save never does. Save its state dict again."
        )


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile as error:  # a record that says it is one of several disks
        raise EmbedkitError(
            f"{path}: not a readable checkpoint ({error}). Save its state dict again."
        ) from error


def _flat(loaded: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in loaded.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, Mapping) and str(key) not in TRAINING_STATE.split() and depth < MOST_DEPTH:
            yield from _flat(value, f"{name}.", depth + 1)


def _read_shards(path: Path) -> dict[str, torch.Tensor]:
    places = _index(path)
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(places.values())):
        found = _read_file(path.with_name(shard))
        named = {name for name, place in places.items() if place == shard}
        odd = sorted(named ^ found.keys())
        if odd:
            raise EmbedkitError(
                f"{path}: {odd[0]} is in only one of the index and {shard}. Copy all its files again."
            )
        tensors |= found
    return tensors


def _index(path: Path) -> dict[str, str]:
    """Read which shard beside an index holds which tensor."""
    check_weights(path)
    try:
        places = declared(read_bytes(path, FIX, at_most=MOST_INDEX_BYTES), Index).weight_map
    except UndeclaredError as error:
        raise EmbedkitError(f"{path}: not an index of sharded weights ({error}). {FIX}") from error
    for shard in sorted(set(places.values())):
        if not shard or Path(shard).name != shard or "\\" in shard:
            raise EmbedkitError(f"{path}: names {json.dumps(shard)} as a shard, which is no file beside it.")
    return places


def _fault(tensor: torch.Tensor) -> str | None:
    """What keeps a tensor from being a weight as it is."""
    if tensor.device.type == "meta":
        return "has a shape but no values (it was saved from the meta device)"
    if tensor.is_quantized:
        return "is quantised, and embedkit computes in floating point"
    if tensor.layout is not torch.strided:
        return "is sparse"
    if tensor.is_complex():
        return "is complex"
    room = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > max(room, 2**28):
        return f"claims {tensor.numel():,} values in {room:,} bytes"
    return None
