"""The machines of a Ray cluster: actors that keep the model loaded, and a part at a time for each."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from embedkit.computing.engine import Done, Work, n_cores, threads_each
from embedkit.computing.ray_address import check_address
from embedkit.computing.ray_hand import hand_class
from embedkit.console import note
from embedkit.errors import EmbedkitError, ImageError, UsageError, first_line
from embedkit.versions import code_versions

GET_RAY = "pip install 'ray>=2.40,<3'"
# Parts that an actor holds at a time: one that it computes, and the next.
AHEAD = 2
# A part that ended so many processes will end the next one too.
MOST_DEATHS = 4
PATIENCE_S = 30.0
# Of a cluster that is started for one command; parts stay in it for a moment only.
STORE_BYTES = 256 * 2**20
_KINDS = {kind.__name__: kind for kind in (EmbedkitError, UsageError, ImageError)}


@dataclass(eq=False)
class _Actor:
    """One actor.

    Parameters
    ----------
    handle
        Ray's.
    holds
        How many parts it was given and has not sent.
    """

    handle: Any
    holds: int = 0


class OnRay:
    """Actors on a Ray cluster that compute parts and send them back.

    What ended with its process or machine is given to another one. A new actor is asked for in the place of
    one that is gone, and comes where and when the cluster has room.

    Parameters
    ----------
    work
        What they compute.
    address
        ``HOST:PORT`` of the cluster's head, ``auto`` for the one that this machine belongs to, or None for a
        cluster that is started here and ends with the work.
    processes
        How many actors; by default one a card, and without cards one a core.
    device
        ``auto``, ``cpu`` or ``cuda``.
    """

    def __init__(self, work: Work, address: str | None, processes: int | None, device: str) -> None:
        self._work = work
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._processes = processes
        self._device = device
        self._ready: list[_Actor] = []
        # What each reference that Ray will answer stands for: an actor, and a part or None for its beginning.
        self._awaited: dict[Any, tuple[_Actor, int | None]] = {}
        self._devices: set[str] = set()
        # Processes that ended with each part, or with None before they had begun.
        self._deaths: Counter[int | None] = Counter()
        self._complained = False
        self._ask_for_one: Callable[[], Any]

    @property
    def devices(self) -> Sequence[str]:
        """The kinds of device of the actors so far."""
        return sorted(self._devices)

    def __enter__(self) -> OnRay:
        self._ray = import_ray()
        self._owns = not self._ray.is_initialized()
        if self._owns:
            _connect(self._ray, self._address, self._processes)
        try:
            self._hire()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everyone = {id(actor): actor for actor in (*self._ready, *(one for one, _ in self._awaited.values()))}
        for actor in everyone.values():
            with contextlib.suppress(Exception):  # gone already, or the cluster is
                self._ray.kill(actor.handle)
        self._ready, self._awaited = [], {}
        if self._owns:
            self._ray.shutdown()

    def settle(self) -> dict[str, Any]:
        """Have the first actor that is there decide what all parts share."""
        while not self._ready:
            self._answers()
        try:
            return dict(self._ray.get(self._ready[0].handle.settle.remote()))
        except self._ray.exceptions.RayError as error:
            raise EmbedkitError(f"a process of the Ray cluster failed: {_said(error)}") from error

    def run(self, numbers: Sequence[int], settled: Mapping[str, Any]) -> Generator[Done]:
        """Give out the parts, and yield each that came back."""
        queue = deque(numbers)
        shared = self._ray.put(dict(settled))
        missing = set(numbers)
        while missing:
            for actor in self._ready:
                # The last ones go to whoever is free, not behind another.
                most = AHEAD if len(queue) >= len(self._ready) else 1
                while queue and actor.holds < most:
                    number = queue.popleft()
                    actor.holds += 1
                    self._awaited[actor.handle.compute.remote(number, shared)] = (actor, number)
            for done in self._answers():
                if done.result is None:
                    queue.appendleft(done.number)
                elif done.number in missing:
                    missing.discard(done.number)
                    yield done

    def _hire(self) -> None:
        """Ask for all actors; each is there when the cluster has room for it."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        has_cards = [node for node in nodes if node.get("GPU", 0) >= 1]
        cards = self._device == "cuda" or (self._device == "auto" and bool(has_cards))
        if cards:
            n = self._processes or int(sum(node["GPU"] for node in has_cards)) or 1
            cpus = int(min((node.get("CPU", 0) / node["GPU"] for node in has_cards), default=1))
        else:
            # A head that gives no cores computes nothing.
            cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
            n = self._processes or sum(cores) or 1
            cpus = min(threads_each(n, sum(cores)), *cores) if cores else 1
        try:
            packed = self._ray.put(self._ray.cloudpickle.dumps(self._work))
        except (TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"this dataset can't be sent to other machines ({first_line(error)}). Name it by its "
                "path, or leave out --engine."
            ) from error
        hire: Any = self._ray.remote(
            num_cpus=cpus,
            num_gpus=1 if cards else 0,
            scheduling_strategy="SPREAD",
            max_restarts=0,  # a part that an actor held is given to whoever is free
        )
        own = code_versions()
        kind, has = hire(hand_class()), ("cuda" if cards else "cpu", max(1, cpus))
        self._ask_for_one = lambda: kind.remote(packed, own, str(Path.cwd()), has)
        for _ in range(n):
            self._begin_one()

    def _begin_one(self) -> None:
        actor = _Actor(self._ask_for_one())
        self._awaited[actor.handle.begin.remote()] = (actor, None)

    def _answers(self) -> list[Done]:
        """Wait for an answer; returns the parts that it brought, without a result those to do again."""
        waits_since = time.monotonic()
        while not (answered := self._ray.wait(list(self._awaited), num_returns=1, timeout=1.0)[0]):
            if not (self._ready or self._complained) and time.monotonic() - waits_since > PATIENCE_S:
                self._complained = True
                note("The Ray cluster has no room yet for a process; waiting for it. `ray status` says why.")
        brought = []
        for reference in answered:
            actor, number = self._awaited.pop(reference)
            actor.holds -= number is not None
            try:
                what, content, host = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:  # a fault of ours, not of the machine
                raise EmbedkitError(f"a process of the Ray cluster failed: {_said(error)}") from error
            except self._ray.exceptions.RayError as error:
                self._lost(actor, number, error)
                if number is not None:
                    brought.append(Done(number))
                continue
            if what == "error":
                kind, words = content
                raise _KINDS.get(kind, EmbedkitError)(f"{host}: {words}")
            self._deaths.pop(number, None)
            if number is None:
                self._devices.add(content)
                self._ready.append(actor)
            else:
                brought.append(Done(number, content, host))
        return brought

    def _lost(self, actor: _Actor, number: int | None, error: Exception) -> None:
        """Have another actor in the place of one that is gone."""
        self._deaths[number] += 1
        if self._deaths[number] >= MOST_DEATHS:
            what = "it was to begin" if number is None else f"it computed part {number}"
            raise EmbedkitError(
                f"{MOST_DEATHS} processes of the Ray cluster ended while {what}: {_said(error)} What was "
                "finished is kept; the same command goes on from there."
            ) from error
        if number is not None and actor not in self._ready:
            return  # its other part said so already
        if actor in self._ready:
            self._ready.remove(actor)
        note("A process of the Ray cluster ended early. Its parts are given to others.")
        with contextlib.suppress(Exception):  # where only the line to it broke
            self._ray.kill(actor.handle)
        self._begin_one()


def import_ray() -> Any:
    """Import Ray, which is told to report nothing to anybody.

    Raises
    ------
    EmbedkitError
        It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise EmbedkitError(f"--engine ray needs Ray, the extra `ray`: {GET_RAY} ({error}).") from error
    return ray


def _connect(ray: Any, address: str | None, processes: int | None) -> None:
    """Join the cluster at the address, or start one on this machine."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address is not None and address != "local":
        check_address(address)
        quiet["address"] = address
    else:
        # More processes than cores are somebody's wish, and Ray would wait for cores.
        cores = max(n_cores(), processes or 1)
        quiet |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
        quiet["object_store_memory"] = STORE_BYTES
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EmbedkitError(
            f"--engine ray: no connection to {address or 'a cluster on this machine'} ({first_line(error)}). "
            "Give the command on a machine of the cluster, where `ray status` answers."
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, where Ray sets none either
            signal.signal(signal.SIGTERM, handler)


def _said(error: Exception) -> str:
    """Return what an error of Ray says, on one line: its last one, which is the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".") + "."
