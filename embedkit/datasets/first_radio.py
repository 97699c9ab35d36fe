"""Radio galaxies of the FIRST survey in four classes, from the package ``firstgalaxydata``."""

from __future__ import annotations

import importlib.util
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.zip_images import ZipImages
from embedkit.errors import EmbedkitError
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows
from embedkit.files.words import SPLIT_NAMES
from embedkit.versions import GET_SAMPLE, SAMPLE

CLASS_NAMES = ("FRI", "FRII", "Compact", "Bent")
ARCHIVE = "galaxy_data.zip"

# Griese et al. 2023; the images are drawn from six catalogues.
PUBLISHED = {"train": (395, 824, 291, 248), "validation": (50, 50, 50, 50), "test": (50, 50, 50, 50)}


_AGAIN = f"Install it again: pip install --force-reinstall {SAMPLE}"


def load_first_radio(*, path: str | None = None) -> Dataset:
    """2,158 radio galaxies of 300 x 300, grey, with the published split.

    Parameters
    ----------
    path
        ``galaxy_data.zip`` or its folder; by default that of the installed package, which is not imported.

    Raises
    ------
    EmbedkitError
        The package is not installed, or the archive holds something else.
    """
    place = _installed() if path is None else resolved(path)
    place = place / ARCHIVE if place.is_dir() else place
    try:
        with zipfile.ZipFile(place) as archive:
            members = {info.filename: info.CRC for info in archive.infolist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise EmbedkitError(
            f"{place}: cannot be read ({error}). {_AGAIN}, or give galaxy_data.zip with --path."
        ) from error
    # galaxy_data/<split>/<class>/<ra>_<dec>_<label>_<catalogue>.png; `all` repeats the three splits.
    chosen = []
    for member in members:
        parts = member.split("/")
        if (
            member.endswith(".png")
            and len(parts) == 4
            and parts[1] in SPLIT_NAMES
            and parts[2] in CLASS_NAMES
        ):
            ra, dec = parts[3].split("_")[:2]
            chosen.append((float(ra), float(dec), SPLIT_NAMES[parts[1]], parts[2], member))
    chosen.sort()
    counts = Counter((split, kind) for _, _, split, kind, _ in chosen)
    found = {split: tuple(counts[split, kind] for kind in CLASS_NAMES) for split in PUBLISHED}
    if found != PUBLISHED:
        raise EmbedkitError(
            f"{place}: {len(chosen):,} images where 2,158 are published. Install the right version: "
            f"pip install --force-reinstall {SAMPLE}."
        )
    rows = Rows(
        ids=np.array([f"{ra:.3f}{dec:+.3f}" for ra, dec, *_ in chosen]),
        labels=np.array([CLASS_NAMES.index(kind) for *_, kind, _ in chosen]),
        class_names=CLASS_NAMES,
        split=np.array([split for _, _, split, _, _ in chosen]),
        coordinates=np.array([(ra, dec) for ra, dec, *_ in chosen]),
    )
    images = ZipImages(str(place), [member for *_, member in chosen], f"{_AGAIN}.")
    return Dataset(
        name="first-radio",
        rows=rows,
        read=images.read,
        where=images.where,
        fingerprint=fingerprint(rows, {"crc": [members[member] for member in images.members]}),
        origin={"source": "first-radio"} | ({} if path is None else {"path": str(place)}),
    )


def _installed() -> Path:
    spec = importlib.util.find_spec("firstgalaxydata")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedkitError(
            "first-radio: its images come with the package firstgalaxydata, which is not installed. "
            f"Install it: {GET_SAMPLE}."
        )
    return Path(spec.submodule_search_locations[0])
