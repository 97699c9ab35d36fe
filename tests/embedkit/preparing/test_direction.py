"""When a cosine of centred rows is a sign, and that it is said."""

import numpy as np
import pytest

from embedkit.preparing.direction import cosine_remark, leading_share
from embedkit.preparing.steps import Preparation


def rows(spread):
    x = np.random.default_rng(0).normal(size=(300, 6))
    x[:, 0] *= spread
    return x - x.mean(axis=0)


def test_the_share_is_that_of_the_first_eigenvalue():
    x = rows(4)
    values = np.linalg.eigvalsh(np.cov(x, rowvar=False))
    assert leading_share(x) == pytest.approx(values[-1] / values.sum())
    assert leading_share(x[:1]) == leading_share(np.ones((5, 3))) == 0


@pytest.mark.parametrize(
    ("prep", "spread", "said"),
    [("pca95", 20, True), ("center", 20, True), ("pca95", 1, False), ("l2", 20, False), ("none", 20, False)],
)
def test_only_a_dominant_direction_of_centred_rows_is_said(prep, spread, said):
    found = cosine_remark(Preparation.parse(prep), rows(spread), "kNN compares by cosine")
    assert (found is not None) == said
    if found:
        assert f"--prep {prep} centres the rows" in found


@pytest.mark.parametrize(
    ("prep", "centres", "turns"),
    [
        ("none", False, False),
        ("l2", False, False),
        ("l2+pca95", True, False),
        ("pca95+l2", True, True),
        ("center+l2", True, True),
        ("l2+center+l2", True, True),
    ],
)
def test_where_directions_are_measured_from(prep, centres, turns):
    made = Preparation.parse(prep)
    assert (made.centres, made.turns_about_mean) == (centres, turns)
