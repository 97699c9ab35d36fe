"""Images in Parquet files, as the hub keeps them: the bytes of image files in a column, labels beside it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, progress
from embedkit.datasets.annotations import make_rows
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.named_columns import IDS, LABELS, OTHERS, annotations_in, known_as
from embedkit.datasets.shard_bytes import opened
from embedkit.datasets.shards import Shards
from embedkit.errors import EmbedkitError, ImageError, UsageError, first_line, listed
from embedkit.images.decode import MAX_BYTES
from embedkit.strict_json import UndeclaredError, declared

MISSING = 'Parquet is read with pyarrow, which is missing: pip install "embedkit-images[shards]"'
IMAGES = ("image", "img", "images", "jpg", "jpeg", "png", "image_bytes", "bytes")
# What is kept of images that were read: rows are asked for in order, by several threads at once.
KEPT_BYTES, BLOCK_BYTES = 2**27, 2**24


@dataclass(frozen=True)
class Block:
    """Rows that are read at once.

    Parameters
    ----------
    shard, group
        Number of the file, and of the row group in it.
    number
        Of the block, in its row group.
    """

    shard: int
    group: int
    number: int


class ParquetImages:
    """Reads the images of Parquet files by row number, a block of a row group at a time.

    Parameters
    ----------
    shards
        Path of each file.
    column
        That holds the bytes, or a struct with them.
    groups
        (file, row group, rows, rows a block) of each row group, in the order of the rows.
    """

    def __init__(
        self, shards: Sequence[str], column: str, groups: Sequence[tuple[int, int, int, int]]
    ) -> None:
        self.shards = tuple(shards)
        self.column = column
        self.groups = np.array(groups, dtype=np.int64).reshape(-1, 4)
        self.ends = np.cumsum(self.groups[:, 2])
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._kept: OrderedDict[Block, list[bytes | None]] = OrderedDict()
        self._n_bytes = 0
        self._under_way: tuple[tuple[int, int], int, Iterator[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "column": self.column, "groups": self.groups, "ends": self.ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _place(self, row: int) -> tuple[Block, int, int]:
        at = int(np.searchsorted(self.ends, row, side="right"))
        shard, group, n, size = (int(value) for value in self.groups[at])
        inside = row - (int(self.ends[at]) - n)
        return Block(shard, group, inside // size), inside % size, inside

    def where(self, row: int) -> str:
        """Return the file, and the row of one image in its row group."""
        block, _, inside = self._place(row)
        return f"{self.shards[block.shard]}[{self.column}, row group {block.group}, row {inside}]"

    def read(self, row: int) -> bytes:
        """Return the bytes of one image; raises `ImageError` where there are none, or the file is damaged."""
        if self._pid != os.getpid():  # what a parent process has open is its own
            self._forget()
        block, at, _ = self._place(row)
        with self._lock:
            if block not in self._kept:
                self._keep(block)
            self._kept.move_to_end(block)
            data = self._kept[block][at]
        if data is None:
            raise ImageError(
                f"{self.where(row)}: no bytes of an image. Store the images themselves in the file, not "
                "their paths."
            )
        if len(data) > MAX_BYTES:
            raise ImageError(f"{self.where(row)}: {len(data):,} bytes, over the limit of {MAX_BYTES:,}.")
        return data

    def _keep(self, block: Block) -> None:
        """Read a block, on from where the last one ended where that can be."""
        import pyarrow as pa

        group = (block.shard, block.group)
        place = self.shards[block.shard]
        try:
            if self._under_way is None or self._under_way[0] != group or self._under_way[1] > block.number:
                self._under_way = (group, 0, self._batches(*group))
            _, number, batches = self._under_way
            batch = next(batches)
            while number < block.number:
                number, batch = number + 1, next(batches)
            self._under_way = (group, number + 1, batches)
            cells = _bytes_of(batch.column(0))
        except (pa.ArrowException, OSError, StopIteration) as error:
            self._under_way = None
            raise ImageError(
                f"{place}: row group {block.group} can't be read ({first_line(error)}). Restore the file, "
                "and give the same command again."
            ) from error
        self._kept[block] = cells
        self._n_bytes += sum(len(cell) for cell in cells if cell)
        while self._n_bytes > KEPT_BYTES and len(self._kept) > 2:
            _, gone = self._kept.popitem(last=False)
            self._n_bytes -= sum(len(cell) for cell in gone if cell)

    def _batches(self, shard: int, group: int) -> Iterator[Any]:
        import pyarrow.parquet as pq

        size = int(self.groups[(self.groups[:, 0] == shard) & (self.groups[:, 1] == group)][0, 3])
        with (
            opened(self.shards[shard]) as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=2**20) as file,
        ):
            names = (
                [self.column]
                if not _is_struct(file.schema_arrow.field(self.column).type)
                else [f"{self.column}.bytes"]
            )
            yield from file.iter_batches(size, row_groups=[group], columns=names, use_threads=False)


def load_parquet(
    shards: Shards,
    *,
    images_key: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: Sequence[str] | None = None,
) -> Dataset:
    """Read Parquet files whose rows hold the bytes of an image, in their order.

    Ids are a column of such a name, else the paths beside the bytes where each is another, else row numbers.
    Classes have the names that the hub's metadata gives them.

    Parameters
    ----------
    shards
        Where they are.
    images_key
        Column of the images.
    label_column, split_column, group_column, id_column, target_columns
        Columns of other names than the usual ones.

    Raises
    ------
    UsageError
        No column of images, or an option that names none.
    EmbedkitError
        pyarrow is missing, or a file is truncated or of other columns than the first.
    """
    named = {
        "ids": id_column,
        "labels": label_column,
        "split": split_column,
        "group": group_column,
    }
    read = _Read.of(shards, images_key, named, tuple(target_columns or ()))
    columns = {name: values for name, values in read.columns.items() if name != read.path_column}
    for what, name in named.items():
        if name is not None and name not in columns:
            raise UsageError(f"{shards.source}: no column {name!r}. There are {listed(sorted(columns))}.")
        if name is not None and what in ("split", "group"):
            columns[what] = columns.pop(name)
    split = shards.split(read.sizes)
    if split is not None:
        columns.setdefault("split", split)
    paths = read.columns.get(read.path_column)
    if paths is not None and id_column is None and known_as(list(columns), IDS) is None and _are_ids(paths):
        columns["ids"] = paths
    annotations = annotations_in(
        columns, shards.source, ids=id_column, labels=label_column, target_columns=target_columns or ()
    )
    label = annotations.taken.get("labels")
    n = sum(read.sizes)
    rows = make_rows(n, annotations.arrays, shards.source, read.class_names.get(label or "", ()))
    images = ParquetImages(shards.places, read.column, read.groups)
    return Dataset(
        shards.name,
        rows,
        images.read,
        images.where,
        fingerprint(rows, {"bytes": read.n_bytes, "rows": read.sizes}),
        shards.origin(
            images_key=images_key,
            label_column=label_column,
            split_column=split_column,
            group_column=group_column,
            id_column=id_column,
            target_columns=list(target_columns) if target_columns else None,
        ),
    )


def _are_ids(paths: NDArray[Any]) -> bool:
    return "" not in paths and len(set(paths.tolist())) == len(paths)


@dataclass(frozen=True)
class _Read:
    """What stands in the files besides the images."""

    column: str
    path_column: str
    columns: dict[str, NDArray[Any]]
    class_names: dict[str, tuple[str, ...]]
    groups: list[tuple[int, int, int, int]]
    sizes: list[int]
    n_bytes: list[int]

    @classmethod
    def of(
        cls, shards: Shards, images_key: str | None, named: dict[str, str | None], targets: tuple[str, ...]
    ) -> _Read:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise EmbedkitError(f"{shards.source}: {MISSING}.") from error
        schema, column, wanted, class_names = None, "", [], {}
        tables, groups, sizes, n_bytes = [], [], [], []
        with progress("index", len(shards.places), unit="shards") as advance:
            for number, place in enumerate(shards.places):
                try:
                    with opened(place) as stream, pq.ParquetFile(stream) as file:
                        if schema is None:
                            schema, column = (
                                file.schema_arrow,
                                _image_column(file.schema_arrow, images_key, place),
                            )
                            class_names = _class_names(schema, place)
                            wanted = _wanted(schema, column, named, targets)
                        if _kinds(file.schema_arrow, column, wanted) != _kinds(schema, column, wanted):
                            raise EmbedkitError(
                                f"{place}: its columns are not those of {shards.places[0]}. Read them apart."
                            )
                        tables.append(file.read(columns=wanted))
                        found, n = _row_groups(file.metadata, column, number)
                        groups += found
                        n_bytes += n
                        sizes.append(file.metadata.num_rows)
                except (pa.ArrowException, OSError) as error:
                    raise EmbedkitError(
                        f"{place}: truncated, or no Parquet file ({first_line(error)}). Restore it, "
                        "or leave it out."
                    ) from error
                advance(1)
        if not sum(sizes):
            raise EmbedkitError(f"{shards.source}: no rows.")
        return cls(
            column,
            f"{column}.path",
            _flat(pa.concat_tables(tables), column),
            class_names,
            groups,
            sizes,
            n_bytes,
        )


def _row_groups(metadata: Any, column: str, shard: int) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """Return what `ParquetImages` takes of the row groups, and the bytes of each one's images."""
    found, n_bytes = [], []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(at) for at in range(group.num_columns)]
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema in (column, f"{column}.bytes")
        )
        n_bytes.append(size)
        if group.num_rows:
            rows = max(1, min(group.num_rows, int(BLOCK_BYTES * group.num_rows / max(size, 1))))
            found.append((shard, number, group.num_rows, rows))
    return found, n_bytes


