"""Labels of a table are what the same labels stored in the feature file are, in every verb."""

import json

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, file_sha256, write_features
from embedkit.options import Selection
from embedkit.scoring.outcomes import TrueClasses, read_outcomes
from embedkit.scoring.selected import select

NAMES = ("disc", "ring", "smooth")
LABELS = np.repeat([0, 1, 2], 30)
IDS = [f"sky/g{i:02d}.png" for i in range(len(LABELS))]
X = (np.eye(3, 6)[LABELS] * 2 + np.random.default_rng(0).normal(size=(len(LABELS), 6))).astype(np.float32)


def write(path, labels=None, names=NAMES, order=slice(None)):
    rows = Rows(
        ids=np.array(IDS)[order],
        labels=None if labels is None else labels[order],
        class_names=() if labels is None else names,
    )
    return write_features(path, X[order], rows, provenance={"dataset": {"name": "sky"}})


def table(path, lines, header="file,label"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def lines(rows=None):
    rows = range(len(IDS)) if rows is None else rows
    return [f"{IDS[i]},{NAMES[LABELS[i]]}" for i in rows]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The features' own labels are wrong ones: they must count for nothing.
    write(tmp_path / "f.h5", np.roll(LABELS, 40), ("a", "b", "c"))
    write(tmp_path / "stored.h5", LABELS)
    shuffled = np.random.default_rng(1).permutation(len(IDS))
    table(tmp_path / "t.csv", lines(shuffled))
    return tmp_path


def metrics(result):
    return {name: (one.value, one.low, one.high) for name, one in result.metrics.items()}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"only_class": ("disc", "ring")},
        {"exclude_class": ("disc",)},
    ],
)
def test_cluster_and_probe_score_as_on_the_labels_stored(world, given):
    for call in (
        lambda f, **how: embedkit.cluster(f, k=3, **how),
        lambda f, **how: embedkit.probe(f, kind="knn", **how),
    ):
        (of_table,) = call("f.h5", labels="t.csv", output="r", **given).results
        (stored,) = call("stored.h5", output="r", **given).results
        assert metrics(of_table) == metrics(stored)
        digest = file_sha256("t.csv")
        assert of_table.dataset.startswith(f"sky [labels of t.csv {digest[:8]}]")
        kept = of_table.provenance["selection"]["labels"]
        assert kept == {"file": "t.csv", "sha256": digest, "column": "label"}


def test_quality_report_leaks_and_compare_take_it(world, capsys):
    assert main(["quality", "f.h5", "--labels", "t.csv", "--only-class", "ring", "-o", "r"]) == 0
    assert read_results("r")[0].n == 30
    assert main(["report", "f.h5", "--labels", "t.csv", "--no-thumbnails", "-o", "f.html"]) == 0
    assert "smooth" in (world / "f.html").read_text()
    assert main(["leaks", "f.h5", "--labels", "t.csv", "--split", "stratified"]) == 0
    write(world / "other.h5", order=np.random.default_rng(3).permutation(len(IDS)))
    found = embedkit.compare("f.h5", "other.h5", labels="t.csv", output="c", draws=2, budget="5")
    assert found.measures[0].a == found.measures[0].b
    assert "Labels of t.csv, column 'label': every row of 3 classes." in capsys.readouterr().err


def test_a_saved_model_is_applied_to_labels_of_a_table(world):
    embedkit.probe("stored.h5", kind="knn", save_model="m.h5")
    of_table = embedkit.probe("f.h5", apply="m.h5", labels="t.csv")
    stored = embedkit.probe("stored.h5", apply="m.h5")
    assert {n: m.value for n, m in of_table.metrics.items()} == {
        n: m.value for n, m in stored.metrics.items()
    }
    embedkit.cluster("f.h5", labels="t.csv", save_model="c.h5")
    (applied,) = embedkit.cluster("stored.h5", apply="c.h5").results
    assert set(applied.outcomes["class_names"]) == set(NAMES)


def test_the_leaderboard_reads_the_classes_of_a_clustering_from_its_table(world):
    (of_table,) = embedkit.cluster("f.h5", labels="t.csv", output="r").results
    (own,) = embedkit.cluster("f.h5", output="r").results
    classes = TrueClasses()
    assert classes.of(of_table) == {name: NAMES[label] for name, label in zip(IDS, LABELS, strict=True)}
    assert set(classes.of(own).values()) == {"a", "b", "c"}
    assert read_outcomes(of_table, world / "r").mean == pytest.approx(of_table.metrics["accuracy"].value)
    table(world / "t.csv", lines(range(80)))
    with pytest.raises(EmbedkitError, match=r"t.csv, which holds the labels, has changed since"):
        TrueClasses().of(of_table)
    (world / "t.csv").unlink()
    with pytest.raises(EmbedkitError, match="not where it was"):
        TrueClasses().of(of_table)


