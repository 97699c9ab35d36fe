"""Feature files in an object store: read from a copy, which is made anew when the object is another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from embedkit.console import note
from embedkit.errors import FeatureFileError
from embedkit.files import remote
from embedkit.files.aside import aside
from embedkit.files.cache import cache_folder
from embedkit.files.remote import GoneError, Stat


def copy_of(address: str, found: Stat) -> Path:
    """Return where the copy of an object belongs; another content has another place."""
    digest = hashlib.sha256(f"{address}\n{found.size}\n{found.mark}".encode()).hexdigest()
    return cache_folder() / "features" / digest[:32] / address.rpartition("/")[2]


def near(path: str | os.PathLike[str]) -> Path:
    """Return a path to a feature file: of one in a store, that of its copy on this machine.

    HDF5 reads a file here and there, and clusterings read all of it several times.

    Raises
    ------
    FeatureFileError
        There is none at the address.
    EmbedkitError
        The store doesn't answer, or gives no permission.
    """
    address = remote.address_of(path)
    if address is None:
        return Path(path)
    try:
        copy = copy_of(address, remote.stat(address))
        if not copy.exists():
            note(f"{address}: read from a copy, {copy}.")
            with aside(copy) as temporary:
                remote.download(address, temporary)
        return copy
    except GoneError as error:
        raise FeatureFileError(
            f"{address}: no such file. Make it with `embedkit extract DATASET -o {address}`."
        ) from error