def _is_struct(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind))


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if _is_struct(kind):
        return any(
            kind.field(at).name == "bytes" and _holds_bytes(kind.field(at).type)
            for at in range(kind.num_fields)
        )
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _image_column(schema: Any, wanted: str | None, place: str) -> str:
    names = [one.name for one in schema]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EmbedkitError(f"{place}: two columns are called {twice[0]!r}. Rename one of them.")
    fit = [one.name for one in schema if _holds_bytes(one.type)]
    if wanted is not None and wanted not in fit:
        what = (
            f"column {wanted!r} holds {schema.field(wanted).type}"
            if wanted in names
            else f"no column {wanted!r}"
        )
        raise UsageError(
            f"{place}: {what}, not the bytes of images. Columns that do are {', '.join(fit) or 'none'}."
        )
    found = wanted or known_as(fit, IMAGES) or (fit[0] if len(fit) == 1 else None)
    if found is None:
        what = "several columns hold bytes" if fit else "no column holds the bytes of images"
        hint = "Name one with --images-key." if fit else "A table of vectors is for `embedkit import`."
        raise UsageError(f"{place}: {what}. Its columns are {listed(fit or names)}. {hint}")
    return found


def _wanted(schema: Any, column: str, named: dict[str, str | None], targets: tuple[str, ...]) -> list[str]:
    """Return the columns that may say what of an image: those that are named, or known by their names."""
    names = [one.name for one in schema if one.name != column and not _is_nested(one.type)]
    known = [known_as(names, IDS), known_as(names, LABELS), *(known_as(names, (what,)) for what in OTHERS)]
    kept = [name for name in names if name in {*known, *named.values(), *targets}]
    unused = [name for name in names if name not in kept]
    if unused:
        note(f"Not used of the Parquet files: {listed(unused, 8)}. --label-column and the like name them.")
    kind = schema.field(column).type
    has_path = _is_struct(kind) and any(kind.field(at).name == "path" for at in range(kind.num_fields))
    return [*kept, *([f"{column}.path"] if has_path else [])]


