"""What sets a cluster apart, and what lies beside it: against SciPy's tests and a naive loop."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import directional_stats, mannwhitneyu, norm

from embedkit.files.results import Result
from reports.map import evidence
from reports.map.columns import Category, Number
from reports.map.evidence import Clustering
from reports.map.sections import clusters
from reports.map.sections.traits import _Round, borders, traits


def number(values, title="size", section="Targets"):
    return Number(title, title, section, np.asarray(values, np.float32))


def test_a_number_is_told_by_how_often_it_is_larger():
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1, 2, -1], 40)
    values = rng.normal(size=160) + 2 * (cluster == 1)
    values[5] = np.nan
    found = traits(cluster, [number(values)])
    known = np.isfinite(values)
    for c in range(3):
        here, others = values[known & (cluster == c)], values[known & (cluster != c)]
        truth = mannwhitneyu(here, others)
        share = truth.statistic / (len(here) * len(others))
        assert bool(found[c]) == (truth.pvalue < 0.01 / 3)
        if found[c]:
            assert found[c][0].difference == pytest.approx(2 * share - 1)
    assert [bool(found[c]) for c in range(3)] == [False, True, False]
    words = found[1][0].words
    assert words.startswith("size higher than elsewhere in 9")
    assert f"median {np.median(values[cluster == 1]):.3g}, elsewhere" in words


def test_chance_names_next_to_nothing():
    """Of random columns, one page in a hundred at most names anything."""
    rng = np.random.default_rng(1)
    pages = 0
    for _ in range(100):
        cluster = rng.integers(0, 6, 300)
        columns = [number(rng.normal(size=300), f"t{i}") for i in range(5)]
        codes = rng.integers(0, 4, 300)
        columns.append(Category("label", "label", "Annotations", codes, tuple("abcd"), "none"))
        columns.append(angles(rng.uniform(0, 180, 300)))
        pages += any(traits(cluster, columns).values())
    assert pages <= 4  # the binomial's 99.7 % at one in a hundred


def angles(values, period=180.0):
    return Number("angle", "angle", "Images", np.asarray(values, np.float32), period=period)


def test_an_angle_is_told_by_its_unit_vectors_wherever_it_goes_round():
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1, -1], 60)
    # Around 0 degrees, which is 180: by numbers alone nothing would be seen.
    values = np.where(cluster == 0, rng.normal(0, 20, 180) % 180, rng.uniform(0, 180, 180))
    values[3] = np.nan
    (one,) = traits(cluster, [angles(values)])[0]
    known = np.isfinite(values)
    unit = np.column_stack([np.cos(np.deg2rad(2 * values)), np.sin(np.deg2rad(2 * values))])
    here = directional_stats(unit[known & (cluster == 0)])
    others = directional_stats(unit[known & (cluster != 0)])
    apart = here.mean_direction * here.mean_resultant_length
    apart -= others.mean_direction * others.mean_resultant_length
    assert one.difference == pytest.approx(np.hypot(*apart) / 2)
    assert f"(concentration {here.mean_resultant_length:.2f}), elsewhere about" in one.words
    told = float(one.words.split("about ")[1].split(" ")[0])
    assert min(told, 180 - told) < 8
    assert traits(cluster, [angles((values + 77) % 180)])[0][0].difference == pytest.approx(one.difference)


def test_the_chance_of_an_angle_is_that_of_permutations():
    rng = np.random.default_rng(1)
    values, inside = rng.uniform(0, 180, 150), np.arange(150) < 40
    values[:40] = (values[:40] * 0.8) % 180
    unit = np.exp(2j * np.deg2rad(values))

    def far(some):
        return abs(unit[some].mean() - unit[~some].mean())

    chance = np.mean([far(rng.permutation(inside)) >= far(inside) for _ in range(4000)])
    column = _Round.of(angles(values))
    # Named where the chance is above what is asked, else not.
    for level, told in ((1.3 * chance, True), (chance / 1.3, False)):
        assert bool(column.trait(inside, norm.isf(level / 2))) == told
    assert 0.01 < chance < 0.3


def test_ties_and_constants_are_no_difference():
    cluster = np.repeat([0, 1], 50)
    assert traits(cluster, [number(np.ones(100))]) == {0: [], 1: []}
    half = np.tile([0.0, 1.0], 50)
    assert traits(cluster, [number(half)]) == {0: [], 1: []}


def test_a_class_is_told_by_its_shares_among_the_labelled():
    cluster = np.repeat([0, 1], 60)
    codes = np.full(120, -1)
    codes[:30], codes[60:90] = 0, 1
    codes[:6], codes[60:66] = 1, 0
    label = Category("label", "label", "Annotations", codes, ("disk", "star"), "no label")
    assert [one.words for one in traits(cluster, [label])[0]] == [
        "label disk: 80 %, elsewhere 20 %",
        "label star: 20 %, elsewhere 80 %",
    ]


def test_what_was_made_of_the_features_makes_no_cluster():
    cluster = np.repeat([0, 1], 50)
    values = np.arange(100.0)
    for section in ("Clusterings", "Features", "Map", "Probes"):
        assert not any(traits(cluster, [number(values, section=section)]).values())


def test_borders_against_a_naive_loop():
    rng = np.random.default_rng(2)
    cluster = rng.integers(-2, 4, 80)
    near = np.stack([rng.permutation(np.delete(np.arange(80), i))[:7] for i in range(80)])
    found = borders(cluster, near, 5)
    for c in range(4):
        rows = np.flatnonzero(cluster == c)
        counts = {}
        for i in rows:
            for j in near[i]:
                if cluster[j] != c and cluster[j] != -2:
                    counts[int(cluster[j])] = counts.get(int(cluster[j]), 0) + 1
        largest = sorted(counts.values(), reverse=True)[:3]
        assert [round(share * 7 * len(rows)) for _, share in found[c].beside] == largest
        assert all(round(share * 7 * len(rows)) == counts[other] for other, share in found[c].beside)
        away = {i: sum(cluster[j] != c and cluster[j] != -2 for j in near[i]) for i in rows}
        assert [away[i] for i in found[c].rows] == sorted(away.values(), reverse=True)[:5]


def gallery(outcomes, codes, size=40):
    result = Result("cluster", "d", "f", "kmeans", {}, outcomes, "none", 0, {}, size, 0.0, "numpy")
    clustering = Clustering(result, "kmeans", np.zeros(size, np.int64), None, None)
    label = Category("label", "label", "Annotations", codes, ("merger", "spiral"), "no label")
    near = SimpleNamespace(index=np.empty((size, 0), np.int64))
    page = SimpleNamespace(columns=[label], clusterings=[clustering], neighbours=near, linked=())
    return clusters.section(page).data[0]["clusters"][0]


@pytest.mark.parametrize(
    ("mergers", "spirals", "named"),
    # Wilson's interval of 7 in 10 begins at 0.397, of 9 in 10 at 0.596.
    [(0, 0, False), (2, 0, False), (7, 3, False), (9, 1, True), (40, 0, True), (20, 20, False)],
)
def test_a_cluster_is_called_after_a_class_only_where_most_of_it_surely_is(mergers, spirals, named):
    codes = np.full(40, -1)
    codes[: mergers + spirals] = np.repeat([0, 1], [mergers, spirals])
    counts = {"class_names": ["merger", "spiral"], "confusion": [[mergers, 0], [spirals, 0]]}
    outcomes = {"matching": {"0": "merger"}, "confusion_columns": ["merger", "spiral"], **counts}
    expected = "cluster 0 (merger)" if named else "cluster 0"
    assert gallery(outcomes, codes)["name"] == expected
    result = Result("cluster", "d", "f", "kmeans", {}, outcomes, "none", 0, {}, 40, 0.0, "numpy")
    (column,) = Clustering(result, "kmeans", np.zeros(40, np.int64), None, None).columns()
    assert column.names == (expected,)
    assert gallery({"matching": {"0": "merger"}}, codes)["name"] == "cluster 0"


def named(number, **outcomes):
    outcomes = {"matching": {"0": "a", "1": "b"}, "class_names": ["a", "b"]} | outcomes
    result = Result("cluster", "d", "f", "kmeans", {}, outcomes, "none", 0, {}, 40, 0.0, "numpy")
    return Clustering(result, "kmeans", np.zeros(40, np.int64), None, None).name(number)


def test_a_line_that_keeps_anything_else_names_no_cluster():
    counts = {"confusion": [[30, 0], [0, 30]]}
    assert [named(0, **counts), named(1, **counts), named(2, **counts)] == [
        *("cluster 0 (a)", "cluster 1 (b)", "cluster 2")
    ]
    for broken in (
        {"class_names": 5},
        {"class_names": ["a", "a"]},  # which of the two?
        {"confusion_columns": None},
        {"confusion": [[-3, 0], [0, 5]]},
        {"confusion_cells": {"shape": [2, 2], "cells": [[0, 0, -3]]}},
        {"matching": {"0": ["a"]}},
    ):
        assert named(0, **(counts | broken)) == "cluster 0"


def test_the_confusions_of_a_thousand_clusters_are_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(evidence, "confusion_of", lambda outcomes: read.append(1) or np.eye(2, dtype=int))
    result = Result("cluster", "d", "f", "kmeans", {}, {}, "none", 0, {}, 40, 0.0, "numpy")
    Clustering(result, "kmeans", np.arange(1000), None, None).columns()
    assert len(read) == 1


def test_stability_stands_on_the_card_where_it_was_measured():
    codes = np.zeros(40, np.int64)
    words = "found again in resamples: Jaccard 0.91"
    assert gallery({"stability": {"similarity": [0.912]}}, codes)["stability"] == words
    for broken in (
        None,
        [],
        {"similarity": "x"},
        {"similarity": []},
        {"similarity": ["a"]},
        {"similarity": [7]},
    ):
        assert gallery({"stability": broken}, codes)["stability"] == ""
