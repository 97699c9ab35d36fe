"""Strict JSON: no NaN, no infinity, no NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def strict(value: Any) -> Any:
    """Make of containers and NumPy values what strict JSON knows; a NaN or infinity becomes None."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
