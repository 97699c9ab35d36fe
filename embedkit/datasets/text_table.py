"""A text table as people save it: its encoding, separator and line ends are found out."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import read_bytes
from embedkit.files.words import NOTHING, number

SEPARATORS = ",;\t|"
MOST_BYTES = 2**30

# UTF-32 before UTF-16, whose mark it begins with.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Table:
    """The cells of a text table.

    Parameters
    ----------
    path
        The file.
    columns
        Name to its n cells.
    lines
        Line number of each of the n rows.
    separator
        What stands between cells. Where it is no comma, a comma may be a decimal one.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    separator: str = ","

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, option: str) -> list[str]:
        """Return a column that the user has asked for with `option`."""
        if name not in self.columns:
            close = difflib.get_close_matches(name, self.columns, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"{self.path}: no column {name!r} for {option}.{hint} Its columns are "
                f"{', '.join(self.columns)}."
            )
        return self.columns[name]

    def called(self, name: str) -> str | None:
        """Return the column of that name, in whatever capitals; None where there is none or more than one."""
        if name in self.columns:
            return name
        same = [column for column in self.columns if column.lower() == name]
        return same[0] if len(same) == 1 else None

    def numbers(self, name: str, option: str) -> NDArray[np.float64]:
        """Return a column as numbers; an empty cell, and a word for nothing, is NaN."""
        cells = self.column(name, option)
        values = np.full(len(self), np.nan)
        for row, cell in enumerate(with_points(cells, self.separator)):
            if cell.lower() in NOTHING:
                continue
            try:
                values[row] = number(cell)
            except ValueError as error:
                comma = " (a decimal comma, where others have a point?)" if "," in cell else ""
                raise EmbedkitError(
                    f"{self.path}, line {self.lines[row]}: {cell!r} in column {name!r} is no number{comma}. "
                    "Correct it, or leave it empty."
                ) from error
            if np.isinf(values[row]):  # as of the logarithm of nothing
                raise EmbedkitError(
                    f"{self.path}, line {self.lines[row]}: {cell!r} in column {name!r} is infinite. Correct "
                    "it, or leave it empty."
                )
        return values


def with_points(cells: Sequence[str], separator: str) -> list[str]:
    """Return cells with points for decimal commas; a column that has points, or commas between, stays."""
    if separator == "," or any("." in cell for cell in cells):
        return list(cells)
    return [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a text table with a header line.

    The separator is the one that a first line ``sep=;`` names, else that of ``, ; tab |`` which the header
    has most of outside quotes. Text is what a byte-order mark says, else UTF-8, else Western European, which
    is said. Cells are stripped of blanks; empty lines are skipped; lines end in any of the three usual ways.

    Raises
    ------
    EmbedkitError
        No regular file, no text, no rows, a column named twice, or a line with more or fewer cells than the
        header.
    """
    path = Path(path)
    text = _text(path, read_bytes(path, "Give a text table (CSV).", at_most=MOST_BYTES))
    text, separator, skipped = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[int] = []
    cells: list[list[str]] = []
    header: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            stripped = [cell.strip() for cell in row]
            if not header:
                header = stripped
                continue
            if len(row) == len(header) + 1 and not stripped[-1]:  # a separator that ends the line
                stripped.pop()
            if len(stripped) != len(header):
                raise EmbedkitError(
                    f"{path}, line {reader.line_num + skipped}: {len(row)} cells, but the header has "
                    f"{len(header)}. Quote cells that contain the separator."
                )
            lines.append(reader.line_num + skipped)
            cells.append(stripped)
    except csv.Error as error:
        where = f"{path}, line {reader.line_num + skipped}"
        raise EmbedkitError(f"{where}: not a CSV table ({error}). Check the quotes on that line.") from error
    # Spreadsheets end lines with separators of columns that nothing was ever in.
    kept = [i for i, name in enumerate(header) if name or any(row[i] for row in cells)]
    _check_header(path, [header[i] for i in kept], cells)
    columns = {header[i]: [row[i] for row in cells] for i in kept}
    return Table(path, columns, lines, separator)


def _check_header(path: Path, header: list[str], cells: list[list[str]]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        if not twice[0]:
            raise EmbedkitError(f"{path}: two columns and more have no name in the header. Name them.")
        raise EmbedkitError(f"{path}: the header names {twice[0]!r} more than once. Rename one of them.")
    if not cells:
        raise EmbedkitError(f"{path}: no rows below the header. Is it the right file?")


def _text(path: Path, data: bytes) -> str:
    coding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if coding is None and 0 in data[:1024]:
        raise EmbedkitError(
            f"{path}: not text: it holds zero bytes. Save it as CSV in UTF-8, or in UTF-16 with "
            "its byte-order mark."
        )
    try:
        return data.decode(coding or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if coding is not None:
            raise EmbedkitError(
                f"{path}: not {coding} text ({error.reason} at byte {error.start}), as its first bytes say. "
                "Save it again as CSV in UTF-8."
            ) from error
        place = error.start
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        if any("\x80" <= letter < "\xa0" for letter in text):
            raise EmbedkitError(
                f"{path}: not UTF-8 text (byte {place:,}), nor Western European. Save it again as "
                "CSV in UTF-8."
            ) from None
    line = data.count(b"\n", 0, place)
    shown = text.splitlines()[line][:60] if line < len(text.splitlines()) else ""
    note(f"{path}: not UTF-8, so read as Western European (Windows-1252), such as {shown!r}.")
    return text


def _separator(text: str) -> tuple[str, str, int]:
    """Return the text below a line ``sep=;``, the separator, and how many lines that took."""
    first, _, rest = text.partition("\n")
    named = re.fullmatch(r'"?sep=(.|\\t)"?', first.rstrip("\r"), re.IGNORECASE)
    if named:
        return rest, "\t" if named[1] == "\\t" else named[1], 1
    header = next((line for line in re.split(r"[\r\n]+", text) if line.strip()), "")
    outside = re.sub(r'"[^"]*"', "", header)
    return text, max(SEPARATORS, key=outside.count), 0
