"""The merger fraction against a simulation, and the submission against the challenge's own table."""

import csv
import io

import numpy as np
import pytest

from embedkit import EmbedkitError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5
from reports.votes.answers import Votes
from reports.votes.kaggle import submission
from reports.votes.mergers import FRACTION, LITERATURE, Confusion, merger_fraction, rogan_gladen


def test_a_worked_example():
    # q = 0.2, Se = 0.8, Sp = 0.9: p = (0.2 + 0.9 - 1) / 0.7
    found = rogan_gladen(0.2, 1000, Confusion(100, 1000, 80, 900))
    p = 0.1 / 0.7
    q, se, sp = 201 / 1002, 81 / 102, 901 / 1002
    variance = q * (1 - q) / 1000 + p**2 * se * (1 - se) / 100 + (1 - p) ** 2 * sp * (1 - sp) / 1000
    assert found.value == pytest.approx(p)
    assert found.high - found.value == pytest.approx(1.96 * np.sqrt(variance) / 0.7, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


@pytest.mark.parametrize(
    ("p", "se", "sp", "n", "n_yes", "n_no"),
    [(0.15, 0.75, 0.95, 2000, 200, 1000), (0.05, 0.85, 0.999, 400, 20, 200), (0.2, 0.98, 0.98, 500, 30, 100)],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(p, se, sp, n, n_yes, n_no):
    rng = np.random.default_rng(0)
    held = values = 0
    for _ in range(1000):
        q = rng.binomial(n, p * se + (1 - p) * (1 - sp)) / n
        found = rogan_gladen(q, n, Confusion(n_yes, n_no, rng.binomial(n_yes, se), rng.binomial(n_no, sp)))
        held += found.low <= p <= found.high
        values += found.value
    assert values / 1000 == pytest.approx(p, abs=0.004)
    assert 0.93 < held / 1000 < 0.99


def test_a_perfect_model_leaves_the_count_as_it_is():
    found = rogan_gladen(0.1, 500, Confusion(50, 50, 50, 50))
    assert found.value == pytest.approx(0.1)
    alone = rogan_gladen(0.1, 500, Confusion(10**7, 10**7, 10**7, 10**7))
    assert alone.high - 0.1 == pytest.approx(1.96 * np.sqrt(0.1 * 0.9 / 500), rel=0.02)
    assert found.high > alone.high  # 50 of 50 may yet miss one in a hundred


def test_what_can_t_be_corrected_says_why():
    assert "better than by chance" in rogan_gladen(0.1, 10, Confusion(10, 10, 3, 7)).note
    nothing = rogan_gladen(0.1, 10, Confusion(0, 10, 0, 9))
    assert nothing.value is None
    assert "no merger" in nothing.note
    cut = rogan_gladen(0.01, 100, Confusion(10, 100, 8, 90))
    assert cut.value == 0
    assert "before, -0.129" in cut.note


def test_counts_and_confusion_are_a_loop():
    rng = np.random.default_rng(1)
    true, seen, predicted = rng.random(80), rng.random(80), rng.random(30)
    found = merger_fraction(true, seen, predicted, share=0.4)
    yes = [(a >= 0.4, b >= 0.4) for a, b in zip(true, seen, strict=True)]
    assert found.confusion == Confusion(
        sum(a for a, _ in yes), sum(not a for a, _ in yes), yes.count((True, True)), yes.count((False, False))
    )
    assert found.counted.value == pytest.approx((predicted >= 0.4).mean())
    assert found.mean_share.value == pytest.approx(predicted.mean())
    half = 1.96 * predicted.std(ddof=1) / np.sqrt(30)
    assert found.mean_share.high == pytest.approx(predicted.mean() + half, rel=1e-3)


def test_a_share_that_float32_rounds_down_still_reaches_the_threshold():
    shares = np.array([0.4, 0.1], np.float32).astype(np.float64)
    assert merger_fraction(shares, shares, shares, share=0.4).counted.value == 0.5
    assert merger_fraction(shares, shares, np.float64([0.7]).astype(np.float32), share=0.7).counted.value == 1


def votes(tree, names=None):
    t = len(tree.answers) if names is None else len(names)
    found = tree if names is None else None
    names = tree.target_names if names is None else names
    return Votes("set", np.array(["1"]), np.zeros((1, t)), tuple(names), found)


def test_a_submission_is_the_challenges_table(shared):
    sample = shared / "data" / "gz_kaggle_sample" / "training_solutions_rev1.csv"
    header, *rows = list(csv.reader(io.StringIO(sample.read_text())))
    values = np.array([row[1:] for row in rows], float)
    ids = [f"{row[0]}.jpg" for row in rows]
    text = submission(ids[::-1], values[::-1], votes(GALAXY_ZOO_2), "p.csv")
    own, *lines = list(csv.reader(io.StringIO(text)))
    assert own == header
    assert [line[0] for line in lines] == [row[0] for row in rows]
    np.testing.assert_allclose(np.array([line[1:] for line in lines], float), values, atol=1e-6)


def test_targets_in_another_order_stand_in_the_challenges():
    from dataclasses import replace

    order = np.random.default_rng(0).permutation(37)
    tree = replace(GALAXY_ZOO_2, target_names=tuple(GALAXY_ZOO_2.answers[j].name for j in order))
    text = submission(["20", "3"], np.stack([order, order]) / 100, votes(tree), "p.csv")
    lines = text.splitlines()
    assert lines[1] == ",".join(["3", *(f"{j / 100:g}" for j in range(37))])
    assert lines[2].startswith("20,")


def test_what_is_no_submission_is_refused():
    with pytest.raises(
        UsageError, match="the 37 answers of Galaxy Zoo 2, but set has 34 answers of Galaxy Zoo"
    ):
        submission(["1"], np.zeros((1, 34)), votes(GALAXY_ZOO_DECALS_5), "p.csv")
    with pytest.raises(UsageError, match="set has 2 targets of no known tree"):
        submission(["1"], np.zeros((1, 2)), votes(GALAXY_ZOO_2, ["a", "b"]), "p.csv")
    with pytest.raises(EmbedkitError, match=r"p.csv: 'a.png' is no GalaxyID"):
        submission(["a.png"], np.zeros((1, 37)), votes(GALAXY_ZOO_2), "p.csv")
    with pytest.raises(EmbedkitError, match=r"p.csv: 7 is there twice"):
        submission(["7", "7.jpg"], np.zeros((2, 37)), votes(GALAXY_ZOO_2), "p.csv")


def test_a_published_value_per_time_is_no_fraction():
    for one in LITERATURE:
        assert (one.unit == FRACTION) == ("Gyr" not in one.value), one
