"""What `embedkit predict` can be asked for; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.extraction.options import ComputeOptions
from embedkit.options import (
    Writes,
    as_in,
    batch_size_option,
    check,
    device_option,
    limit_option,
    output_option,
)

OUTPUT = Path("runs/predictions.csv")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """How a trained network is asked.

    Parameters
    ----------
    batch_size
        Images at a time.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    limit
        Take this many images, spread evenly over the dataset.
    on_error
        ``fail`` at an unreadable image, or ``skip`` it: the table has no row of it.
    """

    batch_size: int = batch_size_option(64)
    device: str = device_option()
    limit: int | None = limit_option()
    on_error: str = as_in(ComputeOptions, "on_error", "fail")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class PredictPlaces:
    """Where predictions are written.

    Parameters
    ----------
    output
        The table to make.
    """

    output: Path = output_option(
        OUTPUT,
        "table to make",
        metavar="FILE.csv",
        writes=Writes(("classes by a saved model", "targets by a saved model")),
    )
