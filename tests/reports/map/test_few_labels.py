"""The curve of few labels: its points are the figures of the results, and hostile names are words."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from report_world import NASTY

from embedkit.files.results import Metric, Result
from reports.leaderboard.table import leaderboard
from reports.map.sections import few_labels


def result(budget, n_labels, value, features=NASTY):
    return Result(
        task=f"probe {budget}",
        dataset=NASTY,
        features=features,
        method="linear",
        params={"budget": budget},
        outcomes={"n_labels": n_labels},
        split="file",
        seed=0,
        metrics={"accuracy": Metric(value, value - 0.1, value + 0.1), "majority_accuracy": Metric(0.4)},
        n=50,
        seconds=1.0,
        backend="test",
    )


def test_points_stand_at_labels_and_scores_with_their_intervals():
    runs = [result("20 per class", 80, 0.7), result("2 per class", 8, 0.5), result("10 %", 40, 0.6)]
    made = few_labels.section(
        SimpleNamespace(board=leaderboard([*runs, result("5 per class", 9, 0.9, "alone")]))
    )
    assert made.script == ""
    tree = ElementTree.fromstring(
        f"<p>{made.body.split('charts')[1].partition('>')[2].removesuffix('</div>')}</p>"
    )
    dots = {
        one.findtext("title"): [float(one.get(side)) for side in ("cx", "cy")] for one in tree.iter("circle")
    }
    assert list(dots) == [
        "2 per class: 0.500 [0.400, 0.600]",
        "20 per class: 0.700 [0.600, 0.800]",
        "10 %: 0.600 [0.500, 0.700]",
    ]
    (x8, y5), (x80, y7), (x40, y6) = dots.values()
    assert y6 == pytest.approx((y5 + y7) / 2, abs=0.11)  # a linear axis
    assert (x40 - x8) / (x80 - x8) == pytest.approx(0.69897, abs=1e-3)  # log10(5): a logarithmic one
    assert NASTY in "".join(tree.itertext())
    assert "<script" not in made.body


def test_one_budget_is_no_curve():
    assert few_labels.section(SimpleNamespace(board=leaderboard([result("2 per class", 8, 0.5)]))) is None
