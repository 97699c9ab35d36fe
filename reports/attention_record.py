"""What a picture of attention shows, as it stands in the text of its PNG."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from embedkit.errors import EmbedkitError
from embedkit.files.regular import read_bytes
from embedkit.images.png_text import text_in
from embedkit.strict_json import UndeclaredError, declared

KEYWORD = "embedkit-attention"
MOST_BYTES = 40_000_000
# The signature, the header, and the text, which stands before the pixels.
HEAD = 100_000


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


def read_attention(path: Path) -> tuple[AttentionRecord, bytes] | None:
    """Return what a picture shows, and its bytes; None of any other file."""
    try:
        with path.open("rb") as stream:
            told = text_in(stream.read(HEAD), KEYWORD)
        if told is None:
            return None
        return declared(told, AttentionRecord), read_bytes(path, "Draw it again.", at_most=MOST_BYTES)
    except (OSError, UndeclaredError, EmbedkitError):
        return None
