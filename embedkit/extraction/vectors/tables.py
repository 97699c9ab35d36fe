"""Vectors in tables: a wide CSV, a Parquet file of a list column or of many numbers."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.named_columns import IDS, LABELS, OTHERS, as_numbers, known_as
from embedkit.datasets.text_table import SEPARATORS, read_table, with_points
from embedkit.errors import EmbedkitError, UsageError, first_line, listed
from embedkit.extraction.vectors.source import Vectors, in_memory
from embedkit.extraction.vectors.text_vectors import columns_of_lists, read_lists
from embedkit.strict_json import UndeclaredError, declared

GET_PYARROW = "pip install pyarrow"
_NUMBERED = re.compile(r"(.*?)\d+", re.DOTALL)


def open_csv(path: Path, key: str | None, named: Sequence[str]) -> Vectors:
    """Read a table whose numeric columns are the dimensions, or one column of lists in text.

    Parameters
    ----------
    path
        With a header, or without one and of numbers alone, as ``numpy.savetxt`` writes.
    key
        Columns of the dimensions, with ``*`` for any text.
    named
        Columns that the user has named as something else.
    """
    if _is_bare(path):
        return _bare(path)
    table = read_table(path)
    columns = {
        name: np.array(with_points(cells, table.separator), dtype=np.str_)
        for name, cells in table.columns.items()
    }
    lists = columns_of_lists(columns)
    if key in lists or (key is None and lists):
        name = _one_list(path, lists, key)
        x = read_lists(path, name, columns[name], table.lines)
        rest = {other: cells for other, cells in columns.items() if other not in lists}
        return in_memory(f"{path}: {name}", x, rest, f"{x.shape[1]:,} dimensions from column {name}")
    numeric = {
        name: read
        for name, cells in columns.items()
        if (read := as_numbers(cells)) is not None and not np.isnan(read).all()
    }

    def why(name: str) -> str:
        for cell, line in zip(columns[name].tolist(), table.lines, strict=True):
            if cell and as_numbers(np.array([cell])) is None:
                return f"{cell[:40]!r} on line {line} is no number"
        return "it is empty"

    free = [name for name in numeric if not _counts(name, columns[name])]
    chosen = choose_columns(path, list(columns), free if key is None else list(numeric), key, named, why)
    x = np.stack([numeric[name] for name in chosen], axis=1)
    rest = {name: cells for name, cells in columns.items() if name not in set(chosen)}
    return in_memory(str(path), x, rest, span(chosen))


def _one_list(path: Path, lists: Sequence[str], key: str | None) -> str:
    if key is None and len(lists) > 1:
        raise UsageError(f"{path}: several columns of lists: {', '.join(lists)}. Name one with --key.")
    return key if key is not None else lists[0]


def _counts(name: str, cells: NDArray[np.str_]) -> bool:
    """Whether a column is of ids by its name (specobjid, source_id) and whole numbers: no dimension."""
    return name.casefold().endswith("id") and all(
        cell.removeprefix("-").isdigit() for cell in cells.tolist() if cell
    )


def _is_bare(path: Path) -> bool:
    """Whether the first line is of numbers that are no names such as 0, 1, 2."""
    line = _first_line(path).strip().lstrip("#\ufeff ")
    cells = [cell.strip().strip('"') for cell in re.split(rf"[{SEPARATORS}\s]+", line) if cell]
    if not cells or as_numbers(np.array(cells)) is None:
        return False
    return [cell for cell in cells if cell] != [str(number) for number in range(len(cells))]


def _first_line(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.readline(2**20).decode("utf-8", errors="replace")


def _bare(path: Path) -> Vectors:
    line = _first_line(path)
    separator = next((one for one in (";", "\t", "|", ",") if one in line), None)
    # Beside another separator a comma stands before decimals.
    read = (lambda cell: float(cell.replace(",", "."))) if separator != "," and "," in line else None
    try:
        x = np.loadtxt(path, delimiter=separator, ndmin=2, encoding="utf-8-sig", converters=read)
    except (ValueError, UnicodeDecodeError) as error:
        raise EmbedkitError(
            f"{path}: its first line is of numbers, so it has no header, but not all of it is a table of "
            f"numbers ({first_line(error)}). Give it a header line, or mend that line."
        ) from error
    if x.shape[1] > 1 and len(x) > 2 and (np.diff(x[:, 0]) == 1).all() and x[0, 0] in (0, 1):
        ids = {"index": x[:, 0].astype(np.int64)}  # the row numbers, as pandas writes them
        said = f"{x.shape[1] - 1:,} dimensions from all columns but the first, which counts the rows"
        return in_memory(str(path), x[:, 1:], ids, f"{said} (there is no header)")
    return in_memory(str(path), x, {}, f"{x.shape[1]:,} dimensions from all columns (there is no header)")


def choose_columns(
    path: Path,
    names: Sequence[str],
    numeric: Sequence[str],
    key: str | None,
    named: Sequence[str],
    why: Callable[[str], str],
) -> list[str]:
    """Return the columns that are dimensions.

    Those that `key` matches; else the largest family of names that differ in their number only, such as f0 to
    f383, where there is one; else every numeric column that is not known as something else. `why` says of a
    column why it is not of numbers: one of the family that isn't is an error, and not left out.
    """
    if key is not None:
        chosen = [name for name in names if fnmatch.fnmatchcase(name, key)]
        wrong = [name for name in chosen if name not in set(numeric)]
        if not chosen or wrong:
            what = (
                f"column {wrong[0]!r} is not of numbers: {why(wrong[0])}"
                if wrong
                else f"no column matches --key {key}"
            )
            raise UsageError(f"{path}: {what}. Its columns are {listed(names)}.")
        return chosen
    taken = {*named, *(name for wanted in (IDS, LABELS) if (name := known_as(names, wanted)) is not None)}
    taken |= {name for name in names if name.casefold() in (*OTHERS, "", "index", "unnamed: 0")}
    free = [name for name in numeric if name not in taken]
    families: dict[str, list[str]] = {}
    for name in free:
        if (match := _NUMBERED.fullmatch(name)) is not None:
            families.setdefault(match[1], []).append(name)
    largest = max(families.values(), key=len, default=[])
    chosen = largest if len(largest) >= 2 else free
    if chosen is largest and (odd := _of_family(largest, names, taken | set(numeric))) is not None:
        raise EmbedkitError(
            f"{path}: column {odd!r} is one of {largest[0]} ... {largest[-1]} by its name, and not of "
            f"numbers: {why(odd)}. Correct it, or rename the column if it is no dimension."
        )
    if not chosen:
        some = [name for name in names if name not in taken]
        first = f" {some[0]!r} is none: {why(some[0])}." if some else ""
        raise UsageError(
            f"{path}: no column of numbers that could be a dimension. Its columns are {listed(names)}."
            f"{first} A table of image files goes to `embedkit extract`."
        )
    return chosen


def _of_family(family: Sequence[str], names: Sequence[str], known: set[str]) -> str | None:
    """Return a column that is called like the family's and is not among those known."""
    match = _NUMBERED.fullmatch(family[0])
    start = match[1] if match is not None else ""
    for name in names:
        if name not in known and (same := _NUMBERED.fullmatch(name)) is not None and same[1] == start:
            return name
    return None


