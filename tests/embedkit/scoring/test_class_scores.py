import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from embedkit.errors import DataError
from embedkit.scoring.class_scores import among_the_first, macro_roc_auc, score_predictions, wilson


def predictions(n=500, c=4, seed=0, skill=1.0, decimals=8):
    random = np.random.default_rng(seed)
    y = random.choice(c, size=n, p=np.arange(1, c + 1) / np.arange(1, c + 1).sum())
    z = random.normal(size=(n, c)) + skill * np.eye(c)[y]
    p = np.exp(z)
    return y, np.round(p / p.sum(axis=1, keepdims=True), decimals)


def names(c):
    return [f"class {j}" for j in range(c)]


@pytest.mark.parametrize(("c", "decimals"), [(4, 8), (2, 8), (3, 1)])
def test_values_are_scikit_learns(c, decimals):
    y, p = predictions(c=c, decimals=decimals)
    scores = score_predictions(y, p, class_names=names(c))
    predicted = p.argmax(axis=1)
    assert scores.metrics["accuracy"].value == pytest.approx((y == predicted).mean())
    assert scores.metrics["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(y, predicted))
    assert np.array_equal(scores.confusion, confusion_matrix(y, predicted))
    one_vs_rest = np.mean([roc_auc_score(y == j, p[:, j]) for j in range(c)])
    assert scores.metrics["roc_auc"].value == pytest.approx(one_vs_rest)
    precision, recall, f1, support = precision_recall_fscore_support(y, predicted)
    for j, one in enumerate(scores.classes):
        assert one.precision.value == pytest.approx(precision[j])
        assert one.recall.value == pytest.approx(recall[j])
        assert one.f1.value == pytest.approx(f1[j])
        assert one.n == support[j]


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (3, 11), (431, 1000)])
def test_wilson_is_scipys(right, n):
    metric, peer = wilson(right / n, n), binomtest(right, n).proportion_ci(method="wilson")
    assert (metric.low, metric.high) == pytest.approx((peer.low, peer.high), abs=1e-9)
    assert metric.low <= metric.value <= metric.high


def test_variance_of_one_roc_curve_is_delongs():
    y, p = predictions(n=120, c=2)
    value, variance = macro_roc_auc(y, p)
    x, z = p[y == 1, 1], p[y == 0, 1]
    psi = (x[:, None] > z).astype(float) + 0.5 * (x[:, None] == z)
    delong = psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(z)
    assert value == pytest.approx(psi.mean())
    assert variance == pytest.approx(delong)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "roc_auc"])
def test_intervals_hold_the_truth_about_95_times_in_100(name):
    truth = score_predictions(*predictions(200_000, seed=99), class_names=names(4)).metrics[name].value
    hits = 0
    for seed in range(400):
        metric = score_predictions(*predictions(150, seed=seed), class_names=names(4)).metrics[name]
        hits += metric.low <= truth <= metric.high
    assert 0.92 <= hits / 400 <= 0.98


def test_relabelling_the_classes_leaves_the_metrics():
    y, p = predictions()
    order = np.array([2, 0, 3, 1])
    one = score_predictions(y, p, class_names=names(4)).metrics
    other = score_predictions(np.argsort(order)[y], p[:, order], class_names=names(4)).metrics
    for name in one:
        assert one[name].value == pytest.approx(other[name].value)
        assert one[name].low == pytest.approx(other[name].low)


