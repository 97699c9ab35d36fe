import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from planted import blobs
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import check_estimator

from clustering.agglomerative import Agglomerative
from clustering.compare import beats_chance, compare
from clustering.density.hdbscan import HDBSCAN
from clustering.kmeans.kmeans import KMeans
from clustering.kmeans.memberships import memberships
from clustering.manifold import SMALL, UMAP
from clustering.methods import METHODS
from clustering.mixture import GMM
from clustering.options import ClusterOptions, Settings
from clustering.run import cluster
from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.results import read_results
from embedkit.files.store import write_features
from embedkit.images.decode import decode


@pytest.mark.parametrize("estimator", [Agglomerative(2), GMM(2, n_init=1)], ids=lambda e: type(e).__name__)
def test_scikit_learn_accepts_the_estimators(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(estimator)


@pytest.mark.slow
def test_scikit_learn_accepts_umap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(UMAP())


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("umap")])
def test_every_method_finds_planted_groups_and_assigns_new_rows(name):
    x, labels = blobs(150)
    new, new_labels = blobs(60, seed=1)
    steps = []
    settings = Settings(k=3, n_init=2, n_heads=2, epochs=600)
    clusters = METHODS[name].fit(x, settings, 0, lambda: steps.append(1))
    assert len(steps) == METHODS[name].n_steps(settings, len(x))
    assert adjusted_rand_score(labels, clusters.labels) > 0.95
    assigned = clusters.model.assign(new)
    inside = assigned.labels >= 0
    assert inside.mean() > 0.8
    assert adjusted_rand_score(new_labels[inside], assigned.labels[inside]) == 1
    for found, rows in ((clusters, x), (assigned, new)):
        assert found.soft.shape == (len(rows), 3)
        own = found.labels >= 0
        np.testing.assert_array_equal(found.soft[own].argmax(axis=1), found.labels[own])
        assert np.isnan(found.distance).tolist() == (~own).tolist()
        assert (found.sizes > 0).all()
    # Each row by itself goes where it went in company.
    alone = np.concatenate([clusters.model.assign(row[np.newaxis]).labels for row in new[:5]])
    np.testing.assert_array_equal(alone, assigned.labels[:5])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["umap+kmeans", "umap+hdbscan"])
def test_umap_methods_are_seeded_and_assign_new_rows(name):
    x, labels = blobs(150)
    new, new_labels = blobs(60, seed=1)
    clusters = METHODS[name].fit(x, Settings(k=3, n_init=2), 0, lambda: None)
    assert adjusted_rand_score(labels, clusters.labels) == 1
    assert clusters.settings["umap"] == {"n_components": 5, "n_neighbors": 15, "min_dist": 0.0}
    assigned = clusters.model.assign(new)
    inside = assigned.labels >= 0
    assert inside.mean() > 0.8
    assert adjusted_rand_score(new_labels[inside], assigned.labels[inside]) == 1
    again = METHODS[name].fit(x, Settings(k=3, n_init=2), 0, lambda: None)
    np.testing.assert_array_equal(again.labels, clusters.labels)


@pytest.mark.slow
def test_umap_places_a_row_whatever_comes_with_it_and_fitted_rows_where_they_were():
    x, _ = blobs(100)
    new = blobs(30, seed=1, spread=1.0)[0]
    model = UMAP(3).fit(x)
    places = model.transform(new)
    np.testing.assert_allclose(model.transform(new[7:9]), places[7:9], rtol=1e-6)
    np.testing.assert_array_equal(model.transform(x[::7]), model.embedding_[::7])
    np.testing.assert_array_equal(UMAP.from_state(model.state()).transform(new), places)


@pytest.mark.slow
def test_umap_of_many_rows_takes_exact_neighbours():
    x, labels = blobs(SMALL + 5)
    model = UMAP(2).fit(x)
    nearest = KMeans(3, n_init=2).fit(model.embedding_)
    assert adjusted_rand_score(labels, nearest.labels_) == 1


