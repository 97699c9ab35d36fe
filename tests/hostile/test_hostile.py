"""A few cases of every row, drawn by hypothesis, always the same; benchmarks/hostile.py draws thousands."""

import os
import random
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.judge import judged
from tests.hostile.rows import ROWS
from tests.hostile.server import Server, _ended

CASES = 4  # of each row: about two minutes in all


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    world = tmp_path_factory.mktemp("hostile")
    server = Server(world)
    yield server, world
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_no_traceback_no_hang_no_request_nothing_executed_no_wrong_file(server, row):
    warm, world = server

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 10**9))
    def hold(seed):
        drawn = random.Random(f"{row} {seed}")
        case, faults = judged(warm, ROWS[row], drawn, world / "case", world / "sound")
        assert not faults, f"{case.what}\n" + "\n".join(
            f"{one.kind}: {one.command}\n{one.fact}" for one in faults
        )

    hold()


@pytest.mark.parametrize(
    ("code", "ends"),
    [("pass", True), ("time.sleep(60)", False), ("while True: pass", False)],
    ids=["quick", "waits", "computes"],
)
def test_what_hangs_waits_or_computes_without_end(code, ends, monkeypatch):
    monkeypatch.setenv("HOSTILE_SECONDS", "0.3" if not ends else "20")
    child = subprocess.Popen([sys.executable, "-S", "-c", f"import time\n{code}"])
    watch = os.pidfd_open(child.pid)
    assert _ended(watch, child.pid) == ends
    child.kill()
    child.wait()
    os.close(watch)


@pytest.mark.slow
def test_what_falls_is_seen(server, monkeypatch):
    """The judge itself: each kind of fault, made on purpose."""
    warm, world = server
    folder = world / "case"
    folder.mkdir(exist_ok=True)
    run = warm.run(["verify", "missing.h5"], folder)
    assert run.code == 1
    assert b"no such file" in run.err
    run = warm.run(["datasets", "galaxy10-sdss"], folder)
    assert any("look up" in one or "connect" in one for one in run.requests)
