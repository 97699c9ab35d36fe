"""Images in tar shards, as the package webdataset writes them: read by row, nothing unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, progress
from embedkit.datasets.annotations import make_rows
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import folder_annotations
from embedkit.datasets.named_columns import LABELS, OTHERS, annotations_in
from embedkit.datasets.shard_bytes import opened, read_at
from embedkit.datasets.shards import Shards, check_keys
from embedkit.datasets.tar_index import Index, Wanted, read_index
from embedkit.errors import EmbedkitError, ImageError, UsageError, listed
from embedkit.files.aside import write_text
from embedkit.files.cache import cache_folder
from embedkit.files.endings import FITS_ENDINGS
from embedkit.files.regular import read_bytes
from embedkit.files.rows import text_array
from embedkit.images.decode import MAX_BYTES
from embedkit.strict_json import UndeclaredError, declared

# Of what is kept of a shard in a store.
_VERSION, _MOST_INDEX, _AT_A_TIME = 1, 2**30, 8
# A text of more characters is a caption.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class TarImages:
    """Reads the images of tar shards by row number.

    Parameters
    ----------
    shards
        Path of each.
    shard : (n,) int32
        Which of them each image is in.
    places : (n, 3) int64
        Where it begins, its bytes, and the CRC-32 of its header.
    keys, endings : (n,) str
        Its member's name, in two.
    """

    shards: tuple[str, ...]
    shard: NDArray[np.int32]
    places: NDArray[np.int64]
    keys: NDArray[np.str_]
    endings: NDArray[np.str_]

    def where(self, row: int) -> str:
        """Return the shard and the member of one image."""
        return f"{self.shards[self.shard[row]]}[{self.keys[row]}.{self.endings[row]}]"

    def read(self, row: int) -> bytes:
        """Return the bytes of one image; raises `ImageError` where the shard is not what it was."""
        start, size, crc = (int(value) for value in self.places[row])
        if size > MAX_BYTES:
            raise ImageError(f"{self.where(row)}: {size:,} bytes, over the limit of {MAX_BYTES:,}.")
        head = tarfile.BLOCKSIZE
        data = read_at(self.shards[self.shard[row]], start - head, head + size)
        if len(data) < head + size or zlib.crc32(data[:head]) != crc:
            what = "truncated" if len(data) < head + size else "another file"
            raise ImageError(
                f"{self.where(row)}: the shard is {what} since it was opened. Restore it, and give the same "
                "command again."
            )
        return data[head:]

    @property
    def n_fits(self) -> int:
        """How many of them are FITS, by their names."""
        return int(sum(f".{end}".lower().endswith(FITS_ENDINGS) for end in self.endings.tolist()))


def load_tar(
    shards: Shards,
    *,
    images_key: str | None = None,
    labels_key: str | None = None,
    label_column: str | None = None,
    target_columns: Sequence[str] | None = None,
) -> Dataset:
    """Read shards in WebDataset's convention, in the order of their samples; ids are the keys.

    Parameters
    ----------
    shards
        Where they are.
    images_key
        Ending of the image's member, where a sample has several.
    labels_key
        Ending of the member that holds the label. By default ``.cls``, else a label in ``.json``, else
        ``.txt`` where few words are said of many images, else the folders in the keys.
    label_column, target_columns
        Fields of ``.json``.

    Raises
    ------
    EmbedkitError
        A shard that is truncated or no tar file, or a key that occurs twice.
    """
    fields = (*LABELS, *OTHERS, *(target_columns or ()), *((label_column,) if label_column else ()))
    wanted = Wanted(_ending(images_key), _ending(labels_key), tuple(dict.fromkeys(fields)))
    indices = _indices(shards, wanted)
    sizes = [len(index.keys) for index in indices]
    _check_images(shards, indices, wanted)
    keys = text_array(np.array([key for index in indices for key in index.keys], dtype=object), shards.source)
    check_keys(keys, sizes, shards.places)
    columns = _columns(indices)
    labels = _labels(shards.source, keys, columns, labels_key=wanted.labels, field=label_column)
    found: dict[str, NDArray[Any]] = {"ids": keys}
    found |= {name: columns[f"json:{name}"] for name in OTHERS if f"json:{name}" in columns}
    for name in target_columns or ():
        if f"json:{name}" not in columns:
            raise UsageError(f"{shards.source}: no .json has a field {name!r} for --target-columns.")
        found[name] = columns[f"json:{name}"]
    split = shards.split(sizes)
    if split is not None:
        found.setdefault("split", split)
    found |= labels
    annotations = annotations_in(
        found,
        shards.source,
        ids="ids",
        labels="labels" if "labels" in found else None,
        target_columns=target_columns or (),
    )
    rows = make_rows(len(keys), annotations.arrays, shards.source)
    images = TarImages(
        shards.places,
        np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        np.array([place for index in indices for place in index.places], dtype=np.int64).reshape(-1, 3),
        rows.ids,
        np.array([end for index in indices for end in index.endings], dtype=np.str_),
    )
    return Dataset(
        shards.name,
        rows,
        images.read,
        images.where,
        fingerprint(rows, {"sizes": images.places[:, 1]}),
        shards.origin(
            images_key=images_key,
            labels_key=labels_key,
            label_column=label_column,
            target_columns=list(target_columns) if target_columns else None,
        ),
    )


def _indices(shards: Shards, wanted: Wanted) -> list[Index]:
    marks = shards.marks or ("",) * len(shards.places)
    found = []
    # Of shards in a store several at a time, for each waits for its answers.
    with (
        ThreadPoolExecutor(_AT_A_TIME if shards.marks else 1) as pool,
        progress("index", len(shards.places), unit="shards") as advance,
    ):
        for index in pool.map(partial(_index, wanted=wanted), shards.places, marks):
            found.append(index)
            advance(1)
    return found


def _index(place: str, mark: str, wanted: Wanted) -> Index:
    """Read a shard's index; of one in a store it is kept, because making it reads the whole shard."""
    if not mark:
        with opened(place) as stream:
            return read_index(stream, place, wanted)
    about = json.dumps([_VERSION, place, mark, asdict(wanted)])
    kept = cache_folder() / "shards" / f"{hashlib.sha256(about.encode()).hexdigest()}.json"
    if kept.is_file():
        with contextlib.suppress(UndeclaredError, OSError, EmbedkitError):  # damaged, and made again
            return declared(read_bytes(kept, "Delete it.", at_most=_MOST_INDEX), Index)
    with opened(place) as stream:
        index = read_index(stream, place, wanted)
    with contextlib.suppress(OSError):  # no room for it, and it is a convenience
        write_text(kept, json.dumps(asdict(index)))
    return index


