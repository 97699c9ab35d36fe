"""Ctrl-C, TERM and HUP: the exit codes of shells, no traceback, nothing half-written; and broken streams."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# What a command is at when the signal comes. Each says READY on stderr when it has begun.
WORK = {
    "python": "time.sleep(60)",
    "an import": "sys.path.insert(0, folder); import slow_to_import",
    "a thread pool": "list(concurrent.futures.ThreadPoolExecutor(2).map(time.sleep, [60] * 4))",
    "C that lets nobody in": "ctypes.CDLL(None).sleep(60)",
    "a library that makes another error of it": "translated()",
    "a file": "half(folder)",
    "a step of a bench": "step()",
}
COMMAND = """
import concurrent.futures, ctypes, os, sys, time
from pathlib import Path
from embedkit import cli
from embedkit.computing import interrupts

folder = sys.argv.pop()
interrupts.GRACE_S = 1.0

def translated():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise RuntimeError("computation interrupted")

def half(folder):
    from embedkit.files.aside import aside
    with aside(Path(folder) / "out.txt") as temporary:
        temporary.write_text("half")
        time.sleep(60)

def step():
    from embedkit.workflows.bench_run import Running
    from embedkit.workflows.step import Step
    running = Running(Path(folder) / "none", 1, {})
    running.run(Step("report", ("x.h5",), ()), translated)

def job(argv):
    os.write(2, b"READY\\n")
    WORK

cli._command = job
sys.exit(cli.main())
"""


def start(work, folder):
    (folder / "slow_to_import.py").write_text("import time\ntime.sleep(60)\n")
    code = COMMAND.replace("WORK", WORK[work])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    os.set_blocking(process.stderr.fileno(), True)
    assert process.stderr.readline() == b"READY\n"
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_a_command_with_its_own_exit_code(work, number, tmp_path):
    if number != signal.SIGINT and work in ("an import", "a thread pool"):
        pytest.skip("as Ctrl-C")
    process = start(work, tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == SIGNALS[number], said
    assert b"Traceback" not in said
    assert said.count(b"interrupted. What was finished is kept") == 1
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".tmp", ".txt")]


def test_a_second_signal_ends_it_at_once(tmp_path):
    process = start("a file", tmp_path)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from embedkit import cli\n"
        "cli._command = lambda argv: signal.raise_signal(signal.SIGHUP)\nsys.exit(cli.main())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def command(redirected, *words):
    """Run embedkit in a shell, with its streams as they are given."""
    line = f'"{sys.executable}" -m embedkit.cli {" ".join(words)} {redirected}'
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_a_result_that_can_not_be_shown_is_an_error():
    for streams in ("> /dev/full", ">&-"):
        done = command(streams, "datasets", "--json")
        assert done.returncode == 1
        assert "standard output" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_messages_that_can_not_be_shown_stop_nothing():
    for streams in ("2> /dev/full", "2>&-"):
        done = command(streams, "datasets")
        assert done.returncode == 0
        assert "galaxy10" in done.stdout


def test_a_reader_that_has_gone_is_no_traceback():
    done = command("| head -c 1", "datasets", "--json")
    assert done.stdout == "{"
    assert done.stderr == ""
