"""Votes on simulated galaxies: the truth behind them, and the error that nobody can go below."""

import hashlib

import numpy as np
import pytest

from embedkit.datasets.load import load_again, load_dataset
from embedkit.datasets.simulated_galaxies import CLASS_NAMES, _galaxy, parameters
from embedkit.datasets.simulated_votes import VOLUNTEERS, chances, simulated_votes, votes_behind
from embedkit.files.vote_tree import GALAXY_ZOO_2, check_votes, contradictions, tree_of


def test_images_labels_and_fingerprint_without_votes_are_what_they_were() -> None:
    plain, voted = (
        load_dataset("simulated", n=30, size=32),
        load_dataset("simulated", n=30, size=32, votes=True),
    )
    for row in range(30):
        np.testing.assert_array_equal(plain.read(row), voted.read(row))
    np.testing.assert_array_equal(plain.rows.labels, voted.rows.labels)
    assert plain.rows.targets is None
    assert plain.origin == {"source": "simulated", "n": 30, "size": 32, "seed": 0}
    assert plain.fingerprint != voted.fingerprint
    # As written by the version before there were votes.
    assert load_dataset("simulated", n=60).fingerprint.startswith("eb6543f6996929a57597")
    assert load_dataset("simulated", n=60, votes=False).fingerprint.startswith("eb6543f6996929a57597")


def test_votes_are_targets_that_sum_up_the_tree_of_the_challenge() -> None:
    dataset = load_dataset("simulated", n=50, size=16, votes=True, dataset_seed=3)
    assert tree_of(dataset.rows.target_names) == GALAXY_ZOO_2
    assert not contradictions(dataset.rows.targets, GALAXY_ZOO_2).any()
    check_votes(dataset.rows.targets, GALAXY_ZOO_2, dataset.rows.ids, "simulated")
    again = load_again(dataset.origin)
    assert again.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(again.rows.targets, dataset.rows.targets)
    behind = votes_behind(dataset.origin)
    np.testing.assert_array_equal(behind.shares.astype(np.float32), dataset.rows.targets)
    assert votes_behind(load_dataset("simulated", n=5).origin) is None
    assert votes_behind({"source": "galaxy-zoo-2"}) is None


def test_a_row_does_not_depend_on_how_many_there_are() -> None:
    few, many = simulated_votes(12, 4), simulated_votes(40, 4)
    np.testing.assert_array_equal(few.shares, many.shares[:12])
    np.testing.assert_array_equal(few.probabilities, many.probabilities[:12])
    assert (simulated_votes(12, 5).shares != few.shares).any()
    taken = many.take(np.array([3, 5]))
    np.testing.assert_array_equal(taken.shares, many.shares[[3, 5]])


def test_votes_are_whole_numbers_of_about_40_and_fewer_down_the_tree() -> None:
    votes = simulated_votes(100, 0)
    assert votes.volunteers.min() >= VOLUNTEERS[0]
    assert votes.volunteers.max() <= VOLUNTEERS[1]
    assert len(np.unique(votes.volunteers)) > 3
    counts = votes.shares * votes.volunteers[:, None]
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    for branch in GALAXY_ZOO_2.branches:
        asked = votes.volunteers if branch.parent is None else counts[:, branch.parent]
        np.testing.assert_allclose(counts[:, list(branch.columns)].sum(axis=1), asked, atol=1e-9)


def test_what_is_drawn_of_a_galaxy_does_not_depend_on_the_size_of_its_image() -> None:
    for kind in range(len(CLASS_NAMES)):
        for size in (16, 101):
            large, small = np.random.default_rng([7, kind]), np.random.default_rng([7, kind])
            assert _galaxy(kind, size, large)[1] == parameters(kind, small)
            assert large.bit_generator.state == small.bit_generator.state


@pytest.mark.parametrize("kind", range(10), ids=CLASS_NAMES)
def test_chances_are_probabilities_and_nobody_is_certain(kind: int) -> None:
    for seed in range(20):
        within = chances(kind, parameters(kind, np.random.default_rng(seed)))
        for branch in GALAXY_ZOO_2.branches:
            assert within[list(branch.columns)].sum() == pytest.approx(1)
        assert within.min() > 0
        assert within.max() < 0.97


