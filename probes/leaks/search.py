"""Looking for copies in a feature file and in the images that it was made from."""

from __future__ import annotations

import numpy as np

from embedkit.console import counted, progress
from embedkit.datasets.source_images import SourceImages
from embedkit.errors import DataError, EmbedkitError
from embedkit.files.store import FeatureFile
from embedkit.files.usable_rows import read_usable
from probes.leaks.leaks import (
    N_CELLS,
    SIDE,
    Fingerprints,
    Leaks,
    close_neighbours,
    exact_copies,
    far_apart,
    fingerprint,
    identical_rows,
    n_cells,
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
            notes.append(f"{counted(n_lost, 'image')} could not be read, and not compared.")
        pairs["exact"] = exact_copies(prints.digests)
        # One of each suffices: a hundred copies would make thousands of near pairs.
        thumbnails = prints.thumbnails.copy()
        thumbnails[pairs["exact"][:, 1]] = np.nan
        pairs["near"] = near_copies(thumbnails)
        plain = int((n_cells(prints.thumbnails) < N_CELLS).sum())
        if plain:
            notes.append(
                f"{plain:,} of {file.n:,} images show nothing, or little but a point: near copies of them "
                "can't be told from look-alikes and are not looked for."
            )
        if file.rows.coordinates is not None:
            pairs["near"] = pairs["near"][~far_apart(pairs["near"], file.rows.coordinates)]
    if file.rows.coordinates is None:
        not_checked["sky"] = f"{file.path}: no coordinates stored."
    else:
        pairs["sky"] = sky_copies(file.rows.coordinates)
    rows = np.flatnonzero(file.ok)
    try:
        features = read_usable(file, rows)
    except DataError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error
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
