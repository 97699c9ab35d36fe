"""The processes of one training run: torchrun's ranks, or this one alone."""

from __future__ import annotations

import contextlib
import gc
import io
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store

from embedkit.computing.processes import others_needed
from embedkit.errors import UsageError

T = TypeVar("T")

_meshes: list[DeviceMesh] = []


def launched() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if launched() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = _of_this_start()
    if store is None:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=store, rank=int(os.environ["RANK"]), world_size=launched())
    # The first process speaks for all; an error is told by whoever meets it, after this.
    aside = contextlib.nullcontext() if rank() == 0 else contextlib.redirect_stderr(io.StringIO())
    try:
        with others_needed(rank(), world(), "goes on from the last checkpoint"), aside:
            yield
    finally:
        _let_go()
        dist.destroy_process_group()


def mesh(device: torch.device) -> DeviceMesh:
    """Return all processes as what weights are spread over."""
    _meshes.append(init_device_mesh(device.type, (world(),)))
    return _meshes[-1]


def _let_go() -> None:
    """Let go of the process groups, so that they end with their threads when they are destroyed.

    A thread of gloo that still holds a tensor while the interpreter ends aborts the process
    (https://github.com/pytorch/pytorch/issues/190489). FSDP2 leaves groups in cycles, and torch 2.14 in
    meshes, which its caches for spread tensors keep for good.
    """
    for one in _meshes:
        getattr(one, "_pg_registry", {}).clear()
    _meshes.clear()
    gc.collect()


def _of_this_start() -> Store | None:
    """Return where processes that torchrun started again find each other; None for torch's own way.

    torchrun's store outlives them, with addresses of those that are gone
    (https://github.com/pytorch/pytorch/issues/135712). Only on one machine is the count of starts one.
    """
    told = os.environ
    number = told.get("TORCHELASTIC_RESTART_COUNT", "0")
    shared = told.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if number == "0" or not shared or told.get("LOCAL_WORLD_SIZE") != told["WORLD_SIZE"]:
        return None
    place = told["MASTER_ADDR"], int(told["MASTER_PORT"])
    store = dist.TCPStore(*place, is_master=False)  # type: ignore[attr-defined]
    return PrefixStore(f"start-{number}", store)


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return which one this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def check_several(fsdp: bool) -> None:
    """Refuse to spread weights over one process; raises `UsageError`."""
    if fsdp and world() == 1:
        raise UsageError("--fsdp spreads a model over processes. Start several with torchrun.")


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Every process has the same loss of the same rows, so the sum over processes is this many times one.
        return world() * own_part(gradient)


def gather(x: torch.Tensor) -> torch.Tensor:
    """Join the rows (b, d) of all processes in their order, for a loss of the joint batch.

    Every process must compute the same loss of them; the mean of all processes' gradients is then the
    gradient of that loss.
    """
    if world() == 1:
        return x
    joint: torch.Tensor = _Gather.apply(x)
    return joint


def own_part(joint: torch.Tensor) -> torch.Tensor:
    """Return this process's rows of what `gather` joined."""
    return joint.chunk(world())[rank()]


def average(tensors: Iterable[torch.Tensor]) -> None:
    """Replace each tensor by its mean over the processes, through one buffer."""
    if world() == 1:
        return
    tensors = list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world()
    for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def agreed(value: T) -> T:
    """Return the first process's value in all of them."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def anywhere(value: bool) -> bool:
    """Whether it is so in any process."""
    if world() == 1:
        return value
    flag = torch.tensor([float(value)])
    dist.all_reduce(flag)
    return bool(flag > 0)
