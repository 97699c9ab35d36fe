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
        ({"split": ["train", "val", "test", ""]}, "split 'val' of 'b' is not one of train, validation, test"),
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


def test_labels_from_no_names():
    labels, class_names = labels_from_names([])
    assert (labels.tolist(), class_names) == ([], ())
    labels, class_names = labels_from_names(["", ""])
    assert (labels.tolist(), class_names) == ([-1, -1], ())
