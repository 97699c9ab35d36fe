"""`embedkit label`: a few labels in; what they are worth, all other images, and which to label next."""

import csv
import json

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.kinds import kind_of
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile
from embedkit.files.tables import LABELLED, read_table
from embedkit.scoring.outcomes import read_outcomes
from probes.apply import apply
from probes.labelling.next_images import next_images, uncertainty
from probes.labelling.out_of_fold import folds_of, predict_out_of_fold, temperature_of

FAST = {"kind": "nearest-centroid"}


@pytest.fixture
def truth(make_file):
    """A file without labels, and the class of each of its rows by id."""
    path = make_file(name="known.h5")
    with FeatureFile(path) as file:
        names = np.array(file.rows.class_names)[file.rows.labels]
        known = dict(zip(file.rows.ids.tolist(), names.tolist(), strict=True))
    return make_file(labels=None), known


def table_of(tmp_path, known, rows, name="labels.csv"):
    ids = list(known)
    with (tmp_path / name).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "label"])
        writer.writerows([ids[i], known[ids[i]]] for i in rows)
    return tmp_path / name


def of_class(known, **counts):
    """Rows of the first so many images of classes, named by their first letter."""
    return [
        row
        for letter, n in counts.items()
        for row in [i for i, name in enumerate(known.values()) if name[0] == letter][:n]
    ]


def test_from_labels_to_all_images_and_back(truth, tmp_path):
    features, known = truth
    rows = of_class(known, e=20, m=20, s=20)
    found = embedkit.label(
        features, table_of(tmp_path, known, rows), output=tmp_path / "runs", next=7, save_model=tmp_path / "m"
    )
    table = read_table(found.path, LABELLED)
    assert kind_of(found.path) == LABELLED.name
    assert table["id"].tolist() == list(known)
    given = table["label"] != ""
    assert np.flatnonzero(given).tolist() == sorted(rows)
    # Predictions of rows with a label are of probes that never saw them, and are what is scored.
    assert ((table["fold"] > 0) == given).all()
    right = table["predicted"][given] == table["label"][given]
    accuracy = found.result.metrics["accuracy"]
    assert accuracy.value == pytest.approx(right.mean())
    assert accuracy.low < accuracy.value < accuracy.high
    assert found.result.metrics["majority_accuracy"].value == pytest.approx(1 / 3)
    assert found.result.n == 60
    # Of the others, as good as said.
    others = np.array(list(known.values()))[~given] == table["predicted"][~given]
    assert accuracy.low <= others.mean() <= accuracy.high
    p = np.stack(list(table.repeated("probability").values()), axis=1)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-4)
    assert np.allclose(p.max(axis=1), table["probability"], atol=1e-5)
    # To label next: without a label, unsure, in order, and in the result's words.
    ahead = np.flatnonzero(~np.isnan(table["next"]))
    ahead = ahead[np.argsort(table["next"][ahead])]
    assert table["next"][ahead].tolist() == list(range(1, 8))
    assert tuple(table["id"][ahead].tolist()) == found.next_ids
    assert not given[ahead].any()
    assert table["probability"][ahead].mean() < table["probability"][~given].mean()
    # The kept probe says of the others what the table says.
    applied = apply(tmp_path / "m", features)
    assert np.allclose(applied.outputs[~given], p[~given], atol=1e-5)
    # The table is labels again, and the result is what a leaderboard reads.
    again = embedkit.label(features, found.path, output=None, next=7)
    assert again.result.metrics["accuracy"] == accuracy
    (line,) = read_results(tmp_path / "runs")
    assert (line.task, line.method, line.outcomes["n_labels"]) == ("label", "linear", 60)
    assert (
        np.array_equal(read_outcomes(line, tmp_path / "runs").mean, np.sort(right))
        or len(read_outcomes(line, tmp_path / "runs").ids) == 60
    )


