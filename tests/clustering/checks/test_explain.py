import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression

from clustering.checks.explain import explain
from clustering.checks.findings import Diagnosis
from clustering.checks.image_statistics import ImageStatistics, image_statistics
from clustering.checks.nuisance import eta_squared
from embedkit.datasets.simulated import load_simulated
from embedkit.errors import DataError

N, D, C = 450, 16, 3
NAMES = ("round", "spiral", "edge")


def galaxies(*, seed=0, apart=3.0, **strength):
    """Features that hold the class and, as strongly as asked, statistics of the image."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(C, size=N)
    scalars = {name: rng.uniform(0, 1, size=N) for name in ("brightness", "background", "size")}
    angle, e = rng.uniform(0, np.pi, size=N), rng.uniform(0.2, 0.8, size=N)
    orientation = np.column_stack([e * np.cos(2 * angle), e * np.sin(2 * angle)])
    statistics = ImageStatistics(**scalars, orientation=orientation)
    x = rng.normal(size=(N, D))
    x[:, :C] += apart * np.eye(C)[labels]
    for i, (name, factor) in enumerate(strength.items()):
        columns = statistics.columns[name]
        where = slice(4 + 2 * i, 4 + 2 * i + columns.shape[1])
        x[:, where] += factor * columns / columns.std()
    return x.astype(np.float32), labels, statistics


def cluster(x, k=C):
    return KMeans(k, n_init=5, random_state=0).fit(x).labels_.astype(np.int64)


def names(diagnosis: Diagnosis):
    return [finding.name for finding in diagnosis.causes]


@pytest.mark.parametrize("seed", range(3))
def test_healthy_features_have_no_cause(seed):
    x, labels, statistics = galaxies(seed=seed, apart=5)
    diagnosis = explain(x, labels, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert diagnosis.causes == ()
    assert {finding.verdict for finding in diagnosis.findings} == {"fine"}
    assert diagnosis["structure"].evidence["kind"] == "strong"
    assert "Nothing is wrong" in diagnosis["structure"].sentence
    assert len(diagnosis.text.splitlines()) == 6


def test_weak_structure_is_no_cause():
    x, labels, statistics = galaxies(apart=0.8)
    diagnosis = explain(x, labels, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert diagnosis.causes == ()
    assert diagnosis["structure"].evidence["kind"] == "weak"
    assert "Nothing is wrong with the file: another backbone" in diagnosis["structure"].sentence


def test_a_method_that_misses_what_neighbours_show():
    x, labels, statistics = galaxies(apart=5)
    at_random = np.random.default_rng(3).integers(C, size=N)
    diagnosis = explain(x, labels, at_random, class_names=NAMES, image_statistics=statistics)
    assert diagnosis.causes == ()
    assert "this method misses what the neighbours show" in diagnosis["structure"].sentence


@pytest.mark.parametrize("seed", range(3))
def test_planted_labels_of_other_rows(seed):
    x, labels, statistics = galaxies(seed=seed, apart=5)
    other = np.random.default_rng(seed + 9).permutation(labels)
    diagnosis = explain(x, other, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert names(diagnosis) == ["labels"]
    finding = diagnosis["labels"]
    _, high = finding.evidence["null_range"]
    assert finding.evidence["knn_accuracy"] <= high + 0.02
    assert "Check --label-column and that labels and images stand in one order" in finding.sentence
    assert "out of step" not in finding.sentence
    assert diagnosis.findings[0] is finding


@pytest.mark.parametrize(
    ("order", "said"),
    [(lambda y: np.roll(y, 1), "shifted by -1"), (lambda y: y[::-1].copy(), "in reverse order")],
)
def test_labels_out_of_step_are_put_back(order, said):
    x, labels, _ = galaxies(apart=5)
    diagnosis = explain(x, order(labels), cluster(x), class_names=NAMES)
    assert names(diagnosis) == ["labels"]
    assert said in diagnosis["labels"].sentence
    assert "out of step" in diagnosis["labels"].sentence


def one_direction(rng, labels):
    return np.outer(rng.normal(size=N), rng.normal(size=D)) + 0.01 * rng.normal(size=(N, D))


def few_rows(rng, labels):
    return rng.normal(size=(7, D))[rng.integers(7, size=N)]


def nearly_constant(rng, labels):
    return rng.normal(size=D) * 100 + 0.01 * rng.normal(size=(N, D))


@pytest.mark.parametrize("collapse", [one_direction, few_rows, nearly_constant])
@pytest.mark.parametrize("with_labels", [True, False])
def test_planted_collapse(collapse, with_labels):
    _, labels, statistics = galaxies()
    x = collapse(np.random.default_rng(2), labels)
    given = labels if with_labels else None
    diagnosis = explain(x, given, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert names(diagnosis) == ["features"]
    assert f"on n = {N} rows" in diagnosis["features"].sentence
    assert "look at the images, the weights and the precision" in diagnosis["features"].sentence


def test_equal_rows_are_collapsed():
    _, labels, _ = galaxies()
    diagnosis = explain(np.ones((N, D)), labels, np.arange(N) % 3)
    assert names(diagnosis) == ["features"]
    assert "all rows are equal" in diagnosis["features"].sentence
    assert diagnosis["features"].evidence["n_constant_columns"] == D


def test_one_direction_that_hides_the_classes_is_to_be_whitened():
    x, labels, _ = galaxies(apart=6)
    x[:, 10] += 300 * np.random.default_rng(0).normal(size=N)
    diagnosis = explain(x, labels, cluster(x), class_names=NAMES)
    assert names(diagnosis) == ["features"]
    assert "Take `--prep whiten30`" in diagnosis["features"].sentence


def test_classes_on_two_components_are_no_collapse():
    _, labels, _ = galaxies()
    x = 100 * np.eye(C, D)[labels] + np.random.default_rng(0).normal(size=(N, D))
    diagnosis = explain(x, labels, cluster(x), class_names=NAMES)
    assert diagnosis.causes == ()
    assert "that is where the classes are" in diagnosis["features"].sentence


@pytest.mark.parametrize("with_labels", [True, False])
def test_planted_dominant_cluster(with_labels):
    x, labels, statistics = galaxies(apart=5)
    x[:2] = [[1e3], [-1e3]] * np.ones((2, D))
    given = labels if with_labels else None
    diagnosis = explain(x, given, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert names(diagnosis) == ["sizes"]
    assert diagnosis["sizes"].evidence["largest_share"] == pytest.approx((N - 2) / N)
    assert "One cluster holds 99.6 % of the clustered rows" in diagnosis["sizes"].sentence
    assert "leave out what is none" in diagnosis["sizes"].sentence


def test_a_class_that_large_is_no_dominant_cluster():
    rng = np.random.default_rng(0)
    labels = (rng.random(N) < 0.1).astype(int)
    x = 5 * np.eye(2, D)[labels] + 0.3 * rng.normal(size=(N, D))
    assert explain(x, labels, labels).causes == ()


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "Every row is noise"), (0.7, "70 % of the rows are noise")]
)
def test_noise_is_a_cause(share, said):
    x, labels, _ = galaxies(apart=5)
    clusters = labels.copy()
    clusters[: int(share * N)] = -1
    diagnosis = explain(x, labels, clusters)
    assert names(diagnosis) == ["sizes"]
    assert said in diagnosis["sizes"].sentence


@pytest.mark.parametrize("name", ["brightness", "background", "size", "orientation"])
def test_planted_nuisance(name):
    x, labels, statistics = galaxies(**{name: 6.0})
    diagnosis = explain(x, labels, cluster(x), class_names=NAMES, image_statistics=statistics)
    assert names(diagnosis) == ["nuisance"]
    finding = diagnosis["nuisance"]
    assert finding.evidence["worst"] == name
    assert f"follow the images' {name} rather than the class" in finding.sentence
    assert "--prep view-whiten" in finding.sentence
    follows = finding.evidence["follows"]
    assert follows[name]["eta2_clusters"] > 0.5 > 0.1 > follows[name]["eta2_classes"]
    assert all(follows[other]["beyond_classes"] < 0.1 for other in follows if other != name)
    assert max(finding.evidence["component_r2"][name]) > 0.8
    unlabelled = explain(x, None, cluster(x), image_statistics=statistics)
    assert unlabelled["nuisance"].verdict == "note"
    assert "Without labels it cannot be told" in unlabelled["nuisance"].sentence


def test_brightness_planted_in_the_pixels_of_simulated_galaxies():
    dataset = load_simulated(n=300, size=32)
    factor = np.random.default_rng(0).uniform(0.3, 1, size=300)
    images = [(dataset.read(i) * factor[i]).astype(np.uint8) for i in range(300)]
    x = np.stack([pixels[::2, ::2].ravel() for pixels in images]) / 255
    diagnosis = explain(x, dataset.rows.labels, cluster(x, 10), image_statistics=image_statistics(images))
    assert names(diagnosis) == ["nuisance"]
    assert diagnosis["nuisance"].evidence["worst"] in ("brightness", "background")
    assert "brightness" in diagnosis["nuisance"].sentence


def test_a_nuisance_that_holds_nearly_all_variance_is_named_and_not_called_collapse():
    x, labels, statistics = galaxies(brightness=40.0)
    diagnosis = explain(x, labels, cluster(x), image_statistics=statistics)
    assert names(diagnosis) == ["nuisance"]
    assert diagnosis["features"].verdict == "note"
    assert "follows the images' brightness" in diagnosis["features"].sentence


def test_a_statistic_that_the_class_has_too_is_no_nuisance():
    x, labels, statistics = galaxies(apart=5)
    size = labels + 0.1 * statistics.size
    known = ImageStatistics(statistics.brightness, statistics.background, size, statistics.orientation)
    diagnosis = explain(x, labels, cluster(x), image_statistics=known)
    assert diagnosis.causes == ()
    assert diagnosis["nuisance"].evidence["follows"]["size"]["eta2_clusters"] > 0.8


def test_planted_absent_classes():
    x, labels, statistics = galaxies(apart=6)
    five = (*NAMES, "merger", "star")
    diagnosis = explain(x, labels, cluster(x, 5), class_names=five, image_statistics=statistics)
    assert names(diagnosis) == ["matching"]
    finding = diagnosis["matching"]
    assert "2 of the 5 classes (merger, star) have no rows" in finding.sentence
    assert "Give -k 3" in finding.sentence
    assert finding.evidence["accuracy_many_to_one"] > 0.95 > 0.9 > finding.evidence["accuracy"]
    right = explain(x, labels, cluster(x, 3), class_names=five, image_statistics=statistics)
    assert right.causes == ()
    assert right["matching"].verdict == "note"


def test_too_few_clusters_leave_a_class_without():
    x, labels, _ = galaxies(apart=6)
    diagnosis = explain(x, labels, cluster(x, 2), class_names=NAMES)
    assert names(diagnosis) == ["matching"]
    assert "cannot have one" in diagnosis["matching"].sentence


def test_without_labels_and_images_the_rest_is_checked():
    x, _, _ = galaxies(apart=5)
    diagnosis = explain(x, None, cluster(x))
    verdicts = {finding.name: finding.verdict for finding in diagnosis.findings}
    assert verdicts == {
        "features": "fine",
        "sizes": "fine",
        "structure": "fine",
        "labels": "not checked",
        "matching": "not checked",
        "nuisance": "not checked",
    }
    assert "has structure of its own" in diagnosis["structure"].sentence
    noise = np.random.default_rng(0).normal(size=(N, D))
    assert "hardly any structure" in explain(noise, None, cluster(noise))["structure"].sentence


def test_a_sample_of_many_rows(monkeypatch):
    monkeypatch.setattr("clustering.checks.sample.N_SAMPLE", 200)
    x, labels, statistics = galaxies(apart=5)
    labels[::10] = -1
    a, b = (explain(x, labels, cluster(x), image_statistics=statistics, seed=1) for _ in range(2))
    assert a.text == b.text
    assert a.causes == ()
    assert a["features"].evidence["n"] == 200


def test_eta_squared_is_the_adjusted_r_squared_of_group_dummies():
    rng = np.random.default_rng(0)
    groups = rng.integers(4, size=80)
    values = rng.normal(size=80) + groups
    dummies = np.eye(4)[groups]
    r2 = LinearRegression(fit_intercept=False).fit(dummies, values).score(dummies, values)
    expected = 1 - (1 - r2) * 79 / 76
    assert eta_squared(values[:, None], groups) == pytest.approx(expected)
    with_gap = np.append(values, np.nan)[:, None]
    assert eta_squared(with_gap, np.append(7 * groups, 99)) == pytest.approx(expected)
    unrelated = [eta_squared(rng.normal(size=(80, 2)), groups) for _ in range(50)]
    assert np.mean(unrelated) < 0.02
    assert eta_squared(values[:, None], np.zeros(80, int)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((2, 3))}, "at least 3 rows"),
        ({"x": np.full((N, 3), np.nan)}, "hold NaN"),
        ({"clusters": np.zeros(4, int)}, "4 clusters and statistics of 450 images don't fit"),
        ({"class_names": ("a",)}, "label 2 is outside the 1 classes"),
    ],
)
def test_refuses(change, message):
    x, labels, _ = galaxies()
    arguments = {"x": x, "labels": labels, "clusters": labels, "class_names": NAMES} | change
    with pytest.raises(DataError, match=message):
        explain(**arguments)


def test_clusters_that_explain_less_of_the_images_than_the_classes_do_are_not_said_to_follow_them_instead():
    x, labels, made = galaxies(apart=3)
    clusters = np.random.default_rng(1).integers(2, size=N)
    brightness = (4.0 * labels + 2.0 * clusters + made.brightness) / 12
    statistics = ImageStatistics(brightness, made.background, made.size, made.orientation)
    diagnosis = explain(x, labels, clusters, class_names=NAMES, image_statistics=statistics)
    found = diagnosis["nuisance"].evidence["follows"]["brightness"]
    assert found["beyond_classes"] > 0.5 > 0.2 > found["eta2_clusters"]
    assert diagnosis["nuisance"].sentence.startswith(
        "Within the classes, clusters follow the images' brightness"
    )
    assert "nuisance" not in names(diagnosis)
