"""What `embedkit cam` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.extraction.options import ComputeOptions
from embedkit.options import (
    READS,
    Writes,
    as_in,
    batch_size_option,
    check,
    device_option,
    limit_option,
    option,
    output_option,
    seed_option,
)

OUTPUT = Path("runs/cam.html")
PAGE = Writes(("an HTML page",))


@dataclass(frozen=True, kw_only=True)
class CamOptions:
    """Which images are looked at, and how closely the maps are examined.

    Parameters
    ----------
    target
        The class, or the answer of votes, whose score the maps explain.
    per_class
        Images of each class that are shown with a right prediction, and as many with a wrong one.
    n_sanity
        Images that the maps are examined on, drawn at random.
    predictions
        A table of predictions whose images alone are looked at: those of ``test``, where it says so.
    limit
        Take this many images, spread evenly over the dataset.
    seed
        Of the images that are examined, the order in which pixels are removed, and the random weights.
    batch_size
        Images at a time.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    on_error
        ``fail`` at an unreadable image, or ``skip`` it.
    """

    target: str | None = option(
        None,
        "the class, or the answer of votes, that the maps speak of",
        metavar="NAME",
        unset="the predicted class; of votes it must be given",
    )
    per_class: int = option(
        3, "images of each class shown, of right predictions and of wrong ones", least=1, metavar="N"
    )
    n_sanity: int = option(50, "images that the maps are examined on", least=10, metavar="N")
    predictions: Path | None = option(
        None,
        "look only at the test images of this table, such as the one that finetune left",
        metavar="FILE.csv",
        unset="all images",
        place=READS,
    )
    limit: int | None = limit_option()
    seed: int = seed_option()
    batch_size: int = batch_size_option(32)
    device: str = device_option()
    on_error: str = as_in(ComputeOptions, "on_error", "fail")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class CamPlaces:
    """Where the page goes.

    Parameters
    ----------
    output
        The HTML file; tables of its numbers stand beside it, named after it.
    """

    output: Path = output_option(OUTPUT, "the page", metavar="FILE", writes=PAGE)

    def __post_init__(self) -> None:
        check(self)
