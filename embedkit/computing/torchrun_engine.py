"""The processes of one machine, one a card, started and watched over by torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch

from embedkit.computing.engine import Done, Work, n_cores, threads_each
from embedkit.computing.torchrun_rank import SAYS, Orders
from embedkit.console import note
from embedkit.errors import EmbedkitError, ImageError, UsageError

# How often all processes are started again after one ended.
RESTARTS = 3
# torchrun gives its processes half a minute to end before it ends them by force.
PATIENCE_S = 40.0
_KINDS = {kind.__name__: kind for kind in (EmbedkitError, UsageError, ImageError)}


class Torchrun:
    """Processes on this machine that share the parts, each every w-th of them, and write them themselves.

    The processes don't talk to each other. One that ends has torchrun start all again, up to `RESTARTS`
    times, and they go on from the parts that are there.

    Parameters
    ----------
    work
        What they compute.
    processes
        How many; by default one a card, and without cards one a core.
    cards
        Whether they compute on CUDA devices.
    """

    def __init__(self, work: Work, processes: int | None, *, cards: bool) -> None:
        self._work = work
        self._most = processes or (torch.cuda.device_count() if cards else n_cores())
        self.devices: Sequence[str] = ()

    def __enter__(self) -> Torchrun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def settle(self) -> None:
        """Leave it to this process, which is on the same machine."""

    def run(self, numbers: Sequence[int], settled: Mapping[str, Any]) -> Generator[Done]:
        """Start the processes, and yield the parts that they have written."""
        if not numbers:
            return
        processes = min(self._most, len(numbers))
        orders = Orders(self._work, tuple(numbers), dict(settled), threads_each(processes))
        with tempfile.TemporaryDirectory(prefix="embedkit-") as folder, tempfile.TemporaryFile() as log:
            place = Path(folder) / "orders"
            try:
                place.write_bytes(pickle.dumps(orders))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise UsageError(
                    f"this dataset can't be given to other processes ({error}). Name it by its path, or "
                    "leave out --engine."
                ) from error
            with self._started(place, processes, orders.threads, log) as agent:
                yield from _heard(agent, set(numbers), log)

    @contextlib.contextmanager
    def _started(
        self, place: Path, processes: int, threads: int, log: IO[bytes]
    ) -> Iterator[subprocess.Popen[bytes]]:
        launch = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(RESTARTS)]
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *launch,
            "-m",
            Orders.__module__,
            str(place),
        ]
        # This process's package, wherever it was found.
        found = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), found)))
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": search}
        # In a session of its own, so that Ctrl-C comes to this process alone, which then ends the others.
        agent = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            yield agent
        finally:
            _end(agent)


def _heard(agent: subprocess.Popen[bytes], missing: set[int], log: IO[bytes]) -> Iterator[Done]:
    assert agent.stdout is not None
    for line in agent.stdout:
        if not line.startswith(SAYS):
            continue
        said = json.loads(line.removeprefix(SAYS))
        if "error" in said:
            raise _KINDS.get(said["kind"], EmbedkitError)(said["error"])
        if "again" in said:
            note(
                f"A process ended early. All were started again, time {said['again']} of at most {RESTARTS}."
            )
        elif said["part"] in missing:
            missing.discard(said["part"])
            yield Done(said["part"])
    code = agent.wait()
    if missing:
        raise EmbedkitError(
            f"torchrun ended with exit code {code} before {len(missing)} parts were there: {_last(log)} What "
            "was finished is kept; the same command goes on from there."
        )


def _last(log: IO[bytes]) -> str:
    """Return what the processes said last of an error, on one line."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    errors = [line.strip() for line in lines if "Error: " in line or "exitcode" in line]
    return (errors[-1] if errors else "it said nothing").rstrip(".") + "."


def _end(agent: subprocess.Popen[bytes]) -> None:
    """End the processes: they go by themselves once nobody writes to them any more."""
    assert agent.stdin is not None
    assert agent.stdout is not None
    with contextlib.suppress(OSError):
        agent.stdin.close()
    if agent.poll() is None:
        agent.terminate()
    try:
        agent.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()
    agent.stdout.close()
