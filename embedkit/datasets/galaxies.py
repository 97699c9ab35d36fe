"""The galaxies that come with embedkit: a sample of Galaxy Zoo 1, in the package.

``sample/README.md`` says what they are and ``benchmarks/galaxies.py`` makes the archive.
"""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.zip_images import ZipImages
from embedkit.errors import EmbedkitError
from embedkit.files.rows import Rows

ARCHIVE = Path(__file__).parent / "sample" / "galaxies.zip"
CLASS_NAMES = ("edge_on", "elliptical", "merger", "spiral")
N = 600
TABLE = "galaxies.csv"
_AGAIN = "Install embedkit again."


def load_galaxies() -> Dataset:
    """600 galaxies of Galaxy Zoo 1 in four classes, 128 x 128, colour.

    Raises
    ------
    EmbedkitError
        The archive is damaged.
    """
    try:
        with zipfile.ZipFile(ARCHIVE) as archive:
            sizes = {info.filename: info.CRC for info in archive.infolist()}
            text = archive.read(TABLE).decode("utf-8")
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise EmbedkitError(f"{ARCHIVE}: cannot be read ({error}). {_AGAIN}") from error
    lines = [(line["id"], line["label"]) for line in csv.DictReader(io.StringIO(text))]
    members = [f"{name}.jpg" for name, _ in lines]
    if len(lines) != N or any(member not in sizes for member in members):
        raise EmbedkitError(f"{ARCHIVE}: not the {N} galaxies that come with embedkit. {_AGAIN}")
    rows = Rows(
        ids=np.array([name for name, _ in lines]),
        labels=np.array([CLASS_NAMES.index(label) for _, label in lines]),
        class_names=CLASS_NAMES,
    )
    images = ZipImages(str(ARCHIVE), members, _AGAIN)
    return Dataset(
        name="galaxies",
        rows=rows,
        read=images.read,
        where=images.where,
        fingerprint=fingerprint(rows, {"crc": [sizes[member] for member in members]}),
        origin={"source": "galaxies"},
    )
