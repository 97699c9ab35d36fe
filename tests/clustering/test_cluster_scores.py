import numpy as np
import pytest
from planted import blobs
from sklearn import metrics as sk

from clustering.apply import mapped_scores
from clustering.matching import match_clusters
from clustering.methods import Assigned
from clustering.scores import (
    internal_scores,
    labelled_scores,
    null_accuracy,
)
from embedkit.errors import DataError
from embedkit.scoring.class_scores import roc_auc, score_predictions
from embedkit.scoring.metrics import measure


def noisy(n=500, c=4, k=5, *, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(c, size=n, p=np.arange(1, c + 1) / np.arange(1, c + 1).sum())
    clusters = np.where(rng.random(n) < 0.5, labels, rng.integers(k, size=n))
    return labels, np.where(rng.random(n) < noise, -1, clusters)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed, noise):
    labels, clusters = noisy(seed=seed, noise=noise)
    values = {name: m.value for name, m in labelled_scores(labels, clusters).metrics.items()}
    assert values["nmi"] == pytest.approx(sk.normalized_mutual_info_score(labels, clusters))
    assert values["ari"] == pytest.approx(sk.adjusted_rand_score(labels, clusters))
    assert values["ami"] == pytest.approx(sk.adjusted_mutual_info_score(labels, clusters))
    predicted = match_clusters(labels, clusters).predict(clusters)
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    recall = sk.recall_score(labels, predicted, average=None, labels=np.arange(4), zero_division=0)
    assert values["balanced_accuracy"] == pytest.approx(recall.mean())
    homogeneity, completeness, v = sk.homogeneity_completeness_v_measure(labels, clusters)
    assert values["homogeneity"] == pytest.approx(homogeneity)
    assert values["completeness"] == pytest.approx(completeness)
    assert values["v_measure"] == pytest.approx(v) == pytest.approx(values["nmi"])
    right = sum(np.bincount(labels[clusters == k]).max() for k in np.unique(clusters[clusters >= 0]))
    assert values["many_to_one_accuracy"] == pytest.approx(right / 500)
    assert values["purity"] == pytest.approx(right / (clusters >= 0).sum())
    assert values["many_to_one_accuracy"] >= values["accuracy"]
    assert values["majority_accuracy"] == np.bincount(labels).max() / 500
    if noise:
        inside = clusters >= 0
        assert values["coverage"] == inside.mean()
        assert values["accuracy_without_noise"] == pytest.approx((predicted == labels)[inside].mean())
    else:
        assert "coverage" not in values


def test_renaming_changes_no_score():
    labels, clusters = noisy()
    soft = np.random.default_rng(1).dirichlet(np.ones(5), size=500)
    first, second = np.array([2, 0, 3, 1]), np.array([4, 2, 0, 1, 3])
    a = labelled_scores(labels, clusters, soft=soft).metrics
    b = labelled_scores(first[labels], second[clusters], soft=soft[:, np.argsort(second)]).metrics
    for name in ("accuracy", "balanced_accuracy", "nmi", "ari", "ami", "roc_auc"):
        assert a[name].value == pytest.approx(b[name].value)


def test_trivial_partitions():
    labels = np.array([0, 0, 1, 1, 2, 2])
    perfect = labelled_scores(labels, (labels + 1) % 3, soft=np.eye(3)[(labels + 1) % 3]).metrics
    for name in ("accuracy", "balanced_accuracy", "nmi", "ari", "ami", "roc_auc"):
        assert perfect[name].value == pytest.approx(1)
    giant = labelled_scores(labels, np.zeros(6, int), soft=np.ones((6, 1))).metrics
    assert giant["accuracy"].value == giant["majority_accuracy"].value == pytest.approx(1 / 3)
    assert giant["nmi"].value == giant["ari"].value == pytest.approx(0)
    assert giant["roc_auc"].value == 0.5
    assert "2 of the 3 classes have no cluster" in giant["roc_auc"].note
    one_class = labelled_scores(np.zeros(6, int), labels, soft=np.eye(3)[labels]).metrics
    assert one_class["roc_auc"].value is None
    assert "one class" in one_class["roc_auc"].note
    lost = labelled_scores(labels, np.full(6, -1), soft=np.zeros((6, 0)), noise=True).metrics
    assert (lost["accuracy"].value, lost["coverage"].value) == (0, 0)
    assert lost["accuracy_without_noise"].value is None
    assert "every labelled row is noise" in lost["accuracy_without_noise"].note
    assert lost["purity"].value is None
    assert lost["many_to_one_accuracy"].value == 0


