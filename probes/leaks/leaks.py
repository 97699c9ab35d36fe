"""Copies of one image among the rows: what makes a test score better than it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from embedkit.images.decode import decode
from embedkit.scoring.splits import Split
from probes.neighbours.search import nearest

I64 = NDArray[np.int64]

SIDE = 32  # of a thumbnail, in pixels
HASH_SIDE = 8  # of the corner of its DCT that is hashed, without the mean: 63 bits
BITS = 8
# On Galaxy Zoo images copies stay above 0.97, and different galaxies below 0.76; see benchmarks/leaks.py.
CORRELATION = 0.9
# A point on black looks like every other. Galaxy Zoo images have at least 33, nearly all of FIRST's below.
N_CELLS = 20.0
ARCSECOND = 1.0
ARCMINUTE = 60.0
CLOSE = 0.05
_BLOCK = 512
# The kinds that prove a copy; neighbours in the embedding may be two alike.
COPIES = ("exact", "near", "sky", "identical")


@dataclass(frozen=True)
class Fingerprints:
    """What n images are recognised by.

    Parameters
    ----------
    digests : (n,) str
        SHA-256 of the file's bytes, or of an array's type, shape and values; empty where it was not read.
    thumbnails : (n, 32, 32) float32
        Grey; NaN where the image was not read.
    """

    digests: NDArray[np.str_]
    thumbnails: NDArray[np.float32]


@dataclass(frozen=True)
class Leaks:
    """Pairs of rows that may be one object.

    Parameters
    ----------
    pairs
        ``exact``, ``near``, ``sky``, ``identical`` (features) and ``embedding``, those that were checked:
        (m, 2) int64 rows, the smaller first. An exact copy stands once, beside the first of its kind; near
        ones are not exact.
    not_checked
        The others, and why.
    """

    pairs: Mapping[str, I64]
    not_checked: Mapping[str, str] = field(default_factory=dict)

    def groups(self, n: int, kinds: Sequence[str] = COPIES) -> I64:
        """Return a number (n,) for each row, the same for rows that pairs of these kinds connect.

        Neighbours in the embedding are left out by default: they are alike, which proves no copy.
        """
        chosen = [self.pairs[kind] for kind in kinds if kind in self.pairs]
        links = np.concatenate([np.empty((0, 2), np.int64), *chosen])
        graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(n, n))
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)

    def n_across(self, kind: str, split: Split, n: int) -> int:
        """Count the test rows that pairs of this kind join to training or validation rows, of n rows."""
        groups = self.groups(n, (kind,))
        learnt = np.concatenate([groups[split.train], groups[split.validation]])
        return int(np.isin(groups[split.test], learnt).sum())


def fingerprint(source: bytes | NDArray[Any], where: str) -> tuple[str, NDArray[np.float32]]:
    """Return the digest of an image and its grey thumbnail (32, 32).

    Raises
    ------
    ImageError
        It can't be decoded.
    """
    if isinstance(source, bytes):
        digest = hashlib.sha256(source)
    else:
        digest = hashlib.sha256(f"{source.dtype.str}{source.shape}".encode())
        digest.update(np.ascontiguousarray(source).tobytes())
    grey = Image.fromarray(decode(source, where)).convert("L").convert("F")
    # The mean over each cell: it treats the eight orientations alike.
    small = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return digest.hexdigest(), np.asarray(small, dtype=np.float32)


def exact_copies(digests: NDArray[np.str_]) -> I64:
    """Pair each row with the first of the same digest (n,); empty digests match nothing."""
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    pairs: I64 = np.column_stack([first[group], np.arange(len(digests))])
    copies: I64 = pairs[(pairs[:, 0] != pairs[:, 1]) & (digests != "")]
    return copies


def near_copies(
    thumbnails: NDArray[np.float32], *, bits: int = BITS, correlation: float = CORRELATION
) -> I64:
    """Pair images that are one but for compression, size, or one of eight orientations.

    Candidates differ in at most `bits` of 63 between the perceptual hash of one and that of the other in any
    of its eight orientations: the signs, about their median, of the lowest 8 x 8 DCT coefficients without the
    mean. They are confirmed where the largest correlation of their thumbnails' Laplacians over the eight is
    at least `correlation`. Crops and other exposures of one object are not found.

    Parameters
    ----------
    thumbnails : (n, 32, 32)
        Those with NaN or too little detail (`n_cells` below `N_CELLS`) match nothing.

    Returns
    -------
    pairs : (m, 2) int64
    """
    rows = np.flatnonzero(n_cells(thumbnails) >= N_CELLS)  # NaN is not
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    turned = _orientations(thumbnails[rows])  # (8, n, 32, 32)
    hashes = np.stack([_hash(images) for images in turned])
    details = np.stack([_detail(images) for images in turned])
    found = []
    for start in range(0, len(rows), _BLOCK):
        some = hashes[:, start : start + _BLOCK]
        distance = np.full((some.shape[1], len(rows)), 64, dtype=np.uint8)
        for orientation in some:
            np.minimum(distance, np.bitwise_count(orientation[:, None] ^ hashes[0][None]), out=distance)
        a, b = np.nonzero(distance <= bits)
        a += start
        a, b = a[a < b], b[a < b]
        for first in range(0, len(a), _BLOCK):
            i, j = a[first : first + _BLOCK], b[first : first + _BLOCK]
            same = np.einsum("omd,md->om", details[:, i], details[0, j]).max(axis=0) >= correlation
            found.append(np.column_stack([rows[i[same]], rows[j[same]]]))
    return np.concatenate([np.empty((0, 2), np.int64), *found])


def n_cells(thumbnails: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return over how many cells (n,) the detail of thumbnails (n, 32, 32) is spread.

    It is 1 over the sum of the squared shares in the power of the Laplacian of its logarithm, so that one
    bright star outshines nothing: 1 where one cell has all of it, 900 where all have the same. 0 for an image
    of one value; NaN stays.
    """
    shares = _detail(np.log1p(thumbnails)).astype(np.float64) ** 2  # of unit vectors: they sum to 1
    total = (shares**2).sum(axis=1)
    cells: NDArray[np.float64] = np.divide(1.0, total, out=total.copy(), where=total != 0)
    return cells


