"""`embedkit name` from a clustering to labels that every verb reads, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from planted import blobs

import embedkit
from clustering.model_file import load_model
from clustering.naming.options import NameOptions, NamePlaces
from clustering.naming.run import name
from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.group_tables import GROUPS, NAMED
from embedkit.files.kinds import kind_of
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.files.tables import read_table, write_table

NAMES = ("round", "spiral", "edge")


@pytest.fixture
def clustered(tmp_path, feature_file):
    """A feature file with labels, its clustering into many groups, and a way to name the groups."""
    path = feature_file()
    run = cluster(path, ClusterOptions(k="auto:fine"), output=tmp_path / "runs")
    return path, run


def fill(path, name_of):
    """Write names into a table of groups as a person does."""
    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["name"] = name_of(line)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def by_label(path):
    """Name a group as somebody who knows the image in its middle."""
    with FeatureFile(path) as file:
        labels = dict(zip(file.rows.ids.tolist(), file.rows.labels.tolist(), strict=True))
    return lambda line: NAMES[labels[line["central:1"]]]


def test_from_a_clustering_to_labels_that_a_probe_reads(clustered, tmp_path, capsys):
    path, run = clustered
    names, labels = tmp_path / "names.csv", tmp_path / "labels.csv"
    model = str(run.model_path)
    assert main(["name", str(path), "--clustering", model, "-o", str(names)]) == 0
    assert kind_of(names) == GROUPS.name
    table = read_table(names, GROUPS)
    assert len(table) == run.result.outcomes["k"]
    assert run.result.params["k"] == "auto:fine"
    assert table["rows"].sum() == len(run.index)
    fill(names, by_label(path))
    capsys.readouterr()
    command = ["name", str(path), "--clustering", model, "--names", str(names), "-o", str(labels), "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"]["accuracy"]["value"] == 1
    assert document["metrics"]["named_accuracy"]["value"] == 1
    assert document["metrics"]["null_named_accuracy"]["high"] < 0.6
    assert kind_of(labels) == NAMED.name
    written = read_table(labels, NAMED)
    assert (written["confidence"] > 1 / 3).all()
    assert (written["confidence"] <= 1).all()
    probe = ["probe", str(path), "--labels", str(labels), "-o", str(tmp_path / "probes"), "--json"]
    assert main(probe) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"]["value"] > 0.9


def test_several_groups_of_one_name_are_one_class_and_a_group_without_name_has_none(clustered, tmp_path):
    path, run = clustered
    table = tmp_path / "names.csv"
    groups = np.arange(run.result.outcomes["k"])
    given = np.where(groups == 0, "", np.where(groups < 4, " odd", "rest"))
    write_table(table, GROUPS, {"group": groups, "name": given})
    found = name(path, NameOptions(clustering=run.model_path, names=table), NamePlaces())
    assert found.labels is not None
    assert found.clusters.tolist() == run.clusters.labels.tolist()
    assert found.labels.tolist() == [given[c].strip() for c in run.clusters.labels]
    assert np.isnan(found.confidence).tolist() == (found.labels == "").tolist()
    same = given[:, None] == given
    expected = (run.clusters.soft @ same)[np.arange(len(found.ids)), run.clusters.labels]
    has = found.labels != ""
    assert found.confidence[has] == pytest.approx(expected[has], abs=1e-6)
    assert "accuracy" not in found.metrics  # no name is a class
    assert any("get no label" in note for note in found.notes)


def test_python_calls_it_too_and_new_images_take_the_names(clustered, tmp_path):
    path, run = clustered
    table = tmp_path / "names.csv"
    embedkit.name(path, clustering=run.model_path, output=table)
    fill(table, by_label(path))
    x, labels = blobs()
    ids = np.array([f"new{i}" for i in range(len(x[::9]))])
    new = write_features(tmp_path / "new.h5", x[::9], Rows(ids=ids))
    found = embedkit.name(new, clustering=run.model_path, names=table)
    assert found.labels.tolist() == [NAMES[label] for label in labels[::9]]
    assert found.metrics == {}
    assert len(found.to_pandas()) == len(found.ids)


@pytest.mark.parametrize("method", ["hdbscan", "gmm", "agglomerative"])
def test_every_method_makes_groups(feature_file, tmp_path, method):
    path = feature_file()
    asked = {} if method == "hdbscan" else {"k": 5}
    run = cluster(path, ClusterOptions(method, **asked), save_model=tmp_path / "m.h5")
    found = name(path, NameOptions(clustering=run.model_path), NamePlaces())
    assert found.groups["rows"].sum() == (found.clusters >= 0).sum()
    assert run.result.metrics["named_accuracy"].value > run.result.metrics["null_named_accuracy"].high


def test_it_refuses_what_does_not_fit(clustered, tmp_path, feature_file):
    path, run = clustered
    table, model = tmp_path / "names.csv", run.model_path
    k = run.result.outcomes["k"]

    def asked(text, features=path, **more):
        table.write_text(text)
        return name(features, NameOptions(clustering=model, names=table, **more), NamePlaces())

    for text, said in {
        f"group,name\n0,a\n{k},b\n": f"group {k}: the clustering has no such group, only 0 to {k - 1}",
        "group,name\n-1,a\n": "group -1: the clustering has no such group",
        "group,name\n0,\n1, \n2,nan\n": "its column name is empty throughout",
        "group,label\n0,a\n": "no column name",
        "cluster,name\n0,a\n": "no column group",
        "group,name\n0,a\n0,b\n": "group 0 stands in line 2 already",
        "group,name\nfirst,a\n": "group 'first' is no integer",
        f"group,name\n0,{'x' * 4097}\n": "has 4,097 characters; at most 4,096 are taken",
        "": "an empty file",
    }.items():
        with pytest.raises(EmbedkitError, match=said):
            asked(text)
    with pytest.raises(UsageError, match="Give --clustering MODEL"):
        NameOptions()
    some = tmp_path / "some.txt"
    ids = [f"g{i}" for i in run.index[run.clusters.labels != 1]]
    some.write_text("\n".join(ids))
    with pytest.raises(EmbedkitError, match="no image is left in group 1"):
        asked("group,name\n1,a\n", rows=(str(some),))
    assert asked("group,name\n0,a\n", rows=(str(some),)).labels is not None
    x, _ = blobs()
    other = write_features(tmp_path / "o.h5", x[:, :4], Rows(ids=np.array([f"g{i}" for i in range(len(x))])))
    with pytest.raises(EmbedkitError, match="not of the kind that the clustering was fitted on: d is 4"):
        asked("group,name\n0,a\n", features=other)
    with pytest.raises(EmbedkitError, match="not a clustering model"):
        name(path, NameOptions(clustering=path), NamePlaces())


def test_names_are_of_one_clustering_and_never_lost(clustered, tmp_path):
    path, run = clustered
    table = tmp_path / "names.csv"
    name(path, NameOptions(clustering=run.model_path), NamePlaces(output=table))
    name(path, NameOptions(clustering=run.model_path), NamePlaces(output=table))  # nothing to lose yet
    fill(table, lambda line: f"n{line['group']}")
    with pytest.raises(EmbedkitError, match="somebody named groups in it"):
        name(path, NameOptions(clustering=run.model_path), NamePlaces(output=table))
    other = cluster(path, ClusterOptions(k="auto:fine", seed=1, prep="none"), output=tmp_path / "runs")
    with pytest.raises(EmbedkitError, match="written for another clustering"):
        name(path, NameOptions(clustering=other.model_path, names=table), NamePlaces())


def two_kinds(tmp_path):
    """A file of three clouds of which one is two that lie close, clustered into three."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 24, 0]])
    kind = np.repeat([0, 1, 2, 3], [100, 90, 80, 60])
    x = (centres[kind] + rng.normal(scale=0.5, size=(330, 3))).astype(np.float32)
    rows = Rows(ids=np.array([f"{i:03}.png" for i in range(330)]))
    path = write_features(tmp_path / "kinds.h5", x, rows, provenance={"dataset": {"name": "kinds"}})
    run = cluster(path, ClusterOptions(k=3, prep="none"), output=tmp_path / "runs")
    return path, run.model_path, x, kind


