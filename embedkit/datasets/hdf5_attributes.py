"""Names that an HDF5 file keeps as an attribute, and not as a dataset."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.annotations import decoded
from embedkit.datasets.named_columns import LABELS, known_as
from embedkit.errors import EmbedkitError, first_line
from embedkit.files.hdf5 import Contents
from embedkit.strict_json import UndeclaredError, declared

_OF = {"class_names": LABELS, "target_names": ("targets",)}


def names_in_attributes(found: Contents, where: str) -> dict[str, NDArray[np.str_]]:
    """Return names of classes and targets from attributes of that name: text, or a list as JSON.

    They stand at the dataset that they are of, or at the root. A dataset of the name is preferred.

    Raises
    ------
    EmbedkitError
        An attribute that is no list of text.
    """
    last = {name.rpartition("/")[2]: item for name, item in found.datasets.items()}
    names: dict[str, NDArray[np.str_]] = {}
    for name, kinds in _OF.items():
        of = known_as(list(last), kinds)
        if name in last or of is None:
            continue
        holder = next((place for place in (last[of], found.groups[""]) if name in place.attrs), None)
        if holder is not None:
            names[name] = _read(holder, name, where)
    return names


def _read(holder: h5py.HLObject, name: str, where: str) -> NDArray[np.str_]:
    fix = "Store them as an array of text."
    try:
        value: Any = holder.attrs[name]
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise EmbedkitError(
            f"{where}: the attribute {name} can't be read ({first_line(error)}). {fix}"
        ) from error
    if isinstance(value, (str, bytes)):
        try:
            return np.array(declared(value, list[str]), dtype=np.str_)
        except UndeclaredError as error:
            raise EmbedkitError(f"{where}: the attribute {name} is no list of names. {fix}") from error
    values = np.asarray(value)
    if values.ndim != 1 or values.dtype.kind not in "USO":
        raise EmbedkitError(f"{where}: the attribute {name} is no list of names. {fix}")
    return np.asarray(decoded(values, name, where), dtype=np.str_)