def test_chances_follow_the_galaxy() -> None:
    column = {one.name[4:]: i for i, one in enumerate(GALAXY_ZOO_2.answers)}
    tightly, loosely = column["arms_winding_a28_tight"], column["arms_winding_a30_loose"]
    two, more = column["arms_number_a32_2"], column["arms_number_a33_3"]
    bar, odd = column["bar_a06_bar"], column["odd_a14_yes"]
    rounded, pointed = column["rounded_a16_completely_round"], column["rounded_a18_cigar_shaped"]
    spiral = {"axis_ratio": 0.8, "n_arms": 2, "bulge": 0.7, "pitch": 10.0}
    kind = CLASS_NAMES.index("Unbarred Tight Spiral")
    tight, loose = chances(kind, spiral), chances(kind, spiral | {"pitch": 30.0})
    assert tight[tightly] > 0.5 > loose[tightly]
    assert loose[loosely] > 0.5 > tight[loosely]
    three = chances(kind, spiral | {"n_arms": 3})
    assert tight[two] > three[two]
    assert three[more] > tight[more]
    assert chances(CLASS_NAMES.index("Barred Spiral"), spiral)[bar] > 0.5 > tight[bar]
    round_, cigar = (chances(2, {"axis_ratio": q}) for q in (0.95, 0.3))
    assert round_[rounded] > 0.5 > cigar[rounded]
    assert cigar[pointed] > 0.5 > round_[pointed]
    apart = [chances(CLASS_NAMES.index("Merging"), {"apart": far})[odd] for far in (0.06, 0.14)]
    assert apart[0] < apart[1]


def test_the_noise_floor_is_what_the_truth_scores_over_many_drawings() -> None:
    votes = simulated_votes(30, 1)
    rng = np.random.default_rng(0)
    squared = []
    for _ in range(400):  # another 400 times the same galaxies, by a loop over questions
        counts = np.zeros(votes.shares.shape)
        for row, n in enumerate(votes.volunteers):
            for branch in GALAXY_ZOO_2.branches:
                asked = int(n if branch.parent is None else counts[row, branch.parent])
                share = 1.0 if branch.parent is None else votes.probabilities[row, branch.parent]
                p = votes.probabilities[row, list(branch.columns)] / share
                counts[row, list(branch.columns)] = rng.multinomial(asked, p)
        squared.append(((counts / votes.volunteers[:, None] - votes.probabilities) ** 2).mean())
    spread = np.std(squared) / np.sqrt(len(squared))
    assert abs(np.mean(squared) - votes.noise_floor() ** 2) < 4 * spread
    assert spread < 0.01 * votes.noise_floor() ** 2


def test_no_other_prediction_beats_the_truth() -> None:
    votes = simulated_votes(2000, 2)
    assert votes.best_rmse() == pytest.approx(votes.noise_floor(), rel=0.02)
    kinds = np.arange(2000) % 10
    by_kind = np.stack([votes.shares[kinds == kind].mean(axis=0) for kind in range(10)])[kinds]
    errors = {
        "the truth": votes.best_rmse(),
        "the mean of the kind": np.sqrt(((by_kind - votes.shares) ** 2).mean()),
        "the mean": np.sqrt(((votes.shares.mean(axis=0) - votes.shares) ** 2).mean()),
    }
    assert sorted(errors, key=errors.__getitem__) == list(errors)
    # There is something to learn beyond the ten kinds, and much beyond the mean.
    assert errors["the mean of the kind"] > 1.08 * errors["the truth"]
    assert errors["the mean"] > 4 * errors["the truth"]


def test_votes_are_the_same_on_every_machine() -> None:
    shares = (simulated_votes(20, 0).shares * 1000).round().astype(np.int64)
    assert hashlib.sha256(shares.tobytes()).hexdigest()[:16] == "a2cf6a3824828587"
