import io
import json
import re
import sys
from pathlib import Path

import numpy as np
from rich.table import Table

from embedkit import console


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_notes_go_to_stderr_as_they_are(capsys):
    console.note("[red]galaxy[/red] [3] " + "x" * 300)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "[red]galaxy[/red] [3] " + "x" * 300 + "\n"


def test_json_is_strict_and_knows_numbers_and_paths(capsys):
    console.print_json({"nan": float("nan"), "n": np.int64(3), "path": Path("a/b"), "x": (np.float32(0.5),)})

    def refuse(constant):
        raise AssertionError(constant)

    said = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert said == {"nan": None, "n": 3, "path": "a/b", "x": [0.5]}


def test_tables_are_not_folded_where_stdout_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("name", "value")
    table.add_row("n" * 60, "v" * 60)
    console.print_table(table)
    assert "n" * 60 + " │ " + "v" * 60 in capsys.readouterr().out


def test_a_table_that_does_not_fit_the_terminal_makes_way_for_the_next(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    wide, narrow = Table("one name", "n" * 12), Table("one name", "1")
    assert console.fitting(wide, narrow) is wide  # no terminal: as wide as it must be
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert console.fitting(wide, narrow) is narrow
    assert console.fitting(narrow, wide) is narrow
    assert console.fitting(wide) is wide


def test_names_that_are_too_long_for_a_terminal_are_not_cut(monkeypatch):
    monkeypatch.setattr(sys, "stdout", on_a_terminal(monkeypatch, "50"))
    names = [f"completely_round_smooth_galaxy_{c}" for c in "ab"] + ["星系銀河系螺旋形状大型天体分類名"]
    table = Table("class", "test rows", "recall", show_edge=False)
    for name in names:
        table.add_row(name, "20", "0.700 0.481-0.855")
    console.print_table(table)
    shown = re.sub(r"\x1b\[[\d;]*m", "", sys.stdout.getvalue())
    first = [line.partition("│")[0].strip() for line in shown.splitlines()[2:]]
    assert "".join(first) == "".join(names)


def test_numbers_stand_for_names():
    numbers, rows = console.numbered(list("abcdefghij"))
    assert numbers[8:] == ["9", "10"]
    assert rows[8:] == [" 9 i", "10 j"]
    assert console.numbered([]) == ([], [])


def test_progress_is_silent_where_stderr_is_no_terminal(capsys):
    with console.progress("extract", 10, unit="images") as advance:
        advance()
        advance(9)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_names_the_work_and_its_rate(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.progress("extract", 10, unit="images") as advance:
        advance(4)
        advance()
    shown = terminal.getvalue()
    assert "extract" in shown
    assert "5/10" in shown
    assert "images/s" in shown


def on_a_terminal(monkeypatch, columns="80"):
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_bar_within_a_bar_is_a_line_of_it_and_no_escape_sequence_is_seen(monkeypatch):
    screen = on_a_terminal(monkeypatch)
    with console.progress("folds", 2, unit="fold") as outer:
        for _ in range(2):
            with console.progress("fitting", 3, unit="row") as inner:
                console.note("said meanwhile")
                inner(3)
            outer()
    assert "\\x1b" not in screen.getvalue()
    assert "\\r" not in screen.getvalue()
    assert screen.getvalue().count("said meanwhile") == 2
    assert "fitting" in screen.getvalue()
    assert not console._drawn


def test_a_note_during_a_bar_stands_above_it_on_lines_of_its_own(monkeypatch):
    screen = on_a_terminal(monkeypatch, columns="60")
    with console.progress("choosing k", 2, unit="k") as advance:
        console.note("About 90 seconds for it: that is a sentence for two lines.")
        advance(2)
    with console.waiting("compiling"):
        console.note("a word")
    # What a terminal does with it: each piece begins where the last erased line was.
    begun = re.sub(r"\x1b\[\?25[lh]", "", re.split("About 90", screen.getvalue())[0])
    assert begun.endswith("\r\x1b[2K")
    begun = re.sub(r"\x1b\[\?25[lh]", "", screen.getvalue().partition("a word")[0])
    assert begun.endswith("\r\x1b[2K")


def test_a_title_wider_than_its_table_is_not_folded(capsys):
    table = Table("k", title="Evidence for each k, higher is better", title_justify="left", show_edge=False)
    table.add_row("2")
    console.print_table(table)
    console.print_table(table)  # which is left as it was
    assert capsys.readouterr().out.splitlines().count("Evidence for each k, higher is better") == 2


def test_what_nobody_knows_the_end_of_shows_that_it_goes_on(monkeypatch, capsys):
    with console.waiting("compiling") as stop:  # no terminal
        stop()
    assert capsys.readouterr().err == ""
    screen = on_a_terminal(monkeypatch)
    with console.waiting("compiling") as stop:
        stop()
        with console.progress("epochs", 2, unit="epoch") as advance:
            advance(2)
    assert "compiling" in screen.getvalue()
    assert "\\x1b" not in screen.getvalue()


def test_notes_on_a_terminal_break_between_words(monkeypatch):
    screen = on_a_terminal(monkeypatch, columns="40")
    console.note("Precision bf16 on cpu: its features agree with fp32.")
    assert screen.getvalue() == "Precision bf16 on cpu: its features\nagree with fp32.\n"


def test_what_several_steps_find_is_said_once(capsys):
    with console.said_once():
        for text in ("copies", "copies", "other"):
            console.note(text)
        with console.said_once():
            console.note("copies")
            console.note("inside")
        console.note("inside")  # another step may say it
    console.note("copies")
    assert capsys.readouterr().err.split() == ["copies", "other", "inside", "inside", "copies"]
