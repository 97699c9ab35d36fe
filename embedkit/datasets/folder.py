"""A folder of image files: one class a subfolder, or flat and unlabelled."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.console import counted, note
from embedkit.datasets.class_labels import said_label_words
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.errors import EmbedkitError, ImageError
from embedkit.files.endings import FITS_ENDINGS, IMAGE_ENDINGS
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows, labels_from_names
from embedkit.files.words import SPLIT_NAMES
from embedkit.images.decode import MAX_BYTES


class ImageFiles:
    """Read image files below a root by row number.

    Parameters
    ----------
    root
        The folder that names are relative to.
    names
        n paths relative to `root`, with forward slashes.
    """

    def __init__(self, root: str | os.PathLike[str], names: Sequence[str]) -> None:
        self.root = os.fspath(root)
        self.names = list(names)

    def where(self, row: int) -> str:
        """Return the path of one image."""
        return os.path.join(self.root, self.names[row])  # noqa: PTH118 - called for every image

    def read(self, row: int) -> bytes:
        """Return the bytes of one image; raises `ImageError` where the file cannot be read."""
        path = self.where(row)
        try:
            # A pipe would be waited on for ever, and a device never ends.
            found = os.stat(path)  # noqa: PTH116 - called for every image
            if not stat.S_ISREG(found.st_mode):
                raise ImageError(
                    f"{path}: not a regular file, but a folder, pipe, socket or device. Remove it."
                )
            if found.st_size > MAX_BYTES:
                raise ImageError(
                    f"{path}: {found.st_size:,} bytes, over the limit of {MAX_BYTES:,}. Cut or shrink it."
                )
            with open(path, "rb") as file:  # noqa: PTH123 - called for every image
                return file.read(found.st_size + 1)
        except OSError as error:
            raise ImageError(
                f"{path}: cannot be read ({error.strerror or error}). Restore the file."
            ) from error


def ending(name: str) -> str:
    """Return the ending of a file's name in small letters: both parts of ``.fits.gz``."""
    name = name.lower()
    return next((end for end in FITS_ENDINGS if name.endswith(end)), os.path.splitext(name)[1])  # noqa: PTH122


def load_folder(source: str, *, follow_links: bool = False) -> Dataset:
    """Read a folder of images, nested to any depth, in the order of their paths.

    Ids are the paths relative to the folder. With two or more subfolders the first path component is the
    label; images beside them have none. Where every subfolder is named after a split (train, val, test,
    ...), that is the split and the next component the label. With `follow_links`, links to folders and to
    files elsewhere are followed, and every folder is read once, under its own name where it has one.

    Raises
    ------
    EmbedkitError
        No images, or a folder that cannot be read.
    """
    root = resolved(source)
    names, sizes = _find_images(root, follow_links=follow_links)
    if not names:
        raise EmbedkitError(
            f"{root}: no images in this folder. Images are known by their ending: "
            f"{' '.join(sorted(IMAGE_ENDINGS))}."
        )
    origin = {"source": str(root)} | ({"follow_links": True} if follow_links else {})
    return dataset_of_files(ImageFiles(root, names), short_name(root), sizes, origin)


def dataset_of_files(
    files: ImageFiles, name: str, sizes: Sequence[int], origin: Mapping[str, Any]
) -> Dataset:
    """Make a dataset of image files: ids, labels and split are in their names."""
    labels, class_names, split = folder_annotations(files.root, files.names)
    rows = Rows(
        ids=np.array(files.names, dtype=np.str_),
        labels=labels_from_names(labels)[0] if class_names else None,
        class_names=class_names,
        split=np.array(split, dtype=np.str_) if split else None,
    )
    return Dataset(
        name=name,
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"sizes": np.array(sizes, dtype=np.int64)}),
        origin=origin,
    )


