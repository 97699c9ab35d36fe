"""What `embedkit label` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import (
    RUNS,
    Selection,
    as_in,
    check,
    declared,
    option,
    output_option,
    prep_option,
    seed_option,
)
from probes.kinds.registry import PROBES
from probes.options import ProbeOptions, ProbePlaces

KINDS = tuple(kind for kind, probe in PROBES.items() if not probe.regression)
PLAIN = ("linear", "none")
# With few labels better than the linear probe where there are views. Over fewer images nothing is gained, and
# over more it takes long: docs/results/few-labels.md.
WITH_VIEWS = ("label-spreading", "view-whiten")
LEAST_ROWS = 400
MOST_ROWS = 100_000
MOST_ANSWERS = 1_000_000  # images times classes
_WHERE = f"on {LEAST_ROWS} to {MOST_ROWS:,} images with views"


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Selection):
    """How labels are spread, and how many images are proposed.

    Parameters
    ----------
    kind
        A name in `probes.kinds.registry.PROBES` that predicts classes. None, and no `prep`: what
        `probes.labelling.default_probe` finds for the file.
    prep
        What happens to the features first; fitted on all images, since it reads no label.
    seed
        Of the folds, of the probe where it draws anything, and of the images to label next.
    class_weight
        ``balanced``, or None for every row alike.
    next
        How many images to propose.

    Raises
    ------
    UsageError
        An unknown kind or preparation, or a value out of range.
    """

    kind: str | None = option(
        None,
        "which probe",
        choices=KINDS,
        unset=f"{WITH_VIEWS[0]} {_WHERE} if --prep is not given, else {PLAIN[0]}",
    )
    prep: str | None = prep_option(
        None, unset=f"{WITH_VIEWS[1]} {_WHERE} if --kind is not given, else {PLAIN[1]}"
    )
    seed: int = seed_option()
    class_weight: str | None = as_in(ProbeOptions, "class_weight", None)
    next: int = option(10, "propose this many images to label next", least=0, metavar="N")

    def __post_init__(self) -> None:
        check(self)
        _ = self.probe

    @property
    def given(self) -> bool:
        """Whether a probe or a preparation was asked for."""
        return self.kind is not None or self.prep is not None

    @property
    def probe(self) -> ProbeOptions:
        """The same as options of a probe; of log loss, which few labels rank better than accuracy.

        Where a probe or a preparation is not given, it is the plain one.
        """
        kind = PLAIN[0] if self.kind is None else self.kind
        prep = PLAIN[1] if self.prep is None else self.prep
        select = None if kind == "knn" else "log_loss"
        return ProbeOptions(
            kind=kind, prep=prep, seed=self.seed, class_weight=self.class_weight, select=select
        )

    def of(self, kind: str, prep: str) -> LabelOptions:
        """Return the same with another probe and preparation."""
        return replace(self, kind=kind, prep=prep)

    def which_with(self, table: Path | None) -> Selection:
        """Return the rows asked for, with the labels of a table; raises `UsageError` where there are two."""
        if table is not None and self.labels is not None:
            flag = declared(Selection)["labels"].flag
            raise UsageError(f"{table} and {flag} {self.labels}: two tables of labels. Give one.")
        given = dict(self.selected)
        if table is not None:
            given["labels"] = table
        return Selection(**given)


@dataclass(frozen=True, kw_only=True)
class LabelPlaces:
    """Where it writes.

    Parameters
    ----------
    output
        Folder for results.jsonl and the table; from Python, None writes nothing.
    save_model
        File for the probe that was fitted on all labels.
    """

    output: Path | None = output_option(RUNS, "folder for results.jsonl and the table of all images")
    save_model: Path | None = as_in(ProbePlaces, "save_model", None)
