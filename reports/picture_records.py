"""What a picture of attention or of Grad-CAM shows, as it stands in the text of its PNG."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embedkit.errors import EmbedkitError
from embedkit.files.regular import read_bytes
from embedkit.images.png_text import text_in
from embedkit.strict_json import UndeclaredError, declared

MOST_BYTES = 40_000_000
# The signature, the header, and the text, which stands before the pixels: ids, names of classes and captions
# of many rows, whose letters may take six characters of JSON.
HEAD = 1_000_000


@dataclass(frozen=True)
class AttentionRecord:
    """Which network looked at which images.

    Parameters
    ----------
    command
        That draws the picture.
    dataset, fingerprint
        Of the images.
    network
        Name of the backbone.
    entropy
        Of each head, by ``before`` and ``after`` where two are compared.
    """

    command: str
    dataset: str
    fingerprint: str
    network: str
    entropy: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MappedImage:
    """One row of tiles: the image's id, why it is shown, and what the network says of it."""

    id: str
    group: str
    caption: str


@dataclass(frozen=True)
class CamRecord:
    """Which network's maps of which images; a row an image, from the top.

    Parameters
    ----------
    command
        That draws the picture.
    dataset, fingerprint
        Of the images.
    network
        What it is and was trained on.
    tiles
        What each row holds from the left, each as wide as high.
    rows
        The images.
    says
        What is to be known to read it: what the maps speak of, and how they are drawn.
    verdict
        Whether to believe them.
    """

    command: str
    dataset: str
    fingerprint: str
    network: str
    tiles: list[str]
    rows: list[MappedImage]
    says: str
    verdict: str


KEYWORDS = {"embedkit-attention": AttentionRecord, "embedkit-cam": CamRecord}


def png_of(picture: Image.Image, record: AttentionRecord | CamRecord) -> bytes:
    """Return a picture as PNG that says in its text what it shows."""
    stream, info = io.BytesIO(), PngInfo()
    (keyword,) = (name for name, shape in KEYWORDS.items() if isinstance(record, shape))
    info.add_text(keyword, json.dumps(asdict(record)))
    picture.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def read_record(path: Path) -> tuple[AttentionRecord | CamRecord, bytes] | None:
    """Return what a picture shows, and its bytes; None of any other file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        for keyword, shape in KEYWORDS.items():
            if (told := text_in(head, keyword)) is not None:
                return declared(told, shape), read_bytes(path, "Draw it again.", at_most=MOST_BYTES)
    except (OSError, UndeclaredError, EmbedkitError):
        pass
    return None
