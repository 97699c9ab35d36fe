"""Which images a group is shown by, whether it is of two kinds, and in which order groups stand."""

import itertools

import numpy as np
import pytest

from clustering.naming.groups import by_likeness, describe
from clustering.naming.mixed import separation
from clustering.naming.number import fine_k
from embedkit.errors import DataError


def test_a_group_of_two_kinds_is_told_from_one_kind_however_it_is_shaped():
    found = {"one": [], "two": [], "heavy": [], "long": [], "odd": []}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        one = rng.normal(size=(80, 20))
        two, odd = one.copy(), one.copy()
        two[:30, 3] += 7
        odd[0] += 15
        kinds = {"one": one, "two": two, "odd": odd, "heavy": rng.standard_t(3, (80, 20))}
        kinds["long"] = one * np.exp(-np.arange(20) / 3)
        for name, x in kinds.items():
            found[name].append(separation(x, seed=seed) > 2)
    assert all(found.pop("two"))
    assert {name: sum(times) <= 1 for name, times in found.items()} == dict.fromkeys(found, True)


def test_few_rows_tell_nothing_and_equal_ones_are_of_one_kind():
    assert np.isnan(separation(np.random.default_rng(0).normal(size=(29, 3))))
    assert separation(np.ones((50, 3))) == 0
    assert separation(np.repeat(np.eye(3), [48, 1, 1], axis=0)) == 0


def test_groups_are_shown_by_the_rows_nearest_to_the_centre():
    rng = np.random.default_rng(0)
    x, clusters = rng.normal(size=(60, 4)), rng.permutation(np.repeat([-1, 0, 3, 5], [5, 40, 12, 3]))
    distance = np.where(clusters >= 0, rng.random(60), np.nan)
    found = describe(x, clusters, distance)
    assert sorted(found.numbers.tolist()) == [0, 3, 5]
    for number, rows, spread, central in zip(
        found.numbers, found.rows, found.spread, found.central, strict=True
    ):
        members = np.flatnonzero(clusters == number)
        assert rows == len(members)
        nearest = members[np.argsort(distance[members])][:9].tolist()
        assert central.tolist() == nearest + [-1] * (9 - len(nearest))
        own, whole = (np.sqrt(y.var(axis=0).sum()) for y in (x[members], x))
        assert spread == pytest.approx(own / whole)
    assert np.isnan(found.separation[found.numbers == 5]).all()


def test_neighbours_in_the_list_are_alike():
    line = np.random.default_rng(1).permutation(12)
    order = by_likeness(np.column_stack([line, np.zeros(12)]).astype(float))
    assert np.abs(np.diff(line[order])).tolist() == [1] * 11
    # Of few, the shortest way of those that a tree allows is no longer than a random order's mean.
    means = np.random.default_rng(2).normal(size=(6, 3))

    def length(order):
        return np.linalg.norm(np.diff(means[list(order)], axis=0), axis=1).sum()

    lengths = sorted(length(one) for one in itertools.permutations(range(6)))
    assert length(by_likeness(means)) <= lengths[len(lengths) // 10]
    assert by_likeness(means[:1]).tolist() == [0]
    assert by_likeness(means[:2]).tolist() == [0, 1]


def test_the_number_of_groups_is_the_root_of_the_rows_and_forty_at_most():
    notes = []
    assert [fine_k(n, notes) for n in (3, 9, 100, 593, 1600, 2370, 10**7)] == [2, 3, 10, 24, 40, 40, 40]
    assert "root of 593 rows" in notes[3]
    with pytest.raises(DataError, match="2 rows are too few for -k auto:fine"):
        fine_k(2, notes)
