"""Text in a PNG, of which Pillow takes little: a megabyte of a workflow or a history is no damage."""

from __future__ import annotations

_START = b"\x89PNG\r\n\x1a\n"
_FRAME = 12  # length, name and checksum of a chunk
_TEXT = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))


def text_in(data: bytes, keyword: str) -> str | None:
    """Return the plain text under a keyword of a PNG; None where there is none, and of other files."""
    if not data.startswith(_START):
        return None
    at, wanted = len(_START), keyword.encode("latin-1") + b"\0"
    while at + _FRAME <= len(data):
        end = at + _FRAME + int.from_bytes(data[at : at + 4], "big")
        body = data[at + 8 : end - 4]
        if data[at + 4 : at + 8] == b"tEXt" and body.startswith(wanted):
            return body[len(wanted) :].decode("latin-1")
        at = end
    return None


def without_text(data: bytes) -> bytes | None:
    """Return a PNG without its texts and colour profile; None of one that has none, and of other files."""
    if not data.startswith(_START):
        return None
    kept, at, n_left = [_START], len(_START), 0
    while at + _FRAME <= len(data):
        end = at + _FRAME + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in _TEXT:
            n_left += 1
        else:
            kept.append(data[at:end])
        at = end
    return b"".join(kept) if n_left else None
