"""One measured result a line: the record that clusterings and probes write and the leaderboard reads."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.errors import EmbedkitError
from embedkit.strict_json import strict
from embedkit.versions import versions

if TYPE_CHECKING:
    from embedkit.files.store import FeatureFile

RESULTS_FILE = "results.jsonl"


@dataclass(frozen=True)
class Metric:
    """A value and, where it is an estimate, its 95 % interval.

    ``None`` stands for a value that is not defined on this data (ROC AUC with one class, say);
    the reason then stands in `note`.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Result:
    """What one method scored on one feature file.

    Parameters
    ----------
    task
        ``cluster``, ``probe``, ``quality``, ``finetune`` or ``pretrain``; with few labels the budget as
        well: ``probe 5 per class``, ``probe 10 %``.
    dataset
        Name of the dataset, as the feature file gives it.
    features
        Short name of the feature set: backbone, layers, pooling and views.
    method
        ``kmeans``, ``hdbscan``, ``linear``, ``knn``, ...
    params
        Every setting that the numbers depend on, the resolved ones included.
    split
        How rows were divided: ``none``, ``file`` or ``stratified 70/15/15``, ...
    seed
        Seed of everything random in this result.
    metrics
        Name to `Metric`; ``*_score`` and accuracies: higher is better, ``*_loss``: lower is better.
    n
        Number of rows that the metrics are computed on.
    seconds
        Wall time of the method, without reading the file.
    backend
        What computed it: ``faiss-cpu``, ``torch-cuda``, ``scikit-learn``, ...
    provenance
        The feature file's SHA-256 and its own provenance, versions, and the time.
    """

    task: str
    dataset: str
    features: str
    method: str
    params: Mapping[str, Any]
    split: str
    seed: int
    metrics: Mapping[str, Metric]
    n: int
    seconds: float
    backend: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of strict JSON; a NaN or infinity becomes null."""
        return json.dumps(strict(asdict(self)), allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, line: str | bytes) -> Result:
        """Read a line that `to_json` wrote; raises ``ValueError`` or ``TypeError`` on any other."""
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
        record["metrics"] = {name: Metric(**metric) for name, metric in record["metrics"].items()}
        return cls(**record)


def result_provenance(file: FeatureFile) -> dict[str, Any]:
    """What every result on a feature file records: the file, how it was made, versions and time.

    Returns
    -------
    dict
        ``features_file`` (path as given), ``features_sha256``, ``features`` (the file's own provenance),
        ``versions`` (package to version, those installed) and ``time`` (UTC, ISO 8601).
    """
    return {
        "features_file": str(file.path),
        "features_sha256": file.sha256,
        "features": file.provenance,
        "versions": versions(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def append_result(path: str | os.PathLike[str], result: Result) -> None:
    """Append one line to a results.jsonl, whole or not at all; parallel runs wait for each other."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (result.to_json() + "\n").encode()
    with path.open("ab+", buffering=0) as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        end = stream.seek(0, os.SEEK_END)
        if end and os.pread(stream.fileno(), 1, end - 1) != b"\n":
            line = b"\n" + line  # a crash of the machine tore the last line; that one alone is lost
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError as error:
            stream.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """Read a results.jsonl, or every one below a folder, by path and line; see `locate_results`."""
    return [result for _, result in locate_results(path)]


def locate_results(path: str | os.PathLike[str]) -> list[tuple[Path, Result]]:
    """Read results with the folder that each stands in, where the files that it names are too.

    Raises
    ------
    EmbedkitError
        Nothing there, or a line that is no result: the message names the file and the line.
    """
    path = Path(path)
    files: Sequence[Path] = sorted(path.rglob(RESULTS_FILE)) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise EmbedkitError(
            f"{path}: no {RESULTS_FILE} there. Run `embedkit cluster` or `embedkit probe` first, "
            "or name the folder they wrote to."
        )
    results: list[tuple[Path, Result]] = []
    for file in files:
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                results.append((file.parent, Result.from_json(line)))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise EmbedkitError(
                    f"{file}:{number}: not a result ({error}). Remove the line, or restore the file."
                ) from error
    return results
