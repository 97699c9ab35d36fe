"""Is there a GPU to ask for, without importing PyTorch, which takes seconds."""

from __future__ import annotations

import ctypes
import os


def has_cuda_driver() -> bool:
    """Whether this machine has an NVIDIA driver."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True
