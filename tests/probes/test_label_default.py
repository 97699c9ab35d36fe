"""Which probe `embedkit label` takes where none is asked for, and all that comes with it."""

import csv

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.files.store import FeatureFile
from embedkit.files.tables import LABELLED, read_table
from embedkit.preparing.preparation import prepare
from probes.apply import apply
from probes.labelling import default_probe
from probes.labelling.next_images import next_images, uncertainty

N = default_probe.LEAST_ROWS


def some(every):
    """Labels of every so manieth row."""
    return lambda y: np.where(np.arange(len(y)) % every == 0, y, -1)


def said(found):
    """The probe and preparation of a result."""
    return found.result.method, found.result.params.get("prep")


def test_a_file_with_views_spreads_labels_over_them_whitened(make_file, tmp_path):
    path = make_file(n=N, views=4, labels=some(10))
    found = embedkit.label(path, output=tmp_path / "runs")
    assert said(found) == ("label-spreading", "view-whiten")
    assert any("--kind label-spreading --prep view-whiten" in note for note in found.notes)
    asked = embedkit.label(path, kind="label-spreading", prep="view-whiten", output=tmp_path / "runs")
    assert not any("since" in note or "Labels spread" in note for note in asked.notes)
    assert asked.result.params == found.result.params
    assert asked.result.metrics == found.result.metrics
    assert asked.next_ids == found.next_ids
    assert asked.path == found.path
    assert np.array_equal(asked.spread.probabilities, found.spread.probabilities)


@pytest.mark.parametrize("labels", [None, some(10)])
def test_images_are_proposed_apart_as_the_plain_features_have_it(make_file, labels):
    path = make_file(n=N, views=4, labels=labels)
    found = embedkit.label(path, output=None)
    unlabelled = np.flatnonzero(found.labels == "")
    doubt = None if found.spread is None else uncertainty(found.spread.probabilities[unlabelled])
    with FeatureFile(path) as file:
        plain, whitened = file.read(), prepare(file, "view-whiten").transform_file(file)
    assert found.next.tolist() == next_images(plain, unlabelled, 10, doubt=doubt).tolist()
    assert found.next.tolist() != next_images(whitened, unlabelled, 10, doubt=doubt).tolist()


@pytest.mark.parametrize(
    ("views", "options", "expected"),
    [
        (None, {}, ("linear", None)),
        (4, {"kind": "lda"}, ("lda", None)),
        (4, {"kind": "label-spreading"}, ("label-spreading", None)),
        (4, {"prep": "view-whiten"}, ("linear", "view-whiten")),
        (4, {"prep": "none"}, ("linear", None)),
        (4, {"kind": "linear", "prep": None}, ("linear", None)),
    ],
)
def test_what_is_given_stands_and_the_other_is_plain(make_file, views, options, expected):
    found = embedkit.label(make_file(n=N, views=views, labels=some(10)), output=None, **options)
    assert said(found) == expected
    assert not any("probe of the mean views" in note for note in found.notes)


@pytest.mark.parametrize(
    ("file", "most", "why"),
    [
        ({"n": N - 1}, {}, "fewer than 400 images are too few to spread labels over"),
        ({"n": N + 1}, {"MOST_ROWS": N}, "3 classes take long to spread over 401 images"),
        ({"n": N + 1}, {"MOST_ANSWERS": 3 * N}, "3 classes take long to spread over 401 images"),
        ({"n": N, "nuisance": 100.0}, {}, "can't be whitened by: view whitening found no direction"),
    ],
)
def test_where_views_cannot_serve_the_linear_probe_does(make_file, monkeypatch, file, most, why):
    for name, value in most.items():
        monkeypatch.setattr(default_probe, name, value)
    path = make_file(views=4, labels=some(4), **file)
    found = embedkit.label(path, output=None)
    assert said(found) == ("linear", None)
    (note,) = [note for note in found.notes if "probe of the mean views" in note]
    assert why in note
    plain = embedkit.label(path, kind="linear", prep="none", output=None)
    assert found.result.metrics == plain.result.metrics


