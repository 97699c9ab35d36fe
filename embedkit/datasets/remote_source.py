"""What an address names: shards in a store, or a folder of images there."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from embedkit.console import note
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.folder import ImageFiles, dataset_of_files, ending
from embedkit.datasets.shards import (
    PARQUET,
    TAR,
    Shards,
    check_packed,
    expanded,
    is_pattern,
    of_one_kind,
    pattern_name,
)
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files import remote
from embedkit.files.endings import IMAGE_ENDINGS
from embedkit.files.remote import GoneError, Stat, joined
from embedkit.images.decode import MAX_BYTES


class RemoteFiles(ImageFiles):
    """Reads image files below an address by row number."""

    def where(self, row: int) -> str:
        """Return the address of one image."""
        return joined(self.root, self.names[row])

    def read(self, row: int) -> bytes:
        """Return the bytes of one image; raises `ImageError` where it is gone or too large."""
        try:
            return remote.read(self.where(row))
        except GoneError as error:
            raise ImageError(f"{self.where(row)}: is not there any more. Restore it.") from error


def remote_source(address: str) -> Shards | Dataset:
    """Find what an address names; nothing but names and sizes is asked for.

    Raises
    ------
    UsageError
        No shards and no folder of images.
    EmbedkitError
        The store doesn't answer or gives no permission, or a shard that a pattern names is not there.
    """
    check_packed(address)
    address = address.rstrip("/")
    if address.lower().endswith(TAR + PARQUET):
        if is_pattern(address):
            return _of_pattern(address)
        found = remote.stat(address)
        return Shards(address, _name(address), (address,), (_mark(found),))
    if is_pattern(address):
        raise UsageError(f"{address}: a pattern of shards ends in {' or '.join(TAR + PARQUET)}.")
    items = {
        name: item
        for name, item in remote.listing(address).items()
        if not any(part.startswith(".") for part in name.split("/"))
    }
    images = {name: item for name, item in items.items() if ending(name) in IMAGE_ENDINGS}
    shards = {name: item for name, item in items.items() if name.lower().endswith(TAR + PARQUET)}
    if images:
        if shards:
            note(f"{address}: {len(shards):,} shards that lie beside the images are not read.")
        return _of_files(address, images)
    if shards:
        places = tuple(joined(address, name) for name in shards)
        return of_one_kind(Shards(address, _name(address), places, tuple(map(_mark, shards.values()))))
    what = f"{len(items):,} objects and no image or shard" if items else "nothing is there"
    raise UsageError(
        f"{address}: {what}. An address is that of a folder of images, or of shards that end in "
        f"{' or '.join(TAR + PARQUET)}; copy tables and arrays to this machine."
    )


def _of_files(address: str, images: Mapping[str, Stat]) -> Dataset:
    large = next((name for name, item in images.items() if item.size > MAX_BYTES), None)
    if large:
        raise EmbedkitError(
            f"{joined(address, large)}: {images[large].size:,} bytes, over the limit of {MAX_BYTES:,}. "
            "Take it out of the folder."
        )
    names = sorted(images)
    files = RemoteFiles(address, names)
    return dataset_of_files(files, _name(address), [images[name].size for name in names], {"source": address})


def _of_pattern(pattern: str) -> Shards:
    names = expanded(pattern)
    known: dict[str, dict[str, Stat]] = {}
    places: dict[str, str] = {}
    missing: list[str] = []
    for name in names:
        folder = re.split(r"[*?\[]", name)[0].rpartition("/")[0]
        if folder not in known:
            known[folder] = remote.listing(folder)
        below = name.removeprefix(f"{folder}/")
        fit = (
            [one for one in known[folder] if fnmatch.fnmatchcase(one, below)] if is_pattern(name) else [below]
        )
        for one in fit:
            if one not in known[folder]:
                missing.append(joined(folder, one))
            else:
                places[joined(folder, one)] = _mark(known[folder][one])
    if missing:
        raise EmbedkitError(
            f"{pattern}: {len(missing):,} of {len(names):,} shards are not there, such as {missing[0]}. "
            "Restore them, or leave them out of the pattern."
        )
    if not places:
        raise UsageError(f"{pattern}: no object has such a name.")
    return of_one_kind(Shards(pattern, pattern_name(pattern), tuple(places), tuple(places.values())))


def _mark(found: Stat) -> str:
    return f"{found.size} {found.mark}"


def _name(address: str) -> str:
    return PurePosixPath(address).stem or "root"
