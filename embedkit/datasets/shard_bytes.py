"""The bytes of a shard, wherever it lies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from embedkit.errors import EmbedkitError, ImageError
from embedkit.files import remote
from embedkit.files.regular import check_input


def opened(place: str) -> AbstractContextManager[BinaryIO]:
    """Open a shard for reading; raises `EmbedkitError` where it can't be."""
    if remote.address_of(place):
        return remote.opened(place)
    check_input(place, "Name the shards themselves.")
    try:
        return Path(place).open("rb")
    except OSError as error:
        raise EmbedkitError(f"{place}: cannot be read ({error.strerror or error}). Restore it.") from error


def read_at(place: str, start: int, size: int) -> bytes:
    """Return at most `size` bytes from `start` on; raises `ImageError` where the shard can't be read.

    What a store doesn't give is no fault of an image, and ends the run.
    """
    if remote.address_of(place):
        return remote.read_blocks(place, start, size)
    try:
        with open(place, "rb") as file:  # noqa: PTH123 - called for every image
            file.seek(start)
            return file.read(size)
    except OSError as error:
        raise ImageError(
            f"{place}: cannot be read ({error.strerror or error}). Restore it, and give the same command "
            "again."
        ) from error