@pytest.mark.parametrize("linkage", ["ward", "average", "complete"])
def test_agglomerative_is_scikit_learns_tree_and_predicts_the_nearest_mean(linkage):
    x, _ = blobs(90, spread=2.0)
    model = Agglomerative(4, linkage=linkage).fit(x)
    expected = AgglomerativeClustering(n_clusters=4, linkage=linkage).fit(x.astype(float)).labels_
    assert adjusted_rand_score(expected, model.labels_) == 1
    assert (np.diff(np.bincount(model.labels_)) <= 0).all()
    means = np.stack([x[model.labels_ == c].mean(axis=0) for c in range(4)])
    distances = np.linalg.norm(x[:, np.newaxis] - means, axis=2)
    np.testing.assert_array_equal(model.predict(x), distances.argmin(axis=1))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_a_mixture_is_scikit_learns(covariance):
    x, _ = blobs(200, spread=1.5)
    model = GMM(3, covariance_type=covariance, n_init=2).fit(x)
    reference = GaussianMixture(
        3, covariance_type=covariance, n_init=2, random_state=0, reg_covar=1e-3 * x.var(axis=0).mean()
    ).fit(x.astype(float))
    assert adjusted_rand_score(reference.predict(x.astype(float)), model.labels_) == 1
    assert model.bic_ == pytest.approx(reference.bic(x.astype(float)))
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)
    assert (np.diff(model.weights_) <= 0).all()


def test_regularisation_of_a_mixture_follows_the_unit():
    x, _ = blobs(100, spread=1.5)
    labels = GMM(3).fit(x).labels_
    np.testing.assert_array_equal(GMM(3).fit(1e-4 * x).labels_, labels)


def test_memberships_go_by_inverse_square():
    soft = memberships(np.array([[1.0, 2.0], [0.0, 3.0]]))
    np.testing.assert_allclose(soft, [[0.8, 0.2], [1, 0]])


@pytest.mark.parametrize("estimator", [KMeans(3), HDBSCAN(), Agglomerative(3), GMM(3)])
def test_a_state_of_plain_arrays_predicts_the_same(estimator):
    x, new = blobs()[0], blobs(seed=5, spread=2.0)[0]
    state = estimator.fit(x).state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    again = type(estimator).from_state(state)
    np.testing.assert_array_equal(again.predict(new), estimator.predict(new))


@pytest.mark.parametrize(
    ("estimator", "x", "message"),
    [
        (Agglomerative(5), np.eye(3), "3 rows can't make 5 clusters"),
        (Agglomerative(0), np.eye(3), "n_clusters=0: give an integer"),
        (Agglomerative(2, linkage="median"), np.eye(3), "linkage='median': give one of ward"),
        (Agglomerative(2), np.zeros((30_001, 1)), "holds all 450,015,000 pairs"),
        (GMM(2), np.ones((5, 2)), "all 5 rows are equal"),
        (GMM(3), np.repeat(np.eye(2), 4, axis=0), "only 2 of them distinct"),
        (GMM(2, covariance_type="round"), np.eye(3), "covariance_type='round'"),
        (UMAP(), np.ones((9, 2)), "all 9 rows are equal"),
        (UMAP(n_neighbors=1), np.eye(9), "n_neighbors=1: give an integer of at least 2"),
        (UMAP(min_dist=2), np.eye(9), "min_dist=2: give a number from 0 to 1"),
        (UMAP(), np.eye(4), "UMAP needs at least 5 rows; found 4 rows"),
        (GMM(2), np.array([[1.0], [np.nan], [2]]), "1 of 3 rows hold NaN"),
    ],
)
def test_bad_input_says_what_is_wrong(estimator, x, message):
    with pytest.raises(EmbedkitError, match=message):
        estimator.fit(x)


