"""One measured result a line: the record that clusterings and probes write and the leaderboard reads."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.errors import EmbedkitError
from embedkit.files import showing
from embedkit.files.regular import check_input, check_output
from embedkit.files.standing import standing
from embedkit.strict_json import strict
from embedkit.versions import versions

if TYPE_CHECKING:
    from embedkit.files.store import FeatureFile

RESULTS_FILE = "results.jsonl"
# 1 kept what was found among the params; see `_upgraded`.
SCHEMA = 2
# What reading a line that is no result may end in; the last two where a number or a nesting is far too large.
NO_RESULT = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


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


@dataclass(frozen=True, repr=False)
class Result(showing.Shown):
    """What one method scored on one feature file.

    Parameters
    ----------
    task
        ``cluster``, ``probe``, ``label``, ``quality``, ``finetune`` or ``pretrain``; with few labels the
        budget as well: ``probe 5 per class``, ``probe 10 %``.
    dataset
        Name of the dataset, as the feature file gives it.
    features
        Short name of the feature set: backbone, layers, pooling and views.
    method
        ``kmeans``, ``hdbscan``, ``linear``, ``knn``, ...
    params
        What was asked: every setting that the numbers depend on, with the defaults that were taken. What was
        left to the data stands as it was asked, such as ``"k": "auto"``.
    outcomes
        What was found besides the metrics: the confusion matrix, which class a cluster stands for, settings
        that evidence or validation rows chose, calibration, how the rows were divided, rows left out. Two
        results that differ in these and in the seed only are of the same thing.
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
    outcomes: Mapping[str, Any]
    split: str
    seed: int
    metrics: Mapping[str, Metric]
    n: int
    seconds: float
    backend: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of strict JSON; a NaN or infinity becomes null."""
        return json.dumps(strict({"schema": SCHEMA, **asdict(self)}), allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, line: str | bytes) -> Result:
        """Read a line that `to_json` wrote, or an older version of it.

        Raises
        ------
        NewerSchemaError
            A later version wrote it.
        ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError
            It is no result.
        """
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
        schema = record.pop("schema", 1)
        if not _is_number(schema, int) or schema < 1:
            raise ValueError(f"schema {schema!r}")
        if schema > SCHEMA:
            raise NewerSchemaError(schema)
        if schema == 1:
            record = _upgraded(record)
        record["metrics"] = {name: _metric(name, metric) for name, metric in record["metrics"].items()}
        _check(record)
        return cls(**record)

    def to_pandas(self) -> Any:
        """Return the metrics as a pandas DataFrame, a row each: see `metric_rows`."""
        return showing.data_frame(self.metric_rows())

    def metric_rows(self) -> list[dict[str, Any]]:
        """Return ``metric, value, low, high, note`` of each metric, and what it is of in every row."""
        about = {name: getattr(self, name) for name in ("dataset", "task", "features", "method")}
        about |= {"split": self.split, "seed": self.seed, "n": self.n}
        return [{**about, "metric": name, **asdict(metric)} for name, metric in self.metrics.items()]

    def _shown(self) -> showing.Parts:
        title = f"{self.task}: {self.method} of {self.features} on {self.dataset}, n = {self.n:,}"
        return title, metric_cells(self.metrics), ()


class NewerSchemaError(ValueError):
    """A line of results that a later version wrote."""

    def __init__(self, schema: int) -> None:
        super().__init__(f"schema {schema}, and this version reads up to {SCHEMA}")


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _metric(name: str, metric: Any) -> Metric:
    made = Metric(**metric)
    for value in (made.value, made.low, made.high):
        if value is not None and not (_is_number(value, int, float) and math.isfinite(value)):
            raise ValueError(f"metric {name}: {value!r} is no number")
    return made


# Files and digests that others are found by.
# In the provenance of a feature file: the file that it holds rows of.
ROWS_OF = "rows_of"
_NAMED = (
    *("predictions", "assignments", "tree", "features_file", "features_sha256", "time", "model"),
    "model_sha256",
)


def _check(record: Mapping[str, Any]) -> None:
    """Refuse a line whose fields have other types than a result's."""
    for name in ("task", "dataset", "features", "method", "split", "backend"):
        if not isinstance(record[name], str):
            raise ValueError(f"{name} {record[name]!r} is no text")
    if not record["task"].strip():
        raise ValueError("task is empty")
    for name in ("params", "outcomes", "provenance"):
        if not isinstance(record.get(name, {}), dict):
            raise ValueError(f"{name} is no object")
    for name in _NAMED:
        if not isinstance(record.get("provenance", {}).get(name), (str, type(None))):
            raise ValueError(f"provenance {name} is no text")
    if not isinstance(record["outcomes"].get("matching", {}), dict):
        raise ValueError("outcomes matching is no object")
    for name, kinds in (("seed", (int,)), ("n", (int,)), ("seconds", (int, float))):
        if not _is_number(record[name], *kinds):
            raise ValueError(f"{name} {record[name]!r} is no number")


# What stood among the params of schema 1 and was no setting.
_FOUND = (
    *("class_names", "confusion", "confusion_columns", "matching", "cluster_sizes", "k_choice", "stability"),
    *("diagnosis", "seeds", "calibration", "draws", "targets", "preparation", "left_out", "n_views"),
)


