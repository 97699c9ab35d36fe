"""Exact nearest neighbours by cosine similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import features

# Similarities that are held at a time where every one is needed, and where a GPU screens them.
CELLS = 1 << 24
CELLS_ON_GPU = 1 << 28


@dataclass(frozen=True)
class Neighbours:
    """The k nearest bank rows of each query, nearest first; equal similarities in the bank's order.

    Parameters
    ----------
    index : (n, k) int64
        Rows of the bank.
    similarity : (n, k) float64
        Cosine similarity, in [-1, 1], to 2^-40.
    """

    index: NDArray[np.int64]
    similarity: NDArray[np.float64]


def nearest(queries: NDArray[Any], bank: NDArray[Any], k: int, *, device: str | None = None) -> Neighbours:
    """Find the exact k nearest neighbours by cosine similarity.

    Parameters
    ----------
    queries : (n, d) float
        A row of zeros has similarity 0 to everything. If they are the bank itself, half the products do, and
        a row is its own neighbour.
    bank : (m, d) float
        Rows to search.
    k
        1 to m.
    device
        A torch device to compute on; threads of the CPU where there is none.

    Raises
    ------
    DataError
        NaN, different d, or k above m.

    Notes
    -----
    Rounded products (bf16 where the processor multiplies it natively) leave out every row that a proven bound
    on their error shows to be none of the k nearest. The similarities of all others are computed in float64
    from the float32 rows of length 1, and decide. So the precision decides how long a search takes, never
    what it finds.
    """
    import torch

    from embedkit.computing.device import native_bf16
    from probes.neighbours.rounded import Rounded

    same = queries is bank
    queries = normalise(queries)
    bank = queries if same else normalise(bank)
    if queries.shape[1] != bank.shape[1]:
        raise DataError(f"queries of {queries.shape[1]} dimensions don't fit a bank of {bank.shape[1]}.")
    check_k(k, len(bank))
    if not len(queries):
        return Neighbours(np.empty((0, k), np.int64), np.empty((0, k)))
    precision = torch.float32
    if device is None and native_bf16(torch.device("cpu")):
        precision = torch.bfloat16
    centre = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
    right = Rounded.of(bank, centre, precision)
    left = right if same else Rounded.of(queries, centre, precision)
    if device is None:
        from probes.neighbours.candidates import search  # on use: numba

        index, similarity, found = search(queries, bank, left, right, k)
    else:
        index, similarity, found = _search_on(device, queries, bank, left, right, k)
    rest = np.flatnonzero(~found)
    block = max(1, CELLS // len(bank))
    for some in (rest[i : i + block] for i in range(0, len(rest), block)):
        index[some], similarity[some] = _all_pairs(queries[some], bank, k)
    return Neighbours(index, similarity)


def normalise(x: NDArray[Any]) -> NDArray[np.float32]:
    """Scale the rows of (n, d) features to length 1; a row of zeros stays."""
    x = features(x)
    length = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return np.asarray(x / np.where(length > 0, length, 1)[:, None], dtype=np.float32)


def check_k(k: int, n: int) -> None:
    """Refuse a k that n training rows can't give."""
    if k < 1:
        raise UsageError(f"k = {k}: at least 1 neighbour is needed.")
    if k > n:
        raise DataError(f"k = {k} neighbours are asked of {n} training rows. Give --n-neighbors at most {n}.")


def _search_on(
    device: str,
    queries: NDArray[np.float32],
    bank: NDArray[np.float32],
    left: Any,
    right: Any,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Do what `probes.neighbours.candidates.search` does, with torch alone."""
    import torch

    from embedkit.computing.threads import full_precision

    n, (m, d) = len(queries), bank.shape
    t = min(2 * k + 64, m)
    on_device, exact = right.right.to(device), torch.as_tensor(bank, device=device).double()
    margin = torch.as_tensor(left.margin(right), device=device)
    index, similarity = np.empty((n, k), np.int64), np.empty((n, k))
    found = np.empty(n, np.bool_)
    with full_precision():
        block = max(1, CELLS_ON_GPU // (m + 2 * t * d))
        for start in range(0, n, block):
            some = slice(start, start + block)
            value, candidates = (left.left[some].to(device) @ on_device.T).topk(t, dim=1)
            limit = left.limit(value[:, k - 1], margin[some])
            found[some] = (value[:, -1] < limit).cpu().numpy() if t < m else True
            candidates, _ = candidates.sort(dim=1)  # so that a stable sort breaks ties by row
            query = torch.as_tensor(queries[some], device=device).double()
            similar = torch.einsum("btd,bd->bt", exact[candidates], query)
            similar = torch.round(similar * 2.0**40) / 2.0**40
            order = similar.argsort(dim=1, descending=True, stable=True)[:, :k]
            index[some] = candidates.gather(1, order).cpu().numpy()
            similarity[some] = similar.gather(1, order).cpu().numpy()
    return index, similarity, found


def _all_pairs(
    queries: NDArray[np.float32], bank: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rank every row of the bank in float64."""
    similar = np.empty((len(queries), len(bank)))
    for start in range(0, len(bank), 4096):
        some = slice(start, start + 4096)
        similar[:, some] = queries.astype(np.float64) @ bank[some].astype(np.float64).T
    similar = np.round(similar * 2.0**40) / 2.0**40
    kth = np.partition(similar, len(bank) - k, axis=1)[:, len(bank) - k]
    index = np.empty((len(queries), k), np.int64)
    for i, row in enumerate(similar):
        near = np.flatnonzero(row >= kth[i])
        index[i] = near[np.argsort(-row[near], kind="stable")[:k]]
    return index, np.take_along_axis(similar, index, axis=1)