def test_options_of_another_method_are_refused():
    with pytest.raises(UsageError, match="--linkage is for --method agglomerative, not gmm"):
        ClusterOptions("gmm", linkage="ward")
    with pytest.raises(UsageError, match=r"--n-neighbors is for --method umap\+kmeans"):
        ClusterOptions("kmeans", n_neighbors=5)
    with pytest.raises(UsageError, match="--n-neighbors 1: give an integer of at least 2"):
        ClusterOptions("umap+kmeans", n_neighbors=1)


def test_a_constant_column_and_the_preparation_are_in_the_result(feature_file):
    x = np.column_stack([blobs()[0], np.ones(120, np.float32)])
    run = cluster(feature_file(x), ClusterOptions("gmm", prep="l2+pca95"))
    assert run.result.metrics["accuracy"].value == 1
    assert run.result.params["prep"] == "l2+pca95"
    assert [step["step"] for step in run.result.outcomes["preparation"]["steps"]] == ["l2", "pca"]
    assert run.result.metrics["bic_loss"].value is not None


def test_all_methods_are_compared_and_one_that_cannot_run_says_why(
    feature_file, tmp_path, capsys, monkeypatch
):
    def fail(*_):
        raise DataError("no heads today")

    monkeypatch.setitem(METHODS, "temi", replace(METHODS["temi"], fit=fail))
    for name in ("kmeans", "hdbscan"):  # UMAP compiles for long
        monkeypatch.setitem(METHODS, f"umap+{name}", METHODS[name])
    x, labels = blobs()
    path = feature_file(x, np.random.default_rng(0).permutation(labels))
    assert (
        main(["cluster", str(path), "--method", "all", "-o", str(tmp_path / "r"), "--linkage", "average"])
        == 0
    )
    out, err = capsys.readouterr()
    assert "did not run: no heads today" in out
    assert "no better than permuted labels" in out
    assert "temi" in err
    results = read_results(tmp_path / "r")
    assert len(results) == len(METHODS) - 1
    assert next(r for r in results if r.method == "agglomerative").params["linkage"] == "average"
    compared = compare(feature_file(), ClusterOptions("all", n_init=1))
    values = [run.result.metrics["accuracy"].value for run in compared.runs]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert beats_chance(compared.runs[0])
    assert set(compared.failures) == {"temi"}
    blind = compare(feature_file(labels=None), ClusterOptions("all"))
    assert {run.result.method for run in blind.runs} == {"hdbscan", "umap+hdbscan"}
    assert "the number of clusters is not known" in blind.failures["gmm"]
    with pytest.raises(EmbedkitError, match="no method could run"):
        compare(feature_file(np.ones((20, 3), np.float32), np.arange(20) % 2))


def test_seeds_and_stability_join_the_metrics(feature_file):
    x, labels = blobs(spread=2.0)
    path = feature_file(x, labels)
    run = cluster(path, ClusterOptions(n_init=1, seeds=3, stability=True))
    alone = [cluster(path, ClusterOptions(n_init=1, seed=seed)).result.metrics for seed in range(3)]
    values = [m["accuracy"].value for m in alone]
    assert run.result.metrics["accuracy_seed_mean"].value == pytest.approx(np.mean(values))
    assert run.result.metrics["accuracy_seed_std"].value == pytest.approx(np.std(values, ddof=1))
    assert run.result.metrics["accuracy"].value == values[0]
    assert len(run.result.outcomes["stability"]["similarity"]) == 3
    assert 0 < run.result.metrics["stability_ari"].value <= 1
    fixed = cluster(path, ClusterOptions("agglomerative", seeds=3))
    assert "accuracy_seed_mean" not in fixed.result.metrics
    assert any("no randomness" in line for line in fixed.notes)
    with pytest.raises(UsageError, match="--seeds 0: give an integer"):
        ClusterOptions(seeds=0)