def test_rows_that_are_taken_count_not_those_of_the_file(make_file):
    split = np.where(np.arange(N + 60) < 60, "train", "test")
    path = make_file(n=N + 60, views=4, labels=some(4), split=split)
    assert said(embedkit.label(path, rows="split=train", output=None)) == ("linear", None)
    assert said(embedkit.label(path, rows="split=test", output=None))[0] == "label-spreading"


def test_out_of_fold_accuracy_is_that_of_the_others_and_the_confidence_means_it(make_file):
    path = make_file(n=600, views=4, labels=some(6))
    truth = read_labels(make_file(n=600, name="known.h5"))
    found = embedkit.label(path, output=None)
    accuracy = found.result.metrics["accuracy"]
    others = found.spread.fold == 0
    right = found.spread.predicted == truth
    assert others.sum() == 500
    assert accuracy.low <= right[others].mean() <= accuracy.high
    confidence = found.spread.probabilities[others].max(axis=1).mean()
    assert confidence == pytest.approx(right[others].mean(), abs=0.1)


def read_labels(path):
    with FeatureFile(path) as file:
        return np.array(file.rows.class_names)[file.rows.labels]


def test_no_label_one_class_and_one_label_a_class(make_file, tmp_path):
    path = make_file(n=N, views=4, labels=None)
    truth = read_labels(make_file(n=N, name="known.h5"))
    first = embedkit.label(path, output=tmp_path / "runs", next=12)
    assert first.result is None
    assert set(truth[first.next]) == set(truth)
    assert not any("spread" in note for note in first.notes)
    ids = read_table(first.path, LABELLED)["id"]
    for name, wanted in (("one.csv", ["merger"]), ("single.csv", sorted(set(truth)))):
        with (tmp_path / name).open("w", newline="") as stream:
            rows = [(ids[truth == label][0], label) for label in wanted]
            csv.writer(stream).writerows([("id", "label"), *rows])
    only = embedkit.label(path, tmp_path / "one.csv", output=None)
    assert only.spread is None
    assert len(only.next_ids) == 10
    with pytest.raises(UsageError, match="two classes at least"):
        embedkit.label(path, tmp_path / "one.csv", output=None, save_model=tmp_path / "m")
    single = embedkit.label(path, tmp_path / "single.csv", output=None)
    assert single.result is None
    assert (single.spread.predicted == truth).mean() > 0.6
    assert single.spread.temperature is None


def test_the_kept_probe_answers_new_images_of_views_and_of_one(make_file, tmp_path):
    path = make_file(n=N, views=4, labels=some(6))
    found = embedkit.label(path, output=None, save_model=tmp_path / "m")
    # Of images that it spread over, what the table says where no label was held out.
    again = apply(tmp_path / "m", path)
    out = found.spread.fold == 0
    np.testing.assert_allclose(again.outputs[out], found.spread.probabilities[out], atol=1e-6)
    for views in (4, None):
        new = apply(tmp_path / "m", make_file(n=200, views=views, name="new.h5"))
        assert new.metrics["accuracy"].value > 0.8
        assert any("features of 4 views" in note for note in new.notes) == (views is None)


def test_groups_stay_together_and_rows_without_an_image_are_left_out(make_file):
    group = np.array([f"night {i // 6}" for i in range(N + 2)])
    found = embedkit.label(make_file(n=N + 2, views=4, group=group, failed=(3, 5)), output=None)
    assert said(found)[0] == "label-spreading"
    assert len(found.ids) == N
    ok = np.setdiff1d(np.arange(N + 2), (3, 5))
    for night in np.unique(group):
        assert len(np.unique(found.spread.fold[group[ok] == night])) == 1


def test_the_command_says_what_it_took(make_file, tmp_path, capsys):
    path = str(make_file(n=N, views=4, labels=some(6)))
    assert main(["label", path, "-o", str(tmp_path)]) == 0
    out = capsys.readouterr()
    assert "Labels spread over whitened views" in out.out + out.err
    assert main(["label", path, "-o", str(tmp_path), "--prep", "nonsense"]) == 2