def _kinds(schema: Any, column: str, wanted: Sequence[str]) -> list[Any]:
    names = [column, *(name for name in wanted if name != f"{column}.path")]
    return [schema.field(name).type if name in schema.names else None for name in names]


def _is_nested(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or _holds_bytes(kind))


def _class_names(schema: Any, place: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes by column, as the hub's package writes them into the schema."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = declared(text, dict[str, dict[str, Any]])["info"]["features"]
        named = {
            name: one["names"] for name, one in features.items() if isinstance(one, dict) and "names" in one
        }
        return {name: tuple(map(str, names)) for name, names in named.items() if isinstance(names, list)}
    except (UndeclaredError, KeyError, TypeError, AttributeError) as error:
        note(f"{place}: its metadata of the hub can't be read ({first_line(error)}): classes are numbers.")
        return {}


def _flat(table: Any, column: str) -> dict[str, NDArray[Any]]:
    """Return the columns as arrays; a missing value is NaN or ""."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {}
    for name in table.column_names:
        values = table.column(name)
        if name == column:
            name, values = f"{column}.path", pc.struct_field(values, "path")
        kind = values.type
        if pa.types.is_dictionary(kind):
            values, kind = values.cast(kind.value_type), kind.value_type
        if pa.types.is_boolean(kind):
            values, kind = values.cast(pa.int8()), pa.int8()
        if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not values.null_count):
            found[name] = values.to_numpy()
        else:  # whole numbers with gaps too: as floats they would lose their last digits
            cells = pc.fill_null(values.cast(pa.string()), "")
            found[name] = np.array(cells.to_pylist(), dtype=object)
    return found


def _bytes_of(cells: Any) -> list[bytes | None]:
    import pyarrow.compute as pc

    if _is_struct(cells.type):
        cells = pc.struct_field(cells, "bytes")
    return [value or None for value in cells.to_pylist()]