def span(names: Sequence[str]) -> str:
    """Say which columns are the dimensions: ``384 dimensions from columns f0 ... f383``."""
    shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"
    return f"{len(names):,} dimension{'s' if len(names) > 1 else ''} from columns {shown}"


def open_parquet(path: Path, key: str | None, named: Sequence[str]) -> Vectors:
    """Read a Parquet file with a column of lists, or with many columns of numbers.

    Raises
    ------
    EmbedkitError
        pyarrow is missing, the file is damaged, or lists are of different lengths.
    """
    table = _read_parquet(path)
    kinds = {one.name: one.type for one in table.schema}
    index = _index(table)
    lists = [name for name, kind in kinds.items() if _is_list(kind)]
    lists = [name for name in lists if name == key or name.casefold() not in LABELS]
    readable = [*lists, *(name for name, kind in kinds.items() if _is_number(kind) or _is_text(kind))]
    if key is not None and key in kinds and key not in readable:
        raise UsageError(f"{path}: column {key!r} holds {kinds[key]}, not vectors.")

    def of_one(name: str, x: NDArray[Any], *, without: Sequence[str]) -> Vectors:
        rest = _per_row(table, [other for other in kinds if other not in without])
        made = in_memory(f"{path}: {name}", x, rest, f"{x.shape[1]:,} dimensions from column {name}")
        return replace(made, index=index, unread=_unread(kinds, (name, *rest)))

    if key in lists or (key is None and len(lists) == 1):
        name = key if key is not None else lists[0]
        return of_one(name, _of_lists(path, name, table.column(name)), without=(name,))
    if key is None and lists:
        raise UsageError(f"{path}: several columns of lists: {', '.join(lists)}. Name one with --key.")
    texts = _per_row(table, [one for one, kind in kinds.items() if _is_text(kind) and key in (None, one)])
    in_text = columns_of_lists(texts)
    if in_text:
        name = _one_list(path, in_text, key)
        x = read_lists(path, name, texts[name], range(len(texts[name])), "row")
        return of_one(name, x, without=in_text)
    numeric = [name for name, kind in kinds.items() if _is_number(kind)]
    if key is None:
        numeric = [name for name in numeric if not (_whole(kinds[name]) and name.casefold().endswith("id"))]
    taken = (*named, *((index,) if index is not None else ()))
    chosen = choose_columns(path, list(kinds), numeric, key, taken, lambda name: f"it holds {kinds[name]}")
    x = np.stack([_floats(table.column(name)) for name in chosen], axis=1)
    rest = _per_row(table, [name for name in kinds if name not in set(chosen)])
    return replace(
        in_memory(str(path), x, rest, span(chosen)), index=index, unread=_unread(kinds, (*chosen, *rest))
    )


