"""Whether a Ray cluster answers at an address: Ray itself tries for minutes, then ends the process."""

from __future__ import annotations

import os
import re
import socket

from embedkit.errors import EmbedkitError, UsageError

ANSWER_S = 10.0
# How a client of HTTP/2, which Ray's head speaks, begins (RFC 9113, 3.4): a fixed text and empty SETTINGS.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4
_FRAME_HEAD = 9


def check_address(address: str, patience: float = ANSWER_S) -> None:
    """Refuse an address that nothing answers at, or not what a cluster's head would.

    Raises
    ------
    UsageError
        It is no ``HOST:PORT``.
    EmbedkitError
        It doesn't answer in so many seconds.
    """
    if address in ("auto", "local"):
        return
    form = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):(\d{1,5})", address)
    if form is None or not 0 < int(form[2]) < 2**16:
        raise UsageError(
            f"--address {address}: give HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or auto for "
            "the cluster that this machine belongs to."
        )
    if os.environ.get("RAY_USE_TLS") == "1":  # which says nothing to strangers
        return
    fix = "Check the address (`ray start --head` prints it), and that the cluster runs."
    try:
        with socket.create_connection((form[1].strip("[]"), int(form[2])), timeout=patience) as line:
            line.settimeout(patience)
            line.sendall(_PREFACE)
            head = b""
            while len(head) < _FRAME_HEAD and (more := line.recv(_FRAME_HEAD - len(head))):
                head += more
    except TimeoutError as error:
        raise EmbedkitError(f"--address {address}: no answer in {patience:.0f} s. {fix}") from error
    except OSError as error:
        raise EmbedkitError(f"--address {address}: {error.strerror or error}. {fix}") from error
    if len(head) < _FRAME_HEAD or head[3] != _SETTINGS:
        raise EmbedkitError(f"--address {address}: what answers is no Ray cluster. {fix}")
