"""Where images come from: one file a source, all giving the same `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from embedkit.rows import Rows


@dataclass(frozen=True)
class Dataset:
    """n images that are read one at a time, and what is known of them.

    Parameters
    ----------
    name
        Short name for tables and provenance.
    rows
        Ids and annotations, in the order of the images.
    read
        Row number to the encoded bytes of an image file, or to a (h, w) or (h, w, 3) array. Picklable, and
        safe in a worker process: files are opened there. `embedkit.images.decode` turns either into pixels.
    where
        Row number to the place that an error message names: a path, or ``galaxies.h5[17]``.
    fingerprint
        SHA-256 over what identifies the content (names, sizes, annotations, source version), without
        reading every image: two datasets with the same fingerprint give the same feature file.
    origin
        The keyword arguments of `load_dataset` that give this dataset again; kept in the provenance, so
        that ``verify`` and ``report`` find the images.
    """

    name: str
    rows: Rows
    read: Callable[[int], bytes | NDArray[Any]]
    where: Callable[[int], str]
    fingerprint: str
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)
