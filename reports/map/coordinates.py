"""Maps that were made once: kept by all that their coordinates depend on."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_bytes
from embedkit.files.cache import cache_folder
from embedkit.versions import versions
from reports.map.layout import Plan

# A map of a million rows takes 8 MB.
_MOST_BYTES = 2**28


def place_of(x: NDArray[np.float32], plan: Plan) -> Path:
    """Name the file of a map: by the rows' numbers, the plan and the versions of what computes it."""
    known = versions()
    asked = json.dumps([list(x.shape), asdict(plan), sorted(known.items())], sort_keys=True, default=str)
    digest = hashlib.sha256(asked.encode())
    digest.update(np.ascontiguousarray(x, dtype="<f4").tobytes())
    return cache_folder() / "maps" / f"{digest.hexdigest()[:32]}.npy"


def kept(path: Path, n: int) -> NDArray[np.float32] | None:
    """Return the n places that were kept; None where there are none, or something else stands there."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = found.dtype == np.float32 and found.shape == (n, 2) and np.isfinite(found).all()
    return found if fits else None


def keep(path: Path, xy: NDArray[np.float32]) -> None:
    """Keep places for the next time; where that can't be written, the next time computes them again."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(xy, np.float32), allow_pickle=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, stream.getvalue())
    except (OSError, EmbedkitError):
        return
