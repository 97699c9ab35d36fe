"""Which device computes, and in which precision: chosen aloud, never changed silently."""

from __future__ import annotations

import os

import torch

from embedkit.errors import UsageError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Features in reduced precision must point where the fp32 features do, image by image.
MIN_COSINE = 0.999


def choose_device(name: str, *, float64: bool = False) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is really there.

    Under torchrun, ``auto`` and ``cuda`` give each process the GPU of its LOCAL_RANK.

    Parameters
    ----------
    name
        As the user gave it.
    float64
        The computation needs that: ``mps``, which has none, is refused, and ``auto`` passes it over.

    Raises
    ------
    UsageError
        An unknown device, or one that is not there.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        if n_gpus:
            name = "cuda"
        elif torch.backends.mps.is_available() and not float64:
            name = "mps"
        else:
            name = "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ and n_gpus:
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % n_gpus}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: unknown. Give auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise UsageError(
            f"--device {name}: PyTorch sees {n_gpus} CUDA devices here. Give --device cpu, or check the "
            "driver with `embedkit doctor`."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: not available here. Give --device cpu.")
    if device.type == "mps" and float64:
        raise UsageError("--device mps: it has no float64, which this needs. Give --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: not supported. Give auto, cpu, cuda, cuda:N or mps.")
    return device


def native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively: AMX or AVX512-BF16 CPUs, Ampere and later GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Private in torch, but the only report of what its kernels will use (present since 2.6).
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def describe_device(device: torch.device) -> str:
    """One phrase for messages, such as ``cpu (AVX512, native bf16: AVX512-BF16, 2 threads)``."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    kind = kind_of(device)
    return f"{kind.removesuffix(')')}, {torch.get_num_threads()} threads)" if device.type == "cpu" else kind


def kind_of(device: torch.device) -> str:
    """What of a device its numbers can depend on: not which of several it is, nor its threads."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        bf16 = "none"
        if torch.cpu._is_amx_tile_supported():
            bf16 = "AMX"
        elif torch.cpu._is_avx512_bf16_supported():
            bf16 = "AVX512-BF16"
        return f"cpu ({torch.backends.cpu.get_cpu_capability()}, native bf16: {bf16})"
    return str(device)