def test_bootstrap_interval_covers_the_truth():
    # Two clusters that are right with probability 0.7: the matched accuracy of the population is 0.7.
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        labels = rng.integers(2, size=200)
        clusters = np.where(rng.random(200) < 0.7, labels, 1 - labels)
        metric = labelled_scores(labels, clusters, seed=seed).metrics["accuracy"]
        assert metric.low <= metric.value <= metric.high
        hits += metric.low <= 0.7 <= metric.high
    assert hits >= 90


def test_table_intervals_are_those_of_resampled_rows():
    labels, clusters = noisy(n=300)
    rng = np.random.default_rng(5)
    draws = {"accuracy": [], "nmi": [], "ari": []}
    for _ in range(300):
        rows = rng.integers(300, size=300)
        draws["accuracy"].append(match_clusters(labels[rows], clusters[rows]).n_correct / 300)
        draws["nmi"].append(sk.normalized_mutual_info_score(labels[rows], clusters[rows]))
        draws["ari"].append(sk.adjusted_rand_score(labels[rows], clusters[rows]))
    scores = labelled_scores(labels, clusters).metrics
    for name, values in draws.items():
        width = np.subtract(*np.quantile(values, [0.975, 0.025]))
        assert scores[name].high - scores[name].low == pytest.approx(width, rel=0.2)


def test_null_is_the_accuracy_of_permuted_labels():
    labels, clusters = noisy(n=150, noise=0.2)
    rng = np.random.default_rng(3)
    permuted = [match_clusters(rng.permutation(labels), clusters).n_correct / 150 for _ in range(600)]
    matching = match_clusters(labels, clusters)
    table = np.column_stack([matching.counts, matching.noise])
    metric = null_accuracy(table, n_permutations=600)
    assert metric.value == pytest.approx(np.mean(permuted), abs=0.005)
    assert [metric.low, metric.high] == pytest.approx(
        np.quantile(permuted, [0.025, 0.975]).tolist(), abs=0.015
    )
    assert labelled_scores(labels, clusters).metrics["accuracy"].value > metric.high
    assert null_accuracy(table, seed=1) == null_accuracy(table, seed=1)


def test_what_over_clustering_gets_for_nothing_is_in_its_null():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(4, size=200), rng.integers(60, size=200)
    scores = labelled_scores(labels, clusters).metrics
    null = scores["null_many_to_one_accuracy"]
    assert scores["many_to_one_accuracy"].value > 0.5 > scores["accuracy"].value
    assert null.low <= scores["many_to_one_accuracy"].value <= null.high
    permuted = [
        match_clusters(rng.permutation(labels), clusters).counts.max(axis=0).sum() / 200 for _ in range(200)
    ]
    assert null.value == pytest.approx(np.mean(permuted), abs=0.01)
    # Halving every cluster changes nothing but the one-to-one scores.
    whole, halves = rng.integers(3, size=300), rng.integers(2, size=300)
    divided = labelled_scores(whole, 2 * whole + halves).metrics
    assert divided["many_to_one_accuracy"].value == divided["purity"].value == 1
    assert divided["accuracy"].value < 0.7
    assert divided["homogeneity"].value == pytest.approx(1)
    assert divided["completeness"].value < 0.8


def test_unrelated_clusters_are_not_above_their_null():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(4, size=400), rng.integers(4, size=400)
    scores = labelled_scores(labels, clusters).metrics
    assert scores["null_accuracy"].low <= scores["accuracy"].value <= scores["null_accuracy"].high