def test_explain_says_why(feature_file, tmp_path, capsys):
    x, labels = blobs()
    path = feature_file(x, np.random.default_rng(0).permutation(labels))
    assert main(["cluster", str(path), "--explain", "-o", str(tmp_path / "r")]) == 0
    assert "permuted labels" in capsys.readouterr().out
    (result,) = read_results(tmp_path / "r")
    found = {finding["name"]: finding["verdict"] for finding in result.outcomes["diagnosis"]}
    assert found["labels"] != "fine"
    sound = cluster(feature_file(), ClusterOptions(explain=True))
    assert sound.diagnosis["labels"].verdict == "fine"


def test_k_auto_finds_planted_groups_without_labels(feature_file, tmp_path, capsys):
    path = feature_file(labels=None)
    assert main(["cluster", str(path), "-k", "auto", "-o", str(tmp_path / "r"), "--n-init", "2"]) == 0
    out, err = capsys.readouterr()
    assert "Evidence for each k" in out
    assert "k = 3: best mean rank" in err
    (result,) = read_results(tmp_path / "r")
    choice = result.outcomes["k_choice"]
    assert result.params["k"] == "auto"
    assert result.outcomes["k"] == choice["k"] == 3
    assert choice["ks"] == list(range(2, 13))
    assert len(choice["stability"]) == 11
    assert "labelled_ami" not in choice
    with pytest.raises(UsageError, match="-k many: give an integer of at least 1, or auto"):
        ClusterOptions(k="many")


def test_target_noise_chooses_the_sizes(feature_file):
    rng = np.random.default_rng(0)
    x, labels = blobs(300)
    x = np.vstack([x, rng.uniform(-20, 20, size=(75, 6))]).astype(np.float32)
    labels = np.r_[labels, rng.integers(3, size=75)]
    run = cluster(feature_file(x, labels), ClusterOptions("hdbscan", prep="none", target_noise=0.2))
    assert abs((run.clusters.labels < 0).mean() - 0.2) < 0.05
    assert run.result.params["target_noise"] == 0.2
    assert "noise nearest to 0.2" in run.result.outcomes["choice"]["rule"]
    with pytest.raises(UsageError, match="Leave those two out"):
        ClusterOptions("hdbscan", target_noise=0.2, min_samples=3)
    with pytest.raises(UsageError, match="--target-noise 1.5: give a number of at least 0"):
        ClusterOptions("hdbscan", target_noise=1.5)


