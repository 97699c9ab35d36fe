"""How to probe: kind, split and settings, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import DEVICES
from probes.kinds.interface import Kind, one_of
from probes.kinds.registry import PROBES
from probes.kinds.selection import SELECT

DEDUPE = ("drop", "group")
SPLIT_NAMES = ("auto", "file", "stratified", "group", "kfold:K", "FILE.json")


@dataclass(frozen=True)
class ProbeOptions:
    """How to probe; what is None takes the default of its kind.

    Parameters
    ----------
    kind
        A name in `PROBES`.
    split
        ``auto`` (the file's own, else by group, else stratified), ``file``, ``stratified``, ``group``,
        ``kfold:5``, or the path of a saved split, ending in .json.
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
    settings
        Settings of the kind itself, such as ``{"k": (10, 20)}``: see its class.
    prep
        What happens to the features first, in the words of
        `embedkit.preparing.preparation.Preparation.parse`; fitted on the training rows of each split.
    class_weight
        ``balanced``, or None for every row alike.
    device
        ``cpu``, ``cuda`` or ``auto``.
    dedupe
        What happens to copies across the split: ``drop`` leaves out training and validation rows that have
        one in a later part, ``group`` moves every copy to where the first of them is. None for neither.

    Raises
    ------
    UsageError
        An unknown kind, split, select or preparation, or an option of another kind.
    """

    kind: str = "linear"
    split: str = "auto"
    seed: int = 0
    fractions: tuple[float, float, float] | None = None
    select: str | None = None
    refit: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    prep: str = "none"
    class_weight: str | None = None
    device: str | None = None
    dedupe: str | None = None

    def __post_init__(self) -> None:
        one_of(self.kind, tuple(PROBES), "--kind")
        kind = self.probe
        own = {option.name: option for option in kind.options}
        for name, value in self.settings.items():
            if name not in own:
                raise UsageError(f"{_flag(name)} is for --kind {_kinds_with(name)}. Leave it out.")
            own[name].check(value)
        for name, flag in (("refit", "--refit"), ("class_weight", "--class-weight"), ("device", "--device")):
            if getattr(self, name) and name not in kind.arguments:
                raise UsageError(f"{flag} is not for --kind {self.kind}. Leave it out.")
        if self.select is not None:
            one_of(self.select, tuple(SELECT), "--select")
            if kind.regression:
                raise UsageError(
                    f"--select is not for --kind {self.kind}, which chooses by RMSE. Leave it out."
                )
            if self.select == "log_loss" and self.kind == "knn":
                raise UsageError("--select log_loss is not for --kind knn: votes can be 0. Leave it out.")
        if self.device is not None:
            one_of(self.device, DEVICES, "--device")
        if self.dedupe is not None:
            one_of(self.dedupe, DEDUPE, "--dedupe")
        self._check_split()
        if self.prep != "none":
            # On use: `--help` waits for no scikit-learn.
            from embedkit.preparing.steps import Preparation

            Preparation.parse(self.prep)

    def _check_split(self) -> None:
        if self.fractions is not None and self.split.endswith(".json"):
            raise UsageError("--fractions says nothing about a saved split. Leave it out.")
        known = self.split in ("auto", "file", "stratified", "group") or self.split.endswith(".json")
        if not known:
            name, _, k = self.split.partition(":")
            if name != "kfold" or not k.isdigit():
                raise UsageError(f"--split {self.split}: unknown. Give one of {', '.join(SPLIT_NAMES)}.")

    @property
    def probe(self) -> Kind:
        """Its entry in the registry."""
        return PROBES[self.kind]

    @property
    def fractions_only(self) -> bool:
        """Whether targets must lie in [0, 1]."""
        return self.kind == "sigmoid" or bool(self.settings.get("clip"))

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


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _kinds_with(name: str) -> str:
    kinds = [kind for kind, probe in PROBES.items() if any(option.name == name for option in probe.options)]
    return " or ".join(kinds) or "no probe"
