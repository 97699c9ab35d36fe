"""A warm process that forks once for each command: nothing is imported twice, and no command hurts the next.

python -m tests.hostile.server

Says ``ready``, then reads requests as JSON lines. A command runs
under a limit of time and memory, can't reach the network, and what it tried is told.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.hostile.case import EXECUTED, Run
from tests.hostile.world import READY, small_parts

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MB = 1500
SECONDS = 30.0
MOST_TIMES = 10  # as many of these on a machine with other work
TRACEBACK = 70  # exit code of a command that ended in an exception


class Server:
    """The other side: starts a warm process and sends it commands."""

    def __init__(self, world: Path) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(world / "cache"),
            "HF_HOME": str(world / "cache" / "hub"),
            "EMBEDKIT_DATA": str(world / "cache" / "data"),
            "PYTHONWARNINGS": "",
            "COLUMNS": "100",
        }
        if not (world / READY).exists():
            making = [sys.executable, "-m", "tests.hostile.world", str(world)]
            subprocess.run(making, cwd=ROOT, env=environment, check=True, capture_output=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.server"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self._answer() != {"ready": True}:
            raise RuntimeError("the server did not start")

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def run(self, argv: list[str], folder: Path) -> Run:
        """Run one command in a folder."""
        assert self._process.stdin is not None
        request = {"argv": argv, "folder": str(folder)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer()
        logs = folder.with_name(folder.name + ".logs")
        out, err = ((logs / name).read_bytes() for name in ("out", "err"))
        requests = (logs / "requests").read_text(encoding="utf-8").splitlines()
        return Run(answer["code"], answer["seconds"], out, err, requests, (folder / EXECUTED).exists())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def import_everything() -> None:
    """Load what any verb may load, before the first fork."""
    from embedkit.verbs import VERBS, target

    for verb in VERBS.values():
        for name in filter(None, (verb.command, verb.function, *verb.options)):
            target(name)
    for name in (
        *("torch", "timm", "peft", "faiss", "h5py", "PIL.Image", "sklearn.cluster", "scipy.stats", "numba"),
        *("rich.console", "rich.table", "rich.progress", "plotly", "safetensors.torch", "msgspec", "tomllib"),
        *("huggingface_hub", "torch._dynamo"),
    ):
        importlib.import_module(name)


def _forbid_network(log: Path) -> None:
    def seen(what: str) -> None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(what.replace("\n", " ") + "\n")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            seen(f"connect {address}")
        raise OSError(101, "Network is unreachable")

    def look_up(host: Any, *_: Any, **__: Any) -> None:
        seen(f"look up {host}")
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = connect  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = look_up  # type: ignore[assignment]
    socket.gethostbyname = look_up  # type: ignore[assignment]


def _child(argv: list[str], folder: Path, logs: Path) -> None:
    """Become the command; does not return."""
    code = TRACEBACK
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        for descriptor, name in ((0, os.devnull), (1, logs / "out"), (2, logs / "err")):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            opened = os.open(name, flags, 0o600)
            os.dup2(opened, descriptor)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        _forbid_network(logs / "requests")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_MB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
        sys.path.insert(0, str(folder))
        from embedkit.cli import main

        faulthandler.dump_traceback_later(0.8 * _seconds(), repeat=True, file=2)  # where a hang hangs
        code = main(argv)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code if 0 <= code < 256 else TRACEBACK)


def _seconds() -> float:
    return float(os.environ.get("HOSTILE_SECONDS", SECONDS))


def _ended(watch: int, pid: int) -> bool:
    """Wait for a process; whether it ended by itself.

    One that computed for the time that is allowed hangs, and one that did nothing for so long; one that only
    waits for its turn on a machine with other work doesn't.
    """
    used = _computed(pid)
    for _ in range(MOST_TIMES):
        if select.select([watch], [], [], _seconds())[0]:
            return True
        before, used = used, _computed(pid)
        if used >= _seconds() or used - before < _seconds() / 100:
            return False
    return False


def _computed(pid: int) -> float:
    """Seconds of computing of a process, all of its threads; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve_one(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    logs = folder.with_name(folder.name + ".logs")
    logs.mkdir(exist_ok=True)
    for name in ("out", "err", "requests"):
        (logs / name).write_bytes(b"")
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(request["argv"], folder, logs)
    watch = os.pidfd_open(pid)
    over = _ended(watch, pid)
    if not over:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(watch)
    seconds = time.monotonic() - started
    return {"code": os.waitstatus_to_exitcode(status) if over else None, "seconds": seconds}


def serve() -> None:
    """Answer requests until the other side closes its end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_everything()
    small_parts()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_serve_one(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
