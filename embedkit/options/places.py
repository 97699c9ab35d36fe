"""What an option that names a place says of it: that it is read, or what is written there."""

from __future__ import annotations

from dataclasses import dataclass

RESULTS = ("results.jsonl",)


@dataclass(frozen=True)
class Reads:
    """It is read, with all that is in it if it is a folder; a word that is no path names nothing there."""


@dataclass(frozen=True)
class Writes:
    """It is written.

    Parameters
    ----------
    kinds
        Of a file: what may be there already and is replaced, as `embedkit.files.kinds.kind_of` names it.
    makes
        Of a folder: files in it with names of their own, each with what may be there already.
    folder
        Whether it is a folder; a path that ends like one of `file_endings` is a file all the same.
    file_endings
        See above.
    folders
        Of a folder: patterns of folders in it that are written anew, with all that is in them.
    emptied
        Whether all in the folder is deleted in the end.
    """

    kinds: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    folder: bool = False
    file_endings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    emptied: bool = False


READS = Reads()
