"""What a run writes while it trains: a checkpoint to go on from, its log, and the picture of that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from embedkit.errors import EmbedkitError, first_line
from embedkit.files import training
from embedkit.files.aside import aside, filling, write_text
from embedkit.files.regular import check_input
from embedkit.pages.curves import draw_curves
from embedkit.strict_json import UndeclaredError, check_plain, of_shape
from pretrain.options import PretrainOptions

CHECKPOINT = "checkpoint.pt"
BEGIN_AGAIN = "Delete it to begin again, or give another -o."
_RENAMED = {"views": "view_preset", "clip": "clip_grad", "shard": "fsdp"}


def describe(options: PretrainOptions) -> dict[str, Any]:
    """Return what fixes the numbers of a run: its options without where they are computed."""
    named = {one.name: getattr(options, one.name) for one in fields(PretrainOptions)}
    return named | {"device": "", "fsdp": False}


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run, whole or not at all."""
    with aside(folder / CHECKPOINT) as temporary, filling(temporary) as stream:
        torch.save(state, stream)


def read_checkpoint(
    folder: Path, asked: dict[str, Any], as_today: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the state to go on from, or None.

    Parameters
    ----------
    asked
        What fixes the numbers of the run.
    as_today
        What an older checkpoint was asked, in the words of today.

    Raises
    ------
    EmbedkitError
        It was begun with other options, or is damaged.
    """
    path = folder / CHECKPOINT
    if not os.path.lexists(path):
        return None
    check_input(path, BEGIN_AGAIN)
    with taken_up(folder):
        state = torch.load(path, map_location="cpu", weights_only=True)
        about = of_shape({name: state[name] for name in ("asked", "step", "log")}, _About)
        check_plain(about.asked)
        begun = as_today(about.asked)
        if not isinstance(state["best"], dict) or not about.step >= 0:
            raise UndeclaredError("best or step")
        if not about.log or not all("epoch" in row for row in about.log):
            raise UndeclaredError("the epochs of its log")
        for row in about.log:
            _ = [float(value) for value in row.values()]  # of 400 digits is no number to draw
    check_asked(path, begun, asked)
    return {**state, "step": about.step, "log": about.log}


def check_asked(path: Path, begun: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to go on with what was begun with other options; names them, with both values.

    Parameters
    ----------
    path
        What is gone on from.
    begun, asked
        What fixes the numbers: there, and of this call.

    Raises
    ------
    EmbedkitError
        They differ.
    """
    differences = [
        f"{name}: {_short(begun.get(name))} there, {_short(asked.get(name))} asked for"
        for name in sorted({*begun, *asked})
        if begun.get(name) != asked.get(name)
    ]
    if differences:
        more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise EmbedkitError(
            f"{path}: was begun with other options ({'; '.join(differences[:4])}{more}). Give those, or "
            "another -o."
        )


@contextmanager
def taken_up(folder: Path) -> Iterator[None]:
    """Say of a checkpoint that is damaged, or of another network, what it is; nothing in it is executed."""
    try:
        yield
    except (EmbedkitError, KeyboardInterrupt):
        raise
    except Exception as error:  # torch's reader ends in whatever its C++ throws
        raise EmbedkitError(
            f"{folder / CHECKPOINT}: damaged, or no checkpoint of a training ({first_line(error)}). "
            f"{BEGIN_AGAIN}"
        ) from error


@dataclass(frozen=True)
class _About:
    """What a checkpoint says besides tensors."""

    asked: dict[str, Any]
    step: int
    log: list[dict[str, int | float]]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def as_today(asked: dict[str, Any]) -> dict[str, Any]:
    """Return a pretraining's recorded options under today's names; younger ones had their default then."""
    asked = dict(asked)
    lora = {f"lora_{name}": value for name, value in asked.pop("lora", {}).items()}
    named = {_RENAMED.get(name, name): value for name, value in asked.items()}
    return describe(PretrainOptions()) | lora | named


def write_log(folder: Path, log: Sequence[dict[str, float]], *, kept: int | None) -> None:
    """Write ``log.csv`` and ``curves.svg``, with a line at the epoch that is kept."""
    training.write_log(folder / training.LOG, log)
    write_text(folder / "curves.svg", draw_curves(log, kept=kept))
