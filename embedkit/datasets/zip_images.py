"""Images inside a zip archive, read one at a time."""

from __future__ import annotations

import os
import zipfile
from typing import Any

from embedkit.errors import ImageError


class ZipImages:
    """Read members of a zip archive by row number; the archive is opened once in each process.

    Parameters
    ----------
    path
        The archive.
    members
        Name of each row's member.
    fix
        What to do where the archive is damaged, as a sentence.
    """

    def __init__(self, path: str, members: list[str], fix: str) -> None:
        self.path = path
        self.members = members
        self.fix = fix
        self._archive: zipfile.ZipFile | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "members": self.members, "fix": self.fix, "_archive": None, "_pid": -1}

    def where(self, row: int) -> str:
        """Return the archive and the member of one image."""
        return f"{self.path}[{self.members[row]}]"

    def read(self, row: int) -> bytes:
        """Return the bytes of one image; raises `ImageError` where the archive is damaged."""
        try:
            if self._archive is None or self._pid != os.getpid():
                self._archive, self._pid = zipfile.ZipFile(self.path), os.getpid()
            return self._archive.read(self.members[row])
        except (OSError, zipfile.BadZipFile) as error:
            raise ImageError(f"{self.where(row)}: cannot be read ({error}). {self.fix}") from error
