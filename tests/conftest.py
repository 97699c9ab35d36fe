"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real galaxies and weights that developers have and users have not."""
    folder = Path(os.environ.get("EMBEDKIT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}; set EMBEDKIT_SHARED to use them")
    return folder
