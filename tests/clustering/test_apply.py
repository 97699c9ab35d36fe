import csv
import json

import h5py
import numpy as np
import pytest
from planted import blobs

from clustering.apply import apply, mapped_scores
from clustering.methods import Assigned
from clustering.model_file import load_model
from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

MADE = {
    "dataset": {"name": "first"},
    "backbone": {"name": "vit", "weights_sha256": "a" * 64, "adapter_sha256": None},
    "pooling": {"pool": "cls", "layers": [8, 9]},
    "preprocessing": {"image_size": 224},
}
NAMES = ("round", "spiral", "edge")


def write(path, x, labels=None, names=NAMES, **changes):
    rows = {} if labels is None else {"labels": labels, "class_names": names}
    return write_features(
        path,
        x,
        Rows(ids=np.array([f"g{i}" for i in range(len(x))]), **rows),
        provenance={**MADE, **changes} if changes.get("made", True) else {},
    )


@pytest.fixture
def fitted(tmp_path):
    """A feature file, and a function that clusters it and gives the model's path."""
    x, labels = blobs()
    path = write(tmp_path / "first.h5", x, labels)

    def fit(method="kmeans", **options):
        run = cluster(path, ClusterOptions(method, **options), output=tmp_path / "runs")
        return path, run

    return fit


@pytest.mark.parametrize("method", ["kmeans", "hdbscan", "agglomerative", "gmm"])
def test_the_fitted_rows_get_their_clusters_back(fitted, method):
    path, run = fitted(method)
    with h5py.File(run.model_path) as file:
        kinds = []
        file.visititems(lambda _, item: kinds.append(item) if isinstance(item, h5py.Dataset) else None)
        assert all(item.dtype.kind in "fiub" for item in kinds)  # nothing pickled
    again = apply(run.model_path, path)
    kept = run.clusters.labels >= 0
    np.testing.assert_array_equal(again.clusters.labels[kept], run.clusters.labels[kept])
    assert again.result.metrics["accuracy"].value >= run.result.metrics["accuracy"].value
    assert again.result.params["prep"] == "pca95"


@pytest.mark.slow
def test_umap_is_saved_as_arrays_too(fitted):
    path, run = fitted("umap+kmeans", n_init=1)
    again = apply(run.model_path, path)
    np.testing.assert_array_equal(again.clusters.labels, run.clusters.labels)


def test_the_command_assigns_without_fitting(fitted, tmp_path, capsys):
    _, run = fitted()
    x, labels = blobs(30, seed=4)
    path = write(tmp_path / "second.h5", x, labels, dataset={"name": "second"})
    assert main(["cluster", "--apply", str(run.model_path), str(path), "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "nothing is fitted or matched here" in err
    assert "classes as fitted" in out
    (result,) = read_results(tmp_path / "out")
    assert (result.dataset, result.method, result.n) == ("second", "kmeans", 30)
    assert result.metrics["accuracy"].value == 1
    assert result.metrics["null_accuracy"].high < 0.7
    assert result.params["fitted_on"]["dataset"] == "first"
    assert result.split == "fitted on first"
    with (tmp_path / "out" / result.provenance["assignments"]).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == [NAMES[label] for label in labels]


def test_classes_keep_the_meaning_they_had(fitted, tmp_path):
    """On new rows whose labels are cyclically wrong nothing is right: there is no matching anew."""
    _, run = fitted()
    x, labels = blobs(30, seed=4)
    path = write(tmp_path / "wrong.h5", x, (labels + 1) % 3)
    metrics = apply(run.model_path, path).result.metrics
    assert metrics["accuracy"].value == 0
    assert metrics["nmi"].value == pytest.approx(1)
    # The same classes by name, in another order and with one that the model doesn't know.
    path = write(tmp_path / "other.h5", x, 3 - labels, ("ring", "edge", "spiral", "round"))
    assert apply(run.model_path, path).result.metrics["accuracy"].value == 1
    few = labels < 2
    path = write(tmp_path / "few.h5", x[few], np.where(labels[few] == 0, 0, 1), ("ring", "spiral"))
    found = apply(run.model_path, path)
    assert found.result.metrics["accuracy"].value == 0.5
    assert any("No cluster stands for ring" in line for line in found.notes)


def test_without_labels_on_either_side(fitted, tmp_path):
    x, labels = blobs(30, seed=4)
    _, run = fitted()
    bare = write(tmp_path / "bare.h5", x)
    found = apply(run.model_path, bare)
    assert "accuracy" not in found.result.metrics
    assert found.result.n == 30
    blind = cluster(bare, ClusterOptions(k=3), save_model=tmp_path / "blind.h5")
    assert blind.model_path == tmp_path / "blind.h5"
    found = apply(blind.model_path, write(tmp_path / "labelled.h5", x, labels))
    assert any("fitted without labels, or all noise" in line for line in found.notes)
    assert "accuracy" not in found.result.metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": {**MADE["backbone"], "weights_sha256": "b" * 64}}, "backbone.weights_sha256 is .bbb"),
        ({"backbone": {**MADE["backbone"], "adapter_sha256": "c"}}, "backbone.adapter_sha256 is .c., of the"),
        ({"pooling": {"pool": "mean"}}, "pooling.* is .*mean.*, of the fitted file .*cls"),
        ({"preprocessing": {"image_size": 518}}, "preprocessing.* is .*518.*224"),
    ],
)
def test_features_made_otherwise_are_refused(fitted, tmp_path, change, message):
    _, run = fitted()
    path = write(tmp_path / "second.h5", blobs()[0], **change)
    with pytest.raises(EmbedkitError, match=message):
        apply(run.model_path, path)


