"""Tile-compressed FITS is unpacked in a process of its own, which a damaged file may end.

The decoders of RICE and HCOMPRESS in astropy trust what they read: of 4,000 damaged files of each some ended
the process. The child is `unpack_child.py`, run as a script. It is started with the first such image and
ends with the process that asked.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import struct
import subprocess
import sys
import threading

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ImageError
from embedkit.images import unpack_child
from embedkit.images.unpack_child import ASKED, GIVEN

SECONDS = 60.0  # an image of the largest size takes a few


class _Child:
    """One process that unpacks, started when it is wanted and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = -1

    def unpack(self, data: bytes, part: int) -> bytes:
        """Return the array of a part as a .npy; raises `EOFError` where the child has died of it."""
        with self._lock:
            process = self._started()
            limit = threading.Timer(SECONDS, process.kill)
            limit.start()
            try:
                return _exchange(process, data, part)
            except (OSError, EOFError, struct.error) as error:
                self._end(process)
                raise EOFError("its compressed data end or stop the decoder") from error
            finally:
                limit.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._pid != os.getpid() or self._process.poll() is not None:
            self._pid = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", unpack_child.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the process that asked
            )
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # of what was not sent yet
                    stream.close()
        self._process = None

    def close(self) -> None:
        """End the child, where this process has one."""
        if self._process is not None and self._pid == os.getpid():
            self._end(self._process)


def _exchange(process: subprocess.Popen[bytes], data: bytes, part: int) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(ASKED.pack(part, len(data)))
    process.stdin.write(data)
    process.stdin.flush()
    good, length = GIVEN.unpack(process.stdout.read(GIVEN.size))
    answer = process.stdout.read(length)
    if len(answer) < length:
        raise EOFError
    if not good:
        raise ImageError(answer.decode(errors="replace"))
    return answer


_CHILD = _Child()
atexit.register(_CHILD.close)


def unpack(data: bytes, part: int, where: str) -> NDArray[np.generic]:
    """Return the image of a tile-compressed part of a FITS file.

    Raises
    ------
    ImageError
        The decoder refuses it, dies of it, or takes over a minute.
    """
    try:
        answer = _CHILD.unpack(data, part)
    except (ImageError, EOFError) as error:
        raise ImageError(f"{where}: damaged or cut off ({error}). Restore the file or remove it.") from error
    array: NDArray[np.generic] = np.load(io.BytesIO(answer), allow_pickle=False)
    return array
