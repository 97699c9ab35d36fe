"""`embedkit quality`: label-free criteria of feature files, and how each ranked them against the probes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import console
from embedkit.cli import Handler
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.scoring.metrics import measure, title

if TYPE_CHECKING:
    from embedkit.files.results import Result
    from embedkit.scoring.label_free import Quality

OUTPUT = "runs"
N_ROWS = 5000
CRITERIA = ("rank_me", "effective_rank", "alpha_req", "uniformity", "lidar", "umap_silhouette")


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


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit quality`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a feature file")
    parser.add_argument("--rows", type=int, default=N_ROWS, help="rows to look at, at most, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0, help="of the rows that are drawn")
    parser.add_argument(
        "--umap", action="store_true", help="the silhouette of ten clusters in a UMAP too: the slowest by far"
    )
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="compare with the probe results of the same files there"
    )
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def run(args: argparse.Namespace) -> None:
    """Run `embedkit quality`."""
    from embedkit.files.results import RESULTS_FILE, append_result, read_results

    if args.rows < 3:
        raise UsageError(f"--rows {args.rows}: give at least 3.")
    measured = [_measure(path, rows=args.rows, seed=args.seed, with_umap=args.umap) for path in args.files]
    qualities = {result.provenance["features_sha256"]: found for result, found in measured}
    agreements: list[Agreement] = []
    if args.runs is not None:
        agreements = agreement(qualities, read_results(args.runs))
        if not agreements:
            console.note(f"{args.runs}: fewer than three of these files have an accuracy by the same probe.")
    for result, _ in measured:
        append_result(Path(args.output) / RESULTS_FILE, result)
    if args.json:
        files = [{"file": str(p), **asdict(q)} for p, (_, q) in zip(args.files, measured, strict=True)]
        console.print_json({"files": files, "agreement": [asdict(one) for one in agreements]})
    else:
        _print([(path, found) for path, (_, found) in zip(args.files, measured, strict=True)], agreements)
    if len({found.n for _, found in measured}) > 1:
        console.note("The files differ in rows: the criteria depend on n. Compare at one, with --rows.")
    console.note(f"Results in {Path(args.output) / RESULTS_FILE}.")


def _measure(path: Path, *, rows: int, seed: int, with_umap: bool) -> tuple[Result, Quality]:
    import numpy as np

    from embedkit.files.results import Metric, Result, result_provenance
    from embedkit.files.store import FeatureFile
    from embedkit.scoring.label_free import quality

    with FeatureFile(path) as file:
        index = np.flatnonzero(file.ok)
        if len(index) > rows:
            index = np.sort(np.random.default_rng(seed).choice(index, rows, replace=False))
        x = file.read(index)
        mean = file.read_view_mean(index) if file.n_views > 1 else None
        start = time.perf_counter()
        try:
            found = quality(
                x,
                view_mean=mean,
                within_covariance=file.within_covariance,
                seed=seed,
                with_umap=with_umap,
            )
        except DataError as error:
            raise EmbedkitError(f"{path}: {error}") from error
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
            params={"rows": len(index), "n_views": file.n_views},
            split="none",
            seed=seed,
            metrics={n: Metric(v, note=None if v is not None else why[n]) for n, v in values.items()},
            n=found.n,
            seconds=seconds,
            backend="numpy",
            provenance=result_provenance(file),
        )
    return result, found


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
    import numpy as np
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


def _print(measured: Sequence[tuple[Path, Quality]], agreements: Sequence[Agreement]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    shown = [name for name in CRITERIA if any(getattr(found, name) is not None for _, found in measured)]
    table.add_column("file")
    for heading in ("n", "d", *map(title, shown)):
        table.add_column(heading, justify="right")
    for path, found in measured:
        cells = [_cell(getattr(found, name)) for name in shown]
        table.add_row(Text(path.name), f"{found.n:,}", f"{found.d:,}", *cells)
    table.add_section()
    table.add_row(Text("better", style="dim"), "", "", *(measure(name).better for name in shown))
    console.print_table(table)
    if not agreements:
        return
    print()
    heading = "Spearman's rank correlation with accuracy"
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    criteria = [name for name in CRITERIA if any(one.criterion == name for one in agreements)]
    for name in ("probe", *map(title, criteria), "files"):
        table.add_column(name, justify="left" if name == "probe" else "right")
    for probe in dict.fromkeys(one.probe for one in agreements):
        of_probe = {one.criterion: one for one in agreements if one.probe == probe}
        n = max(one.n_files for one in of_probe.values())
        table.add_row(Text(probe), *(_rho(of_probe.get(name), n) for name in criteria), str(n))
    console.print_table(table)


def _rho(one: Agreement | None, n_files: int) -> str:
    """Write a rank correlation, with its number of files where that is not the row's."""
    if one is None or one.rho is None:
        return "-"
    return f"{one.rho:+.2f}" + (f" of {one.n_files}" if one.n_files != n_files else "")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
