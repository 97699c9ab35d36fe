"""Where copies of what lies elsewhere are kept."""

from __future__ import annotations

import os
from pathlib import Path

from embedkit.errors import EmbedkitError
from embedkit.files.regular import resolved


def cache_folder() -> Path:
    """Return where downloads are kept: ``$EMBEDKIT_DATA``, else ``embedkit`` in the user's cache folder."""
    if folder := os.environ.get("EMBEDKIT_DATA"):
        return _at_home("EMBEDKIT_DATA", folder)
    return _at_home("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "embedkit"


def _at_home(name: str, folder: str) -> Path:
    """Return a folder whose name may begin with ``~``."""
    try:
        return resolved(Path(folder).expanduser())
    except RuntimeError as error:  # there is no such user, or nobody says where the home is
        raise EmbedkitError(
            f"{folder}: the home folder is not known. Set {name} to a folder that is written out."
        ) from error
