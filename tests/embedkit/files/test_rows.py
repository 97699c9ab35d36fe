import tracemalloc

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.rows import Rows, labels_from_names

FULL = {
    "ids": ["a", "b", "c", "d"],
    "labels": [1, 0, -1, 1],
    "class_names": ("spiral", "smooth"),
    "targets": [[0.5, np.nan]] * 4,
    "target_names": ("bar", "ring"),
    "split": ["train", "validation", "test", ""],
    "group": ["g", "g", "", "h"],
    "coordinates": [[1.0, 2.0]] * 4,
}


def test_lists_become_arrays_of_the_documented_types():
    rows = Rows(**FULL)
    assert len(rows) == 4
    kinds = {name: getattr(rows, name).dtype.str[1:] for name in ("labels", "targets", "coordinates")}
    assert kinds == {"labels": "i8", "targets": "f4", "coordinates": "f8"}
    assert {getattr(rows, name).dtype.kind for name in ("ids", "split", "group")} == {"U"}


def test_numbers_as_ids_become_text():
    assert Rows([587722952767439450, 2]).ids.tolist() == ["587722952767439450", "2"]


def test_no_rows_and_a_class_without_images_are_allowed():
    assert len(Rows([])) == 0
    assert Rows(["a"], labels=[0], class_names=("here", "nowhere")).class_names == ("here", "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, r"labels has shape \(2,\), expected \(4,\) for 4 images"),
        ({"labels": [[0]] * 4}, r"labels has shape \(4, 1\)"),
        ({"targets": [[0.5]] * 4}, r"targets has shape \(4, 1\), expected \(4, 2\)"),
        ({"split": ["train"]}, r"split has shape \(1,\)"),
        ({"group": ["g"] * 5}, r"group has shape \(5,\)"),
        ({"coordinates": [1.0] * 4}, r"coordinates has shape \(4,\), expected \(4, 2\)"),
        ({"ids": ["a", "", "c", "d"]}, "row 1 has an empty id. Give every image one"),
        ({"ids": ["a", "b\0c", "c", "d"]}, r"ids hold 'b\\x00c', which is no text that a file can keep"),
        ({"ids": ["a", "\ud800", "c", "d"]}, r"ids hold '\\ud800', which is no text"),
        ({"group": ["a", "a", "\0x", "a"]}, r"group hold '\\x00x', which is no text"),
        ({"class_names": ("a", "")}, "a class has an empty name"),
        ({"class_names": ("a", "a")}, "two classes are called 'a'"),
        ({"ids": ["a", "b", "b", "b"]}, "2 duplicate ids, such as 'b'.*must occur once"),
        ({"labels": [0, 1, 2, 0]}, "label 2 of 'c' is outside the 2 classes; -1 stands for no label"),
        ({"labels": [0, -2, 0, 0]}, "label -2 of 'b'"),
        ({"class_names": ()}, "label 1 of 'a' is outside the 0 classes"),
        ({"split": ["train", "7", "test", ""]}, "split '7' of 'b' is not one of train, validation, test"),
        ({"labels": [0.9, 1.7, 0, 1]}, r"label 0\.9 is not the index of a class. Give whole numbers, -1"),
        ({"labels": [0, np.nan, 0, 1]}, "label nan is not the index of a class"),
        ({"labels": [0, 1e300, 0, 1]}, r"label 1e\+300 is not the index"),
        ({"labels": np.array([0, 2**64 - 1, 0, 1], np.uint64)}, r"label 1\.84467e\+19 is not the index"),
        ({"labels": ["a", "b", "a", "b"]}, "labels are <U1, not whole numbers.*labels_from_names"),
        ({"ids": ["a", "b" * 5000, "c", "d"]}, r"ids hold 'bbb.*'\.\.\. of 5,000 characters; at most 4,096"),
        ({"ids": np.array(["a", "b" * 5000, "c", "d"])}, "of 5,000 characters"),
        ({"group": ["a", "b" * 5000, "c", "d"]}, "group hold .* of 5,000 characters"),
        ({"class_names": ("a", "b" * 5000)}, r"is called 'bbb.*' \(5,000 characters\)"),
        ({"ids": ["a", b"\xff", "c", "d"]}, r"ids hold b'\\xff', which is no UTF-8"),
        ({"targets": [[0.5, 1e39]] * 4}, r"target 1e\+39 is beyond what float32 holds"),
        ({"targets": [["a", "b"]] * 4}, "targets are not numbers"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(EmbedkitError, match=message):
        Rows(**FULL | change)


@pytest.mark.parametrize(
    "index", [[3, 0], np.array([True, False, False, True]), slice(1, 3), slice(None, None, -1), []], ids=str
)
def test_take_takes_from_every_column(index):
    rows = Rows(**FULL)
    taken = rows.take(index)
    where = np.arange(4)[index]
    for name in ("ids", "labels", "targets", "split", "group", "coordinates"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(rows, name)[where])
    assert taken.class_names == rows.class_names
    assert taken.target_names == rows.target_names


def test_take_leaves_absent_columns_absent():
    taken = Rows(["a", "b"]).take([1])
    assert taken.ids.tolist() == ["b"]
    assert taken.labels is None
    assert taken.coordinates is None


def test_taking_a_row_twice_breaks_the_ids():
    with pytest.raises(EmbedkitError, match="duplicate ids"):
        Rows(**FULL).take([0, 0])


def test_labels_from_names_are_sorted_and_invertible():
    names = ["smooth", "", "bar", "smooth", "ändern"]
    labels, class_names = labels_from_names(names)
    assert class_names == ("bar", "smooth", "ändern")
    assert labels.tolist() == [1, -1, 0, 1, 2]
    assert [class_names[label] if label >= 0 else "" for label in labels] == names


def test_a_long_id_takes_no_room():
    """One id of 50 MB among 42 rows was an array of 8.4 GB."""
    tracemalloc.start()
    with pytest.raises(EmbedkitError, match=r"of 50,000,000 characters"):
        Rows([*map(str, range(41)), "x" * 50_000_000])
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()


def test_one_long_id_among_many_rows_is_refused_before_memory_is_taken():
    ids = [*map(str, range(300_000)), "x" * 4000]
    tracemalloc.start()
    with pytest.raises(
        EmbedkitError, match=r"ids hold 'x+'\.\.\. of 4,000 characters among 300,001 rows.* 4 GiB"
    ):
        Rows(ids)
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()
    assert len(Rows(["x" * 4000, *map(str, range(2_000))])) == 2_001


def test_ids_of_bytes_are_text():
    for ids in ([b"a", "b\xe9".encode(), "c"], np.array([b"a", "b\xe9".encode(), b"c"])):
        assert Rows(ids).ids.tolist() == ["a", "b\xe9", "c"]


def test_words_for_the_splits_are_known():
    words = ["Train", "training", "val", "VALID", " dev ", "validation", "test", "Testing", "", "nan", "None"]
    assert Rows(range(11), split=words).split.tolist() == (
        ["train"] * 2 + ["validation"] * 4 + ["test"] * 2 + [""] * 3
    )


def test_whole_labels_of_any_type_are_taken():
    for labels in ([0.0, 1.0, -1.0], np.array([0, 1, -1], np.int8), np.array([0, 1, -1], object)):
        assert Rows(range(3), labels, ("a", "b")).labels.tolist() == [0, 1, -1]
    assert Rows(range(2), np.array([0, 1], np.uint64), ("a", "b")).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "word", ["", " ", "nan", "NaN", "None", "none", "NA", "N/A", "null", "<NA>", "-1", "NaT"]
)
def test_words_for_no_label(word):
    labels, names = labels_from_names(["b", word, " a", "a "])
    assert (labels.tolist(), names) == ([1, -1, 0, 0], ("a", "b"))


def test_what_pandas_reads_as_missing_is_no_label():
    """Every word but those of broken Windows programs (1.#IND)."""
    pandas = pytest.importorskip("pandas")
    words = {word for word in pandas._libs.parsers.STR_NA_VALUES if "1.#" not in word}
    assert labels_from_names([*sorted(words), "a"])[0].tolist() == [-1] * len(words) + [0]


def test_whole_numbers_with_a_point_are_the_same_classes():
    labels, names = labels_from_names(["1.0", "", "2.0", "-1.0", "10.0"])
    assert (labels.tolist(), names) == ([0, -1, 2, -1, 1], ("1", "10", "2"))
    assert labels_from_names(["1.0", "1.5"])[1] == ("1.0", "1.5")
    assert labels_from_names(["1.0", "v2"])[1] == ("1.0", "v2")
    assert labels_from_names(["007", "7"])[1] == ("007", "7")


def test_labels_from_no_names():
    labels, class_names = labels_from_names([])
    assert (labels.tolist(), class_names) == ([], ())
    labels, class_names = labels_from_names(["", ""])
    assert (labels.tolist(), class_names) == ([-1, -1], ())


@pytest.mark.parametrize("dtype", ["<U2", ">U2"])
@pytest.mark.parametrize("name", ["ids", "group", "split"])
def test_numbers_that_are_no_characters_are_refused(name, dtype):
    """The last character of Unicode is U+10FFFF; NumPy makes text of any number, which nothing can write."""
    last = np.array([0x10FFFF, 0, ord("b"), 0], "<u4").astype(f"{dtype[0]}u4").view(dtype)
    assert Rows(["x", "y"], group=last).group[0] == chr(0x10FFFF)
    beyond = np.array([0x110000, 0, ord("b"), 0], "<u4").astype(f"{dtype[0]}u4").view(dtype)
    with pytest.raises(EmbedkitError, match=f"{name} hold a character of number 1,114,112"):
        Rows(**({"ids": ["x", "y"]} | {name: beyond}))
