import io
import sys
import time

import pytest

from embedkit import console
from embedkit.console import starting
from embedkit.console.visible import Visible


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(starting, "AFTER_SECONDS", 0.01)
    return Terminal()


def until_said(stream):
    for _ in range(500):
        if stream.getvalue():
            return
        time.sleep(0.01)


def test_a_command_that_has_nothing_to_say_yet_says_that_it_starts(terminal):
    with starting.starting("embedkit cluster: starting ...", terminal):
        until_said(terminal)
        assert terminal.getvalue() == "embedkit cluster: starting ..."
        Visible(terminal).write("k = 8\n")
    assert terminal.getvalue() == "embedkit cluster: starting ...\r\x1b[2Kk = 8\n"


def test_a_note_takes_the_word_away(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    with starting.starting("embedkit cluster: starting ...", terminal):
        until_said(terminal)
        console.note("k = 8")
    assert terminal.getvalue() == "embedkit cluster: starting ...\r\x1b[2Kk = 8\n"


def test_one_who_speaks_at_once_is_not_interrupted(terminal, monkeypatch):
    monkeypatch.setattr(starting, "AFTER_SECONDS", 0.2)
    with starting.starting("embedkit cluster: starting ...", terminal):
        starting.started()
        time.sleep(0.4)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("kind", ["file", "dumb"])
def test_nothing_is_said_where_nobody_looks_or_a_line_cannot_be_taken_back(terminal, monkeypatch, kind):
    stream = io.StringIO() if kind == "file" else terminal
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    with starting.starting("embedkit cluster: starting ...", stream):
        time.sleep(0.1)
    assert stream.getvalue() == ""


def test_a_failure_takes_the_word_away(terminal):
    def failing():
        with starting.starting("embedkit cluster: starting ...", terminal):
            until_said(terminal)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert terminal.getvalue().endswith("\r\x1b[2K")
