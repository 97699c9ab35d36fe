"""Features that this room's tests share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import blobs

from embedkit.files.rows import Rows
from embedkit.files.store import write_features


@pytest.fixture
def feature_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a feature file of blobs; keyword arguments replace what is in it."""

    def make(x: Any = None, labels: Any = "own", *, names=("round", "spiral", "edge"), **rows: Any) -> Path:
        own_x, own_labels = blobs()
        x = own_x if x is None else x
        ids = [f"g{i}" for i in range(len(x))]
        if isinstance(labels, str):
            labels = own_labels
        if labels is not None:
            rows |= {"labels": labels, "class_names": names}
        return write_features(tmp_path / "f.h5", x, Rows(ids=np.array(ids), **rows))

    return make
