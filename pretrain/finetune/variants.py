"""Trainings that differ in one thing, each over the same seeds: a table, paired tests, and one sentence."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import EmbedkitError
from embedkit.files import showing
from embedkit.files.aside import write_text
from embedkit.scoring.metrics import title
from embedkit.scoring.outcomes import Outcomes, compare_outcomes, read_outcomes
from embedkit.scoring.paired import ALPHA, Difference, holm
from embedkit.scoring.spread import Spread, spread_over
from pretrain.finetune.curve import Curve
from pretrain.finetune.recipe import Recipe
from pretrain.finetune.report import Finetuned

TABLE, PAIRS = "variants.csv", "variant-pairs.csv"


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Parameters
    ----------
    name
        In tables: the value of the swept key.
    folder
        Below that of the call.
    recipe
        How.
    note
        What differs from the recipe as it was read.
    """

    name: str
    folder: str
    recipe: Recipe
    note: str


@dataclass(frozen=True)
class Pair:
    """Two variants on the same test images, over all seeds.

    Parameters
    ----------
    a, b
        Names.
    difference
        Of B over A: in accuracy, or in minus the mean squared error.
    p_holm
        Corrected by Holm for all pairs of the table.
    """

    a: str
    b: str
    difference: Difference
    p_holm: float