def _ending(name: str | None) -> str | None:
    return None if name is None else name.removeprefix(".").lower()


def _check_images(shards: Shards, indices: Sequence[Index], wanted: Wanted) -> None:
    """Say what was left out; raises `EmbedkitError` where nothing was taken."""
    others: Counter[str] = Counter()
    for index in indices:
        others.update(index.others)
    without = sum(index.without_image for index in indices)
    if not any(index.keys for index in indices):
        image = f".{wanted.image} is in none of the samples" if wanted.image else "no images"
        kinds = f" They hold {listed([f'.{end}' for end in sorted(others)], 8)}." if others else ""
        raise EmbedkitError(
            f"{shards.source}: {image}.{kinds} Name the ending of the images with --images-key."
        )
    if without:
        note(f"{shards.source}: left out {without:,} samples without an image.")
    if irregular := sum(index.irregular for index in indices):
        note(f"{shards.source}: left out {irregular:,} that are links, pipes or devices.")
    if others:
        kinds = ", ".join(f"{count:,} .{end}" for end, count in others.most_common(5))
        note(f"{shards.source}: not used: {kinds}.")


def _columns(indices: Sequence[Index]) -> dict[str, NDArray[Any]]:
    # As objects: an array of text is as wide as its longest entry, and a caption may be long.
    names = dict.fromkeys(name for index in indices for name in index.columns)
    found = {}
    for name in names:
        cells = [index.columns.get(name, [""] * len(index.keys)) for index in indices]
        found[name] = np.array([cell for some in cells for cell in some], dtype=object)
    return found


def _labels(
    where: str,
    keys: NDArray[np.str_],
    columns: Mapping[str, NDArray[Any]],
    *,
    labels_key: str | None,
    field: str | None,
) -> dict[str, NDArray[Any]]:
    """Return the labels and class names; empty where there are none."""
    if field is not None and labels_key in (None, "json"):
        if f"json:{field}" not in columns:
            raise UsageError(f"{where}: no .json has a field {field!r} for --label-column.")
        return {"labels": columns[f"json:{field}"]}
    if field is not None:
        raise UsageError(f"{where}: --label-column is a field of .json, not of .{labels_key}. Leave one out.")
    in_json = next((f"json:{name}" for name in LABELS if f"json:{name}" in columns), "json")
    if labels_key is not None:
        name = in_json if labels_key == "json" else labels_key
        if name not in columns:
            raise UsageError(
                f"{where}: no sample has a label in .{labels_key}. Name another with --labels-key."
            )
        return {"labels": columns[name]}
    for name in ("cls", in_json):
        if name in columns:
            return {"labels": columns[name]}
    if "txt" in columns:
        words = set(columns["txt"].tolist()) - {""}
        if len(words) <= len(keys) // 2 and max(map(len, words), default=0) <= _LONGEST_NAME:
            return {"labels": columns["txt"]}
        note(
            f"{where}: .txt says something else of most images, so it is no label. --labels-key txt takes it."
        )
    labels, class_names, split = folder_annotations(where, keys.tolist())
    found: dict[str, NDArray[Any]] = {"split": np.array(split, dtype=np.str_)} if split else {}
    return found | ({"labels": np.array(labels, dtype=np.str_)} if class_names else {})
