"""Lists of outliers, pairs and doubtful labels, against naive loops."""

import numpy as np
import pytest

from reports.map.columns import Category
from reports.map.neighbours import nearest_neighbours
from reports.map.ranks import disagreements, duplicates, outliers, ranks


def near_of(n=40, k=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 5))
    return x, nearest_neighbours(x, k, metric="euclidean")


def test_outliers_by_the_distance_to_the_kth():
    x, near = near_of()
    away = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 6]
    assert outliers(near).rows == np.argsort(-away).tolist()


@pytest.mark.parametrize(
    ("n", "words"), [(2, "the nearest,"), (3, "the 2nd nearest,"), (4, "the 3rd nearest,")]
)
def test_which_neighbour_of_few_is_said(n, words):
    assert words in outliers(near_of(n)[1]).words


def test_duplicates_are_pairs_each_once_nearest_first():
    x, _ = near_of()
    x[7] = x[3]
    rank = duplicates(nearest_neighbours(x, 6, metric="euclidean"))
    assert rank.rows[0] == [3, 7]
    assert rank.values[0] == "same features"
    assert len({tuple(pair) for pair in rank.rows}) == len(rank.rows)
    lengths = [np.linalg.norm(x[a] - x[b]) for a, b in rank.rows]
    assert lengths == sorted(lengths)


def test_disagreements_against_a_naive_loop():
    _, near = near_of()
    codes = np.random.default_rng(1).integers(-1, 3, 40)
    label = Category("label", "label", "", codes, ("a", "b", "c"), "none")
    score = {}
    for i in range(40):
        theirs = [codes[j] for j in near.index[i] if codes[j] >= 0]
        if codes[i] >= 0 and theirs:
            most = max(theirs.count(c) for c in range(3) if c != codes[i])
            score[i] = (most - theirs.count(codes[i])) / len(theirs)
    expected = sorted((i for i in score if score[i] > 0), key=lambda i: (-score[i], i))
    assert disagreements(near, label).rows == expected


def test_one_class_disagrees_with_nothing_and_one_image_has_no_lists():
    _, near = near_of()
    label = Category("label", "label", "", np.zeros(40, np.int64), ("a",), "none")
    assert [rank.title for rank in ranks(near, label, [])] == ["Outliers", "Near duplicates"]
    assert ranks(nearest_neighbours(np.ones((1, 3))), None, []) == []
