"""How long something takes is said once, from steps that are alike, where it is long."""

import pytest

from embedkit.console import foretelling
from embedkit.console.foretelling import Foretold, say_long


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(foretelling.time, "perf_counter", lambda: now[0])
    return now


def _run(clock, seconds, steps, **settings):
    passed = []
    timed = Foretold(passed.append, sum(steps), "choosing k", "-k N gives it instead.", **settings)
    for step, spent in zip(steps, seconds, strict=True):
        clock[0] += spent
        timed(step)
    assert passed == list(steps)


def test_steps_that_take_long_are_said_once(clock, capsys):
    _run(clock, [0.4] * 100, [1] * 100)
    assert capsys.readouterr().err == "About 40 seconds for choosing k. -k N gives it instead.\n"


def test_steps_count_by_what_they_do(clock, capsys):
    _run(clock, [2.0 * k for k in range(2, 13)], range(2, 13))
    assert capsys.readouterr().err.startswith("About 3 minutes")  # 2 x (2 + ... + 12) s


def test_a_first_step_that_is_unlike_the_others_tells_nothing(clock, capsys):
    _run(clock, [300.0] + [0.5] * 40, [1] * 41, uneven=True)
    assert capsys.readouterr().err.startswith("About 20 seconds")


@pytest.mark.parametrize("seconds", [[0.05] * 100, [9.0], [1.0, 1.0]])
def test_what_is_short_or_over_is_not_said(clock, capsys, seconds):
    _run(clock, seconds, [1] * len(seconds))
    say_long(9.9, "a few rows", "Wait.")
    assert capsys.readouterr().err == ""
