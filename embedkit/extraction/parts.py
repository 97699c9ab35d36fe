"""Finished rows on disk while an extraction runs: parts, each whole or absent, joined at the end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit import console
from embedkit.errors import EmbedkitError, first_line
from embedkit.files.aside import aside, write_text
from embedkit.files.feature_set import N_PARTS, part_name
from embedkit.files.regular import check_output, read_bytes
from embedkit.files.room import reserve_more, room_for_text
from embedkit.files.rows import Rows
from embedkit.files.store import add_views, new_feature_file
from embedkit.strict_json import UndeclaredError, declared

# Behind the archive, which its own directory at the end of it doesn't mind.
_SEAL = b"embedkit-part-sha256:"
SEAL_BYTES = len(_SEAL) + 32
MANIFEST_BYTES = 2**24

# Rows a part: enough that parts stay few (1,000,000 rows are 489), few enough that a kill costs at most a
# minute or so of a CPU's work. Divided by the number of views.
PART_ROWS = 2048
# Rows a file of a folder of parts: 10,000,000 are 77 files.
ROWS_A_FILE = 2**17


@dataclass(frozen=True)
class Part:
    """The features of a run of rows.

    Parameters
    ----------
    features : (rows, d) float32 or float16
    errors : (rows,) str
        Why an image could not be read; empty where it could.
    view_mean : (rows, d) float32, optional
    scatter : (d, d) float64, optional
        Sum over images and views of the outer products of the normalised view features around their
        image's mean.
    """

    features: NDArray[Any]
    errors: NDArray[np.str_]
    view_mean: NDArray[np.float32] | None = None
    scatter: NDArray[np.float64] | None = None


def parts_folder(output: Path) -> Path:
    """Return the folder that the parts of a feature file lie in while they are computed."""
    return output.with_name(output.name + ".parts")


@dataclass(frozen=True)
class _Manifest:
    """What an extraction writes down when it begins.

    Parameters
    ----------
    asked
        What fixes the numbers.
    precision
        As `choose_precision` settled it.
    device
        The kind of device that settled it.
    overwrite, replaces
        Whether the output may be replaced, and the digest of the one that was there.
    sha256
        Of all the others, as JSON.
    """

    asked: dict[str, Any]
    precision: dict[str, Any]
    device: str
    overwrite: bool
    replaces: str | None
    sha256: str


class DamagedPartError(Exception):
    """A part that is not what was written; the message says why."""


class Parts:
    """The folder of parts that belongs to one output file.

    Parameters
    ----------
    output
        The feature file that the parts become.
    n
        Rows in all.
    n_views
        Views an image.
    """

    def __init__(self, output: Path, n: int, n_views: int) -> None:
        self.output = output
        self.folder = parts_folder(output)
        self.n = n
        self.n_views = n_views
        self.rows = max(1, PART_ROWS // n_views)

    def __len__(self) -> int:
        return -(-self.n // self.rows)

    def slice(self, number: int) -> slice:
        """Rows of one part."""
        return slice(number * self.rows, min((number + 1) * self.rows, self.n))

    def n_rows(self, numbers: Iterable[int]) -> int:
        """How many rows are in these parts."""
        return sum(rows.stop - rows.start for rows in map(self.slice, numbers))

    def file(self, number: int) -> Path:
        """Where one part lies once it is finished."""
        return self.folder / f"part-{number:06d}.npz"

    def finished(self) -> list[int]:
        """Numbers of the parts that are done."""
        return [number for number in range(len(self)) if os.path.lexists(self.file(number))]

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def any_there(self) -> bool:
        """Whether the folder is there."""
        return self.folder.exists()

    def _has_manifest(self) -> bool:
        return os.path.lexists(self._manifest)

    def _read_manifest(self, fix: str) -> bytes:
        return read_bytes(self._manifest, fix, at_most=MANIFEST_BYTES)

    def begun_with(self, *, lenient: bool = False) -> dict[str, Any] | None:
        """What an unfinished run wrote down when it began; None where there is none.

        An unreadable one is an error, or with `lenient` deleted with its parts.
        """
        fix = "Give --overwrite to begin again."
        try:
            if not self._has_manifest():
                return None
            found = asdict(declared(self._read_manifest(fix), _Manifest))
            if found.pop("sha256") != _digest(found):
                raise UndeclaredError("its digest is not that of its content")
            return found
        except (UndeclaredError, OSError, EmbedkitError) as error:
            if lenient:
                self.remove_content()
                return None
            if isinstance(error, EmbedkitError):
                raise
            raise EmbedkitError(f"{self._manifest}: can't be read ({first_line(error)}). {fix}") from error

    def begin(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write down what the parts hold; where another shard has just done so, its manifest stands."""
        self._write_manifest(json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1, sort_keys=True))
        return self.begun_with() or dict(manifest)

    def _write_manifest(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Under another name first, and linked only where there is none yet.
        begun = self.folder / "begun.json"
        write_text(begun, text)
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(begun, self._manifest)
        begun.unlink(missing_ok=True)

    def remove_content(self) -> None:
        """Delete all parts, then the manifest: interrupted in between, the rest is still recognised."""
        for file in (*sorted(self.folder.glob("part-*")), self._manifest):
            _delete(file)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        self.remove_content()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lock_folder(self) -> Path:
        return self.folder

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the folder's lock of that name; a second process is told so at once."""
        folder = self._lock_folder()
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f"{name}.lock"
        check_output(lock)
        with lock.open("w") as stream:
            try:
                # A POSIX record lock: it goes with the process, also after kill -9, and no child inherits it.
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise EmbedkitError(
                    f"{self.output}: another process is extracting it right now. Wait for it, or give "
                    "another -o."
                ) from error
            yield

    def write(self, number: int, part: Part) -> None:
        """Store one part: written aside, flushed to the disk, renamed into place."""
        arrays: dict[str, Any] = {"features": part.features, "errors": part.errors}
        if part.view_mean is not None and part.scatter is not None:
            arrays |= {"view_mean": part.view_mean, "scatter": part.scatter}
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        content = packed.getbuffer()
        self._put(number, content, self._seal(number, content))

    def _put(self, number: int, content: memoryview, seal: bytes) -> None:
        with aside(self.file(number)) as temporary, temporary.open("wb") as stream:
            stream.write(content)
            stream.write(seal)

    def _manifest_bytes(self) -> bytes:
        return self._manifest.read_bytes()

    def _seal(self, number: int, content: Any) -> bytes:
        """Return what stands at a part's end: the digest of its bytes and of which part of what it is."""
        digest = hashlib.sha256(content)
        digest.update(f"{number} of {self.n} rows, {self.n_views} views".encode())
        with contextlib.suppress(FileNotFoundError):
            digest.update(self._manifest_bytes())
        return _SEAL + digest.digest()

    def read(self, number: int) -> Part:
        """Load one finished part.

        Raises
        ------
        DamagedPartError
            It is not the part that was written there.
        """
        data = self._get(number)
        if len(data) < SEAL_BYTES:
            raise DamagedPartError("too short")
        content = memoryview(data)[:-SEAL_BYTES]
        if data[-SEAL_BYTES:] != self._seal(number, content):
            raise DamagedPartError("its digest is not that of its content")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Part(**{name: arrays[name] for name in arrays.files})

    def _get(self, number: int) -> bytes:
        path = self.file(number)
        if not path.is_file():
            raise DamagedPartError("no regular file")
        return path.read_bytes()

    def _drop(self, number: int) -> None:
        _delete(self.file(number))

    def discard_damaged(self, numbers: Iterable[int]) -> list[int]:
        """Read finished parts, and delete those that are not as they were written; returns their numbers."""
        damaged = []
        for number in numbers:
            try:
                self.read(number)
            except (DamagedPartError, OSError) as error:
                console.note(f"{self.file(number)}: damaged ({first_line(error)}); it is computed again.")
                self._drop(number)
                damaged.append(number)
        return damaged

    def _sound(self, number: int) -> Part:
        try:
            return self.read(number)
        except DamagedPartError as error:
            self._drop(number)
            raise EmbedkitError(
                f"{self.file(number)}: damaged ({error}), and deleted. The same command computes it again."
            ) from error

    def join(self, rows: Rows, provenance: Mapping[str, Any]) -> None:
        """Put all parts into the feature file and delete them.

        One part is in memory at a time. The file appears whole or not at all, and the parts are deleted
        only when it is there.
        """
        with self._written(self.output, range(len(self)), rows, provenance):
            pass
        self.remove()

    def leave(self, rows: Rows, provenance: Mapping[str, Any]) -> None:
        """Make a folder of feature files of the parts, `ROWS_A_FILE` rows each, and delete the parts.

        The folder appears whole or not at all, and takes the place of one that stood there.
        """
        folder, replaced = self.folder / "set", self.folder / "replaced"
        for left in (folder, replaced):  # by a run that was killed here
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir()
        size = max(1, ROWS_A_FILE // self.rows)
        firsts = range(0, len(self), size)
        for number, first in enumerate(firsts):
            numbers = range(first, min(first + size, len(self)))
            some = rows.take(np.arange(self.slice(numbers[0]).start, self.slice(numbers[-1]).stop))
            with self._written(folder / part_name(number), numbers, some, provenance) as file:
                file.attrs[N_PARTS] = len(firsts)
        if os.path.lexists(self.output):
            self.output.rename(replaced)
        folder.rename(self.output)
        self.remove()

    @contextmanager
    def _written(
        self, path: Path, numbers: range, rows: Rows, provenance: Mapping[str, Any]
    ) -> Iterator[h5py.File]:
        """Write some of the parts as a feature file, and yield it before it is put into place."""
        first = self._sound(numbers[0])
        start = self.slice(numbers[0]).start
        n, d = len(rows), first.features.shape[1]
        dtype = np.float16 if first.features.dtype == np.float16 else np.float32
        scatter = np.zeros((d, d)) if first.scatter is not None else None
        errors = np.full(n, "", dtype=object)
        with new_feature_file(path, (n, d), dtype, rows, provenance, views=scatter is not None) as file:
            if scatter is not None:
                add_views(file, self.n_views, scatter)
            for number in numbers:
                of_all, part = self.slice(number), self._sound(number)
                where = slice(of_all.start - start, of_all.stop - start)
                file["features"][where] = part.features
                errors[where] = part.errors
                if scatter is not None and part.scatter is not None:
                    file["view_mean"][where] = part.view_mean
                    scatter += part.scatter
            ok = errors == ""
            if scatter is not None:
                file["within_covariance"][...] = scatter / max(1, ok.sum() * (self.n_views - 1))
            if not ok.all():
                reserve_more(file, room_for_text(errors) + n)
                file.create_dataset("ok", data=ok.astype(np.bool_))
                file.create_dataset("errors", data=errors)
            yield file


def _delete(path: Path) -> None:
    """Delete a file, or what somebody put in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
