"""The versions that numbers can depend on."""

from __future__ import annotations

import contextlib
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

# Of the package index, where another project is called embedkit.
DISTRIBUTION = "embedkit-images"
# What `first-radio` is read from; the extra "sample" asks for the same.
SAMPLE = "firstgalaxydata==0.2.1"
GET_SAMPLE = f"pip install {SAMPLE}"

# Name in a record to name on the package index.
VERSIONED = {
    "embedkit": DISTRIBUTION,
    **{
        name: name
        for name in ("torch", "faiss-gpu", "faiss-cpu", "scikit-learn", "scipy", "numpy", "hdbscan")
    },
}


def own_version() -> str:
    """Return embedkit's version, or ``unknown (not installed)``."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown (not installed)"


def versions() -> dict[str, str]:
    """Return the version of Python and of each installed package that numbers can depend on."""
    found = {"python": python_version()}
    for name, distribution in VERSIONED.items():
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(distribution)
    return found


def code_versions() -> dict[str, str]:
    """Return `versions`, and a digest of embedkit's own code, which one version may have several of."""
    digest, own = hashlib.sha256(), Path(__file__).parent
    for file in sorted(own.rglob("*.py")):
        digest.update(f"{file.relative_to(own).as_posix()}\n".encode() + file.read_bytes())
    return versions() | {"the code of embedkit": digest.hexdigest()[:12]}
