"""Which shards a user means: a pattern, a folder of them, or one; and what their names say of the split."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.dataset import short_name
from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.endings import IMAGE_ENDINGS
from embedkit.files.regular import check_input
from embedkit.files.words import SPLIT_NAMES

TAR, PARQUET = (".tar",), (".parquet", ".pq")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST_SHARDS = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Shards:
    """The shards of a dataset.

    Parameters
    ----------
    source
        What was named, written out, so that the same is found from another folder.
    name
        Short name for tables.
    places
        Path or address of each, in the order of the rows.
    marks
        Of shards in a store: what changes with their content.
    """

    source: str
    name: str
    places: tuple[str, ...]
    marks: tuple[str, ...] = ()

    def split(self, sizes: Sequence[int]) -> NDArray[np.str_] | None:
        """Return the split of each row by the names of the shards, given how many rows each has.

        As ``train-00000-of-00002.parquet`` beside ``test-00000.parquet`` have one; None where the names say
        nothing, or all the same.
        """
        words = [_split_word(place) for place in self.places]
        if len(set(words)) < 2 or "" in words:
            return None
        note(f"{self.source}: the names of the shards are taken as the split.")
        return np.repeat(np.array(words, dtype=np.str_), sizes)

    def origin(self, **given: Any) -> dict[str, Any]:
        """Return what a feature file keeps to find them again: the source, and what options were given."""
        return {"source": self.source} | {name: value for name, value in given.items() if value is not None}


def find_shards(source: str) -> Shards | None:
    """Return the shards that a path, a pattern with ``{000..009}`` or ``*``, or a folder names.

    None where it names no shards. A folder is one of shards where it holds some, itself or in its folders,
    and no image.

    Raises
    ------
    UsageError
        Nothing fits, shards of two kinds, or compressed ones.
    EmbedkitError
        Some of the shards that a pattern names are not there.
    """
    path = Path(source)
    if path.is_dir():
        root = _absolute(path)
        found = _in_folder(root)
        if not found:
            return None
        return of_one_kind(Shards(str(root), short_name(root), tuple(found)))
    check_packed(source)
    if not source.lower().endswith(TAR + PARQUET):
        return None
    if path.exists():
        check_input(path, "Name a .tar or .parquet file.")
        file = _absolute(path)
        return Shards(str(file), short_name(file), (str(file),))
    if not is_pattern(source):
        return None
    places = [place for one in expanded(source) for place in _globbed(one)]
    if not places:
        raise UsageError(
            f"{source}: no file has such a name. Quote the pattern, so that the shell leaves it."
        )
    missing = [place for place in places if not Path(place).is_file()]
    if missing:
        raise EmbedkitError(
            f"{source}: {len(missing):,} of {len(places):,} shards are not there, such as {missing[0]}. "
            "Restore them, or leave them out of the pattern."
        )
    written = str(_absolute(path))
    return of_one_kind(
        Shards(written, pattern_name(written), tuple(str(_absolute(Path(one))) for one in places))
    )


def _absolute(path: Path) -> Path:
    # Links keep their names: a hub's cache has the names in links to files that are named by digests.
    return Path(os.path.abspath(path))  # noqa: PTH100


def check_packed(source: str) -> None:
    """Refuse shards that are compressed by their ending."""
    if source.lower().endswith(PACKED):
        raise UsageError(
            f"{source}: compressed, so that no image can be read without all before it. Unpack it to .tar."
        )


def is_pattern(source: str) -> bool:
    """Whether a name stands for several: it has ``{...}``, ``*`` or ``?``."""
    return bool(_BRACES.search(source)) or glob.has_magic(source)


def expanded(pattern: str) -> list[str]:
    """Return the names that braces stand for, as bash and the package webdataset write them out.

    ``{000..011}`` counts, with the zeros that its first number has; ``{a,b}`` lists.

    Raises
    ------
    UsageError
        Over `MOST_SHARDS` names, or a range that counts down.
    """
    pieces = _BRACES.split(pattern)
    choices = [[piece] if at % 2 == 0 else _choice(piece, pattern) for at, piece in enumerate(pieces)]
    n = 1
    for choice in choices:
        n *= len(choice)
    if n > MOST_SHARDS:
        raise UsageError(f"{pattern}: stands for {n:,} names; at most {MOST_SHARDS:,} are taken.")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choice(piece: str, pattern: str) -> list[str]:
    found = _RANGE.fullmatch(piece)
    if found is None:
        return piece.split(",") if "," in piece else [f"{{{piece}}}"]
    first, last = int(found[1]), int(found[2])
    if last < first or last - first >= MOST_SHARDS:
        raise UsageError(f"{pattern}: {{{piece}}} is no range of shards. Count upwards, as {{000..009}}.")
    padded = any(len(word) > 1 and word.startswith("0") for word in found.groups())
    width = max(map(len, found.groups())) if padded else 0
    return [f"{number:0{width}d}" for number in range(first, last + 1)]


def _globbed(name: str) -> list[str]:
    return sorted(glob.glob(name)) if glob.has_magic(name) else [name]  # noqa: PTH207 - a whole path


def pattern_name(pattern: str) -> str:
    """Name a dataset after what its pattern begins with."""
    word = re.split(r"[{*?\[]", pattern.rpartition("/")[2])[0].strip("-_. ")
    folder = Path(pattern.rpartition("/")[0].rpartition("/")[2] or "root")
    return f"{folder.name}-{word}" if word else short_name(folder)


def _in_folder(folder: Path) -> list[str]:
    """Return the shards in a folder and below it; none where an image is found before."""
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            end = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if name.startswith("."):
                continue
            if end in IMAGE_ENDINGS:
                return []
            if end in TAR + PARQUET:
                found.append(os.path.join(root, name))  # noqa: PTH118
    return found


def of_one_kind(shards: Shards) -> Shards:
    """Return them; raises `UsageError` where some are .tar and some .parquet."""
    ends = [place.lower().endswith(TAR) for place in shards.places]
    if all(ends) or not any(ends):
        return shards
    raise UsageError(
        f"{shards.source}: both .tar and .parquet ({sum(ends):,} and {len(ends) - sum(ends):,}). Name those "
        "of one kind."
    )


def check_keys(keys: NDArray[np.str_], sizes: Sequence[int], places: Sequence[str]) -> None:
    """Refuse a key that two shards have: keys are ids.

    Raises
    ------
    EmbedkitError
        It names the key and both shards.
    """
    unique, counts = np.unique(keys, return_counts=True)
    if len(unique) == len(keys):
        return
    key = unique[counts > 1][0]
    shard = np.searchsorted(np.cumsum(sizes), np.flatnonzero(keys == key)[:2], side="right")
    names = listed([places[int(at)] for at in shard])
    raise EmbedkitError(
        f"{int((counts > 1).sum()):,} keys occur twice, such as {str(key)!r} in {names}. Keys are the ids of "
        "images: write the shards with keys of their own, or read them one at a time."
    )


def _split_word(place: str) -> str:
    parts = place.split("/")
    words = [re.split(r"[-_.]", parts[-1])[0], *parts[-2:-1]]
    return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), "")
