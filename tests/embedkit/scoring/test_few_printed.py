"""Of few rows few lines are printed; the result holds all."""

import numpy as np
import pytest

from embedkit.files.results import Metric
from embedkit.scoring.class_scores import score_predictions
from embedkit.scoring.metrics import METRICS
from embedkit.scoring.score_tables import FEW_ROWS, FIRST, print_each, print_left_out, printed

ALL = {name: Metric(0.5) for name in ("nmi", "accuracy", "ari", "majority_accuracy", "ece")}


def test_few_rows_print_what_is_ranked_and_chance(capsys):
    assert printed(ALL, 10) == ["accuracy", "majority_accuracy"]
    print_left_out(ALL, 10)
    assert (
        capsys.readouterr().out
        == "10 rows have a label: 3 more figures, of so few rows, are in the result.\n"
    )
    assert printed(ALL, FEW_ROWS) == list(ALL)
    print_left_out(ALL, FEW_ROWS)
    assert not capsys.readouterr().out
    assert printed({"nmi": Metric(1.0)}, 3) == ["nmi"]
    assert set(FIRST) <= set(METRICS)


@pytest.mark.parametrize(("n", "c", "lines"), [(10, 2, 4), (10, 20, 1), (60, 2, 9), (3000, 1000, 43)])
def test_each_class_has_a_line_only_where_it_says_something(capsys, n, c, lines):
    y = np.arange(n) % c
    scores = np.full((n, c), 0.1)
    scores[np.arange(n), y] = 0.9
    print_each(score_predictions(y, scores, class_names=[f"class {i}" for i in range(c)]))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == lines
    assert ("recall" in out) == (n >= FEW_ROWS)