def test_the_same_labels_in_another_order_are_the_same(truth, tmp_path):
    features, known = truth
    rows = of_class(known, e=6, m=5, s=4)
    one = embedkit.label(features, table_of(tmp_path, known, rows), output=None)
    other = embedkit.label(features, table_of(tmp_path, known, rows[::-1], "other.csv"), output=None)
    assert one.result.metrics == other.result.metrics
    assert one.next_ids == other.next_ids


def test_a_class_with_one_label_is_learned_and_never_tested(truth, tmp_path):
    features, known = truth
    rows = of_class(known, e=5, m=1, s=5)
    found = embedkit.label(features, table_of(tmp_path, known, rows), output=tmp_path / "runs", **FAST)
    assert found.result.n == 10
    assert any("One label only of merger" in note for note in found.notes)
    table = read_table(found.path, LABELLED)
    (single,) = np.flatnonzero(table["label"] == "merger")
    assert table["fold"][single] == 0
    assert "probability:merger" in table


@pytest.mark.parametrize("counts", [{"e": 1, "s": 1}, {"e": 1, "m": 1, "s": 1}])
def test_where_no_label_can_be_held_out_nothing_is_scored(truth, tmp_path, counts):
    features, known = truth
    table = table_of(tmp_path, known, of_class(known, **counts))
    found = embedkit.label(features, table, output=tmp_path / "runs", **FAST)
    assert found.result is None
    assert found.spread.temperature is None
    assert any("accuracy is not known" in note for note in found.notes)
    assert (read_table(found.path, LABELLED)["fold"] == 0).all()
    assert len(found.next_ids) == 10
    assert not (tmp_path / "runs" / "results.jsonl").exists()


def test_fewer_labels_than_folds(truth, tmp_path):
    features, known = truth
    table = table_of(tmp_path, known, of_class(known, e=2, s=1))
    found = embedkit.label(features, table, output=None, **FAST)
    assert found.result.n == 2
    assert found.result.split == "2 folds of the labels"


def test_labels_of_one_class_tell_nothing_apart(truth, tmp_path, capsys):
    features, known = truth
    table = table_of(tmp_path, known, of_class(known, m=4))
    found = embedkit.label(features, table, output=tmp_path / "runs", next=3)
    assert found.spread is None
    assert "Every label is 'merger'" in found.notes[-1]
    assert set(found.next_ids).isdisjoint(np.array(list(known))[of_class(known, m=4)])
    assert main(["label", str(features), str(table), "--save-model", str(tmp_path / "m")]) == 2
    assert "needs labels of two classes" in capsys.readouterr().err


def test_without_labels_the_first_cover_what_there_is(truth, tmp_path):
    features, known = truth
    found = embedkit.label(features, output=tmp_path / "runs", next=12)
    assert found.result is None
    assert {known[name] for name in found.next_ids} == set(known.values())
    table = read_table(found.path, LABELLED)
    assert "predicted" not in table
    assert kind_of(found.path) == LABELLED.name
    # Filled in, it is what comes next.
    with found.path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["label"] = known[line["id"]] if line["next"] else ""
    with (tmp_path / "filled.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert embedkit.label(features, tmp_path / "filled.csv", output=None).result.outcomes["n_labels"] == 12


def test_labels_that_the_file_has_are_taken_unless_others_are_given(make_file, tmp_path):
    features = make_file(n=60)
    assert embedkit.label(features, output=None, **FAST).result.outcomes["n_labels"] == 60
    table = tmp_path / "l.csv"
    table.write_text("id,label\n" + "".join(f"images/galaxy {i}.jpg,{'ab'[i % 2]}\n" for i in range(6)))
    by_flag = embedkit.label(features, labels=table, output=None, **FAST)
    assert by_flag.result.metrics == embedkit.label(features, table, output=None, **FAST).result.metrics
    with pytest.raises(UsageError, match=r"two tables of labels\. Give one"):
        embedkit.label(features, table, labels=table, output=None)


def test_rows_without_an_image_are_left_out(make_file):
    features = make_file(n=60, failed=(3, 5))
    found = embedkit.label(features, output=None, **FAST)
    assert len(found.ids) == 58
    assert found.result.outcomes["n_labels"] == 58
    assert any("2 of the labels are of images that could not be read" in note for note in found.notes)


def test_ids_of_another_file_are_refused(truth, tmp_path):
    features, _ = truth
    (tmp_path / "l.csv").write_text("id,label\nnowhere,a\nnobody,b\n")
    with pytest.raises(EmbedkitError, match="none of its 2 ids"):
        embedkit.label(features, tmp_path / "l.csv", output=None)


def test_groups_stay_together(make_file):
    group = np.array([f"night {i // 6}" for i in range(60)])
    found = embedkit.label(make_file(n=60, group=group), output=None, **FAST)
    for night in np.unique(group):
        assert len(np.unique(found.spread.fold[group == night])) == 1


def test_the_command_says_it_as_json(truth, tmp_path, capsys):
    features, known = truth
    table = table_of(tmp_path, known, of_class(known, e=4, m=4, s=4))
    line = ["label", str(features), str(table), "--kind", "knn", "--next", "2", "-o", str(tmp_path / "runs")]
    assert main([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["task"] == "label"
    assert len(said["next"]) == 2
    assert main(line) == 0
    assert "to label next" in capsys.readouterr().out


# --- the parts -------------------------------------------------------------------------------------------


def test_uncertainty_is_one_less_the_margin():
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.7, 0.1]])
    assert uncertainty(p).tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert uncertainty(np.ones((3, 1))).tolist() == [0, 0, 0]


