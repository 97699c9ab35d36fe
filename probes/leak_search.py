"""Looking for copies in a feature file and in the images that it was made from."""

from __future__ import annotations

import numpy as np

from embedkit.console import progress
from embedkit.errors import EmbedkitError
from embedkit.source_images import SourceImages
from embedkit.store import FeatureFile
from probes.leaks import (
    SIDE,
    Fingerprints,
    Leaks,
    close_neighbours,
    exact_copies,
    fingerprint,
    identical_rows,
    near_copies,
    sky_copies,
)


def find(file: FeatureFile, notes: list[str]) -> Leaks:
    """Look for copies in every way that the file and its images allow; `notes` takes what was not read."""
    pairs, not_checked = {}, {}
    try:
        prints, n_lost = _fingerprints(SourceImages.of(file))
    except EmbedkitError as error:
        not_checked["exact"] = not_checked["near"] = str(error)
    else:
        if n_lost:
            notes.append(f"{n_lost:,} images could not be read, and are not compared.")
        pairs["exact"] = exact_copies(prints.digests)
        # One of each suffices: a hundred copies would make thousands of near pairs.
        thumbnails = prints.thumbnails.copy()
        thumbnails[pairs["exact"][:, 1]] = np.nan
        pairs["near"] = near_copies(thumbnails)
    if file.rows.coordinates is None:
        not_checked["sky"] = f"{file.path}: no coordinates stored."
    else:
        pairs["sky"] = sky_copies(file.rows.coordinates)
    rows = np.flatnonzero(file.ok)
    features = file.read(rows)
    pairs["identical"] = rows[identical_rows(features)]
    pairs["embedding"] = rows[close_neighbours(features)]
    return Leaks(pairs, not_checked)


def _fingerprints(images: SourceImages) -> tuple[Fingerprints, int]:
    n = len(images.place)
    digests = [""] * n
    thumbnails = np.full((n, SIDE, SIDE), np.nan, dtype=np.float32)
    with progress("reading images", n, unit="images") as advance:
        for row, number in enumerate(images.place):
            if number >= 0:
                try:
                    source = images.dataset.read(int(number))
                    digests[row], thumbnails[row] = fingerprint(source, images.dataset.where(int(number)))
                except (EmbedkitError, OSError):
                    pass  # counted below
            advance()
    return Fingerprints(np.array(digests, dtype=np.str_), thumbnails), digests.count("")
