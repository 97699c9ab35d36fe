"""What is known of each image as a Parquet table, as Embedding Atlas and latent-scope open it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.files.aside import aside, filling
from reports.export.known import ID, IMAGE, NEIGHBORS, is_text, known_anywhere

if TYPE_CHECKING:
    from reports.map.neighbours import Neighbours

F32 = NDArray[np.float32]
Rowwise = Callable[[int, int], F32]
# Rows of the vectors that are in memory at a time.
BLOCK = 4096


@dataclass(frozen=True)
class Contents:
    """What a table of n images holds.

    Parameters
    ----------
    columns
        As `reports.export.known.known_columns` gives them.
    neighbours
        The nearest of each; none are written where there are none.
    pictures
        Row to a JPEG.
    vectors
        Name of a column to what gives the features between two row numbers; of several files a column each.
    about
        What the table says of itself.
    """

    columns: Mapping[str, NDArray[Any]]
    neighbours: Neighbours
    pictures: Mapping[int, bytes]
    vectors: Mapping[str, Rowwise]
    about: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in their order."""
        also = {IMAGE: self.pictures, NEIGHBORS: self.neighbours.k}
        there = [name for name, some in also.items() if some]
        return (*known_anywhere(self.columns), *there, *self.vectors)


def check_library() -> None:
    """Refuse to go on without pyarrow.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "A .parquet table needs pyarrow: pip install 'embedkit-images[parquet]', or give -o a .csv, or a "
            "folder for TensorBoard's projector."
        ) from error


def write_table(path: Path, contents: Contents) -> None:
    """Write the table, whole or not at all.

    Text and numbers that are not known are null, columns of which nothing is known are left out. The nearest
    images are ``{ids, distances}``, with the numbers of rows of this table; a picture is ``{bytes, path}``.
    """
    import pyarrow.parquet as pq

    whole = _small_columns(contents)
    n = whole.num_rows
    with aside(path) as temporary, filling(temporary) as stream:
        schema = _schema(whole.schema, contents)
        with pq.ParquetWriter(stream, schema) as writer:
            for start in range(0, n, BLOCK):
                stop = min(start + BLOCK, n)
                block = whole.slice(start, stop - start)
                for name, column in _large_columns(contents, start, stop).items():
                    block = block.append_column(name, column)
                writer.write_table(block.cast(schema))


def _small_columns(contents: Contents) -> Any:
    import pyarrow as pa

    kinds = {np.dtype(np.float32): pa.float32(), np.dtype(np.float64): pa.float64()}
    found = {
        name: pa.array(values, pa.string() if is_text(values) else kinds[values.dtype], from_pandas=True)
        for name, values in known_anywhere(contents.columns).items()
    }
    return pa.table(found)


def _schema(small: Any, contents: Contents) -> Any:
    import pyarrow as pa

    types = {
        IMAGE: pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        NEIGHBORS: pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))]),
        **dict.fromkeys(contents.vectors, pa.list_(pa.float32())),
    }
    for name in contents.names:
        if name in types:
            small = small.append(pa.field(name, types[name]))
    return small.with_metadata({"embedkit": json.dumps(dict(contents.about), sort_keys=True)})


def _large_columns(contents: Contents, start: int, stop: int) -> dict[str, Any]:
    """Return those columns for some rows whose values take room."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    if contents.pictures:
        ids = contents.columns[ID]
        found[IMAGE] = pa.array(
            [
                {"bytes": contents.pictures[row], "path": ids[row]} if row in contents.pictures else None
                for row in range(start, stop)
            ],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    near = contents.neighbours
    if near.k:
        lists = [_lists(near.index[start:stop]), _lists(near.distance[start:stop])]
        found[NEIGHBORS] = pa.StructArray.from_arrays(lists, ["ids", "distances"])
    for name, read in contents.vectors.items():
        found[name] = _lists(read(start, stop))
    return found


def _lists(rows: NDArray[Any]) -> Any:
    """Return rows (m, k) as m lists."""
    import pyarrow as pa

    m, k = rows.shape
    return pa.ListArray.from_arrays(np.arange(0, m * k + 1, k, dtype=np.int32), pa.array(rows.ravel()))
