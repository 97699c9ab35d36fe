"""Where a probe computes: numpy on the CPU, torch on a GPU."""

from __future__ import annotations

from embedkit.computing.driver import has_cuda_driver
from probes.kinds.interface import one_of

DEVICES = ("auto", "cpu", "cuda")


def torch_device(name: str) -> str | None:
    """Return the GPU to compute on, or None for the CPU.

    Raises
    ------
    UsageError
        An unknown name, or ``cuda`` where PyTorch sees no GPU.
    """
    if name.startswith("torch:"):  # torch's kernels on another device, for tests of that path
        return name.removeprefix("torch:")
    one_of(name, DEVICES, "--device")
    if name == "cpu" or (name == "auto" and not has_cuda_driver()):
        return None
    from embedkit.computing.device import choose_device

    device = choose_device(name)
    return str(device) if device.type == "cuda" else None


def backend(device: str | None) -> str:
    """Name what computes, for the record."""
    return "numpy-cpu" if device is None else f"torch-{device.partition(':')[0]}"