def test_next_images_are_unsure_and_of_every_place():
    random = np.random.default_rng(0)
    place = np.repeat(np.arange(4), 50)
    x = (np.eye(4, 6)[place] * 20 + random.normal(size=(200, 6))).astype(np.float32)
    unlabelled = np.arange(0, 200, 2)
    doubt = np.where(np.arange(100) % 2, 0.9, 0.01)
    chosen = next_images(x, unlabelled, 4, doubt=doubt)
    assert set(place[chosen]) == {0, 1, 2, 3}
    assert set(chosen) <= set(unlabelled[doubt > 0.5])
    assert set(place[next_images(x, unlabelled, 4)]) == {0, 1, 2, 3}


@pytest.mark.parametrize("doubt", [None, np.zeros(9), np.full(9, 0.5)])
def test_next_images_of_copies_and_of_few(doubt):
    x = np.ones((10, 3), np.float32)
    assert len(set(next_images(x, np.arange(9), 4, doubt=doubt).tolist())) == 4
    assert sorted(next_images(x, np.arange(9), 50, doubt=doubt).tolist()) == list(range(9))
    assert len(next_images(x, np.arange(9), 0, doubt=doubt)) == 0


def test_out_of_fold_is_a_naive_loop():
    random = np.random.default_rng(1)
    y = random.integers(0, 3, 30)
    x = random.normal(size=(30, 4)).astype(np.float32)
    seen = []

    class Counting:
        def __init__(self, rows):
            self.rows = rows

        def predict_proba(self, of):
            seen.append((self.rows, of))
            return np.tile(
                np.bincount(y[self.rows], minlength=3)[np.unique(y[self.rows])] / len(self.rows), (len(of), 1)
            )

    folds = folds_of(y, None, seed=0)
    found = predict_out_of_fold(x, y, folds, Counting)
    assert sorted(np.concatenate(folds).tolist()) == list(range(30))
    assert found.fold.max() == 5
    for row in range(30):
        rest = [i for i in range(30) if found.fold[i] != found.fold[row]]
        expected = [sum(y[i] == j for i in rest) / len(rest) for j in range(3)]
        assert found.probabilities[row].tolist() == pytest.approx(expected)


def test_a_few_labels_that_are_all_right_make_nothing_certain():
    p = np.full((8, 3), 0.1) + 0.7 * np.eye(3)[np.arange(8) % 3]
    temperature = temperature_of(p, np.arange(8) % 3)
    top = (0.8 ** (1 / temperature)) / (0.8 ** (1 / temperature) + 2 * 0.1 ** (1 / temperature))
    # Eight right and one wrong is the best that the probabilities can say.
    assert top == pytest.approx(8 / 9, abs=0.02)
