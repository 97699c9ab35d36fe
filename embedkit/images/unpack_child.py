"""What the process does that unpacks tile-compressed FITS; it needs nothing else of embedkit."""

from __future__ import annotations

import io
import struct
import sys
import warnings
from typing import BinaryIO

import numpy as np

ASKED = struct.Struct(">QQ")  # number of the part, bytes of the file
GIVEN = struct.Struct(">?Q")  # whether it is an array, bytes that follow


def serve(asked: BinaryIO, given: BinaryIO) -> None:
    """Unpack one file after another, until there are no more."""
    from astropy.io import fits

    warnings.simplefilter("ignore")
    while head := asked.read(ASKED.size):
        part, length = ASKED.unpack(head)
        data = asked.read(length)
        good = True
        try:
            with fits.open(io.BytesIO(data), memmap=False) as parts:
                buffer = io.BytesIO()
                np.save(buffer, np.asarray(parts[part].data), allow_pickle=False)
            answer = buffer.getvalue()
        except Exception as error:  # any type on damaged input
            good, answer = False, f"{type(error).__name__}: {error}".encode()[:500]
        given.write(GIVEN.pack(good, len(answer)))
        given.write(answer)
        given.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
