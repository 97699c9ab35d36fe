"""Where numpy gives way to a GPU, decided without PyTorch, whose import takes seconds, if there is none."""

from __future__ import annotations

import ctypes
import os

from embedkit.errors import UsageError
from embedkit.options import DEVICES


def has_cuda_driver() -> bool:
    """Whether this machine has an NVIDIA driver."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def torch_device(name: str) -> str | None:
    """Return the GPU to compute on, or None for numpy on the CPU.

    Apple's GPUs are never taken: they have no float64.

    Raises
    ------
    UsageError
        A name that is none of `DEVICES`, or ``cuda`` where PyTorch sees no GPU.
    """
    if name.startswith("torch:"):  # torch's kernels on another device, for tests of that path
        return name.removeprefix("torch:")
    if name not in DEVICES:
        raise UsageError(f"--device {name}: not for this. Give one of {', '.join(DEVICES)}.")
    if name == "cpu" or (name == "auto" and not has_cuda_driver()):
        return None
    from embedkit.computing.device import choose_device

    device = choose_device(name)
    return str(device) if device.type == "cuda" else None


def backend(device: str | None) -> str:
    """Name what computes, for the record."""
    return "numpy-cpu" if device is None else f"torch-{device.partition(':')[0]}"
