import io
import sys
import unicodedata

import pytest
from rich.table import Table
from rich.text import Text

from embedkit import console
from embedkit.cli import main
from embedkit.console.visible import Visible, visible

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \u202eabc\u2066 \x9b31m \x85 \u2028 \udcff \x7f \rover"


def steers(text):
    # By Unicode's own classes: controls, separators, surrogates, and what has a say in the direction.
    return [
        c
        for c in text
        if (unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") and c not in "\n\t")
        or unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or c in "\u200e\u200f\u061c"
    ]


def test_every_character_that_steers_is_escaped_and_no_other_is_touched():
    for number in range(0x110000):
        c = chr(number)
        if steers(c):
            assert visible(f"a{c}b").encode("ascii").decode("unicode_escape") == f"a{c}b"
        elif not 0xFFF9 <= number <= 0xFFFB:
            assert visible(c) == c
    assert visible("a\r\nb") == "a\r\nb"


def test_what_cannot_be_encoded_is_escaped():
    raw = io.BytesIO()
    stream = Visible(io.TextIOWrapper(raw, encoding="ascii"))
    print("Größe", file=stream, flush=True)
    assert raw.getvalue() == rb"Gr\xf6\xdfe" + b"\n"


def test_a_message_of_a_command_steers_nothing(capsys):
    assert main(["verify", f"{HOSTILE}.h5"]) == 1
    assert not steers(capsys.readouterr().err)
    assert main(["verify", "x.h5", HOSTILE]) == 2
    assert not steers(capsys.readouterr().err)


@pytest.mark.parametrize("terminal", [False, True])
def test_tables_and_notes_show_text_as_it_is(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")
    table = Table("[red]", HOSTILE, title=HOSTILE)
    table.add_row("[/] :smile: [link=x]y", HOSTILE)
    table.add_row(Text("[bold]" + HOSTILE), "")
    console.print_table(table)
    console.note(f"[/]{HOSTILE}")
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not steers(text.replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", ""))
    assert "[red]" in said.out
    assert "[/] :smile: [link=x]y" in said.out
    assert "[/]" in said.err


def test_the_streams_are_given_back():
    before = sys.stdout, sys.stderr
    main(["--version"])
    assert (sys.stdout, sys.stderr) == before
