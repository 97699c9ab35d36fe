"""Preparations of several feature files of the same images, side by side at equal variance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError
from embedkit.files.joint_file import JointFile
from embedkit.files.selected_file import SelectedFile
from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import Prepared, auto_remark, preparation_for, prepare, view_whiten_hint
from embedkit.preparing.steps import Preparation

if TYPE_CHECKING:
    import h5py

# In what is stored: the scales of the files, and before an array's name the file's number.
SCALES = "scales"


@dataclass(frozen=True)
class JointPrepared:
    """A preparation of each of several files, made by `prepare_files` or `load`.

    Parameters
    ----------
    parts
        Of each file.
    scales
        What the prepared features of each are multiplied by.
    words
        What was asked.
    """

    parts: tuple[Prepared, ...]
    scales: tuple[float, ...]
    words: str

    @property
    def name(self) -> str:
        """What was asked, or what it came to in all files."""
        names = list(dict.fromkeys(part.name for part in self.parts))
        return names[0] if len(names) == 1 else self.words

    @property
    def preparation(self) -> Preparation:
        """Of the first file."""
        return self.parts[0].preparation

    @property
    def n_out(self) -> int:
        """Dimensions that come out."""
        return sum(part.n_out for part in self.parts)

    def record(self) -> dict[str, Any]:
        """Return what a `Result` keeps: ``prep``, and ``preparation`` with what was resolved of each file."""
        files = [
            {**part.record(), "scale": scale} for part, scale in zip(self.parts, self.scales, strict=True)
        ]
        return {"prep": self.name, "preparation": {"files": files, "n_rows": self.parts[0].n_rows}}

    def transform_file(
        self, file: FeatureFile, rows: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """Prepare rows (n,) of as many files, all whose image could be read by default: (n, m) float32.

        Raises
        ------
        DataError
            Another number of files.
        EmbedkitError
            NaN, infinity or another d; it names the file.
        """
        files, rows = _files_and_rows(file, rows)
        if len(files) != len(self.parts):
            raise DataError(f"{len(files)} file(s), where {len(self.parts)} were prepared together.")
        blocks = [
            scale * _naming(one, lambda part=part, one=one: part.transform_file(one, rows))
            for part, scale, one in zip(self.parts, self.scales, files, strict=True)
        ]
        return np.concatenate(blocks, axis=1).astype(np.float32, copy=False)

    def save(self, group: h5py.Group) -> None:
        """Write everything into an HDF5 group."""
        group.create_dataset(SCALES, data=np.array(self.scales))
        words = np.frombuffer(json.dumps(self.words).encode(), dtype=np.uint8)
        group.create_dataset("words", data=words)
        for number, part in enumerate(self.parts):
            for name, array in part.arrays().items():
                group.create_dataset(f"{number}:{name}", data=array)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            No preparation there, or a broken one.
        """
        scales = tuple(float(scale) for scale in stored[SCALES])
        parts = []
        for number in range(len(scales)):
            own = f"{number}:"
            parts.append(
                Prepared.load(
                    {name.removeprefix(own): a for name, a in stored.items() if name.startswith(own)}
                )
            )
        words = json.loads(np.asarray(stored["words"]).tobytes())
        if len(parts) < 2 or not isinstance(words, str):
            raise DataError("no preparation of several files is stored there. Name the file that was saved.")
        return cls(tuple(parts), scales, words)


def load_prepared(stored: Mapping[str, Any]) -> Prepared | JointPrepared:
    """Read the preparation of one file, or of several."""
    return JointPrepared.load(stored) if SCALES in stored else Prepared.load(stored)


def prepare_files(
    file: FeatureFile,
    words: str,
    *,
    rows: NDArray[np.int64],
    device: str = "auto",
    n_clusters: int | None = None,
) -> tuple[Prepared | JointPrepared, NDArray[np.float32], list[str]]:
    """Fit a preparation on rows of a file, or of each of the files that are joined in it.

    Of several, each is prepared by itself, ``auto`` decided for it; then each is scaled so that its total
    variance is the mean of those of all, and they stand side by side. So no file outweighs another for
    having more dimensions or larger numbers, and the same file twice is that file.

    Returns
    -------
    tuple
        The preparation, the rows prepared (n, m), and what is worth saying.

    Raises
    ------
    DataError, EmbedkitError
        What `prepare` raises; of several files it names the file.
    """
    files, index = _files_and_rows(file, rows)
    assert index is not None  # rows were given
    fitted, blocks = [], []
    said: list[str | None] = []
    for one in files:
        start = len(said)

        def one_file(one: FeatureFile = one) -> Prepared:
            asked = preparation_for(one, words, n_rows=len(index), n_clusters=n_clusters)
            prepared = prepare(one, asked, rows=index, device=device, n_clusters=n_clusters)
            blocks.append(prepared.transform_file(one, index))
            said.extend([auto_remark(words, asked, one), prepared.describe(), view_whiten_hint(one, asked)])
            return prepared

        fitted.append(one_file() if len(files) == 1 else _naming(one, one_file))
        if len(files) > 1:
            said[start:] = [f"{one.path}: {line}" for line in said[start:] if line]
    notes = [line for line in said if line]
    if len(files) == 1:
        return fitted[0], blocks[0], notes
    scales = _scales(files, blocks)
    x = np.concatenate(
        [block * np.float32(scale) for block, scale in zip(blocks, scales, strict=True)], axis=1
    )
    notes.append(f"{len(files)} files side by side, each scaled to the same total variance.")
    return JointPrepared(tuple(fitted), scales, words), x, notes


def _scales(files: Sequence[FeatureFile], blocks: Sequence[NDArray[np.float32]]) -> tuple[float, ...]:
    variances = [float(block.var(axis=0, dtype=np.float64).sum()) for block in blocks]
    for one, variance in zip(files, variances, strict=True):
        if not variance > 0:
            raise EmbedkitError(
                f"{one.path}: all rows are equal once prepared, so the file says nothing. Leave it out."
            )
    # 1 exactly for files of equal variance.
    return tuple(float(np.float32(np.sqrt(np.mean(variances) / variance))) for variance in variances)


def _files_and_rows(
    file: FeatureFile, rows: NDArray[np.integer[Any]] | None
) -> tuple[tuple[FeatureFile, ...], NDArray[np.int64] | None]:
    """Return what is prepared by itself, and its rows: of some rows of joined files, those of each file."""
    joint = file
    while isinstance(joint, SelectedFile):
        joint = joint.base
    if not isinstance(joint, JointFile):
        return (file,), None if rows is None else np.asarray(rows)
    index = np.flatnonzero(file.ok) if rows is None else np.asarray(rows)
    while isinstance(file, SelectedFile):
        index, file = file.index[index], file.base
    return joint.parts, index


def _naming(file: FeatureFile, call: Any) -> Any:
    """Call, and name the file where it can't be prepared."""
    try:
        return call()
    except DataError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error
