"""An HDF5 group with one dataset an image: pixels, or the bytes of an image file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import check_size, make_rows, note_unused, wanted_keys
from embedkit.datasets.arrays import ArrayImages, Stored
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.hdf5 import Contents
from embedkit.files.hdf5_gaps import gaps
from embedkit.files.regular import resolved

_NAMES = ("images", "imgs")
_LABEL_ATTRIBUTES = ("label", "class")


@dataclass
class _Each:
    """Opens the datasets of a group, each as an entry."""

    places: list[tuple[str, str]]  # file and name of each

    def __call__(self) -> _Each:
        return _Each(self.places)

    def __getitem__(self, row: int) -> Any:
        path, name = self.places[row]
        with h5py.File(path, "r") as file:
            return file[name][()]


@dataclass
class EachImages(ArrayImages):
    """Reads the datasets of a group by row number; `names` are what a message says."""

    names: list[str] = field(default_factory=list)

    def where(self, row: int) -> str:
        """Return the file and the dataset of one image."""
        return f"{self.path}: {self.names[row]}"


def images_group(found: Contents, images_key: str | None) -> str | None:
    """Return the group that holds an image in each of its datasets: the one asked for, or `images`."""
    groups = {name.lower(): name for name in found.groups if name}
    if images_key is not None:
        name = images_key.strip("/")
        return name if name in found.groups and name not in found.datasets else None
    names = [groups[name] for name in _NAMES if name in groups]
    return names[0] if names and not any(name in found.datasets for name in _NAMES) else None


def load_group(
    path: Path,
    found: Contents,
    stored: Mapping[str, Stored],
    group: str,
    *,
    images_key: str | None,
    labels_key: str | None,
) -> Dataset:
    """Make a dataset of the datasets in a group and below, in the order of their names.

    Ids are the names inside the group. Labels are the attributes ``label`` (or ``class``) of the datasets,
    else the subgroups, as of a folder. Arrays beside the group are taken by the ``ids`` that are stored with
    them, because nothing else says which entry belongs to which dataset.

    Raises
    ------
    UsageError
        No images in the group.
    EmbedkitError
        A dataset in it that is no image.
    """
    where = str(path)
    above = f"{group}/" if group else ""
    images = {
        name.removeprefix(above): item for name, item in found.datasets.items() if name.startswith(above)
    }
    if not images:
        raise UsageError(f"{where}: no datasets in the group {group!r}. Name another with --images-key.")
    for name, item in images.items():
        _check_image(item, f"{where}: {above}{name}")
    names = list(images)
    absent, why = _absent(images, f"{where}: {above}")
    others = {} if not group else {name: a for name, a in stored.items() if not name.startswith(above)}
    annotations, used = _beside(others, names, where, labels_key)
    if "labels" not in annotations:
        annotations |= _own_labels(images)
    rows = make_rows(len(names), annotations | {"ids": np.array(names, dtype=np.str_)}, where)
    unused = {name: array.shape for name, array in others.items() if name not in used}
    note_unused(where, unused, len(names), labelled=rows.labels is not None or rows.targets is not None)
    places = [(str(resolved(item.file.filename)), item.name) for item in images.values()]
    reader = EachImages(where, _Each(places), 1, absent, why, [f"{above}{name}" for name in names])
    given = {"images_key": images_key, "labels_key": labels_key}
    return Dataset(
        short_name(path),
        rows,
        reader.read,
        reader.where,
        fingerprint(rows, {"group": group, "bytes": path.stat().st_size}),
        {"source": where} | {name: key for name, key in given.items() if key is not None},
        absent,
        why,
    )


def _check_image(item: h5py.Dataset, where: str) -> None:
    if item.ndim in (2, 3) and item.dtype.kind in "buif" and 0 not in item.shape:
        return
    if (item.ndim == 1 and item.dtype in (np.uint8, np.int8)) or (item.ndim == 0 and item.dtype.kind == "V"):
        return  # an image file
    raise EmbedkitError(
        f"{where}: an array of shape {item.shape} of {item.dtype} is no image. A group of images holds "
        "(h, w) or (h, w, 3) arrays, or the bytes of image files as uint8. Name another with --images-key."
    )


def _absent(images: Mapping[str, h5py.Dataset], where: str) -> tuple[NDArray[np.bool_], str]:
    found = [gaps(item, f"{where}{name}") for name, item in images.items()]
    rows = np.array([bool(one) for one in found], np.bool_)
    if not rows.any():
        return rows, ""
    why = next(one.why for one in found if one)
    if rows.all():
        raise EmbedkitError(f"{where}: none of the {len(rows):,} images is in the file: {why}. Restore it.")
    note(f"{where}: {int(rows.sum()):,} of {len(rows):,} images are not in the file: {why}.")
    return rows, why


def _beside(
    others: Mapping[str, Stored], names: list[str], where: str, labels_key: str | None
) -> tuple[dict[str, NDArray[Any]], set[str]]:
    """Annotations in the order of the images, and which arrays they are of."""
    wanted = wanted_keys(where, others, labels_key)
    lists = {name: key for name, key in wanted.items() if name in ("class_names", "target_names")}
    if "ids" not in wanted:
        if labels_key is not None:
            raise UsageError(
                f"{where}: nothing says which entry of {labels_key} is which image of the group. Store their "
                "names, in the order of the labels, as ids."
            )
        return {name: others[key].read() for name, key in lists.items()}, set(lists.values())
    found = {}
    for name, key in wanted.items():
        check_size(name, others[key].shape, others[key].dtype, len(names), where)
        found[name] = others[key].read()
    row_of = {str(name): row for row, name in enumerate(found.pop("ids").tolist())}
    lacking = [name for name in names if name not in row_of]
    if lacking:
        raise EmbedkitError(
            f"{where}: {len(lacking):,} images of the group are not among the ids, such as {lacking[0]!r}. "
            "Store the names of all of them."
        )
    order = np.array([row_of[name] for name in names])
    found = {name: values if name in lists else values[order] for name, values in found.items()}
    return found, set(wanted.values())


def _own_labels(images: Mapping[str, h5py.Dataset]) -> dict[str, NDArray[Any]]:
    """Labels that the datasets bear themselves, or their subgroups."""
    for attribute in _LABEL_ATTRIBUTES:
        if any(attribute in item.attrs for item in images.values()):
            labels = [item.attrs.get(attribute, "") for item in images.values()]
            words = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
            return {"labels": np.array(words, dtype=np.str_)}
    first = [name.partition("/")[0] if "/" in name else "" for name in images]
    return {"labels": np.array(first, dtype=np.str_)} if len({*first} - {""}) > 1 else {}
