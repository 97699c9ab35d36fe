"""Text for the terminal: what would steer it, or turn the direction of writing, is shown and not done."""

from __future__ import annotations

import re
from typing import IO, Any

from embedkit.console.starting import started

# C0 but for tab and the ends of lines, DEL, C1; marks and overrides of direction; line and paragraph
# separators; halves of surrogate pairs, as Python has bytes of a file name that are no UTF-8.
_STEERS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
    "|\r(?!\n)"
)


def visible(text: str) -> str:
    r"""Return text in which every character that steers a terminal is written as ``\x1b`` or ``\u202e``."""
    return _STEERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class Visible:
    """A stream of text that writes only what is `visible`, and never fails for a letter it can't encode.

    Parameters
    ----------
    stream
        Where it is written; everything but `write` is asked of it.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        started()
        shown = visible(text)
        try:
            self.stream.write(shown)
        except UnicodeEncodeError:
            encoding = getattr(self.stream, "encoding", None) or "ascii"
            self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write some."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def plain(stream: IO[str]) -> IO[str]:
    """Return the stream below a `Visible` one, for whoever writes sequences of its own now."""
    started()
    while isinstance(stream, Visible):
        stream = stream.stream
    return stream
