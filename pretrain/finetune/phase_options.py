"""What one phase of a recipe says: which part trains, for how long, at which rates; imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedkit.backbones.head import key
from embedkit.errors import UsageError
from embedkit.options import check, nearest
from pretrain.finetune.confidence import Confidence

WHOLE = ("all", "head", "lora")
LAST = ("last-blocks", "last-stages", "last-convs", "reinit-last-convs")
SCHEDULES = ("constant", "cosine", "step", "plateau")
INFINITE = float("inf")


@dataclass(frozen=True)
class Trained:
    """Which part of a network trains.

    Parameters
    ----------
    kind
        One of `WHOLE` or `LAST`.
    n
        How many of the last ones; 0 for `WHOLE`.
    """

    kind: str
    n: int = 0

    @classmethod
    def parse(cls, text: str) -> Trained:
        """Read ``all``, ``head``, ``lora`` or ``last-blocks:3``; raises ``ValueError`` with what to give."""
        if text in WHOLE:
            return cls(text)
        kind, _, n = text.partition(":")
        known = [*WHOLE, *(f"{word}:N" for word in LAST)]
        if kind not in LAST:
            raise ValueError(f"unknown.{nearest(kind, (*WHOLE, *LAST))} Give one of {', '.join(known)}")
        if re.fullmatch(r"[1-9][0-9]{0,5}", n) is None:
            raise ValueError(f"give a number of 1 or more, as in {kind}:3; of none, nothing would train")
        return cls(kind, int(n))


def _part(text: str) -> str:
    Trained.parse(text)
    return text


def _range(text: str) -> str:
    Confidence.parse(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training, from the chosen weights of the one before.

    Parameters
    ----------
    name
        In tables and folders.
    train
        Which part of the network: see `Trained`.
    train_norms
        Whether normalisations of that part train too. Frozen ones keep their statistics.
    epochs
        At most so many passes.
    lr, head_lr
        Peak rate of the backbone, and of the head (None: the same).
    schedule
        One of `SCHEDULES`.
    end_lr
        Where a cosine ends, and below which steps and plateaus don't go.
    warmup_epochs
        In which the rate rises linearly, before the schedule begins.
    factor, every
        ``step``: what the rate is multiplied by, and after how many epochs each time. ``plateau``: the same,
        after so many epochs without a better validation loss.
    stop_after
        Epochs without a better validation loss that end the phase; 0 for never.
    rows
        ``all``, or a range of label confidence (`Confidence`).

    Raises
    ------
    UsageError
        A value out of range, or one that its schedule doesn't read.
    """

    name: str = key("", "in tables and folders; by default its number", "name")
    train: str = key(
        "all",
        "all, head, lora, last-blocks:N, last-stages:N, last-convs:N or reinit-last-convs:N",
        "train",
        read=_part,
        metavar="PART",
    )
    train_norms: bool = key(True, "normalisations of that part train too", "train_norms")
    epochs: int = key(10, "passes over the rows, at most", "epochs", least=1, most=100_000, metavar="N")
    lr: float = key(1e-3, "peak learning rate", "lr", above=0, below=INFINITE)
    head_lr: float | None = key(
        None, "of the head, on the same schedule", "head_lr", above=0, below=INFINITE, unset="as lr"
    )
    schedule: str = key("cosine", "how the rate changes", "schedule", choices=SCHEDULES)
    end_lr: float = key(
        0.0, "cosine: the last rate; step and plateau: the least", "end_lr", least=0, below=INFINITE
    )
    warmup_epochs: int = key(0, "epochs of linear rise first", "warmup_epochs", least=0, metavar="N")
    factor: float | None = key(
        None, "step and plateau: the rate is multiplied by it", "factor", above=0, below=1, unset="none"
    )
    every: int | None = key(
        None,
        "step: epochs between two cuts; plateau: epochs without a better validation loss before one",
        "every",
        least=1,
        metavar="N",
        unset="none",
    )
    stop_after: int = key(
        0, "end after N epochs without a better validation loss; 0: never", "stop_after", least=0, metavar="N"
    )
    rows: str = key(
        "all",
        "all, or label confidence: >0.94, 0.85-0.94, <0.85",
        "rows",
        read=_range,
        metavar="RANGE",
    )

    def __post_init__(self) -> None:
        check(self)
        cuts = self.schedule in ("step", "plateau")
        for name in ("factor", "every"):
            if cuts and getattr(self, name) is None:
                raise UsageError(f"schedule {self.schedule} without {name}: give both factor and every.")
            if not cuts and getattr(self, name) is not None:
                raise UsageError(
                    f"{name} is of step and plateau, and schedule is {self.schedule}. Leave it out."
                )
        if self.end_lr and self.schedule == "constant":
            raise UsageError("end_lr with schedule constant, which stays at lr. Leave it out.")
        if self.end_lr > self.lr:
            raise UsageError(f"end_lr {self.end_lr:g} is above lr {self.lr:g}. Give a smaller one.")
        if self.warmup_epochs >= self.epochs:
            raise UsageError(
                f"warmup_epochs {self.warmup_epochs} leaves nothing of {self.epochs} epochs. Give fewer."
            )
        if self.trained.kind in ("head", "lora") and not self.train_norms:
            raise UsageError(
                f"train_norms = false with train = {self.train}, which trains none. Leave it out."
            )

    @property
    def trained(self) -> Trained:
        """What trains."""
        return Trained.parse(self.train)

    @property
    def confidence(self) -> Confidence:
        """Which rows."""
        return Confidence.parse(self.rows)
