"""A class has one hue in every column."""

import numpy as np

from reports.map.columns import Category, limited
from reports.map.hues import hues


def column(key, names, *, section="Annotations", stands_for=()):
    return Category(key, key, section, np.zeros(3, np.int64), tuple(names), "none", tuple(stands_for))


def test_a_class_keeps_its_hue_in_predictions_and_in_the_clusters_matched_to_it():
    label = column("label", ["disc", "spiral", "star"])
    cluster = column(
        "c",
        ["cluster 0 (star)", "cluster 1", "cluster 2 (disc)"],
        section="Clusterings",
        stands_for=["star", "", "disc"],
    )
    predicted = column("p", ["spiral", "star"], section="Probes")
    found = hues([label, cluster, predicted])
    assert found["label"] == (0, 1, 2)
    assert found["c"] == (2, 1, 0)
    assert found["p"] == (1, 2)


def test_clusters_of_one_number_are_not_one_class():
    first = column("a", ["cluster 0", "cluster 1"], section="Clusterings")
    second = column("b", ["cluster 1", "cluster 7"], section="Clusterings")
    assert hues([first, second]) == {"a": (0, 1), "b": (0, 1)}


def test_hues_differ_within_a_column():
    label = column("label", [f"c{i}" for i in range(12)])
    verdict = column("v", ["c3", "right", "wrong", "c0"])
    numbers = hues([label, verdict])["v"]
    assert numbers[0] == 3
    assert numbers[3] == 0
    assert len(set(numbers)) == 4


def test_the_largest_clusters_keep_what_they_stand_for():
    codes = np.repeat(np.arange(100), np.arange(1, 101))
    names = tuple(f"cluster {i}" for i in range(100))
    many = Category("c", "c", "Clusterings", codes, names, "noise", tuple(str(i) for i in range(100)))
    kept = limited(many)
    assert len(kept.names) == len(kept.alike) == 60
    assert kept.alike[-2:] == ("99", "")
