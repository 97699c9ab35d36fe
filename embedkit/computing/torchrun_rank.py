"""One of the processes that torchrun starts for `torchrun_engine`; speaks to it in lines on stdout."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedkit.computing.engine import Work
from embedkit.errors import EmbedkitError, message_of

# What a line begins with that is for the engine; libraries print there too.
SAYS = b"embedkit-rank "


@dataclass(frozen=True)
class Orders:
    """What all processes are told.

    Parameters
    ----------
    work
        What is computed.
    numbers
        Of the parts, which the processes deal out among themselves.
    settled
        What all parts share.
    threads
        Of each process.
    """

    work: Work
    numbers: tuple[int, ...]
    settled: dict[str, Any]
    threads: int


def main(place: str) -> None:
    """Compute this process's share of the parts that the orders at `place` name."""
    threading.Thread(target=_leave_with_the_engine, daemon=True).start()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if again and rank == 0:
        _say({"again": again})
    try:
        orders: Orders = pickle.loads(Path(place).read_bytes())
    except (ImportError, AttributeError) as error:  # a dataset of the user's own
        said = f"the dataset's code can't be imported by other processes ({error})."
        return _say({"error": said, "kind": ""})
    try:
        torch.set_num_threads(orders.threads)
        computing = orders.work.begin(orders.threads)
        mine = orders.numbers[rank::world]
        computing.compute(mine, orders.settled, lambda number, _: _say({"part": number}))
    except (EmbedkitError, OSError) as error:
        # Starting again would not mend it, so this is no failure to torchrun.
        _say({"error": message_of(error), "kind": type(error).__name__})
    return None


def _say(what: Mapping[str, Any]) -> None:
    try:
        # One write, so that the lines of several processes don't mix.
        os.write(1, SAYS + json.dumps(what).encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)


def _leave_with_the_engine() -> None:
    """End with the engine, however that ended: nobody writes here, but the pipe closes."""
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