@dataclass(frozen=True, repr=False)
class Variants(showing.Shown):
    """Variants of a training, compared.

    Parameters
    ----------
    path
        The folder of all of them.
    key
        What differs.
    names
        Of the variants.
    runs
        What each gave.
    pairs
        Each with each.
    sentence
        Whether they differ.
    more
        What else is said of a curriculum beside normal training.
    """

    path: Path
    key: str
    names: tuple[str, ...]
    runs: tuple[Finetuned, ...]
    pairs: tuple[Pair, ...]
    sentence: str
    more: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, key: str, variants: Sequence[Variant], runs: Sequence[Finetuned]) -> Variants:
        """Test each against each, and write both tables."""
        names = tuple(variant.name for variant in variants)
        pairs = paired_tests(names, [_outcomes(run) for run in runs])
        made = cls(path, key, names, tuple(runs), pairs, "")
        made = replace(made, sentence=sentence(made))
        write_text(path / TABLE, _csv(made.rows()))
        write_text(path / PAIRS, _csv([_pair_row(pair) for pair in pairs]))
        return made

    def curves(self) -> list[tuple[Curve, Curve]]:
        """Return the validation losses of the first two, with each seed and fold."""
        first, second = (
            [Curve.of(one.log) for report in run.reports for one in report.networks] for run in self.runs[:2]
        )
        return list(zip(first, second, strict=True))

    @property
    def of_classes(self) -> bool:
        """Whether classes were learnt, not votes."""
        return "accuracy" in self.runs[0].results[0].metrics

    @property
    def metric(self) -> str:
        """What the sentence is about."""
        return "accuracy" if self.of_classes else "rmse"

    def spreads(self) -> list[dict[str, Spread]]:
        """Return each variant's scores over its seeds."""
        return [spread_over([result.metrics for result in run.results]) for run in self.runs]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each variant and seed: scores, epochs, images seen, seconds."""
        return [
            {self.key: name, "seed": result.seed}
            | {metric: found.value for metric, found in result.metrics.items()}
            | {
                "epochs": sum(result.outcomes["epochs"]),
                "images_seen": sum(result.outcomes["images_seen"]),
                "seconds": round(result.seconds, 2),
            }
            for name, run in zip(self.names, self.runs, strict=True)
            for result in run.results
        ]

    def document(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "key": self.key,
            "variants": self.rows(),
            "pairs": [asdict(pair) for pair in self.pairs],
            "sentence": self.sentence,
            "more": list(self.more),
        }

    def to_pandas(self) -> Any:
        """Return a data frame with a row for each variant and seed."""
        return showing.data_frame(self.rows())

    def cells(self) -> list[dict[str, str]]:
        """Return the table that people see: mean and standard deviation over seeds."""
        found = []
        for name, over, run in zip(self.names, self.spreads(), self.runs, strict=True):
            shown = [one for one in over.values() if one.name in SHOWN]
            scores = {title(one.name): _of_seeds(one) for one in shown}
            seconds = np.mean([result.seconds for result in run.results])
            found.append({self.key: name, **scores, "seconds": f"{seconds:,.0f}"})
        return found

    def _shown(self) -> showing.Parts:
        first = self.runs[0].results[0]
        return f"{self.key} on {first.dataset}, {first.split}", self.cells(), (self.sentence, *self.more)


SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "rmse", "r2")


def _of_seeds(one: Spread) -> str:
    return f"{one.mean:.4f}" if one.n < 2 else f"{one.mean:.4f} ± {one.std:.4f}"


def paired_tests(names: Sequence[str], outcomes: Sequence[Sequence[Outcomes]]) -> tuple[Pair, ...]:
    """Compare each variant with each later one, on the same images of the same seeds.

    Parameters
    ----------
    outcomes
        Of each variant, one a seed.

    Raises
    ------
    EmbedkitError
        They tested other images.
    """
    found = []
    for (a, of_a), (b, of_b) in combinations(zip(names, outcomes, strict=True), 2):
        pairs = list(zip(of_a, of_b, strict=True))
        if any(one.rows != other.rows for one, other in pairs):
            raise EmbedkitError(f"{a} and {b} tested other images, so they are not paired.")
        found.append((a, b, compare_outcomes(pairs)))
    adjusted = holm(np.array([difference.p for _, _, difference in found]))
    return tuple(Pair(a, b, one, float(p)) for (a, b, one), p in zip(found, adjusted, strict=True))


def _outcomes(run: Finetuned) -> list[Outcomes]:
    return [read_outcomes(report.result, report.predictions_path.parent) for report in run.reports]


def sentence(made: Variants) -> str:
    """Say whether the variants differ at all, and by how much if they do."""
    means = [over[made.metric].mean for over in made.spreads()]
    stds = [over[made.metric].std for over in made.spreads()]
    n_seeds, n = len(made.runs[0].results), made.pairs[0].difference.n
    span = f"{title(made.metric)} {min(means):.4f} to {max(means):.4f}"
    if n_seeds > 1:
        span += f", standard deviation over {n_seeds} seeds {min(stds):.4f} to {max(stds):.4f}"
    else:
        span += ", one seed, so what seeds change is not in the tests"
    corrected = f", Holm's correction for {len(made.pairs)} tests" if len(made.pairs) > 1 else ""
    how = f"({span}; paired on {n:,} images{corrected}"
    real = [pair for pair in made.pairs if pair.p_holm < ALPHA]
    listed = ", ".join(made.names)
    if not real:
        least = min(pair.p_holm for pair in made.pairs)
        smallest = "smallest p" if len(made.pairs) > 1 else "p"
        return f"{made.key} {listed} can't be told apart {how}, {smallest} {least:.2g})."
    said = "; ".join(_said(pair, made.of_classes) for pair in real)
    return f"{made.key} {listed}: {len(real)} of {len(made.pairs)} pairs differ {how}): {said}."


def _said(pair: Pair, of_classes: bool) -> str:
    one = pair.difference
    better, worse = (pair.b, pair.a) if one.value > 0 else (pair.a, pair.b)
    low, high = (one.low, one.high) if one.value > 0 else (-one.high, -one.low)
    if of_classes:
        much, span = f"{abs(100 * one.value):.1f} points", f"{100 * low:+.1f} to {100 * high:+.1f}"
    else:
        much, span = f"{abs(one.value):.5f} of mean squared error", f"{low:+.5f} to {high:+.5f}"
    much += f" (95 % interval of its own {span})"
    return f"{better} better than {worse} by {much}, p {pair.p_holm:.2g}"


def _pair_row(pair: Pair) -> dict[str, Any]:
    return {"a": pair.a, "b": pair.b, **asdict(pair.difference), "p_holm": pair.p_holm}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
