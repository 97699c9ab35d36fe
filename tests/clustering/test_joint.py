"""Several feature files of the same images, clustered together."""

import json

import numpy as np
import pytest
from planted import blobs
from sklearn.cluster import KMeans as SKMeans
from sklearn.decomposition import PCA as SKPCA
from sklearn.metrics import adjusted_rand_score

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.joint_file import joined
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.scoring.outcomes import read_outcomes

NAMES = ("round", "spiral", "edge")


def write(path, x, *, ids=None, labels=None, names=NAMES, views=None, **about):
    ids = [f"g{i}" for i in range(len(x))] if ids is None else ids
    rows = {} if labels is None else {"labels": np.asarray(labels), "class_names": names}
    about = {"features_name": path.stem, "dataset": {"name": "sky"}} | about
    return write_features(path, x, Rows(ids=np.array(ids), **rows), provenance=about, views=views)


@pytest.fixture
def two(tmp_path):
    """Files that tell the groups apart together alone: each sees one of two bits of the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    a = 8.0 * (labels[:, None] // 2) * np.eye(1, 6) + 0.3 * rng.normal(size=(160, 6))
    b = 800.0 * (labels[:, None] % 2) * np.eye(1, 9) + 30 * rng.normal(size=(160, 9))
    names = ("a", "b", "c", "d")
    first = write(tmp_path / "a.h5", a, labels=labels, names=names)
    order = rng.permutation(160)
    return first, write(tmp_path / "b.h5", b[order], ids=[f"g{i}" for i in order]), (a, b, labels)


def test_both_files_have_their_say_whatever_their_scale(two):
    a, b, (_, _, labels) = two
    alone = [embedkit.cluster(one, k=4).clusters.labels for one in (a, b)]
    run = embedkit.cluster([a, b])
    assert max(adjusted_rand_score(labels, found) for found in alone) < 0.6
    assert run.result.metrics["accuracy"].value == 1
    assert run.result.features == "a + b"
    assert run.result.dataset == "sky"


def test_it_is_kmeans_of_the_scaled_features_side_by_side(two):
    a, b, (x, y, _) = two
    blocks = [SKPCA(0.95).fit_transform(part) for part in (x, y)]
    blocks = [block / np.sqrt(block.var(axis=0).sum()) for block in blocks]
    wanted = SKMeans(4, n_init=10, random_state=0).fit_predict(np.hstack(blocks))
    run = embedkit.cluster([a, b], k=4)
    assert adjusted_rand_score(wanted, run.clusters.labels) == 1
    scales = [one["scale"] for one in run.result.outcomes["preparation"]["files"]]
    ratio = np.sqrt(
        np.var(SKPCA(0.95).fit_transform(y), 0).sum() / np.var(SKPCA(0.95).fit_transform(x), 0).sum()
    )
    assert scales[0] / scales[1] == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("method", ["kmeans", "hdbscan", "agglomerative", "gmm"])
def test_a_file_twice_is_that_file(tmp_path, method):
    """TEMI is left out: its random heads have a weight for each dimension, so they begin elsewhere."""
    x, labels = blobs(90, spread=0.8)
    path = write(tmp_path / "f.h5", x, labels=labels)
    once, twice = (embedkit.cluster(files, method=method) for files in (path, [path, path]))
    assert adjusted_rand_score(once.clusters.labels, twice.clusters.labels) == 1
    assert all(one["scale"] == 1 for one in twice.result.outcomes["preparation"]["files"])
    assert embedkit.cluster([path], method=method).result.params == once.result.params


def test_auto_is_decided_for_each_file(tmp_path):
    rng = np.random.default_rng(0)
    x, labels = blobs(120)
    views = Views(x, np.cov(0.1 * rng.normal(size=(6, 100))), 2)
    a, b = write(tmp_path / "a.h5", x, labels=labels, views=views), write(tmp_path / "b.h5", x)
    run = embedkit.cluster([a, b], prep="auto")
    first, second = (one["prep"] for one in run.result.outcomes["preparation"]["files"])
    assert "view-whiten" in first
    assert "view-whiten" not in second
    assert run.result.params["prep"] == "auto"
    assert any("a.h5: --prep auto is" in line for line in run.notes)
    with pytest.raises(EmbedkitError, match=r"b\.h5: no view statistics"):
        embedkit.cluster([a, b], prep="view-whiten")


def test_images_that_a_file_lacks_are_counted_and_named(tmp_path):
    x, labels = blobs(60)
    a = write(tmp_path / "a.h5", x, labels=labels)
    b = write(tmp_path / "b.h5", x[10:], ids=[f"g{i}" for i in range(10, 60)])
    run = embedkit.cluster([a, b])
    assert any("b.h5 lacks 10 images of the other files, such as g0, g1, g2" in line for line in run.notes)
    assert run.result.n == 50
    # Every row of b is there, so they are of b's dataset; else they have a name of their own.
    assert run.result.dataset == "sky"
    c = write(tmp_path / "c.h5", x[:50], ids=[f"g{i}" for i in range(50)])
    assert embedkit.cluster([b, c], k=3).result.dataset.startswith("sky [40 images of all files ")


def test_an_image_that_one_file_could_not_read_is_left_out(tmp_path):
    import h5py

    x, labels = blobs(60)
    a, b = write(tmp_path / "a.h5", x, labels=labels), write(tmp_path / "b.h5", x)
    with h5py.File(b, "r+") as file:
        if "ok" in file:
            del file["ok"]
        file["ok"] = np.arange(60) != 7
        file["features"][7] = np.nan
    run = embedkit.cluster([a, b])
    assert 7 not in run.index
    assert run.result.n == 59
    assert "Left out 1 row whose image could not be read." in run.notes


def test_files_of_other_images_are_refused(tmp_path, capsys):
    x, _ = blobs(30)
    a = write(tmp_path / "a.h5", x)
    b = write(tmp_path / "b.h5", x, ids=[f"other{i}" for i in range(30)])
    assert main(["cluster", str(a), str(b), "-k", "3", "-o", str(tmp_path / "runs")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "b.h5: none of its 30 ids, such as 'other0'" in said
    assert "name files of one dataset" in said
    with pytest.raises(UsageError, match="no feature file is given"):
        embedkit.cluster([], k=3)
    with pytest.raises(EmbedkitError, match=r"flat\.h5: .*equal"):
        embedkit.cluster([a, write(tmp_path / "flat.h5", np.ones((30, 4)))], k=3, prep="none")


def test_labels_join_and_may_not_contradict(tmp_path):
    x, labels = blobs(60)
    some = np.where(np.arange(60) < 30, labels, -1)
    others = np.where(np.arange(60) < 20, -1, 2 - labels)
    a = write(tmp_path / "a.h5", x, labels=some)
    b = write(tmp_path / "b.h5", x, labels=others, names=("edge", "spiral", "round"))
    with joined([a, b]) as file:
        assert file.rows.class_names == NAMES
        np.testing.assert_array_equal(file.rows.labels, labels)
    wrong = write(tmp_path / "wrong.h5", x, labels=(labels + 1) % 3)
    with pytest.raises(EmbedkitError, match=r"wrong\.h5: calls 30 of the images otherwise"):
        embedkit.cluster([a, wrong])
    table = tmp_path / "labels.csv"
    table.write_text("id,label\n" + "".join(f"g{i},{NAMES[c]}\n" for i, c in enumerate(labels)))
    run = embedkit.cluster([a, wrong], labels=table)
    assert run.result.metrics["accuracy"].value == 1


def test_rows_are_those_of_all_files(two):
    a, b, _ = two
    run = embedkit.cluster([a, b], only_class=("a", "d"))
    assert run.result.n == 80
    assert run.result.metrics["accuracy"].value == 1
    assert "[classes a, d]" in run.result.dataset


def test_the_command_keeps_a_model_that_sorts_new_images_and_the_leaderboard_has_a_row(two, tmp_path, capsys):
    a, b, (x, y, _) = two
    runs = tmp_path / "runs"
    for files in ([a], [a, b]):
        assert main(["cluster", *map(str, files), "-k", "4", "-o", str(runs)]) == 0
    capsys.readouterr()
    board = embedkit.leaderboard(runs)
    assert {"a", "a + b"} == {entry.result.features for entry in board.entries}
    joint = next(one for one in read_results(runs) if one.features == "a + b")
    assert [one["file"] for one in joint.provenance["features"]["files"]] == [str(a), str(b)]
    assert read_outcomes(joint, runs).mean == joint.metrics["accuracy"].value
    model = runs / joint.provenance["model"]
    new = [write(tmp_path / f"{name}.h5", z[:40], features_name=name) for name, z in (("na", x), ("nb", y))]
    assert (
        main(["cluster", *map(str, new), "--apply", str(model), "--json", "-o", str(tmp_path / "new")]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["features"] == "na + nb"
    assert found["outcomes"]["cluster_sizes"] == [10, 10, 10, 10]
    assert found["params"]["fitted_on"]["features_name"] == "a + b"
    with pytest.raises(EmbedkitError, match=r"fitted on 2 feature file\(s\), 'a \+ b', and 1 are given"):
        embedkit.cluster(a, apply=model)
    with pytest.raises(EmbedkitError, match=r"a\.h5: its features are not .* d is 6, of the fitted file 9"):
        embedkit.cluster([a, a], apply=model)
    alone = next(one for one in read_results(runs) if one.features == "a")
    with pytest.raises(EmbedkitError, match="and 2 are given"):
        embedkit.cluster([a, b], apply=runs / alone.provenance["model"])
    with FeatureFile(a) as file, pytest.raises(EmbedkitError, match="2 feature file"):
        embedkit.name(file, clustering=model)


def test_the_diagnosis_takes_them(two):
    a, b, _ = two
    run = embedkit.cluster([a, b], k=4, explain=True)
    assert run.diagnosis is not None
