"""A page of the images that were found, with their pictures; asks the network for nothing."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from embedkit.datasets.source_images import find_dataset
from embedkit.errors import EmbedkitError
from embedkit.extraction.again import MOST_BYTES
from embedkit.files.regular import read_bytes
from embedkit.files.store import FeatureFile
from embedkit.images.decode import THUMBNAIL_TYPE, decode_small, thumbnail
from reports import sections as page
from reports.map.thumbnails import Thumbnails, read_thumbnails
from reports.neighbours.found import Found

SIDE = 160


def gallery(
    file: FeatureFile, found: Found, images: str | None, *, query: str | Path | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the page as HTML, and what is missing.

    Parameters
    ----------
    file
        Where the images are recorded.
    found
        What is shown.
    images
        Where they are now, if elsewhere.
    query
        The image that was asked about, which stands first: an id, or a file.

    Raises
    ------
    EmbedkitError
        The images are not there; the message says how to name where they are.
    """
    ids = found.ids.tolist()
    asked = [query] if isinstance(query, str) else []
    crop_to = file.made.center_crop
    try:
        dataset = find_dataset(file.made, images, ids=file.rows.ids.tolist(), where=str(file.path))
        every = [*asked, *ids]
        pictures = read_thumbnails(dataset, every, range(len(every)), size=SIDE, center_crop=crop_to)
    except (EmbedkitError, OSError) as error:
        raise EmbedkitError(
            f"No pictures for a page: {error} Name where the images are with --path, or give -o FILE.csv."
        ) from error
    first = ""
    if isinstance(query, Path):
        encoded = read_bytes(query, "Name an image.", at_most=MOST_BYTES)
        pixels = decode_small(encoded, str(query), side=SIDE, center_crop=crop_to)
        data = base64.b64encode(thumbnail(pixels, SIDE)).decode()
        first = f'<img alt="{escape(str(query))}" src="data:{THUMBNAIL_TYPE};base64,{data}">'
    elif asked:
        first = page.image(pictures, 0, asked[0])
    figures = [_figure(first, ["asked about", str(query)])] if first else []
    for i, cells in enumerate(found.cells()):
        words = [f"{name} {value}" for name, value in cells.items() if value and name not in ("id", "place")]
        figures.append(
            _figure(page.image(pictures, i + len(asked), ids[i]), [f"{cells['place']}. {ids[i]}", *words])
        )
    return _page(file, found, figures, pictures), pictures.notes


def _figure(picture: str, words: list[str]) -> str:
    first, *rest = map(escape, words)
    hints = "".join(f'<span class="hint">{one}</span>' for one in rest)
    return f"<figure>{picture}<figcaption>{first}{hints}</figcaption></figure>"


def _page(file: FeatureFile, found: Found, figures: list[str], pictures: Thumbnails) -> str:
    verb = "similar" if found.kind.name.startswith("similar") else "outliers"
    section = page.Section(
        name=verb,
        title=found.title,
        link=verb,
        sentence="Compared by the features, each with every other, and not by places on a map.",
        body=f'<div class="pictures">{"".join(figures)}</div>',
        made=f"Made of {file.path.name}: {file.features_name} of {file.dataset_name}, {file.n:,} rows",
    )
    return page.render(
        f"{file.dataset_name} · {verb}",
        f"{file.n:,} images, {file.features_name}",
        [section],
        made=page.Made(f"embedkit {verb} {file.path.name}", verb, file.made.fingerprint or ""),
        tables={},
        notes=[*found.notes, *pictures.notes],
    )
