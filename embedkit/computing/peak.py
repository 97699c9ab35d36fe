"""How much memory work took at most, on a GPU or in this process; which errors say that it was too much."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from embedkit.computing.memory import available

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class Peak:
    """Memory of one device, from `begin` on.

    Parameters
    ----------
    device
        Of what computes; of ``cpu`` it is the memory of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.base = 0

    def begin(self) -> None:
        """Forget the peak so far; what is held now is the base."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.base = torch.cuda.memory_allocated(self.device)
            return
        # Elsewhere the peak stays that since the start of the process, and less room is seen than there is.
        with contextlib.suppress(OSError):
            CLEAR.write_text("5")  # the peak becomes what is held now
        self.base = _of_process("VmRSS")

    def peak(self) -> int:
        """Return the most bytes that were held at a time."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _of_process("VmHWM")

    def limit(self) -> int:
        """Return the most bytes that can be held."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            return free + torch.cuda.memory_reserved(self.device)
        return available() + _of_process("VmRSS")

    def release(self) -> None:
        """Give back what failed work left."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def _of_process(name: str) -> int:
    """Return a figure of Linux's account of this process in bytes; elsewhere the peak, which Python knows."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        import resource
        import sys

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