def sky_copies(coordinates: NDArray[np.float64], *, arcseconds: float = ARCSECOND) -> I64:
    """Pair rows whose right ascension and declination (n, 2), in degrees, lie within `arcseconds`."""
    rows = np.flatnonzero(np.isfinite(coordinates).all(axis=1))
    tree = cKDTree(_unit_vectors(coordinates[rows]))
    pairs: I64 = rows[tree.query_pairs(_chord(arcseconds), output_type="ndarray")]
    return pairs.reshape(-1, 2)


def far_apart(
    pairs: I64, coordinates: NDArray[np.float64], *, arcseconds: float = ARCMINUTE
) -> NDArray[np.bool_]:
    """Whether each of `pairs` (m, 2) is of two rows known to lie further apart than `arcseconds`."""
    a, b = _unit_vectors(coordinates)[pairs].swapaxes(0, 1)
    return np.asarray(np.linalg.norm(a - b, axis=1) > _chord(arcseconds))  # NaN is not


def _unit_vectors(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    ra, dec = np.deg2rad(coordinates).T
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _chord(arcseconds: float) -> float:
    return float(2 * np.sin(np.deg2rad(arcseconds / 3600) / 2))


def identical_rows(x: NDArray[Any]) -> I64:
    """Pair each row of `x` (n, d) with the first that has the very same features.

    A feature file shows such copies even where its images are gone.
    """
    rows = np.ascontiguousarray(x)
    return exact_copies(np.array([hashlib.sha256(row.tobytes()).hexdigest() for row in rows], np.str_))


def close_neighbours(x: NDArray[Any], *, close: float = CLOSE) -> I64:
    """Pair mutual nearest neighbours of `x` (n, d) that are nearer than `close` of what is usual.

    The measure is the cosine distance of the centred rows, and the usual one its median over all rows'
    nearest neighbours.
    """
    if len(x) < 3:
        return np.empty((0, 2), np.int64)
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    found = nearest(centred, centred, 2)
    own = np.arange(len(x))
    second = found.index[:, 0] == own  # a copy may come before the row itself
    other = np.where(second, found.index[:, 1], found.index[:, 0])
    distance = 1 - np.where(second, found.similarity[:, 1], found.similarity[:, 0])
    mutual = (other[other] == own) & (distance <= close * np.median(distance)) & (own < other)
    pairs: I64 = np.column_stack([own, other])[mutual]
    return pairs


def without_copies(split: Split, groups: I64) -> Split:
    """Leave out training and validation rows whose group (n,) is in a later part; test rows stay.

    Raises
    ------
    DataError
        Nothing is left of a part.
    """
    test = np.unique(groups[split.test])
    validation = split.validation[~np.isin(groups[split.validation], test)]
    later = np.union1d(test, groups[validation])
    train = split.train[~np.isin(groups[split.train], later)]
    return Split(f"{split.name}, no copies", train, validation, split.test)


def _orientations(images: NDArray[np.float32]) -> NDArray[np.float32]:
    flipped = images[:, :, ::-1]
    return np.stack([np.rot90(i, k, axes=(1, 2)) for i in (images, flipped) for k in range(4)])


def _hash(images: NDArray[np.float32]) -> NDArray[np.uint64]:
    low = fft.dctn(images, axes=(1, 2))[:, :HASH_SIDE, :HASH_SIDE].reshape(len(images), -1)[:, 1:]
    bits = low > np.median(low, axis=1, keepdims=True)
    places = np.arange(bits.shape[1], dtype=np.uint64)
    hashes: NDArray[np.uint64] = (bits.astype(np.uint64) << places).sum(axis=1, dtype=np.uint64)
    return hashes


def _detail(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return unit vectors (n, 900) of the Laplacian: galaxies are alike in shape, hardly ever in detail."""
    inner = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    flat = (4 * inner - around).reshape(len(images), -1)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)
