"""The versions that numbers can depend on."""

from __future__ import annotations

import contextlib
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

VERSIONED = ("embedkit", "torch", "faiss-gpu", "faiss-cpu", "scikit-learn", "scipy", "numpy", "hdbscan")


def versions() -> dict[str, str]:
    """Return the version of Python and of each installed package that numbers can depend on."""
    found = {"python": python_version()}
    for package in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