def test_without_provenance_only_the_dimensions_are_compared(fitted, tmp_path):
    _, run = fitted()
    x = blobs()[0]
    path = write(tmp_path / "plain.h5", x, made=False)
    assert any(
        "only the number of dimensions was compared" in line for line in apply(run.model_path, path).notes
    )
    with pytest.raises(EmbedkitError, match="d is 4, of the fitted file 6"):
        apply(run.model_path, write(tmp_path / "narrow.h5", x[:, :4], made=False))


def test_files_that_are_no_model(fitted, tmp_path, capsys):
    path, run = fitted()
    with pytest.raises(EmbedkitError, match="no such file"):
        load_model(tmp_path / "none.h5")
    with pytest.raises(EmbedkitError, match="not a clustering model"):
        load_model(path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(EmbedkitError, match="broken or foreign"):
        load_model(tmp_path / "text.h5")
    with h5py.File(run.model_path, "r+") as file:
        del file["estimator"]["centers"]
    with pytest.raises(EmbedkitError, match="its arrays are not those that were saved"):
        load_model(run.model_path)
    with h5py.File(run.model_path, "r+") as file:
        file.attrs["schema_version"] = 9
    with pytest.raises(EmbedkitError, match="schema version 9"):
        load_model(run.model_path)
    assert main(["cluster", str(path), "--apply", str(run.model_path), "-k", "3", "--prep", "l2"]) == 2
    assert "Leave out" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["kmeans", "hdbscan", "gmm"])
def test_a_flipped_bit_of_any_array_is_noticed(fitted, method, capsys):
    """Of every array in turn, and of what the file says; a number that is as good as another looks right."""
    path, run = fitted(method)
    sound = run.model_path.read_bytes()
    places = {}
    with h5py.File(run.model_path) as file:
        assert file.attrs["sha256"]
        file.visititems(
            lambda name, item: (
                places.update({name: item.id.get_offset()}) if isinstance(item, h5py.Dataset) else None
            )
        )
    assert "centers" in places
    for name, offset in places.items():
        if offset is not None:  # small arrays lie in their header, whose place HDF5 doesn't say
            flipped = bytearray(sound)
            flipped[offset] ^= 1
            run.model_path.write_bytes(flipped)
            with pytest.raises(EmbedkitError, match="arrays are not those that were saved.*Cluster again"):
                load_model(run.model_path)
            assert main(["cluster", str(path), "--apply", str(run.model_path)]) == 1, name
    run.model_path.write_bytes(sound)
    load_model(run.model_path)
    with h5py.File(run.model_path, "r+") as file:
        del file.attrs["sha256"]
    with pytest.raises(EmbedkitError, match="its arrays have no digest.*Cluster again to write it anew"):
        load_model(run.model_path)


def test_save_model_takes_a_file_or_a_folder(fitted, tmp_path, capsys):
    path, run = fitted()
    assert run.model_path.parent == tmp_path / "runs"
    assert run.result.provenance["model"] == run.model_path.name
    found = cluster(path, save_model=tmp_path)
    assert found.model_path.parent == tmp_path
    assert found.model_path.name.endswith(".model.h5")
    target = tmp_path / "new" / "m.h5"
    options = ["-o", str(tmp_path / "o"), "--save-model", str(target), "--json"]
    assert main(["cluster", str(path), *options]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["model"] == str(target)
    saved = load_model(target)
    assert saved.fitted_on["features_sha256"] == FeatureFile(path).sha256
    assert set(saved.classes.values()) == set(NAMES)


def test_mapped_scores_by_hand():
    names = np.array(["a", "a", "b", "b", "b"])
    soft = np.eye(2)[[0, 1, 1, 1, 0]]
    assigned = Assigned(np.array([0, 1, 1, 1, -1]), np.zeros(5), None, soft, soft.shape[1])
    metrics, found = mapped_scores(names, assigned, {0: "a", 1: "b"})
    assert metrics["accuracy"].value == pytest.approx(3 / 5)
    assert metrics["balanced_accuracy"].value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics["accuracy_without_noise"].value == pytest.approx(3 / 4)
    assert metrics["coverage"].value == pytest.approx(4 / 5)
    assert found["confusion"] == [[1, 1, 0], [0, 2, 1]]
    assert found["confusion_columns"] == ["a", "b", "(none)"]