def test_another_table_of_the_same_name_is_another_dataset_and_another_file(world):
    first = embedkit.probe("f.h5", labels="t.csv", kind="knn", output="r")
    table(world / "t.csv", lines(range(85)))
    second = embedkit.probe("f.h5", labels="t.csv", kind="knn", output="r")
    assert first.results[0].dataset != second.results[0].dataset
    assert first.predictions_path != second.predictions_path


def test_a_bench_measures_again_where_the_table_has_changed(world):
    def bench():
        return embedkit.bench(
            feature_files=("f.h5",),
            labels="t.csv",
            probes=("knn",),
            clusterings=(),
            reports=False,
            output="b",
        )

    assert len(bench().results) == 1
    assert bench().n_before >= 1
    table(world / "t.csv", lines(range(85)))
    found = bench()
    assert {one.dataset for one in found.results} >= {f"sky [labels of t.csv {file_sha256('t.csv')[:8]}]"}


def test_rows_without_a_line_have_no_label_and_that_is_said(world):
    table(world / "some.csv", [*lines(range(0, 90, 2)), "sky/g99.png,disc", f"{IDS[1]},"], "id,kind")
    with FeatureFile("f.h5") as file:
        found = select(file, Selection(labels=world / "some.csv"))
    assert np.array_equal(found.rows.labels, np.where(np.arange(90) % 2, -1, LABELS))
    said = " ".join(found.remarks)
    assert "column 'kind': 45 of 90 rows of 3 classes; the others have none." in said
    assert "1 of its 47 ids are of no row of f.h5, such as 'sky/g99.png'. Did you mean" in said


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([one.rpartition("/")[2] for one in IDS], "Without folders, 90 of them would agree"),
        ([one.rpartition(".")[0] for one in IDS], "Without endings, 90"),
        ([one.rpartition("/")[2][:3] for one in IDS], "Without folders and endings, 90"),
        ([one.upper() for one in IDS], "In small letters, 90"),
    ],
)
def test_ids_that_nearly_match_are_refused_with_what_differs(world, ids, words):
    table(world / "near.csv", [f"{one},ring" for one in ids])
    with FeatureFile("f.h5") as file, pytest.raises(EmbedkitError, match=words) as refused:
        select(file, Selection(labels=world / "near.csv"))
    assert "none of its 90 ids" in str(refused.value)


def test_labels_without_ids_are_refused(world):
    table(world / "no.csv", TRUE, "label")
    with pytest.raises(EmbedkitError, match="no.csv: no column of ids beside 'label'. Give a .csv"):
        labels_of(world / "no.csv")


def test_numbers_that_are_ids_too_don_t_make_labels_the_ids(tmp_path):
    rows = Rows(ids=np.arange(90).astype(str))
    path = write_features(tmp_path / "n.h5", X, rows)
    table(tmp_path / "n.csv", [f"{LABELS[i]},{i}" for i in range(90)], "label,row")
    with FeatureFile(path) as file:
        found = select(file, Selection(labels=tmp_path / "n.csv")).rows
    assert np.array_equal(found.labels, LABELS)
    assert found.class_names == ("0", "1", "2")


def labels_of(path):
    with FeatureFile("f.h5") as file:
        rows = select(file, Selection(labels=path)).rows
    return np.array([*rows.class_names, ""])[rows.labels]


TRUE = np.array(NAMES)[LABELS]


@pytest.mark.parametrize(
    "arrays",
    [
        {"ids": np.array(IDS), "labels": TRUE},
        {"Filename": np.array(IDS, dtype=bytes), "label": TRUE.astype(bytes)},
        {"ids": np.array(IDS), "labels": LABELS, "class_names": np.array(NAMES)},
        {"ids": np.array(IDS), "labels": LABELS[:, None].astype(np.uint8), "class_names": np.array(NAMES)},
        {"ids": np.array(IDS), "Y": np.eye(3, dtype=bool)[LABELS], "class_names": np.array(NAMES)},
        {"ids": np.array(IDS), "x": X, "class": TRUE, "seen": np.zeros(90, "datetime64[s]")},
    ],
)
def test_arrays_are_a_table_too(world, arrays):
    back = np.arange(len(IDS))[::-1]
    turned = {name: one[back] if len(one) == len(IDS) else one for name, one in arrays.items()}
    np.savez("t.npz", **turned)
    assert labels_of(world / "t.npz").tolist() == TRUE.tolist()
    np.savez("some.npz", **{name: one[:40] if len(one) == len(IDS) else one for name, one in turned.items()})
    assert labels_of(world / "some.npz").tolist() == [*[""] * 50, *TRUE[50:]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids": np.array(IDS), "labels": TRUE[:7]}, "7 entries of label for 90 ids"),
        ({"ids": np.array(IDS), "labels": TRUE.astype(object)}, "labels holds Python objects"),
        ({"ids": np.array(IDS), "labels": np.ones((90, 3))}, "labels has rows of several classes"),
        ({"ids": np.array(IDS), "labels": np.zeros(90, "datetime64[s]")}, "labels is of type datetime64"),
        ({"ids": np.array(IDS), "labels": LABELS + 0.5}, "labels are not whole numbers"),
        ({"ids": np.array([], dtype=str), "labels": LABELS[:0]}, "no line"),
        ({"ids": np.array(IDS), "labels": LABELS, "class_names": np.array(["a", "b"])}, "label 2 has none"),
    ],
)
def test_arrays_that_are_no_table_of_labels_are_refused(world, arrays, words):
    np.savez("t.npz", **arrays)
    with pytest.raises(EmbedkitError, match=rf"t.npz.*{words}"):
        labels_of(world / "t.npz")


