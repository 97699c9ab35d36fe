"""The registry of metrics: every verb's are in it, and each is shown in one way."""

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.files.results import Metric, Result, read_results
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.scoring.metrics import (
    CHANCE,
    FIELDS,
    HEADLINES,
    METRICS,
    all_metrics,
    columns,
    estimate,
    measure,
    ranking_metric,
    title,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The lines of every verb that writes metrics, on one small file of six classes."""
    folder = tmp_path_factory.mktemp("verbs")
    rng = np.random.default_rng(0)
    y = np.arange(180) % 6
    x = (2 * np.eye(6, 12)[y] + rng.normal(size=(180, 12))).astype(np.float32)
    rows = Rows(
        ids=np.array([f"g{i}" for i in range(180)]),
        labels=y,
        class_names=tuple("abcdef"),
        targets=rng.random((180, 2)),
        target_names=("bar", "disc"),
    )
    file = str(write_features(folder / "f.h5", x, rows))
    quick = {"temi": ["--epochs", "2", "--n-heads", "2"], "kmeans": ["--stability", "--seeds", "2"]}
    methods = ("kmeans", "hdbscan", "agglomerative", "gmm", "temi")
    calls = [["cluster", file, "--method", name, *quick.get(name, [])] for name in methods]
    calls[0] += ["--save-model", str(folder / "clusters.h5")]
    calls.append(["cluster", file, "--apply", str(folder / "clusters.h5")])
    calls += [["probe", file, "--kind", kind] for kind in ("linear", "knn", "ridge")]
    calls[-3] += ["--save-model", str(folder / "probe.h5")]
    calls += [["probe", file, "--kind", kind, "--budget", "5"] for kind in ("linear", "ridge")]
    calls.append(["quality", file])
    for call in calls:
        assert main([*call, "-o", str(folder / "runs")]) == 0
    return read_results(folder / "runs")


def test_every_metric_that_a_verb_writes_is_registered(results):
    names = {name for result in results for name in result.metrics}
    assert {"top5_accuracy", "null_many_to_one_accuracy", "stability_ari", "accuracy_k20"} <= names
    assert {"rmse", "rank_me", "head_loss", "bic_loss", "inertia", "accuracy_seed_std"} <= names
    for name in names:
        assert title(name) != name or name in METRICS, f"{name} is in no registry"


def test_intervals_are_possible_hold_their_value_and_say_how_they_are_made(results):
    for result in results:
        for name, metric in result.metrics.items():
            known = measure(name)
            if metric.value is not None:
                assert known.limits[0] <= metric.value <= known.limits[1], name
            if metric.low is not None:
                assert known.limits[0] <= metric.low <= metric.value <= metric.high <= known.limits[1], name
                assert known.interval or result.task != result.task.split()[0], name


def test_one_title_one_metric():
    titles = [known.title for known in (*METRICS.values(), *FIELDS.values())]
    assert len(set(titles)) == len(titles)
    assert {*HEADLINES, *CHANCE} <= METRICS.keys()
    assert next(iter(columns())) == "accuracy"
    assert list(columns())[-1] == "chance"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("roc_auc", "ROC AUC"),
        ("accuracy_k7", "accuracy, k = 7"),
        ("nmi_seed_mean", "NMI, mean over seeds"),
        ("nmi_seed_std", "NMI, standard deviation"),
        ("someone_elses", "someone_elses"),
        ("accuracy_kind", "accuracy_kind"),
    ],
)
def test_titles(name, words):
    assert title(name) == words


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("accuracy", 0.9, 0.8),
        ("rmse", 0.1, 0.2),
        ("davies_bouldin_loss", 0.5, 0.7),
        ("alpha_req", 1.1, 0.8),
        ("seconds", 1.0, 2.0),
        ("someone_elses_loss", 1.0, 2.0),
        ("someone_elses", 2.0, 1.0),
    ],
)
def test_merit_is_larger_where_the_value_is_better(name, better, worse):
    assert measure(name).merit(better) > measure(name).merit(worse)


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("nmi", (0.0, 0.0, -0.009), (0.0, 0.0, 0.0)),
        ("silhouette", (0.9, 0.742, 1.058), (0.9, 0.742, 1.0)),
        ("ari", (0.1, -0.7, 0.2), (0.1, -0.5, 0.2)),
        ("rmse", (0.1, 0.05, 2.5), (0.1, 0.05, 2.5)),
        ("accuracy", (0.5, 0.55, 0.6), (0.5, 0.5, 0.6)),
        ("someone_elses", (7.0, -3.0, 9.0), (7.0, -3.0, 9.0)),
    ],
)
def test_an_interval_holds_its_value_and_nothing_impossible(name, asked, expected):
    metric = estimate(name, *asked, "why")
    assert (metric.value, metric.low, metric.high, metric.note) == (*expected, "why")


def test_an_unknown_metric_of_a_foreign_line_still_shows():
    line = Result(
        "probe", "d", "f", "m", {}, {}, "s", 0, {"zeal": Metric(3.0), "nmi": Metric(0.2)}, 9, 1.0, "b"
    )
    assert all_metrics([line]) == ["nmi", "zeal"]
    assert ranking_metric([line]) == "nmi"
    assert ranking_metric([line], "zeal") == "zeal"
    assert ranking_metric([line], "seconds") is None