def test_mixed_groups_are_cut_where_their_kinds_part_and_names_of_the_others_hold(tmp_path, capsys):
    path, model, x, kind = two_kinds(tmp_path)
    names, finer, table = (tmp_path / name for name in ("names.csv", "finer.model.h5", "finer.csv"))
    before = embedkit.name(path, clustering=model, output=names)
    mixed = before.groups["group"][before.groups["mixed"] == "yes"].tolist()
    assert mixed == [before.clusters[kind == 2][0]]
    fill(names, lambda line: f"called {line['group']}")
    line = ["name", str(path), "--clustering", str(model), "--names", str(names), "--cut", "mixed"]
    assert main([*line, "--save-model", str(finer), "-o", str(table)]) == 0
    assert f"Cut in two: group {mixed[0]} into {mixed[0]} and 3." in capsys.readouterr().err
    written = read_table(table, GROUPS)
    assert sorted(written["group"].tolist()) == [0, 1, 2, 3]
    others = {group: f"called {group}" for group in range(3) if group != mixed[0]}
    assert dict(zip(written["group"].tolist(), written["name"].tolist(), strict=True)) == {
        **others,
        mixed[0]: "",
        3: "",
    }
    after = embedkit.name(path, clustering=finer)
    # The larger kind keeps the number; each row is where its nearest centre is.
    assert (after.clusters[kind == 2] == mixed[0]).all()
    assert (after.clusters[kind == 3] == 3).all()
    same = kind < 2
    assert np.array_equal(after.clusters[same], before.clusters[same])
    centres = load_model(finer).model.centers
    nearest = np.linalg.norm(x[:, None] - centres[None], axis=2).argmin(axis=1)
    assert np.array_equal(after.clusters, nearest)
    for group in range(4):
        np.testing.assert_allclose(centres[group], x[after.clusters == group].mean(axis=0), atol=1e-3)
    assert (
        embedkit.cluster(path, apply=finer).result.outcomes["cluster_sizes"] == np.bincount(nearest).tolist()
    )
    assert load_model(finer).settings["cut"] == mixed


