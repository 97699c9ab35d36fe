"""`embedkit compare`: the verdict on two files of the same images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import sem, t

import embedkit
from embedkit.cli import main
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.scoring.outcomes import Outcomes, compare_outcomes, compare_trainings
from embedkit.scoring.paired import Difference
from embedkit.workflows.verdict import Compared, sentence, verdict

THREE = np.arange(180) % 3


def write(path, strength, keep=slice(None), order=None):
    """180 rows of three classes, apart by `strength` standard deviations."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    x = rng.normal(size=(180, 6)) + strength * np.eye(6)[labels]
    rows = Rows(np.array([f"row {i:03d}" for i in range(180)]), labels, ("a", "b", "c"))
    index = np.arange(180)[keep] if order is None else order
    return write_features(path, x[index].astype(np.float32), rows.take(index))


def one(name, value, low, high, p):
    return Compared(name, 0.5, 0.5 + value, Difference(value, low, high, p, "McNemar, exact", 100), p)


def test_verdict_is_one_sentence():
    better, worse = one("20-NN", 0.031, 0.012, 0.05, 0.001), one("linear", -0.02, -0.03, -0.01, 0.002)
    same = one("k-means", 0.001, -0.01, 0.012, 0.8)
    assert verdict([better, worse, same]) == (
        "B is better than A by 3.1 points of 20-NN accuracy (1.2 to 5.0); A is better than B by 2.0 points "
        "of linear accuracy (1.0 to 3.0); by k-means accuracy they can't be told apart."
    )
    assert verdict([same]) == "By k-means accuracy they can't be told apart."


def test_each_measure_has_a_sentence():
    assert sentence(one("20-NN", -0.031, -0.05, -0.012, 0.001), "A", "B") == (
        "20-NN: A is better by 3.1 points (1.2 to 5.0)."
    )
    assert sentence(one("linear", 0.0, -0.0, 0.004, 0.3), "A", "B") == (
        "linear: A and B can't be told apart (B - A: +0.0 points, +0.0 to +0.4)."
    )
    # An interval of one measure that leaves 0 out, and a correction for all of them that does not.
    assert sentence(replace(one("linear", 0.05, 0.01, 0.09, 0.02), p_holm=0.08), "A", "B") == (
        "linear: A and B can't be told apart (B - A: +5.0 points, +1.0 to +9.0; p = 0.08 after Holm's "
        "correction for all measures)."
    )


