"""Where a JPEG ends: libjpeg fills what is missing with grey, so its end marker has to be seen."""

from __future__ import annotations

import re

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length

# Within a scan, 0xFF is followed by zero, a restart marker or more 0xFF where it is no marker (T.81, B.1.1).
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")


def end_of_jpeg(data: bytes) -> int | None:
    """Return the number of bytes of the first JPEG in `data`; None where its end marker is missing.

    What comes after it does not count: the film of a motion photo, the other pictures of an MPO. Neither do
    the markers of a thumbnail inside a segment.
    """
    at, pattern = 2, _MARKER
    while found := pattern.search(data, at):
        marker = found[1][0]
        at = found.end()
        if marker == _END:
            return at
        if marker == _START:  # another picture begins before this one has ended
            return None
        pattern = _MARKER
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == _SCAN:
            pattern = _AFTER_SCAN
    return None