def test_an_id_twice_has_one_label(world):
    table(world / "twice.csv", [*lines(), *lines(range(9)), f"{IDS[9]}, disc "])
    assert labels_of(world / "twice.csv").tolist() == TRUE.tolist()
    table(world / "two.csv", [*lines(), f"{IDS[9]},ring"])
    with pytest.raises(
        EmbedkitError, match="two.csv: the id 'sky/g09.png' stands in it twice, .*'disc' and 'ring'"
    ):
        labels_of(world / "two.csv")


@pytest.mark.parametrize("word", ["", "nan", "NA", "None", "-1"])
def test_words_for_nothing_are_no_label(world, word):
    table(world / "t.csv", [*lines(range(1, 90)), f"{IDS[0]},{word}"])
    assert labels_of(world / "t.csv").tolist() == ["", *TRUE[1:]]


def test_whole_numbers_are_classes_in_their_order(world):
    table(
        world / "t.tsv",
        [f"{one}\t{label * 5}.0" for one, label in zip(IDS, LABELS, strict=True)],
        "id\tclass",
    )
    with FeatureFile("f.h5") as file:
        rows = select(file, Selection(labels=world / "t.tsv")).rows
    assert rows.class_names == ("0", "5", "10")
    assert rows.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("option", ["--save-split", "--save-model", "--plot"])
def test_the_table_is_never_written_over(world, option, capsys):
    before = (world / "t.csv").read_bytes()
    assert main(["probe", "f.h5", "--labels", "t.csv", option, "t.csv"]) == 2
    with pytest.raises(UsageError, match="t.csv"):
        embedkit.probe("f.h5", labels="t.csv", **{option[2:].replace("-", "_"): "t.csv"})
    assert (world / "t.csv").read_bytes() == before


def test_a_report_of_labels_of_a_table_reads_results_of_the_files_own(world):
    (own,) = embedkit.cluster("f.h5", output="r").results
    (of_table,) = embedkit.cluster("f.h5", labels="t.csv", output="r").results
    with FeatureFile("f.h5") as file:
        classes = TrueClasses([select(file, Selection(labels=world / "t.csv"))])
        assert set(classes.of(own).values()) == {"a", "b", "c"}
        assert set(classes.of(of_table).values()) == set(NAMES)


@pytest.mark.parametrize(
    ("name", "header", "error", "words"),
    [
        ("t.npy", "file,label", UsageError, "not a table by its ending.*embedkit import"),
        ("t.csv", "file,kind,colour", UsageError, "none of its columns kind, colour is called label"),
        ("ids.csv", "file", UsageError, "ids.csv: no column of labels"),
        ("gone.csv", None, UsageError, "gone.csv: no such file"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(tmp_path, name, header, error, words):
    path = write(tmp_path / "f.h5")
    if header:
        n_cells = header.count(",") + 1
        table(tmp_path / name, [",".join([*one.split(","), "x"][:n_cells]) for one in lines()], header)
    with FeatureFile(path) as file, pytest.raises(error, match=words):
        select(file, Selection(labels=tmp_path / name))


def test_extract_stores_them_and_verify_finds_the_dataset_again(world, capsys):
    ids = embedkit.load_dataset("simulated", n=12, size=32).rows.ids
    table(world / "s.csv", [f"{one},{'odd' if i % 2 else 'even'}" for i, one in enumerate(ids[:10])])
    simulated = ["simulated", "--n", "12", "--size", "32", "--labels", "s.csv"]
    call = ["extract", *simulated, "--backbone", "pixels:8", "-o", "s.h5"]
    assert main(call) == 0
    with FeatureFile("s.h5") as file:
        assert file.rows.class_names == ("even", "odd")
        assert file.rows.labels.tolist() == [0, 1] * 5 + [-1, -1]
        assert file.dataset_name == f"simulated [labels of s.csv {file_sha256('s.csv')[:8]}]"
    assert main(["verify", "s.h5"]) == 0
    assert main(call) == 0
    assert "already" in capsys.readouterr().out
    table(world / "s.csv", [f"{one},odd" for one in ids])
    assert main(call) == 1
    assert main(["datasets", *simulated, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == {"odd": 12}


def test_a_table_without_a_header_does_not_lose_its_first_row(world):
    first, *rest = lines()
    table(world / "bare.csv", rest, first)
    with pytest.raises(EmbedkitError, match=r"bare.csv: its first line looks like data \(sky/g00.png\): put"):
        labels_of(world / "bare.csv")
