"""A folder of image files: one class a subfolder, or flat and unlabelled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedkit.console import note
from embedkit.datasets.class_labels import said_label_words
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.errors import EmbedkitError, ImageError
from embedkit.files.rows import Rows, labels_from_names
from embedkit.files.words import SPLIT_NAMES

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)


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
            with open(path, "rb") as file:  # noqa: PTH123 - called for every image
                return file.read()
        except OSError as error:
            raise ImageError(
                f"{path}: cannot be read ({error.strerror or error}). Restore the file, or leave such images "
                "out with --on-error skip."
            ) from error


def load_folder(source: str) -> Dataset:
    """Read a folder of images, nested to any depth, in the order of their paths.

    Ids are the paths relative to the folder. With two or more subfolders the first path component is the
    label; images beside them have none. Where every subfolder is named after a split (train, val, test,
    ...), that is the split and the next component the label.

    Raises
    ------
    EmbedkitError
        No images, or a folder that cannot be read.
    """
    root = Path(source).resolve()
    names, sizes = _find_images(root)
    if not names:
        raise EmbedkitError(
            f"{root}: no images in this folder. Images are known by their ending: "
            f"{' '.join(sorted(IMAGE_ENDINGS))}."
        )
    labels, class_names, split = _annotations(root, names)
    rows = Rows(
        ids=np.array(names, dtype=np.str_),
        labels=labels_from_names(labels)[0] if class_names else None,
        class_names=class_names,
        split=np.array(split, dtype=np.str_) if split else None,
    )
    files = ImageFiles(root, names)
    return Dataset(
        name=short_name(root),
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"sizes": np.array(sizes, dtype=np.int64)}),
        origin={"source": str(root)},
    )


def _annotations(root: Path, names: Sequence[str]) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Return the label of every image ("" for none), the classes, and the split ([] for none)."""
    parts = [name.split("/") for name in names]
    first = {part[0] for part in parts if len(part) > 1}
    split: list[str] = []
    if first and all(len(part) > 1 for part in parts) and {f.lower() for f in first} <= SPLIT_NAMES.keys():
        split = [SPLIT_NAMES[part[0].lower()] for part in parts]
        parts = [part[1:] for part in parts]
        note(f"{root}: the subfolders {', '.join(sorted(first))} are taken as the split.")
    labels = said_label_words([part[0] if len(part) > 1 else "" for part in parts], str(root))
    classes = tuple(sorted(set(labels) - {""}))
    if len(classes) == 1:
        note(f"{root}: one subfolder with images, {classes[0]!r}, makes no classes: taken as unlabelled.")
        classes = ()
    elif classes and "" in labels:
        note(f"{root}: {labels.count('')} images lie beside the class folders and have no label.")
    return labels, classes, split


def _find_images(root: Path) -> tuple[list[str], list[int]]:
    found: list[tuple[str, int]] = []
    other: Counter[str] = Counter()
    links = 0
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            raise EmbedkitError(
                f"{root / folder}: cannot be read ({error.strerror or error}). Change its permissions, or "
                "move it out of the dataset."
            ) from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink() and not _stays_inside(entry, root):
                links += 1
            elif entry.is_dir():
                folders.append(name)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_ENDINGS:  # noqa: PTH122 - once an image
                found.append((name, entry.stat().st_size))
            else:
                other[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1  # noqa: PTH122
    _check_names(root, found)
    if links:
        note(f"{root}: left out {links:,} links that lead out of the folder, to a folder or to nothing.")
    _note_tables(root, found)
    if other:
        kinds = ", ".join(f"{count} {ending}" for ending, count in other.most_common(5))
        note(f"{root}: left out {other.total():,} that are no images by their ending ({kinds}).")
    found.sort()
    return [name for name, _ in found], [size for _, size in found]


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
    target = Path(os.path.realpath(link.path))  # Path.resolve raises on a circle before Python 3.13
    return target.is_file() and target.is_relative_to(root)


def _check_names(root: Path, found: Sequence[tuple[str, int]]) -> None:
    for name, _ in found:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise EmbedkitError(
                f"{root}: the file name {os.fsencode(name)!r} is not UTF-8, so it can't be an id. Rename it."
            ) from error