def _upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Tell settings from outcomes in a record of schema 1, as the writers of schema 2 do."""
    params = dict(record["params"])
    found = {name: params.pop(name) for name in _FOUND if name in params}
    if "k_choice" in found:
        found["k"], params["k"] = params.get("k"), "auto"
    choice = params.get("choice")
    if isinstance(choice, dict) and "rule" in choice:  # of HDBSCAN's sizes
        found["choice"] = params.pop("choice")
        sizes = {name: params.pop(name, None) for name in ("min_cluster_size", "min_samples")}
        found |= sizes
        params["min_cluster_size"] = "auto"
        if len(choice.get("min_samples_grid", ())) == 1:
            params["min_samples"] = sizes["min_samples"]
    elif isinstance(choice, dict):  # of a probe's settings
        params["choice"] = {name: choice[name] for name in ("by", "grid") if name in choice}
        if "scores" in choice:
            found["choice"] = {name: choice[name] for name in ("of", "scores") if name in choice}
        if len(choice.get("grid", ())) > 1:
            found |= {name: params.pop(name) for name in choice.get("of", ()) if name in params}
    division = params.pop("division", None)
    if isinstance(division, dict):
        asked = division.get("asked")
        if isinstance(asked, str) and asked.endswith(".json"):
            params["split_file"] = asked
        found["division"] = division.get("folds", [])
    budget = params.get("budget")
    if isinstance(budget, dict):
        params["budget"] = budget.get("asked")
        found["n_labels"] = budget.get("n_labels")
        params["n_draws"] = budget.get("n_draws")
    return {**record, "params": params, "outcomes": found}


def computed_on(result: Result) -> tuple[str, ...]:
    """Return the SHA-256 of the feature file that a result names, and of the one whose rows it holds.

    A comparison of files in another order is computed on a copy, whose provenance says of what it is one.
    """
    told = result.provenance
    features = told.get("features")
    copied = features.get(ROWS_OF) if isinstance(features, Mapping) else None
    found = (told.get("features_sha256"), copied.get("sha256") if isinstance(copied, Mapping) else None)
    return tuple(str(one) for one in found if one is not None)


def joined_from(result: Result) -> tuple[str, ...]:
    """Return the SHA-256 of the feature files that a result was computed on side by side; none of one."""
    features = result.provenance.get("features")
    files = features.get("files") if isinstance(features, Mapping) else None
    if not isinstance(files, (list, tuple)):
        return ()
    return tuple(str(one.get("sha256")) for one in files if isinstance(one, Mapping))


def result_provenance(file: FeatureFile) -> dict[str, Any]:
    """What every result on a feature file records: the file, how it was made, versions and time.

    Returns
    -------
    dict
        ``features_file`` (path as given), ``features_sha256``, ``features`` (the file's own provenance),
        ``selection`` (which of its rows, where not all),
        ``versions`` (package to version, those installed) and ``time`` (UTC, ISO 8601).
    """
    return {
        "features_file": str(file.path),
        "features_sha256": file.sha256,
        "features": file.provenance,
        **({} if file.selection is None else {"selection": dict(file.selection)}),
        "versions": versions(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def append_result(path: str | os.PathLike[str], result: Result) -> Result:
    """Append one line to a results.jsonl, whole or not at all; parallel runs wait for each other.

    Returns the result, or the one that stands there already, see `embedkit.files.standing.done_again`.
    """
    path = Path(path)
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (result.to_json() + "\n").encode()
    with path.open("ab+", buffering=0) as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        end = stream.seek(0, os.SEEK_END)
        if (already := standing(path, os.pread(stream.fileno(), end, 0), line)) is not None:
            return Result.from_json(already)
        if end and os.pread(stream.fileno(), 1, end - 1) != b"\n":
            line = b"\n" + line  # a crash of the machine tore the last line; that one alone is lost
        try:
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError as error:
            stream.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error
    return result


def read_results(path: str | os.PathLike[str]) -> list[Result]:
    """Read a results.jsonl, or every one below a folder, by path and line; see `locate_results`."""
    return [result for _, result in locate_results(path)]


def locate_results(path: str | os.PathLike[str], *, missing_ok: bool = False) -> list[tuple[Path, Result]]:
    """Read results with the folder that each stands in, where the files that it names are too.

    Parameters
    ----------
    path
        A results.jsonl, or a folder that any are below.
    missing_ok
        Whether there may be none.

    Raises
    ------
    EmbedkitError
        Nothing there, a line that is no result, or one of a later version: the message names the file and
        the line.
    """
    path = Path(path)
    files: Sequence[Path] = sorted(path.rglob(RESULTS_FILE)) if path.is_dir() else [path]
    if not files or not files[0].exists():
        if missing_ok:
            return []
        raise EmbedkitError(
            f"{path}: no {RESULTS_FILE} there. Run `embedkit cluster` or `embedkit probe` first, "
            "or name the folder they wrote to."
        )
    results: list[tuple[Path, Result]] = []
    for file in files:
        check_input(file, "Restore the file, or name another folder.")
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                results.append((file.parent, Result.from_json(line)))
            except NewerSchemaError as error:
                raise EmbedkitError(
                    f"{file}:{number}: a newer embedkit wrote this result ({error}). Install that version, "
                    "or name a folder without it."
                ) from error
            except NO_RESULT as error:
                raise EmbedkitError(
                    f"{file}:{number}: not a result ({error}). Remove the line, or restore the file."
                ) from error
    return results


def metric_cells(metrics: Mapping[str, Metric]) -> list[dict[str, str]]:
    """Return a row of text for each metric: its value, 95 % interval and note."""
    return [
        {
            "metric": name,
            "value": _number(metric.value),
            "95 % interval": ""
            if metric.low is None or metric.high is None
            else f"{_number(metric.low)} to {_number(metric.high)}",
            "note": metric.note or "",
        }
        for name, metric in metrics.items()
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