def test_min_cluster_size_auto_goes_by_validity_and_says_how_it_tracked(feature_file, capsys, tmp_path):
    path = feature_file(*blobs(300, spread=1.0))
    command = ["cluster", str(path), "--method", "hdbscan", "--min-cluster-size", "auto", "--prep", "none"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "Best relative validity for each minimum cluster size" in out
    assert "highest relative validity" in err
    assert "which chose nothing" in err
    (result,) = read_results(tmp_path)
    found = result.outcomes["choice"]
    assert result.params["min_cluster_size"] == "auto"
    assert "min_samples" not in result.params
    best = np.nanmax(np.array(found["validity"], dtype=float))
    i = found["min_cluster_sizes"].index(result.outcomes["min_cluster_size"])
    j = found["min_samples_grid"].index(result.outcomes["min_samples"])
    assert found["validity"][i][j] == best
    assert len(found["labelled_ami"]) == np.size(found["validity"])
    fixed = cluster(path, ClusterOptions("hdbscan", min_cluster_size="auto", min_samples=5))
    assert fixed.result.params["min_samples"] == 5
    assert len(fixed.density_choice.min_samples_grid) == 1


def test_all_methods_share_one_choice_of_k(feature_file, monkeypatch):
    from clustering import choose

    calls = []
    original = choose.choose_k
    monkeypatch.setattr(choose, "choose_k", lambda *a, **k: calls.append(1) or original(*a, **k))

    def fail(*_):
        raise DataError("not today")

    for name in METHODS:
        if name not in ("kmeans", "gmm", "hdbscan"):
            monkeypatch.setitem(METHODS, name, replace(METHODS[name], fit=fail))
    compared = compare(feature_file(labels=None), ClusterOptions("all", k="auto", n_init=1))
    ks = {run.result.method: run.result.outcomes.get("k") for run in compared.runs}
    assert ks == {"kmeans": 3, "gmm": 3, "hdbscan": None}
    assert len(calls) == 1


def test_explain_measures_the_images_and_names_a_planted_brightness(tmp_path, capsys):
    """Classes by orientation, features by brightness: clusters follow what is no class."""
    rng = np.random.default_rng(0)
    labels, n = np.arange(160) % 2, 160
    peak = np.where(rng.random(n) < 0.5, 60, 220)
    y, x = np.mgrid[:48, :48] - 23.5
    folder = tmp_path / "images"
    for i in range(n):
        wide, high = (6, 3) if labels[i] else (3, 6)
        light = 8 + peak[i] * np.exp(-0.5 * ((x / wide) ** 2 + (y / high) ** 2))
        place = folder / ("across", "along")[labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).save(place / f"{i:03d}.png")
    dataset = load_dataset(str(folder))
    bright = np.array([decode(dataset.read(i), "").mean() for i in range(n)])
    features = rng.normal(size=(n, 8))
    features[:, 0] += (bright - bright.mean()) / bright.std() * 6
    features[:, 1:4] += 1.5 * dataset.rows.labels[:, np.newaxis]
    provenance = {"dataset": {"name": "planted", "origin": dict(dataset.origin)}}
    path = write_features(tmp_path / "f.h5", features, dataset.rows, provenance=provenance)
    assert main(["cluster", str(path), "--explain", "-o", str(tmp_path / "r")]) == 0
    out, err = capsys.readouterr()
    assert "Measured 160 of 160 images" in err
    assert "Clusters follow the images' brightness rather than the class" in out
    shutil.rmtree(folder)
    assert main(["cluster", str(path), "--explain", "-o", str(tmp_path / "r")]) == 0
    assert "orientation of the images are not checked" in capsys.readouterr().err


def test_soft_assignments_that_would_not_fit_are_left_out(monkeypatch):
    x, _ = blobs()
    whole = METHODS["kmeans"].fit(x, Settings(k=3), 0, lambda: None)
    monkeypatch.setattr("clustering.methods.MAX_SOFT", x.shape[0])
    without = METHODS["kmeans"].fit(x, Settings(k=3), 0, lambda: None)
    assert whole.soft.shape == (len(x), 3)
    assert without.soft is None
    np.testing.assert_array_equal(without.sizes, whole.sizes)
    np.testing.assert_array_equal(without.distance, whole.distance)


def test_a_comparison_says_how_long_temi_takes(feature_file, monkeypatch, capsys):
    monkeypatch.setattr("clustering.temi.seconds_each_pass", lambda *_, **__: 2.0)
    monkeypatch.setattr("clustering.compare.SETTINGS", dict.fromkeys(("kmeans", "agglomerative"), ()))
    compare(feature_file(), ClusterOptions("all", k=3, n_init=1, epochs=30, seeds=2))
    assert capsys.readouterr().err.count("About 2 minutes for TEMI, the last of the methods, alone.") == 1


def test_more_runs_are_said_beforehand(feature_file, monkeypatch, capsys):
    monkeypatch.setattr("embedkit.console.foretelling.LONG_SECONDS", 0.0)
    cluster(feature_file(), ClusterOptions(k=3, n_init=1, stability=True, seeds=3))
    said = capsys.readouterr().err
    assert "for 22 more runs of kmeans. They are for --seeds and --stability." in said
    cluster(feature_file(), ClusterOptions("agglomerative", k=3, seeds=3))
    assert "more runs" not in capsys.readouterr().err