def test_a_class_without_test_rows_is_left_out_and_named():
    y, p = predictions()
    keep = y != 2
    scores = score_predictions(y[keep], p[keep], class_names=names(4))
    assert scores.absent == ("class 2",)
    expected = np.mean([roc_auc_score(y[keep] == j, p[keep, j]) for j in (0, 1, 3)])
    assert scores.metrics["roc_auc"].value == pytest.approx(expected)
    recalls = [(p[keep].argmax(axis=1)[y[keep] == j] == j).mean() for j in (0, 1, 3)]
    assert scores.metrics["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert "without class 2" in scores.metrics["roc_auc"].note
    assert scores.classes[2].recall.value is None


def test_one_class_has_no_roc_curve_and_a_perfect_one_no_interval():
    y, p = predictions()
    assert score_predictions(y[y == 1], p[y == 1], class_names=names(4)).metrics["roc_auc"].value is None
    perfect = score_predictions(y, np.eye(4)[y], class_names=names(4)).metrics["roc_auc"]
    assert (perfect.value, perfect.low) == (1.0, None)


def test_a_class_never_predicted_has_no_precision():
    y, p = predictions()
    p[:, 0] = 0
    scores = score_predictions(y, p, class_names=names(4))
    assert scores.classes[0].precision.value is None
    assert scores.classes[0].recall.value == 0


def test_folds_are_averaged_and_test_each_row_once():
    y, p = predictions(503)
    fold = np.arange(503) % 5
    folded = score_predictions(y, p, class_names=names(4), fold=fold)
    single = [score_predictions(y[fold == f], p[fold == f], class_names=names(4)) for f in range(5)]
    for name, metric in folded.metrics.items():
        assert metric.value == pytest.approx(np.mean([s.metrics[name].value for s in single]))
    assert folded.n == folded.confusion.sum() == 503
    whole = score_predictions(y, p, class_names=names(4))
    for name in whole.metrics:
        width, peer = (s.metrics[name].high - s.metrics[name].low for s in (folded, whole))
        assert width == pytest.approx(peer, rel=0.15)


def test_shapes_that_do_not_fit():
    y, p = predictions()
    with pytest.raises(DataError, match=r"shape \(500, 4\) don't fit 500 rows and 3 classes"):
        score_predictions(y, p, class_names=names(3))


def test_area_of_each_class_is_that_of_scikit_learn_and_top_five_that_of_a_loop():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    y = random.integers(0, 7, 300)
    p = random.dirichlet(np.ones(7), 300) + 0.15 * np.eye(7)[y]
    p /= p.sum(axis=1, keepdims=True)
    scores = score_predictions(y, p, class_names=list("abcdefg"))
    for j, c in enumerate(scores.classes):
        assert c.roc_auc.value == pytest.approx(roc_auc_score(y == j, p[:, j]))
        assert c.roc_auc.low < c.roc_auc.value < c.roc_auc.high
    hits = [label in sorted(range(7), key=lambda j: -row[j])[:5] for label, row in zip(y, p, strict=True)]
    assert scores.metrics["top5_accuracy"].value == pytest.approx(np.mean(hits))
    assert "top5_accuracy" not in score_predictions(y % 3, p[:, :3], class_names=list("abc")).metrics


def test_top_five_holds_no_class_without_a_vote():
    """With one neighbour there is one class to be among, whatever the order of the classes."""
    random = np.random.default_rng(0)
    y = random.integers(20, size=2000)
    p = np.eye(20)[random.integers(20, size=2000)]
    scores = score_predictions(y, p, class_names=names(20))
    assert scores.metrics["top5_accuracy"].value == scores.metrics["accuracy"].value
    assert scores.metrics["top5_accuracy"].value == pytest.approx(1 / 20, abs=0.02)


def test_ties_for_the_last_places_count_their_share():
    """Against the mean over all orders of the classes: the figure must not depend on the one they have."""
    random = np.random.default_rng(1)
    p = random.integers(0, 4, size=(60, 9)) / 10
    y = random.integers(9, size=60)
    hits = []
    for _ in range(4000):
        order = random.permutation(9)
        first = order[np.argsort(-p[:, order], axis=1, kind="stable")[:, :5]]
        hits.append(((first == y[:, None]) & (np.take_along_axis(p, first, axis=1) > 0)).any(axis=1))
    assert among_the_first(y, p, 5) == pytest.approx(np.mean(hits, axis=0), abs=0.05)
    turned = random.permutation(9)
    assert (
        among_the_first(turned[y], p[:, np.argsort(turned)], 5).tolist() == among_the_first(y, p, 5).tolist()
    )
