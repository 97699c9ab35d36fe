"""File names as another system wrote them, found in the folder that is here."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from embedkit.console import note
from embedkit.files.endings import IMAGE_ENDINGS

_URL = re.compile(r"file:(?://(?:localhost)?(?=/))?(?=/)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:(?=[/\\])|\\\\[^\\]+")


def found_names(table: Path, folder: Path, names: Sequence[str]) -> list[str]:
    """Return names that exist: as they are, or written otherwise where that leaves no doubt.

    A name that doesn't exist is taken with forward slashes, in the other Unicode form (NFC, NFD), or in other
    capitals, where exactly one file is meant and no other line names it. What was changed is said.
    """
    folders = _Folders(folder)
    taken = {posixpath.normpath(name) for name in names}
    out = list(names)
    changed: dict[str, list[tuple[str, str]]] = {}
    for row, name in enumerate(names):
        if not name or folders.exists(name):
            continue
        for why, other in folders.others(name):
            if posixpath.normpath(other) not in taken:
                taken.add(posixpath.normpath(other))
                out[row] = other
                changed.setdefault(why, []).append((name, other))
            break
    for why, pairs in changed.items():
        name, other = pairs[0]
        note(f"{table}: {len(pairs):,} file names are {why}: {name!r} is taken for {other!r}.")
    return out


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def missing_hint(folder: Path, names: Sequence[str], all_missing: bool) -> str:
    """Say why files are probably not found, and what to do."""
    name = names[0]
    local = _URL.match(name)
    path = _slashes(name) if local is None else unquote(name[local.end() :])
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if local is None and name != path and len(parts) > 1 and not _DRIVE.match(name):
        return (
            "The names are written with backslashes, and with forward slashes they aren't there either. Give "
            "the folder that they are relative to with --root."
        )
    absolute = path.startswith("/") or bool(_DRIVE.match(name))
    for start in range(1 if absolute else 0, len(parts)):
        rest = "/".join(parts[start:])
        if start and _is_file(folder / rest):
            return (
                f"They are paths of another place, and {rest!r} lies in {folder}: cut what is before it "
                "from the column."
            )
        for below in _below(folder):
            if _is_file(below / rest):
                if not start and (apart := _apart(folder, below, name, names)):
                    return apart
                cut = " and cut what is before it from the column" if start else ""
                return f"They seem to lie in {below}: give --root {below}{cut}."
    if absolute:
        return "They are paths of another place: make them relative to a folder, and give that with --root."
    stem, ending = posixpath.splitext(path)
    for other in sorted(IMAGE_ENDINGS):
        if _is_file(folder / f"{path}{other}"):
            return f"The names lack their ending {other!r}: add it to the column."
        if ending and _is_file(folder / f"{stem}{other}"):
            return f"The files end in {other!r} and the names in {ending!r}: correct the column."
    if all_missing:
        return "Give the folder that the names are relative to with --root."
    return "Remove these lines, or restore the files."


def _slashes(name: str) -> str:
    return _DRIVE.sub("", name, count=1).replace("\\", "/") if "\\" in name or _DRIVE.match(name) else name


def _apart(folder: Path, below: Path, name: str, names: Sequence[str]) -> str:
    """Say that names lie in several folders, of which none can be the root; empty where one could."""
    lost = next((one for one in names if not _is_file(below / one)), None)
    if lost is None:
        return ""
    here, plain = f"{below.name}/{name}", posixpath.basename(lost)
    elsewhere = next((Path(place, plain) for place, _, files in os.walk(folder) if plain in files), None)
    if elsewhere is None:
        return f"{name!r} lies in {below}, and {lost!r} doesn't: write {here!r}, and restore the others."
    return (
        f"They lie in several folders, {name!r} in {below} and {lost!r} in {elsewhere.parent}: write the "
        f"folders in the column, such as {here!r} and {elsewhere.relative_to(folder).as_posix()!r}."
    )


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:  # a folder that may be entered but not listed
        return []


class _Folders:
    """What lies in a folder and those below, each listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, dict[str, list[str]]] = {}

    def exists(self, name: str) -> bool:
        try:
            return os.path.exists(os.path.join(self.root, name))  # noqa: PTH110, PTH118 - once an image
        except ValueError:  # a zero byte
            return False

    def others(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield other spellings that exist, each with what is different in it, the closest first."""
        if (local := _URL.match(name)) is not None:
            path = unquote(name[local.end() :])
            if self.exists(path):
                yield "addresses of files", path
            return
        path = _slashes(name)
        if path != name and not path.startswith("/") and self.exists(path):
            yield "written with backslashes", path
        plain = unquote(path)
        if plain != path and not plain.startswith("/") and ".." not in plain and self.exists(plain):
            yield "written as parts of a URL", plain
        if path.startswith("/") or ".." in path.split("/"):
            return
        found = self._same(path)
        if found is not None:
            paths = (posixpath.normpath(path), found)
            written, there = (unicodedata.normalize("NFC", one) for one in paths)
            form = written == there
            yield "in another Unicode form" if form else "in other capitals", found

    def _same(self, path: str) -> str | None:
        """The one file whose path is the same but for capitals and Unicode form."""
        here = ""
        for part in posixpath.normpath(path).split("/"):
            same = self._list(here).get(_key(part), [])
            same = [part] if part in same else same
            if len(same) != 1:
                return None
            here = posixpath.join(here, same[0])
        return here

    def _list(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for entry in os.listdir(self.root / folder):  # noqa: PTH208 - names alone are wanted
                    names.setdefault(_key(entry), []).append(entry)
            except OSError:
                pass
            self._listed[folder] = names
        return self._listed[folder]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
