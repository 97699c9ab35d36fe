"""What `embedkit label` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Selection):
    """How labels are spread, and how many images are proposed.

    Parameters
    ----------
    kind
        A name in `probes.kinds.registry.PROBES` that predicts classes.
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

    kind: str = option("linear", "which probe", choices=KINDS)
    prep: str = prep_option("none")
    seed: int = seed_option()
    class_weight: str | None = as_in(ProbeOptions, "class_weight", None)
    next: int = option(10, "propose this many images to label next", least=0, metavar="N")

    def __post_init__(self) -> None:
        check(self)
        _ = self.probe

    @property
    def probe(self) -> ProbeOptions:
        """The same as options of a probe; of log loss, which few labels rank better than accuracy."""
        select = None if self.kind == "knn" else "log_loss"
        return ProbeOptions(
            kind=self.kind, prep=self.prep, seed=self.seed, class_weight=self.class_weight, select=select
        )

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
