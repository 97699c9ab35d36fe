"""Galaxy10 DECaLS and Galaxy10 SDSS: the HDF5 files of astroNN's authors, as they are published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import make_rows
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.download import Published, download
from embedkit.datasets.hdf5 import hdf5_images, open_hdf5, read_hdf5
from embedkit.errors import EmbedkitError
from embedkit.files.cache import cache_folder
from embedkit.files.hdf5 import find, reading
from embedkit.files.regular import resolved

SAME_GALAXY_ARCSEC = 1.0


@dataclass(frozen=True)
class Galaxy10:
    """One of the two published files."""

    name: str
    file: Published
    n: int
    class_names: tuple[str, ...]


# Addresses and digests as astroNN has them (astroNN.datasets.galaxy10, galaxy10sdss).
DECALS = Galaxy10(
    name="galaxy10-decals",
    file=Published(
        url="https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
        name="Galaxy10_DECals.h5",
        sha256="19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
    ),
    n=17_736,
    class_names=(
        "Disturbed",
        "Merging",
        "Round Smooth",
        "In-between Round Smooth",
        "Cigar Shaped Smooth",
        "Barred Spiral",
        "Unbarred Tight Spiral",
        "Unbarred Loose Spiral",
        "Edge-on without Bulge",
        "Edge-on with Bulge",
    ),
)
SDSS = Galaxy10(
    name="galaxy10-sdss",
    file=Published(
        url="https://zenodo.org/records/10844811/files/Galaxy10.h5",
        name="Galaxy10.h5",
        sha256="969a6b1cefcc36e09fffa86febd2f699a4aa19b837ba0427f01b0bc6ded458af",
    ),
    n=21_785,
    class_names=(
        "Disk, Face-on, No Spiral",
        "Smooth, Completely round",
        "Smooth, in-between round",
        "Smooth, Cigar shaped",
        "Disk, Edge-on, Rounded Bulge",
        "Disk, Edge-on, Boxy Bulge",
        "Disk, Edge-on, No Bulge",
        "Disk, Face-on, Tight Spiral",
        "Disk, Face-on, Medium Spiral",
        "Disk, Face-on, Loose Spiral",
    ),
)


def load_galaxy10_decals(*, path: str | None = None) -> Dataset:
    """Galaxy10 DECaLS: 17,736 images of 256 x 256 x 3; `path` is the file or its folder."""
    return load_galaxy10(DECALS, path=path)


def load_galaxy10_sdss(*, path: str | None = None) -> Dataset:
    """Galaxy10 SDSS: 21,785 images of 69 x 69 x 3; `path` is the file or its folder."""
    return load_galaxy10(SDSS, path=path)


def load_galaxy10(which: Galaxy10, *, path: str | None = None) -> Dataset:
    """Open one of the two files; without `path` it is downloaded into the cache folder first.

    Ids are row numbers, because some galaxies are in the file twice; rows within one arcsecond of each other
    share a group, all others have none. Redshift and pixel scale (arcsec) are targets.

    Raises
    ------
    EmbedkitError
        The file is not there, is not a Galaxy10 file, or cannot be downloaded.
    """
    if path is None:
        place = download(which.file, cache_folder())
    else:
        place = resolved(path)
        place = place / which.file.name if place.is_dir() else place
        if not place.is_file():
            raise EmbedkitError(
                f"{place}: no such file. Give {which.file.name} or its folder with --path, or leave --path "
                f"out to download it from {which.file.url}."
            )
    with open_hdf5(place) as file, reading(place, "Restore the file."):
        images = find(file, "images")
        lacking = [key for key in ("images", "ans") if key not in file]
        if not isinstance(images, h5py.Dataset) or lacking or images.ndim != 4 or images.shape[3] != 3:
            raise EmbedkitError(
                f"{place}: not a Galaxy10 file: {' and '.join(lacking) or 'images (n, h, w, 3)'} not in it. "
                f"Get {which.file.name} from {which.file.url}."
            )
        n = len(images)
        read = partial(_read, file, str(place))
        found = {"labels": read("ans")}
        found |= {key: read(key) for key in ("ra", "dec") if key in file}
        targets = [key for key in ("redshift", "pxscale") if key in file]
        if targets:
            found["targets"] = np.stack([read(key) for key in targets], axis=1)
            found["target_names"] = np.array(targets)
        if "ra" in found and "dec" in found:
            found |= _groups(np.stack([found["ra"], found["dec"]], axis=1).astype(np.float64))
        rows = make_rows(n, found, str(place), which.class_names)
        reader = hdf5_images(place, images)
        content = {"shape": list(images.shape), "dtype": images.dtype.str, "bytes": place.stat().st_size}
    if n != which.n:
        note(f"{place}: {n:,} images; the published {which.name} has {which.n:,}.")
    return Dataset(
        name=which.name,
        rows=rows,
        read=reader.read,
        where=reader.where,
        fingerprint=fingerprint(rows, content),
        origin={"source": which.name, "path": str(place)},
        missing=reader.absent,
        why_missing=reader.why_absent,
    )


def _read(file: h5py.File, where: str, key: str) -> NDArray[Any]:
    dataset = find(file, key)
    if not isinstance(dataset, h5py.Dataset):
        raise EmbedkitError(f"{where}: {key} is no array, so this is not a Galaxy10 file.")
    return read_hdf5(dataset, key, where)


def _groups(degrees: NDArray[np.float64]) -> dict[str, NDArray[np.str_]]:
    """Name rows at one position after the first of them, all others ""; no group if there are none."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    known = np.flatnonzero(np.isfinite(degrees).all(axis=1))
    ra, dec = np.radians(degrees[known]).T
    xyz = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    chord = 2 * np.sin(np.radians(SAME_GALAXY_ARCSEC / 3600) / 2)
    pairs = known[cKDTree(xyz).query_pairs(chord, output_type="ndarray")]
    if not len(pairs):
        return {}
    n = len(degrees)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, first, counts = np.unique(component, return_index=True, return_counts=True)
    return {"group": np.where(counts[component] > 1, first[component].astype(np.str_), "")}
