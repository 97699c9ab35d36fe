"""`embedkit name` from a clustering to labels that every verb reads, and what it refuses."""

import csv
import json

import numpy as np
import pytest
from planted import blobs

import embedkit
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
