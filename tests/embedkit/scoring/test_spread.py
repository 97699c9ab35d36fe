import pytest

from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.scoring.spread import over_draws, spread_over


def test_spread_over_seeds():
    runs = [{"accuracy": Metric(v), "roc_auc": Metric(None, note="none")} for v in (0.5, 0.6, 0.7)]
    spread = spread_over(runs)
    assert list(spread) == ["accuracy"]
    found = spread["accuracy"]
    assert (found.mean, found.std) == pytest.approx((0.6, 0.1))
    assert (found.lowest, found.highest, found.n) == (0.5, 0.7, 3)
    # Student's t of 2 degrees of freedom: 4.3027.
    assert found.metric("seed").high - found.mean == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert found.metric("seed").note == "mean of 3 seeds"
    one = spread_over(runs[:1])["accuracy"].metric("seed")
    assert (one.low, one.note) == (None, "one seed")
    with pytest.raises(DataError, match="no runs"):
        spread_over([])


def test_a_mean_over_draws_stays_possible_and_keeps_what_no_draw_knows():
    draws = [{"accuracy": Metric(v, 0.1, 0.9), "roc_auc": Metric(None, note="none")} for v in (0.9, 1.0)]
    found = over_draws(draws)
    assert found["accuracy"].value == 0.95
    assert (found["accuracy"].high, found["accuracy"].note) == (1.0, "mean of 2 draws")
    assert found["roc_auc"] == Metric(None, note="none")
    assert over_draws(draws[:1])["accuracy"] == Metric(0.9, note="one draw")
