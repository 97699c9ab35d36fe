"""Finished rows on disk while an extraction runs: parts, each whole or absent, joined at the end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.rows import Rows
from embedkit.files.store import add_views, new_feature_file

# Rows a part: enough that parts stay few (1,000,000 rows are 489), few enough that a kill costs at most a
# minute or so of a CPU's work. Divided by the number of views.
PART_ROWS = 2048


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

    def file(self, number: int) -> Path:
        """Where one part lies once it is finished."""
        return self.folder / f"part-{number:06d}.npz"

    def finished(self) -> list[int]:
        """Numbers of the parts that are done."""
        return [number for number in range(len(self)) if self.file(number).exists()]

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def begun_with(self, *, lenient: bool = False) -> dict[str, Any] | None:
        """What an unfinished run wrote down when it began; None where there is none.

        An unreadable one is an error, or with `lenient` deleted with its parts.
        """
        try:
            return dict(json.loads(self._manifest.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            if lenient:
                self.remove_content()
                return None
            raise EmbedkitError(
                f"{self.folder}: its manifest.json can't be read ({error}). Give --overwrite to begin again."
            ) from error

    def begin(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Write down what the parts hold; where another shard has just done so, its manifest stands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f"manifest.{os.getpid()}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                json.dump(manifest, stream, indent=1, sort_keys=True)
                stream.flush()
                os.fsync(stream.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self._manifest)
        finally:
            temporary.unlink(missing_ok=True)
        return self.begun_with() or dict(manifest)

    def remove_content(self) -> None:
        """Delete all parts, then the manifest: interrupted in between, the rest is still recognised."""
        for file in (*sorted(self.folder.glob("part-*")), self._manifest):
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        self.remove_content()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the folder's lock of that name; a second process is told so at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.lock").open("w") as stream:
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
        temporary = self.file(number).with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                np.savez(stream, **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.file(number))
        except OSError as error:
            # The array writer reports a full disk without naming the file.
            raise OSError(error.errno, error.strerror or str(error), str(temporary)) from error
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, number: int) -> Part:
        """Load one finished part."""
        with np.load(self.file(number), allow_pickle=False) as arrays:
            return Part(**{name: arrays[name] for name in arrays.files})

    def join(self, rows: Rows, provenance: Mapping[str, Any]) -> None:
        """Put all parts into the feature file and delete them.

        One part is in memory at a time. The file appears whole or not at all, and the parts are deleted
        only when it is there.
        """
        first = self.read(0)
        n, d = self.n, first.features.shape[1]
        dtype = np.float16 if first.features.dtype == np.float16 else np.float32
        scatter = np.zeros((d, d)) if first.scatter is not None else None
        errors = np.full(n, "", dtype=object)
        with new_feature_file(
            self.output, (n, d), dtype, rows, provenance, views=scatter is not None
        ) as file:
            if scatter is not None:
                add_views(file, self.n_views, scatter)
            for number in range(len(self)):
                where, part = self.slice(number), self.read(number)
                file["features"][where] = part.features
                errors[where] = part.errors
                if scatter is not None and part.scatter is not None:
                    file["view_mean"][where] = part.view_mean
                    scatter += part.scatter
            ok = errors == ""
            if scatter is not None:
                file["within_covariance"][...] = scatter / max(1, ok.sum() * (self.n_views - 1))
            if not ok.all():
                file.create_dataset("ok", data=ok.astype(np.bool_))
                file.create_dataset("errors", data=errors)
        self.remove()