def folder_annotations(root: str, names: Sequence[str]) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Return the label of every image ("" for none), the classes, and the split ([] for none)."""
    parts = [name.split("/") for name in names]
    first = {part[0] for part in parts if len(part) > 1}
    split: list[str] = []
    if first and all(len(part) > 1 for part in parts) and {f.lower() for f in first} <= SPLIT_NAMES.keys():
        split = [SPLIT_NAMES[part[0].lower()] for part in parts]
        parts = [part[1:] for part in parts]
        note(f"{root}: the subfolders {', '.join(sorted(first))} are taken as the split.")
    labels = said_label_words([part[0] if len(part) > 1 else "" for part in parts], root)
    classes = tuple(sorted(set(labels) - {""}))
    if len(classes) == 1:
        note(f"{root}: one subfolder with images, {classes[0]!r}, makes no classes: taken as unlabelled.")
        classes = ()
    elif classes and "" in labels:
        note(f"{root}: {labels.count('')} images lie beside the class folders and have no label.")
    return labels, classes, split


@dataclass
class _Found:
    images: list[tuple[str, int]] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    links: int = 0
    again: int = 0
    irregular: int = 0


def _find_images(root: Path, *, follow_links: bool) -> tuple[list[str], list[int]]:
    found = _Found()
    seen: set[tuple[int, int]] = set()
    folders: list[str] = [""]
    linked: list[str] = []
    while folders or linked:
        # Links come last and in order, so that a folder is found under its own name, in any file system.
        if not folders:
            linked.sort(reverse=True)
        folder = (folders or linked).pop()
        if follow_links:
            status = (root / folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                found.again += 1
                continue
            seen.add((status.st_dev, status.st_ino))
        for entry in _entries(root / folder):
            if entry.name.startswith("."):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink() and not _is_followed(entry, root, follow_links):
                found.links += 1
            elif entry.is_dir():
                (linked if entry.is_symlink() else folders).append(name)
            elif ending(entry.name) not in IMAGE_ENDINGS:
                found.other[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1  # noqa: PTH122
            elif not entry.is_file():
                found.irregular += 1
            else:
                found.images.append((name, entry.stat().st_size))
    _check_names(root, found.images)
    _note_tables(root, found.images)
    _say_left_out(root, found, follow_links)
    found.images.sort()
    return [name for name, _ in found.images], [size for _, size in found.images]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise EmbedkitError(
            f"{folder}: cannot be read ({error.strerror or error}). Change its permissions, or move it out "
            "of the dataset."
        ) from error


def _say_left_out(root: Path, found: _Found, follow_links: bool) -> None:
    if found.links and follow_links:
        note(f"{root}: left out {found.links:,} links that lead to nothing or in a circle.")
    elif found.links:
        note(
            f"{root}: left out {found.links:,} links that lead out of the folder, to a folder or to nothing. "
            "--follow-links takes them in."
        )
    if found.again:
        note(f"{root}: left out {found.again:,} links to folders that were read already.")
    if found.irregular:
        note(f"{root}: left out {found.irregular:,} that are pipes, sockets or devices.")
    if found.other:
        kinds = ", ".join(f"{count} {end}" for end, count in found.other.most_common(5))
        files = counted(found.other.total(), "file")
        note(f"{root}: left out {files}, no images by their ending ({kinds}).")


def _is_followed(link: os.DirEntry[str], root: Path, follow_links: bool) -> bool:
    if not follow_links:
        return _stays_inside(link, root)
    try:
        return Path(link.path).exists()
    except OSError:  # a circle of links
        return False


def _note_tables(root: Path, found: Sequence[tuple[str, int]]) -> None:
    """Say that a table beside the images is not read: people put their labels there."""
    tables = sorted(entry.name for entry in root.iterdir() if entry.suffix.lower() in (".csv", ".tsv"))
    if tables and found:
        more = f" (also {', '.join(tables[1:4])})" if len(tables) > 1 else ""
        note(
            f"{root}: {tables[0]} is not read{more}. If it has the labels, name it instead of the folder: "
            f"{root / tables[0]}."
        )


def _stays_inside(link: os.DirEntry[str], root: Path) -> bool:
    # Links to folders are left out even inside: they would give the same images twice, or a circle.
    target = resolved(link.path)
    return target.is_file() and target.is_relative_to(root)


def _check_names(root: Path, found: Sequence[tuple[str, int]]) -> None:
    for name, _ in found:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise EmbedkitError(
                f"{root}: the file name {os.fsencode(name)!r} is not UTF-8, so it can't be an id. Rename it."
            ) from error