def test_better_features_are_found_whatever_the_order_of_the_rows(tmp_path, capsys):
    a = write(tmp_path / "weak.h5", 0.5)
    b = write(tmp_path / "strong.h5", 4.0, order=np.random.default_rng(1).permutation(180))
    assert main(["compare", str(a), str(b), "-o", str(tmp_path / "o"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [measure["name"] for measure in document["measures"]] == [
        "20-NN",
        "linear",
        "k-means",
        "10-labels-a-class",
    ]
    for measure in document["measures"]:
        few = measure["name"] == "10-labels-a-class"
        assert measure["difference"]["n"] == (27 if few else 180)
        assert measure["difference"]["test"] == ("paired bootstrap" if few else "McNemar, exact")
        assert measure["sentence"].startswith(f"{measure['name']}: strong is better by ")
        assert measure["difference"]["value"] == pytest.approx(measure["b"] - measure["a"])
        assert measure["p_holm"] < 0.01
    assert document["verdict"].startswith("strong is better than weak by ")


def test_a_file_against_itself_cannot_be_told_apart(tmp_path, capsys):
    a = write(tmp_path / "a.h5", 1.0)
    assert main(["compare", str(a), str(a), "--split", "kfold:3", "-o", str(tmp_path / "o")]) == 0
    out = capsys.readouterr().out
    assert "By 20-NN, linear, k-means and 10-labels-a-class accuracy they can't be told apart." in out
    assert "linear: A and B can't be told apart (B - A: +0.0 points, +0.0 to +0.0)." in out


def test_other_images_are_refused_or_reduced_to_the_common_ones(tmp_path, capsys):
    a, b = write(tmp_path / "a.h5", 2.0, slice(150)), write(tmp_path / "b.h5", 2.0, slice(30, None))
    assert main(["compare", str(a), str(b), "-o", str(tmp_path / "o")]) == 1
    assert "120 ids agree, of 150 and 150. Take those with --common." in capsys.readouterr().err
    assert main(["compare", str(a), str(b), "--common", "-o", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"][0]["difference"]["n"] == 120
    with (
        FeatureFile(tmp_path / "o" / "A" / "a.h5") as copy,
        FeatureFile(tmp_path / "o" / "B" / "b.h5") as other,
    ):
        assert sorted(copy.rows.ids) == sorted(other.rows.ids)


def test_running_again_reads_its_own_results(tmp_path, capsys):
    a, b = write(tmp_path / "a.h5", 0.5), write(tmp_path / "b.h5", 2.0)

    def measures(first, second):
        command = ["compare", str(first), str(second), "--split", "kfold:3", "--json"]
        assert main([*command, "-o", str(tmp_path / "o")]) == 0
        return json.loads(capsys.readouterr().out)["measures"]

    forth = measures(a, b)
    back = measures(b, a)  # into the same folder, where the other file's lines still stand
    assert [m["difference"]["value"] for m in back] == [-m["difference"]["value"] for m in forth]
    assert measures(a, b) == forth


def test_each_file_is_opened_once(tmp_path, monkeypatch):
    a, b = write(tmp_path / "a.h5", 0.5), write(tmp_path / "b.h5", 2.0)
    opened, real = [], FeatureFile.__init__
    monkeypatch.setattr(
        FeatureFile, "__init__", lambda self, path: (opened.append(path), real(self, path))[1]
    )
    found = embedkit.compare(a, b, split="kfold:3", budget="20%", draws=2, output=tmp_path / "o")
    assert opened == [a, b]
    assert [one.name for one in found.measures][-1] == "20%-of-the-labels"
    assert found.verdict.startswith("b is better than a by ")
    assert list(found.to_pandas()["accuracy"]) == [one.name for one in found.measures]
    assert "20-NN" in found._repr_html_()


def test_more_than_one_budget_is_refused(tmp_path, capsys):
    assert main(["compare", "a.h5", "b.h5", "--budget", "1,5"]) == 2
    assert "--budget 1,5: give one" in capsys.readouterr().err


def test_another_order_of_the_classes_is_the_same_labels(tmp_path):
    """In a file of its own, so that few labels are drawn from each file's own split."""
    a = write(tmp_path / "a.h5", 1.0)
    with FeatureFile(a) as file:
        rows = file.rows
        turned = Rows(rows.ids, (rows.labels + 1) % 3, ("c", "a", "b"))
        b = write_features(tmp_path / "b.h5", file.read(), turned)
    found = embedkit.compare(a, b, split="kfold:3", draws=2, output=tmp_path / "o")
    few = found.measures[-1]
    assert (few.a, few.difference.n) == (few.b, 27)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (
            np.arange(180) % 3,
            ("a", "b", "d"),
            r"60 of 180 images are of another class.*'row 002': 'c' and 'd'",
        ),
        (
            np.where(np.arange(180) == 7, -1, np.arange(180) % 3),
            ("a", "b", "c"),
            r"1 of 180.*'b' and no class",
        ),
        (None, (), "b.h5: no labels stored"),
        (np.full(180, -1), ("a",), "b.h5: no labels stored"),
    ],
)
def test_other_labels_are_refused_before_anything_runs(tmp_path, monkeypatch, labels, names, message):
    a = write(tmp_path / "a.h5", 1.0)
    with FeatureFile(a) as file:
        b = write_features(tmp_path / "b.h5", file.read(), Rows(file.rows.ids, labels, names))
    monkeypatch.setattr("embedkit.workflows.compare._score", lambda *_: pytest.fail("something ran"))
    with pytest.raises(embedkit.EmbedkitError, match=message):
        embedkit.compare(a, b, output=tmp_path / "o")


def outcomes(scores):
    return Outcomes(np.array([f"{i:03d}" for i in range(len(scores))]), np.asarray(scores, float), "same")


def test_several_trainings_are_one_mean_and_widen_its_interval_by_students_t():
    """Trainings that differ in nothing else have SciPy's interval of a mean over them."""
    rng = np.random.default_rng(0)
    n = 20_000  # so many images that they add nothing to speak of
    a = outcomes((rng.random((n, 1)) < 0.5).astype(float))
    gains = np.array([0.10, 0.14, 0.21])
    b = [outcomes(a.score + gain) for gain in gains]
    found = compare_trainings(a, b)
    low, high = t.interval(0.95, 2, loc=gains.mean(), scale=sem(gains))
    assert found.value == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    alone = compare_trainings(a, b[:1])
    assert alone == compare_outcomes([(a, b[0])])


def test_a_file_is_compared_with_the_mean_of_several(tmp_path, capsys):
    a = write(tmp_path / "weak.h5", 0.5)
    seeds = [write(tmp_path / f"seed-{i}.h5", strength) for i, strength in enumerate((2.0, 2.5, 3.0))]
    turned = write(tmp_path / "turned.h5", 3.0, order=np.random.default_rng(1).permutation(180))
    line = ["compare", str(a), *map(str, seeds[:2]), str(turned), "--split", "kfold:3", "--json"]
    assert main([*line, "-o", str(tmp_path / "o")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [document[side]["file"] for side in ("A", "B", "B2", "B3")] == [*map(str, (a, *seeds[:2], turned))]
    pairs = [embedkit.compare(a, b, split="kfold:3", output=tmp_path / f"p{b.stem}") for b in seeds]
    for i, one in enumerate(document["measures"][:3]):
        each = [pair.measures[i].b for pair in pairs]
        assert one["each_b"] == pytest.approx(each)
        assert one["b"] == pytest.approx(np.mean(each))
        assert one["a"] == pytest.approx(pairs[0].measures[i].a)
        assert one["difference"]["value"] == pytest.approx(np.mean(each) - one["a"])
    assert document["verdict"].startswith("B is better than weak by ")
    assert main([*line[:-1], "-o", str(tmp_path / "o2")]) == 0
    shown = capsys.readouterr().out
    assert "A = weak, B = the mean of seed-0, seed-1, turned: 180 images" in shown
    assert "B, each" in shown


def test_files_that_are_no_trainings_of_one_kind_are_refused(tmp_path, capsys):
    a, b = write(tmp_path / "a.h5", 1.0), write(tmp_path / "b.h5", 2.0)
    with FeatureFile(a) as file:
        wide = write_features(tmp_path / "wide.h5", np.repeat(file.read(), 2, axis=1), file.rows)
    assert main(["compare", str(a), str(b), str(wide), "-o", str(tmp_path / "o")]) == 1
    assert "features of different dimension are no trainings of one kind" in capsys.readouterr().err
    assert main(["compare", str(a), str(b), str(b), "-o", str(tmp_path / "o")]) == 2
    assert "is given twice among the files of B" in capsys.readouterr().err
    fewer = write(tmp_path / "fewer.h5", 2.0, keep=slice(0, 170))
    assert main(["compare", str(a), str(b), str(fewer), "-o", str(tmp_path / "o")]) == 1
    assert "fewer.h5: 170 ids agree, of 180 and 170. Take those with --common" in capsys.readouterr().err
