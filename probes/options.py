"""What `embedkit probe` can be asked for, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import (
    READS,
    RESULTS,
    RUNS,
    SELECTION,
    Selection,
    Writes,
    asked,
    check,
    check_seeds,
    check_split,
    declared,
    device_option,
    option,
    output_option,
    prep_option,
    seed_option,
    seeds_option,
    split_option,
)
from embedkit.scoring.budget import Budget
from probes.kinds.interface import Kind
from probes.kinds.registry import PROBES
from probes.kinds.selection import SELECT
from probes.kinds.settings import NAMES, Settings, argument

DEDUPE = ("drop", "group")
DRAWS = 5
# What `probe --apply -o FILE.csv` writes, as `embedkit.files.tables` names it.
APPLIED = ("classes by a saved model", "targets by a saved model")


@dataclass(frozen=True)
class ProbeOptions(Settings, Selection):
    """How to probe: the `Settings` of the kind, which are None unless they are given, and all around it.

    Parameters
    ----------
    kind
        A name in `PROBES`.
    split
        ``auto`` (the file's own, else folds of fewer than 300 labelled rows, else by group, else stratified),
        ``file``, ``stratified``, ``group``, ``kfold:5``, or the path of a saved split, ending in .json.
    prep
        What happens to the features first, in the words of
        `embedkit.preparing.preparation.Preparation.parse`; fitted on the training rows of each split.
    seed
        Of the split, and of the probe where it draws anything.
    fractions
        Of train, validation and test; 0.7, 0.15, 0.15 by default. Where test is given (``file``, ``kfold``),
        the first two say how the rest is divided.
    select
        ``accuracy`` (default), ``balanced_accuracy`` or ``log_loss``: what the validation rows choose
        settings by. Regression always chooses by RMSE.
    refit
        Fit once more on training and validation rows together after the choice.
    class_weight
        ``balanced``, or None for every row alike.
    device
        ``cpu``, ``cuda`` or ``auto``.
    targets
        Of a regression: which of the file's targets; all by default.
    dedupe
        What happens to copies across the split: ``drop`` leaves out training and validation rows that have
        one in a later part, ``group`` moves every copy to where the first of them is. None for neither.

    Raises
    ------
    UsageError
        An unknown kind, split, select or preparation, or an option of another kind.
    """

    kind: str = option("linear", "which probe", choices=tuple(PROBES))
    split: str = split_option()
    prep: str = prep_option("none")
    seed: int = seed_option()
    fractions: tuple[float, float, float] | None = option(
        None,
        "of the rows; with a given test set, the first two divide the rest",
        metavar="TRAIN VALIDATION TEST",
        unset="0.7 0.15 0.15",
    )
    select: str | None = option(
        None,
        "what validation rows choose settings by",
        choices=tuple(SELECT),
        unset="accuracy; RMSE of targets",
    )
    refit: bool = option(False, "after the choice, fit on training and validation rows together")
    class_weight: str | None = option(
        None,
        "weigh rows so that every class counts the same",
        choices=("balanced",),
        unset="every row counts the same",
    )
    device: str | None = device_option(None, unset="cpu; auto takes a GPU if there is one")
    targets: tuple[str, ...] | None = option(
        None,
        "which of the file's numbers to predict",
        metavar="A,B,...",
        separator=",",
        unset="all of them",
    )
    dedupe: str | None = option(
        None,
        "drop: leave copies of later parts out of training and validation; group: move copies to where the "
        "first is; with the score before and after",
        choices=DEDUPE,
        group="protocol",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_kind()
        check_split(self.split)
        if self.fractions is not None and self.split.endswith(".json"):
            raise UsageError("--fractions says nothing about a saved split. Leave it out.")
        if self.prep != "none":
            # On use: `--help` waits for no scikit-learn.
            from embedkit.preparing.steps import Preparation

            Preparation.parse(self.prep)

    def _check_kind(self) -> None:
        known = declared(type(self))
        for name in (*NAMES, "refit", "class_weight", "device"):
            owners = [kind for kind, probe in PROBES.items() if argument(name) in probe.arguments]
            if getattr(self, name) not in (None, False) and self.kind not in owners:
                raise UsageError(
                    f"{known[name].flag} is for --kind {' or '.join(owners)}, not {self.kind}. Leave it out."
                )
        if self.targets is not None and not self.probe.regression:
            kinds = " or ".join(kind for kind, probe in PROBES.items() if probe.regression)
            raise UsageError(f"--targets is for --kind {kinds}, not {self.kind}. Leave it out.")
        if self.select is not None and self.probe.regression:
            raise UsageError(f"--select is not for --kind {self.kind}, which chooses by RMSE. Leave it out.")
        if self.select == "log_loss" and self.kind == "knn":
            raise UsageError("--select log_loss is not for --kind knn: votes can be 0. Leave it out.")

    @property
    def probe(self) -> Kind:
        """Its entry in the registry."""
        return PROBES[self.kind]

    @property
    def fractions_only(self) -> bool:
        """Whether targets must lie in [0, 1]."""
        return self.kind == "sigmoid" or bool(self.clip)

    @property
    def by_cosine(self) -> bool:
        """Whether rows are compared by the cosine alone."""
        return self.kind in ("knn", "label-spreading") or (
            self.kind == "nearest-centroid" and self.metric == ("cosine",)
        )

    @property
    def selected_by(self) -> str:
        """What the validation rows choose by."""
        return "rmse" if self.probe.regression else self.select or "accuracy"

    def make(self, **settings: Any) -> Any:
        """Return the estimator, not fitted; `settings` go before those that were asked for."""
        shared: dict[str, Any] = {
            "select": self.select,
            "refit": self.refit or None,
            "class_weight": self.class_weight,
            "device": self.device,
            "random_state": self.seed,
        }
        known = self.probe.arguments
        given = {name: value for name, value in shared.items() if value is not None and name in known}
        return self.probe.make(**{**given, **self.settings, **settings})


@dataclass(frozen=True)
class ProbeProtocol:
    """How often a probe is fitted, with how many labels, and what is looked at before.

    Parameters
    ----------
    seeds
        Fit with so many seeds in a row, `ProbeOptions.seed` the first of them: a result each.
    budget
        Numbers of training rows a class (``5``) and percentages of them (``10%``): a result each, with
        settings chosen by cross-validation among the budget's rows.
    draws
        Random draws of each budget; 5 by default.
    leaks
        Look for copies of one image across the split first.

    Raises
    ------
    UsageError
        A budget that can't be read, or draws of none.
    """

    seeds: int = seeds_option()
    budget: tuple[str, ...] = option(
        (),
        "few labels: numbers of training images a class and percentages of them, as in 1,5,10,1%,100%; "
        "settings are chosen by cross-validation among them",
        metavar="N|P%",
        group="protocol",
    )
    draws: int | None = option(
        None, "random draws of each budget", least=1, metavar="N", unset=f"{DRAWS}", group="protocol"
    )
    leaks: bool = option(
        False, "before any score, say which test images are trained on as well", group="protocol"
    )

    def __post_init__(self) -> None:
        check(self)
        budget = tuple(word.strip() for text in self.budget for word in text.split(","))
        object.__setattr__(self, "budget", budget)
        if self.draws is not None and not budget:
            raise UsageError("--draws says how often a --budget is drawn, and none is given. Leave it out.")
        _ = self.budgets

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets, read."""
        return tuple(map(Budget.parse, self.budget))


@dataclass(frozen=True)
class ProbePlaces:
    """Where a probe reads and writes what is no feature file.

    Parameters
    ----------
    output
        Folder for results.jsonl and the predictions, or with `apply` the predictions' own FILE.csv; from
        Python, None writes nothing.
    save_model
        File for the fitted probe.
    save_split
        File for the split, by ids.
    plot
        File for the reliability curve as SVG; with budgets, for the learning curve.
    apply
        A saved probe to predict with, instead of fitting anything.
    """

    output: Path | None = output_option(
        RUNS,
        "folder for results.jsonl and predictions; with --apply, or a FILE.csv for these",
        writes=Writes(APPLIED, RESULTS, folder=True, file_endings=(".csv",)),
    )
    save_model: Path | None = option(
        None,
        "where the fitted model is kept, for --apply",
        metavar="FILE",
        place=Writes(("a saved probe",)),
    )
    save_split: Path | None = option(
        None, "keep the split, for --split FILE.json", metavar="FILE.json", place=Writes(("a split",))
    )
    plot: Path | None = option(
        None,
        "draw the reliability curve or, with --budget, the learning curve",
        metavar="FILE.svg",
        place=Writes(("an SVG picture",)),
    )
    apply: Path | None = option(
        None, "fit nothing: put a saved model to use on every row", metavar="MODEL", place=READS
    )

    @property
    def results(self) -> Path | None:
        """The file that results are added to."""
        return None if self.output is None else self.output / "results.jsonl"

    @property
    def one_split(self) -> str | None:
        """The option for which few labels, too, are divided once rather than in folds."""
        return next((_flag(name) for name in ("save_model", "save_split") if getattr(self, name)), None)

    def check(self, options: ProbeOptions, protocol: ProbeProtocol) -> None:
        """Refuse what does not go together; raises `UsageError`."""
        given = set(asked(options, protocol, self))
        if self.apply is not None:
            for name in (
                name for name in asked(options, protocol, self) if name not in ("apply", "output", *SELECTION)
            ):
                raise UsageError(f"--apply fits nothing, so {_flag(name)} has no say. Leave it out.")
        for name, (others, why) in ALONE.items():
            for other in others:
                if name in given and other in given:
                    raise UsageError(f"{_flag(other)} is not for {_flag(name)}, {why}. Leave it out.")
        check_seeds(options.seed, protocol.seeds)
        if protocol.budget:
            check_budgets(options)
        elif self.plot is not None and options.probe.regression:
            raise UsageError(
                f"--plot draws a reliability curve of classes, and --kind {options.kind} gives targets. "
                "Leave it out, or give --budget for a learning curve."
            )


# Options that don't go together: with the first, none of the others, and why.
ALONE = {
    "budget": (
        ("seeds", "save_model", "save_split", "refit"),
        "which fits many probes, without validation rows",
    ),
    "seeds": (("save_model", "save_split", "plot"), "which fits a probe a seed"),
}


def check_budgets(options: ProbeOptions) -> None:
    """Refuse what has no say with label budgets; raises `UsageError`."""
    if options.split.startswith("kfold"):
        raise UsageError("--budget needs one set of test rows. Give --split stratified, group or file.")
    if options.refit:
        raise UsageError("--refit has no say with --budget, which uses no validation rows. Leave it out.")


def _flag(name: str) -> str:
    known = (declared(cls) for cls in (ProbeOptions, ProbeProtocol, ProbePlaces))
    return next(one[name].flag for one in known if name in one)
