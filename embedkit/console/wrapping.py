"""Long lines on a terminal: broken between words, and never inside a command that somebody may copy."""

from __future__ import annotations

import re
import textwrap

_CODE = re.compile(r"`[^`\n]+`")
_KEPT = "\ufffe"  # no character of any text


def wrapped(text: str, width: int) -> str:
    """Return text with lines of at most `width` characters, where words and commands in backticks allow it.

    A command that is longer stays one line, which the terminal breaks: so it is copied as one.
    """
    lines = _CODE.sub(lambda code: code[0].replace(" ", _KEPT), text).split("\n")
    broken = [line if len(line) <= width else _broken(line, width) for line in lines]
    return "\n".join(broken).replace(_KEPT, " ")


def _broken(line: str, width: int) -> str:
    return textwrap.fill(
        line,
        width,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
        drop_whitespace=True,
    )
