"""A published table of votes that is too large to keep: the columns that are used, row by row."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection
from pathlib import Path

from embedkit.datasets.text_table import Table
from embedkit.errors import EmbedkitError
from embedkit.files.regular import check_input

PACKED = ".gz"


def read_columns(path: Path, needed: Collection[str], also: Collection[str] = ()) -> Table:
    """Read some columns of a table with commas; one that ends in ``.gz`` is unpacked while it is read.

    Parameters
    ----------
    needed
        Columns that must be there.
    also
        Columns that are read where they are there.

    Raises
    ------
    EmbedkitError
        No such file, one that is damaged, columns that are missing, a line with more or fewer cells than the
        header, or no rows.
    """
    if not path.is_file():
        check_input(path, f"Put the release's {path.name} there.")
        raise EmbedkitError(f"{path}: no such file. Put the release's {path.name} there, or name its folder.")
    line = 1
    try:
        with gzip.open(path) if path.suffix == PACKED else path.open("rb") as packed:
            stream = io.TextIOWrapper(packed, encoding="utf-8", errors="replace", newline="")
            reader = csv.reader(stream)
            header = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
            used = _used(path, header, needed, also)
            columns: dict[str, list[str]] = {name: [] for name in used}
            lines: list[int] = []
            for row in reader:
                line = reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    raise EmbedkitError(
                        f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}. Download "
                        "the table again."
                    )
                lines.append(line)
                for name, i in used.items():
                    columns[name].append(row[i].strip())
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EmbedkitError(f"{path}, line {line}: {error}. Download the table again.") from error
    if not lines:
        raise EmbedkitError(f"{path}: no rows below the header. Download it again.")
    return Table(path, columns, lines)


def _used(path: Path, header: list[str], needed: Collection[str], also: Collection[str]) -> dict[str, int]:
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise EmbedkitError(
            f"{path}: not the release's table: {len(lacking)} of its columns are missing, such as "
            f"{lacking[0]!r}. Download it again."
        )
    wanted = {*needed, *also}
    return {name: i for i, name in enumerate(header) if name in wanted}


def kept(table: Table, has: Collection[bool]) -> Table:
    """Return the table with some of its rows."""
    columns = {
        name: [cell for cell, one in zip(cells, has, strict=True) if one]
        for name, cells in table.columns.items()
    }
    lines = [line for line, one in zip(table.lines, has, strict=True) if one]
    return Table(table.path, columns, lines, table.separator)
