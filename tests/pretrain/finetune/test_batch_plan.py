import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import UsageError
from pretrain.finetune.batch_plan import parse_batch_plan


def test_the_published_plan():
    sizes = parse_batch_plan("32x5, 32-64x10, 128x81, 64x4").sizes(100)
    assert len(sizes) == 100
    assert sizes[:5] == (32,) * 5
    assert list(sizes[5:15]) == [int(np.floor(v + 0.5)) for v in np.linspace(32, 64, 10)]
    assert sizes[15:96] == (128,) * 81  # from epoch 15, counted from 0
    assert sizes[96:] == (64,) * 4
    assert parse_batch_plan("32x5,32-64x10,128,64x4").sizes(100) == sizes


def test_ends_are_whole_batches():
    assert parse_batch_plan("64").ends(200, 3) == (3, 6, 9)
    assert parse_batch_plan("64x1, 100x1, 200x1").ends(200, 3) == (3, 5, 6)
    with pytest.raises(UsageError, match="a batch of 64 is more than the 63 images"):
        parse_batch_plan("64").ends(63, 1)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(2, 50))
def test_a_rise_is_linear(a, b, n):
    sizes = parse_batch_plan(f"{a}-{b}x{n}").sizes(n)
    assert (sizes[0], sizes[-1]) == (a, b)
    assert np.abs(np.array(sizes) - np.linspace(a, b, n)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64,",
        "x5",
        "64x",
        "64x0",
        "0",
        "-3",
        "6.4",
        "64 5",
        "32-64x1",
        "9999999",
        "3-x4",
        "٣",
        "1e3",
        "64,32",
    ],
)
def test_what_is_no_plan(text):
    with pytest.raises(UsageError, match="batch_plan"):
        parse_batch_plan(text)


def test_a_plan_of_another_length():
    with pytest.raises(UsageError, match="for 9 epochs, and the phase has 10"):
        parse_batch_plan("32x5, 64x4").sizes(10)
    with pytest.raises(UsageError, match="for 9 epochs, and the phase has 8"):
        parse_batch_plan("32x5, 64, 64x4").sizes(8)
    with pytest.raises(UsageError, match="takes two or more"):
        parse_batch_plan("32x5, 32-64").sizes(6)
    assert parse_batch_plan("32x5, 32-64").sizes(5) == (32,) * 5
