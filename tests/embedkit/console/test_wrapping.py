import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.console.wrapping import wrapped


def test_words_are_not_broken_and_what_fits_stays_as_it_is():
    text = "Precision bf16 on cpu: its features agree with fp32 (cosine at least 0.99996)."
    assert wrapped(text, 80) == text
    assert wrapped(text, 60).split("\n") == textwrap.wrap(text, 60)


def test_a_command_is_copied_as_one_line():
    command = "`embedkit extract DATASET --backbone pixels:32 -o pixels.h5`"
    assert command in wrapped(f"Control missing, so far as it is known: {command}, then the same.", 70)
    assert command in wrapped(f"Control missing: {command}, then the same command.", 20)  # longer than a line


@given(st.text(alphabet=" ab`-.\n", max_size=200), st.integers(5, 80))
def test_nothing_is_lost(text, width):
    assert wrapped(text, width).split() == text.split()


@pytest.mark.parametrize("text", ["", "\n[1/21] embedkit extract", "one\n\ntwo"])
def test_lines_that_were_there_stay(text):
    assert wrapped(text, 30) == text
