"""The processes that share one extraction: torchrun's ranks, the shard of a cluster task, or one alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch

from embedkit.errors import EmbedkitError, UsageError, first_line


class Ranks:
    """The processes that share one extraction: torchrun's ranks, a shard, or this process alone."""

    def __init__(self, rank: int, world: int, *, distributed: bool, leads: bool) -> None:
        self.rank = rank
        self.world = world
        self.distributed = distributed
        self.leads = leads

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.distributed:
            torch.distributed.barrier()

    def from_leader(self, decide: Any) -> Any:
        """Return what `decide` gives on the leading rank, on every rank."""
        if not self.distributed:
            return decide()
        box = [decide() if self.leads else None]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]


def under_torchrun() -> bool:
    """Whether this is one of several processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def others_needed(rank: int, world: int, then: str) -> Iterator[None]:
    """Say which process lost another one inside, and what the same command does `then`."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)):
            raise
        raise EmbedkitError(
            f"process {rank} of {world} lost another one, which has ended or can't be reached "
            f"({first_line(error)}). What that one says is the reason; the same command {then}."
        ) from error


@contextlib.contextmanager
def share_work(shard: tuple[int, int] | None) -> Iterator[Ranks]:
    """Join the process group that torchrun started, if it did; else take the given shard, else all."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if shard is None and torch.distributed.is_available() and torch.distributed.is_initialized():
        # Of a training, which extracts before it begins.
        yield Ranks(rank, world, distributed=True, leads=rank == 0)
        return
    if not under_torchrun():
        number, shards = shard or (0, 1)
        yield Ranks(number, shards, distributed=False, leads=True)
        return
    if shard is not None:
        raise UsageError("--shard is for independent tasks; under torchrun the ranks share the work already.")
    # gloo, because the ranks only agree on who does what; a slow rank may take days over its share.
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        with others_needed(rank, world, "does what is left"):
            yield Ranks(rank, world, distributed=True, leads=rank == 0)
    finally:
        torch.distributed.destroy_process_group()
