"""Strict JSON: no NaN, no infinity, no NumPy; what comes from outside is of a declared shape or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class UndeclaredError(ValueError):
    """JSON that is broken, or of another shape than was declared; the message says where."""


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


def declared(text: str | bytes, shape: type[T]) -> T:
    """Read JSON that was not written in this process, as what it is declared to be.

    Parameters
    ----------
    text
        The JSON; bytes as UTF-8.
    shape
        A type that msgspec knows: a dataclass (fields without a default are required, unknown ones are
        passed over), ``dict[str, Any]``, ``list[str]``, ... Nothing is converted: ``"1"`` is no number.

    Raises
    ------
    UndeclaredError
        Broken JSON (NaN and half surrogates too), nested too deep, or of another shape. The message is one
        line without the value, such as "Expected `int`, got `str` - at `$.n`".
    """
    import msgspec

    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise UndeclaredError(f"{error}" or type(error).__name__) from error


def check_plain(value: Any) -> None:
    """Hold a value from another reader, such as torch's, to what JSON knows, to any depth.

    Raises
    ------
    UndeclaredError
        There is a tensor or another object in it.
    """
    import msgspec

    try:
        msgspec.to_builtins(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UndeclaredError(f"{error}" or type(error).__name__) from error


def of_shape(value: Any, shape: type[T]) -> T:
    """Check what was read already (TOML, a part of a JSON document) as `declared` checks text.

    Raises
    ------
    UndeclaredError
        It is of another shape.
    """
    import msgspec

    try:
        return msgspec.convert(value, type=shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UndeclaredError(f"{error}" or type(error).__name__) from error
