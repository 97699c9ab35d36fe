"""An HDF5 file from outside: opened, listed, its links followed, but into no file of another folder.

HDF5 itself follows links and virtual sources into any file that may be read, without a word.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from embedkit.errors import EmbedkitError, first_line
from embedkit.files.hdf5_heaps import damaged_heap
from embedkit.files.regular import check_input, resolved

_MOST_LINKS = 32  # one after the other; HDF5 itself stops at 16
OWN = "."  # how a virtual dataset names its own file
COPY = "Copy everything into one file (h5repack, or h5py's Group.copy with expand_external=True)"


@dataclass
class Contents:
    """What a file holds.

    Parameters
    ----------
    datasets
        Every dataset by its path, also under the names of links to it.
    groups
        Every group by its path, the root as "".
    unreachable
        Path of each link that leads to nothing, or where it must not: what is wrong with it.
    """

    datasets: dict[str, h5py.Dataset] = field(default_factory=dict)
    groups: dict[str, h5py.Group] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)


def open_hdf5(path: Path, fix: str) -> h5py.File:
    """Open an HDF5 file to read it.

    Parameters
    ----------
    path
        The file.
    fix
        What to do about a broken one, a whole sentence.

    Raises
    ------
    EmbedkitError
        It is not there, no regular file, may not be read, is being written, is cut off, or is not HDF5; each
        is said for itself.
    """
    check_input(path, fix)
    try:
        # Resolved, because sources are looked for beside the file as it was named.
        file = h5py.File(resolved(path), "r")
    except FileNotFoundError as error:
        raise EmbedkitError(f"{path}: no such file. {fix}") from error
    except PermissionError as error:
        raise EmbedkitError(f"{path}: permission denied. Make the file readable.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise EmbedkitError(f"{path}: {why_not_opened(path, error, fix)}") from error
    try:
        with reading(path, fix):
            problem = damaged_heap(file, path)
        if problem is not None:
            raise EmbedkitError(f"{path}: damaged ({problem}). {fix}")
    except BaseException:
        file.close()
        raise
    return file


@contextlib.contextmanager
def reading(path: Path, fix: str) -> Iterator[None]:
    """Name a file that turns out damaged while it is read: HDF5 finds that late, h5py raises many types.

    Raises
    ------
    EmbedkitError
        In place of what h5py raised.
    """
    try:
        yield
    except (EmbedkitError, BrokenPipeError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError) as error:
        raise EmbedkitError(f"{path}: damaged ({first_line(error)}). {fix}") from error


def why_not_opened(path: Path, error: Exception, fix: str) -> str:
    """Say why HDF5 could not open a file that is there, and what to do."""
    text = str(error)
    if isinstance(error, BlockingIOError) or "unable to lock" in text:
        return (
            "open in another program that may be writing it, so it is locked. The file itself is not broken: "
            "close it there, or set HDF5_USE_FILE_LOCKING=FALSE if nobody writes it."
        )
    if "already open for" in text:
        return (
            "marked as open for writing: another program has it open, or died while it did. Close it there; "
            f"if nobody has it open, `h5clear -s {path.name}` takes the mark off."
        )
    if "signature not found" in text:
        kind = "empty (0 bytes), so not an HDF5 file" if path.stat().st_size == 0 else "not an HDF5 file"
        return f"{kind}. {fix}"
    if "truncated file" in text:
        return f"cut off ({first_line(error)}). {fix}"
    return f"not a readable HDF5 file ({first_line(error)}). {fix}"


def find(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """Return what a path leads to, or None where there is nothing.

    Links are followed as HDF5 does, but into no file outside the folder of this one and those below it. What
    comes back bears the name that it has in its own file.

    Raises
    ------
    EmbedkitError
        A link that leads into a file elsewhere, or is of a kind that only a program knows.
    """
    found = follow(group, name, folder_of(group))
    return found if isinstance(found, (h5py.Dataset, h5py.Group)) else None


def folder_of(item: h5py.Dataset | h5py.Group) -> Path:
    """Return the folder of the file that an item is stored in."""
    return resolved(str(item.file.filename)).parent


def contents(file: h5py.Group) -> Contents:
    """List what a file holds; each group is entered once, so that circles of links end."""
    found = Contents(groups={"": file})
    folder = folder_of(file)
    entered = {_address(file)}
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        above, group = waiting.pop()
        for part in group:
            name = f"{above}/{part}" if above else str(part)
            try:
                item = follow(group, str(part), folder)
            except EmbedkitError as error:
                found.unreachable[name] = str(error)
                continue
            if isinstance(item, h5py.Dataset):
                found.datasets[name] = item
            elif isinstance(item, h5py.Group):
                found.groups[name] = item
                if _address(item) not in entered:
                    entered.add(_address(item))
                    waiting.append((name, item))
            elif item is None:
                found.unreachable[name] = f"the link {name} leads to nothing"
    found.datasets = dict(sorted(found.datasets.items()))
    return found


def elsewhere(item: h5py.Dataset) -> str:
    """Say which other file the values of a dataset lie in; empty where they lie in its own.

    For files that must stand alone. Links are another way out: see `links_elsewhere`.
    """
    properties = item.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        files = {source.file_name for source in item.virtual_sources()} - {OWN}
        return f"virtual, its values lie in {min(files)}" if files else ""
    if properties.get_external_count():
        return f"its values lie in {text(properties.get_external(0)[0])}"
    return ""


def links_elsewhere(group: h5py.Group) -> Iterator[tuple[str, str]]:
    """Yield each direct member of a group that is a link into another file, and what it leads to."""
    for part in group:
        link = _link(group, str(part))
        if isinstance(link, h5py.ExternalLink):
            yield str(part), f"{link.path} in {link.filename}"
        elif not isinstance(link, (h5py.HardLink, h5py.SoftLink)):
            yield str(part), "what only another program knows"


def open_beside(item: h5py.Dataset | h5py.Group, name: str, folder: Path, where: str) -> h5py.File | None:
    """Open another file that an item names; None where it is not there.

    Raises
    ------
    EmbedkitError
        It lies outside `folder` and what is below, or can't be opened; `where` says what leads there.
    """
    path = folder_of(item) / name
    target = resolved(path)
    if not target.is_relative_to(folder):
        raise EmbedkitError(
            f"{where}: leads to {name!r}, outside the folder {folder}; only files in it are "
            f"followed. Put that file there and name it relative to the HDF5 file. Or: {COPY}."
        )
    return open_hdf5(target, "Restore the file.") if target.exists() else None


def follow(
    group: h5py.Group, name: str, folder: Path, links: Iterator[int] | None = None
) -> h5py.Dataset | h5py.Group | h5py.Datatype | None:
    """Do what `find` does, with no file outside `folder` and so many links in all."""
    links = iter(range(_MOST_LINKS)) if links is None else links
    here: Any = group.file["/"] if name.startswith("/") else group
    for part in name.split("/"):
        if part in ("", "."):
            continue
        link = _link(here, part) if isinstance(here, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.HardLink):
            here = here[part]
            continue
        if next(links, None) is None:  # a circle of links
            return None
        if isinstance(link, h5py.SoftLink):
            here = follow(here, link.path, folder, links)
        elif isinstance(link, h5py.ExternalLink):
            where = f"{here.file.filename}: the external link {part}"
            other = open_beside(here, link.filename, folder, where)
            here = None if other is None else follow(other, link.path, folder, links)
        else:
            raise EmbedkitError(
                f"{here.file.filename}: {part} is a link of a kind that only another program knows. {COPY}."
            )
    return here


def _link(group: h5py.Group, part: str) -> Any:
    """The link of that name; None where there is none, the type itself where h5py doesn't know its kind."""
    try:
        return group.get(part, getlink=True)
    except TypeError:
        return TypeError
    except (KeyError, ValueError):
        return None


def _address(group: h5py.Group) -> tuple[Any, ...]:
    info = h5py.h5o.get_info(group.id)
    return str(group.file.filename), info.fileno, info.addr


def text(name: Any) -> str:
    """Return a name that HDF5 gave as bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
