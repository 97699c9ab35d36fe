"""`embedkit quality` as a function: label-free criteria of files, and how each ranked them against probes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import DataError, EmbedkitError
from embedkit.files import showing
from embedkit.files.guard import guarded
from embedkit.files.results import (
    RESULTS_FILE,
    Metric,
    Result,
    append_result,
    read_results,
    result_provenance,
)
from embedkit.files.store import FeatureFile
from embedkit.files.usable_rows import read_usable
from embedkit.options import Selection
from embedkit.scoring.label_free import Quality
from embedkit.scoring.label_free import quality as label_free_quality
from embedkit.scoring.metrics import measure, title
from embedkit.scoring.quality_options import QualityOptions, QualityPlaces
from embedkit.scoring.selected import selected

CRITERIA = ("rank_me", "effective_rank", "alpha_req", "uniformity", "lidar", "umap_silhouette")


@dataclass(frozen=True)
class Measured:
    """The criteria of one feature file.

    Parameters
    ----------
    path
        Of the file.
    result
        The line of results.jsonl.
    quality
        The criteria.
    remarks
        Which rows these are, where not all.
    """

    path: Path
    result: Result
    quality: Quality
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How a criterion ranked files against a probe.

    Parameters
    ----------
    criterion
        A name in `CRITERIA`.
    probe
        Method, preparation and split of the probe.
    rho
        Spearman's rank correlation with accuracy; 1 where better by the criterion is always better by the
        probe. None where either is the same for all files.
    n_files
        Files that have both.
    """

    criterion: str
    probe: str
    rho: float | None
    n_files: int


@dataclass(frozen=True, repr=False)
class QualityReport(showing.Shown):
    """Label-free criteria of feature files.

    Parameters
    ----------
    files
        One a file, in their order.
    agreements
        How each criterion ranked the files against each probe; empty where none was compared with.
    notes
        What a reader must know.
    """

    files: tuple[Measured, ...]
    agreements: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "files": [{"file": str(one.path), **asdict(one.quality)} for one in self.files],
            "agreement": [asdict(one) for one in self.agreements],
        }

    def to_pandas(self) -> Any:
        """Return the criteria as a pandas DataFrame, a row a file."""
        return showing.data_frame(self.document()["files"])

    def _shown(self) -> showing.Parts:
        cells = [
            {
                "file": one.path.name,
                "n": f"{one.quality.n:,}",
                "d": f"{one.quality.d:,}",
                **{title(name): _shown(getattr(one.quality, name)) for name in CRITERIA},
            }
            for one in self.files
        ]
        return "Quality without labels", cells, self.notes


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@guarded()
def quality(
    files: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    options: QualityOptions,
    places: QualityPlaces,
) -> QualityReport:
    """Judge feature files by criteria that need no labels.

    Parameters
    ----------
    files
        Feature files, or their paths; or one.
    options
        How many rows, and which.
    places
        Where results go, and the probe results that are compared with, if any.

    Raises
    ------
    EmbedkitError
        A file that can't be read or judged; the message says what to do.
    """
    several = [files] if isinstance(files, (str, os.PathLike, FeatureFile)) else files
    measured = [
        measure_file(
            one, n_rows=options.n_rows, seed=options.seed, umap=options.umap, selection=options.which
        )
        for one in several
    ]
    notes = list(dict.fromkeys(remark for one in measured for remark in one.remarks))
    agreements: list[Agreement] = []
    if places.runs is not None:
        of_file = {str(one.result.provenance["features_sha256"]): one.quality for one in measured}
        agreements = agreement(of_file, read_results(places.runs))
        if not agreements:
            notes.append(
                f"{places.runs}: fewer than three of these files have an accuracy by the same probe."
            )
    if places.output is not None:
        for one in measured:
            append_result(places.output / RESULTS_FILE, one.result)
    if len({one.quality.n for one in measured}) > 1:
        notes.append("The files differ in rows: the criteria depend on n. Compare at one, with --n-rows.")
    return QualityReport(tuple(measured), tuple(agreements), tuple(notes))


def measure_file(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    n_rows: int = 5000,
    seed: int = 0,
    umap: bool = False,
    selection: Selection | None = None,
) -> Measured:
    """Measure every criterion of one feature file, on `n_rows` of its rows at most.

    Raises
    ------
    EmbedkitError
        A file that can't be read or judged; the message says what to do.
    """
    with selected(features, selection or Selection()) as file:
        index = np.flatnonzero(file.ok)
        if len(index) > n_rows:
            index = np.sort(np.random.default_rng(seed).choice(index, n_rows, replace=False))
        start = time.perf_counter()
        try:
            x = read_usable(file, index)
            mean = read_usable(file, index, view_mean=True) if file.n_views > 1 else None
            found = label_free_quality(
                x,
                view_mean=mean,
                within_covariance=file.within_covariance,
                seed=seed,
                with_umap=umap,
            )
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        seconds = time.perf_counter() - start
        why = {
            "lidar": "needs views" if file.n_views == 1 else "views don't differ",
            "alpha_req": "fewer than ten components",
            "uniformity": "a row is zero",
            "umap_silhouette": "not asked for, or fewer than 50 rows",
        }
        values = {name: getattr(found, name) for name in CRITERIA}
        result = Result(
            task="quality",
            dataset=file.dataset_name,
            features=file.features_name,
            method="label-free",
            params={"rows": n_rows, "umap": umap},
            outcomes={"n_views": file.n_views},
            split="none",
            seed=seed,
            metrics={n: Metric(v, note=None if v is not None else why[n]) for n, v in values.items()},
            n=found.n,
            seconds=seconds,
            backend="numpy",
            provenance=result_provenance(file),
        )
    return Measured(file.path, result, found, file.remarks)


def agreement(qualities: Mapping[str, Quality], results: Sequence[Result]) -> list[Agreement]:
    """Correlate each criterion with each probe's accuracy over files.

    Parameters
    ----------
    qualities
        SHA-256 of the feature file to its criteria.
    results
        Probe results, others among them or not. Accuracies of one file, method, preparation and split are
        averaged (over seeds and settings). Groups of fewer than three files are left out.
    """
    from scipy.stats import spearmanr

    probes: dict[str, dict[str, list[float]]] = {}
    for result in results:
        accuracy = result.metrics.get("accuracy")
        sha256 = result.provenance.get("features_sha256")
        if result.task != "probe" or accuracy is None or accuracy.value is None or sha256 not in qualities:
            continue
        words = [result.method, str(result.params.get("prep") or ""), result.split]
        probe = ", ".join(word for word in words if word)
        probes.setdefault(probe, {}).setdefault(str(sha256), []).append(accuracy.value)
    found = []
    for probe, by_file in sorted(probes.items()):
        for criterion in CRITERIA:
            pairs = [
                (promise, float(np.mean(accuracies)))
                for sha256, accuracies in by_file.items()
                if (promise := _promise(criterion, getattr(qualities[sha256], criterion))) is not None
            ]
            if len(pairs) < 3:
                continue
            promises, accuracies = np.array(pairs).T
            constant = np.ptp(promises) == 0 or np.ptp(accuracies) == 0
            rho = None if constant else float(spearmanr(promises, accuracies).statistic)
            found.append(Agreement(criterion, probe, rho, len(pairs)))
    return found


def _promise(criterion: str, value: float | None) -> float | None:
    """Turn a criterion so that more of it promises more accuracy."""
    return None if value is None else measure(criterion).merit(value)
