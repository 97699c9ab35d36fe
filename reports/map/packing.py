"""Numbers as the page's data holds them; `scripts/pack.js` reads them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[Any]) -> dict[str, str]:
    """Write numbers for the page: little-endian, in base64."""
    kind = f"{values.dtype.kind}{values.dtype.itemsize}"
    data = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode()}


def pack_rows(rows: NDArray[np.int64], n: int) -> dict[str, str]:
    """Write numbers below n in two bytes each, or in three."""
    if n <= 2**16:
        return pack(rows.astype(np.uint16))
    three = np.ascontiguousarray(rows, dtype="<u4").view(np.uint8).reshape(-1, 4)[:, :3]
    return {"type": "u3", "data": base64.b64encode(three.tobytes()).decode()}
