"""What training with labels gives: results, predictions, models, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from embedkit.files import showing
from embedkit.files.predictions import Predictions
from embedkit.files.results import Result, metric_cells
from embedkit.scoring.class_scores import Scores
from embedkit.scoring.paired import Difference
from embedkit.scoring.splits import Split
from embedkit.scoring.target_scores import RegressionScores
from pretrain.finetune.critical_batch import CriticalBatch

Log = tuple[dict[str, float], ...]


@dataclass(frozen=True)
class TrainedNetwork:
    """One network, trained on one split.

    Parameters
    ----------
    folder
        Where it is kept.
    outputs
        ``validation`` and ``test`` to (n, c) probabilities, not calibrated, or (n, t) targets.
    temperature
        That calibrates the probabilities of the validation rows best; None of targets.
    logs
        Of each phase, a row an epoch.
    kept
        Which epoch of each phase was kept.
    seconds
        Of training, what is resumed included.
    critical
        The critical batch size, where it was measured.
    """

    folder: Path
    outputs: dict[str, NDArray[Any]]
    temperature: float | None
    logs: tuple[Log, ...]
    kept: tuple[int, ...]
    seconds: float
    critical: CriticalBatch | None = None

    @property
    def each(self) -> dict[int, NDArray[Any]]:
        """Of one candidate there is no choice."""
        return {}

    @property
    def log(self) -> Log:
        """The epochs of all phases after each other, with epochs and images counted on."""
        joined: list[dict[str, float]] = []
        for number, log in enumerate(self.logs, start=1):
            before = joined[-1] if joined else {"epoch": 0.0, "images": 0.0}
            joined += [
                {
                    "phase": float(number),
                    **row,
                    "epoch": before["epoch"] + row["epoch"],
                    "images": before["images"] + row["images"],
                }
                for row in log
                if number == 1 or row["epoch"] > 0
            ]
        return tuple(joined)


@dataclass(frozen=True, repr=False)
class FinetuneReport(showing.Shown):
    """One recipe on one dataset with one seed: a network for each split.

    Parameters
    ----------
    result
        The line of results.jsonl.
    scores
        On the test rows: with the confusion matrix and each class's figures, or each target's.
    predictions
        Of validation and test rows.
    splits
        The split, or the folds.
    networks
        One for each split.
    notes
        What a reader of the numbers must know.
    predictions_path
        The CSV.
    """

    result: Result
    scores: Scores | RegressionScores
    predictions: Predictions
    splits: tuple[Split, ...]
    networks: tuple[TrainedNetwork, ...]
    notes: tuple[str, ...]
    predictions_path: Path

    @property
    def model(self) -> Path:
        """The folder of the first network, for `predict`."""
        return self.networks[0].folder

    def to_pandas(self) -> Any:
        """Return the metrics as a pandas DataFrame, a row each."""
        return self.result.to_pandas()

    def _shown(self) -> showing.Parts:
        result = self.result
        title = f"{result.method}: {result.features} on {result.dataset}, {result.split}: "
        title += f"{result.n:,} test images"
        return title, metric_cells(result.metrics), self.notes


@dataclass(frozen=True, repr=False)
class Finetuned(showing.Shown):
    """A recipe on a dataset: with each seed a network, and the frozen probe on the same images.

    Parameters
    ----------
    path
        The folder of all that it made.
    reports
        One a seed.
    frozen
        Of the probe; empty where it was left out.
    bought
        How much training added over the frozen probe, in accuracy or, of votes, in mean squared error.
    sentence
        The same in words; empty without a probe.
    """

    path: Path
    reports: tuple[FinetuneReport, ...]
    frozen: tuple[Result, ...] = ()
    bought: Difference | None = None
    sentence: str = ""

    @property
    def results(self) -> tuple[Result, ...]:
        """The lines of results.jsonl that the networks are."""
        return tuple(report.result for report in self.reports)

    @property
    def model(self) -> Path:
        """The folder of the first network, for `predict`."""
        return self.reports[0].model

    @property
    def page(self) -> Path:
        """Scores, losses, views and the recipe."""
        return self.path / "report.html"

    def to_pandas(self) -> Any:
        """Return every metric of every seed as a pandas DataFrame, a row each."""
        return showing.data_frame([row for result in self.results for row in result.metric_rows()])

    def _shown(self) -> showing.Parts:
        title, cells, notes = self.reports[0]._shown()
        return title, cells, (*notes, self.sentence)


def parameters_sentence(outcomes: dict[str, Any], inputs: int) -> str:
    """Say how many parameters train, of how many, against the pixels of all training images."""
    n = outcomes["n_parameters"]
    return (
        f"{outcomes['n_trainable']:,} of {n:,} parameters train; the training images have {inputs:,} values, "
        f"{inputs / max(1, outcomes['n_trainable']):.3g} for each that trains."
    )


def unfinished_sentence(networks: Sequence[TrainedNetwork]) -> str:
    """Say that more epochs may help, where the last one was the best of every network; else nothing."""
    if not all(one.kept[-1] > 0 and one.kept[-1] == one.logs[-1][-1]["epoch"] for one in networks):
        return ""
    given = ",".join(f"{log[-1]['epoch']:.0f}" for log in networks[0].logs[:-1])
    longer = f"{2 * networks[0].kept[-1]:.0f}"
    flag = f"{given},{longer}" if given else longer
    return f"The last epoch was the best, so more of them may be better still: --phase-epochs {flag}."


def joined_logs(networks: Sequence[TrainedNetwork]) -> list[dict[str, float]]:
    """Return the log of the only network, or those of all folds with a column for the fold."""
    if len(networks) == 1:
        return list(networks[0].log)
    return [{"fold": float(i), **row} for i, one in enumerate(networks, start=1) for row in one.log]