def _read_parquet(path: Path) -> Any:
    """Read the whole table, in which no two columns have one name."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise EmbedkitError(
            f"{path}: Parquet is read with pyarrow, which is missing: `{GET_PYARROW}`."
        ) from error
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise EmbedkitError(
            f"{path}: not a readable Parquet file ({first_line(error)}). Restore it."
        ) from error
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise EmbedkitError(f"{path}: two columns are called {twice[0]!r}. Rename one of them.")
    return table


def _index(table: Any) -> str | None:
    """Return the column that pandas kept its index in."""
    try:
        said = declared((table.schema.metadata or {}).get(b"pandas", b"{}"), dict[str, Any])
    except UndeclaredError:
        return None
    found = said.get("index_columns")
    name = found[0] if isinstance(found, list) and len(found) == 1 else None
    return name if isinstance(name, str) and name in table.column_names else None


def _unread(kinds: Mapping[str, Any], used: Sequence[str]) -> list[str]:
    return [f"{name} ({kind})" for name, kind in kinds.items() if name not in used]


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    of_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(of_lists and _is_number(kind.value_type))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _whole(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind))


def _floats(column: Any) -> NDArray[Any]:
    """Return a column of numbers in its own type; a missing value is NaN."""
    import pyarrow as pa

    if column.null_count or pa.types.is_decimal(column.type):
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy())


def _of_lists(path: Path, name: str, column: Any) -> NDArray[Any]:
    """Return (n, d); a missing list, or value of one, is NaN."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_pylist()
    known = [length for length in lengths if length is not None]
    d = known[0] if known else 0
    if not d:
        raise EmbedkitError(f"{path}: column {name!r} holds no vectors.")
    odd = next((row for row, length in enumerate(lengths) if length not in (None, d)), None)
    if odd is not None:
        raise EmbedkitError(
            f"{path}: the vectors of column {name!r} are of different lengths: {d} in row 0, {lengths[odd]} "
            f"in row {odd}. Leave out those that are of another model."
        )
    there = np.array([length is not None for length in lengths])
    flat = _floats(pc.list_flatten(column)).reshape(-1, d)
    if there.all():
        return flat
    x = np.full((len(there), d), np.nan, dtype=flat.dtype if flat.dtype.kind == "f" else np.float64)
    x[there] = flat
    return x


def _per_row(table: Any, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    found = {}
    for name in names:
        values = table.column(name).to_pylist()
        kept = [value for value in values if value is not None]
        if any(isinstance(value, bytes) for value in kept):
            try:  # text, as Spark and older writers store it; images are none
                values = [value.decode() if isinstance(value, bytes) else value for value in values]
            except UnicodeDecodeError:
                continue
        if any(isinstance(value, (dict, list)) for value in kept):
            continue
        found[name] = cells_of(values)
    return found


def cells_of(values: Sequence[Any]) -> NDArray[np.str_]:
    """Return values as the cells of a table: nothing for a missing one, 3 for 3.0."""
    cells = []
    for value in values:
        missing = value is None or (isinstance(value, float) and np.isnan(value))
        # Beyond that a float holds no last digits, and none may be made up for an id.
        whole = isinstance(value, float) and not missing and value.is_integer() and abs(value) < 2**53
        cells.append("" if missing else str(int(value)) if whole else str(value))
    return np.array(cells, dtype=np.str_)