def test_what_can_not_be_cut(tmp_path, capsys):
    path, model, _, _ = two_kinds(tmp_path)
    line = ["name", str(path), "--clustering", str(model), "--cut"]
    for words, more, message in (
        (
            ["5"],
            ["--save-model", str(tmp_path / "m.h5")],
            "--cut 5: no such group. Give mixed, or numbers from 0 to 2",
        ),
        (["0"], [], "--cut makes another clustering. Say where it is kept: --save-model FILE"),
    ):
        assert main([*line, *words, *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["name", str(path), "--clustering", str(model), "--save-model", str(tmp_path / "m.h5")]) == 2
    assert "--save-model is for --cut" in capsys.readouterr().err
    assert main([*line, "0", "--save-model", str(model)]) != 0  # it would replace what it reads
    other = cluster(path, ClusterOptions(method="gmm", k=3, prep="none"), output=tmp_path / "runs").model_path
    assert main(
        ["name", str(path), "--clustering", str(other), "--cut", "0", "--save-model", str(tmp_path / "m.h5")]
    )
    assert "--cut cuts groups of k-means" in capsys.readouterr().err
    assert not (tmp_path / "m.h5").exists()


def test_groups_of_one_kind_are_left_whole(tmp_path):
    path, model, _, _ = two_kinds(tmp_path)
    first, second = tmp_path / "one.model.h5", tmp_path / "two.model.h5"
    embedkit.name(path, clustering=model, cut=("mixed",), save_model=first)
    found = embedkit.name(path, clustering=first, cut=("mixed",), save_model=second)
    assert "No group is of two kinds by its distances, so none is cut." in found.notes
    assert np.array_equal(load_model(first).model.centers, load_model(second).model.centers)