def test_the_score_of_a_class_is_its_clusters_membership():
    labels, clusters = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 0, 0, 1])
    soft = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2], [0.7, 0.3], [0.45, 0.55]])
    metric = labelled_scores(labels, clusters, soft=soft).metrics["roc_auc"]
    expected = [sk.roc_auc_score(labels == 0, soft[:, 1]), sk.roc_auc_score(labels == 1, soft[:, 0])]
    assert metric.value == pytest.approx(np.mean(expected))
    with pytest.raises(DataError, match=r"soft assignments of shape \(4, 2\)"):
        labelled_scores(labels, clusters, soft=soft[:4])


def test_the_same_rows_have_the_roc_auc_and_the_interval_that_probabilities_have():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200)
    soft = np.round(rng.dirichlet(np.ones(3), size=200) + 0.3 * np.eye(3)[labels], 1)
    names = np.array(["a", "b", "c"])
    of_probe = score_predictions(labels, soft, class_names=names).metrics["roc_auc"]
    # Cluster j stands for class j.
    clusters = labelled_scores(labels, labels, soft=soft).metrics["roc_auc"]
    assigned = Assigned(labels, np.zeros(200), None, soft, 3)
    applied = mapped_scores(names[labels], assigned, dict(enumerate(names)))[0]["roc_auc"]
    assert of_probe == clusters == applied
    peer = np.mean([sk.roc_auc_score(labels == j, soft[:, j]) for j in range(3)])
    assert of_probe.value == pytest.approx(peer, abs=1e-12)
    # With scores that add up to 1 it is scikit-learn's own macro mean.
    shares = soft / soft.sum(axis=1, keepdims=True)
    peer = sk.roc_auc_score(labels, shares, multi_class="ovr", average="macro")
    assert roc_auc(labels, shares).value == pytest.approx(peer, abs=1e-12)
    # As wide as that of resampled rows.
    draws = []
    for _ in range(500):
        rows = rng.integers(200, size=200)
        draws.append(np.mean([sk.roc_auc_score(labels[rows] == j, soft[rows, j]) for j in range(3)]))
    assert of_probe.high - of_probe.low == pytest.approx(2 * 1.96 * np.std(draws), rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_every_interval_holds_its_value_and_stays_possible(seed):
    # Independent partitions of few rows, whose moved intervals used to miss a score of 0 ...
    rng = np.random.default_rng(seed)
    labels, clusters = rng.integers(2, size=12), rng.integers(2, size=12)
    metrics = dict(labelled_scores(labels, clusters, noise=True, seed=seed).metrics)
    # ... and clusters far apart, of which one is wide: a silhouette's normal limits pass 1.
    x = np.array([[0.0], [0.001], [50.0], [50.001], [30.0]])
    metrics |= internal_scores(x, np.array([0, 0, 1, 1, 1]))
    for name, metric in metrics.items():
        if metric.low is not None:
            least, most = measure(name).limits
            assert least <= metric.low <= metric.value <= metric.high <= most, name


def test_internal_scores_equal_scikit_learn():
    x, labels = blobs()
    clusters = labels.copy()
    clusters[::10] = -1
    inside = clusters >= 0
    scores = internal_scores(x, clusters)
    assert scores["silhouette"].value == pytest.approx(
        sk.silhouette_score(x[inside], clusters[inside]), abs=1e-6
    )
    assert scores["silhouette"].note == "on 108 of 120 rows"
    assert scores["calinski_harabasz"].value == pytest.approx(
        sk.calinski_harabasz_score(x[inside], clusters[inside])
    )
    assert scores["davies_bouldin_loss"].value == pytest.approx(
        sk.davies_bouldin_score(x[inside], clusters[inside])
    )


def test_internal_scores_say_what_sample_they_take(monkeypatch):
    monkeypatch.setattr("clustering.scores.N_SILHOUETTE", 60)
    x, labels = blobs()
    a, b = internal_scores(x, labels, seed=2), internal_scores(x, labels, seed=2)
    assert a == b
    assert a["silhouette"].note == "on 60 of 120 rows"
    full = sk.silhouette_score(x, labels)
    assert a["silhouette"].low - 0.02 < full < a["silhouette"].high + 0.02


@pytest.mark.parametrize("clusters", [np.zeros(120, int), np.full(120, -1), np.arange(120)])
def test_internal_scores_need_two_clusters(clusters):
    for metric in internal_scores(blobs()[0], clusters).values():
        assert metric.value is None
        assert "not defined for" in metric.note
