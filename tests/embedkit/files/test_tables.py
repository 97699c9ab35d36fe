"""The tables that rooms exchange: what is written comes back, and what is damaged is named."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.group_tables import GROUPS, NAMED, TREE
from embedkit.files.predictions import Predictions, write_predictions
from embedkit.files.rows import Rows
from embedkit.files.tables import (
    APPLIED_CLASSES,
    APPLIED_TARGETS,
    ASSIGNMENTS,
    CLASS_PREDICTIONS,
    COPIES,
    LABELLED,
    OUTLIERS,
    SIMILAR,
    TABLES,
    TARGET_PREDICTIONS,
    neutral,
    read_table,
    restored,
    write_table,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "tables.md"
# Text that a spreadsheet executes, text that looks like what protects it, and what breaks a CSV.
NASTY = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "'=1",
    "''=1",
    "'",
    "''",
    "'quoted'",
    "O'Neil",
    'say "x"',
    "a,b;c",
    "two\nlines",
    "old\rmac",
    "a=b",
    " =1",
    "Ω̃ 星",
)


@pytest.mark.parametrize("text", NASTY, ids=repr)
def test_text_comes_back_and_never_begins_a_formula(text):
    written = neutral(text)
    assert written[0] not in "=+-@\t\r\n"
    assert restored(written) == text
    assert restored(neutral(written)) == written


def test_only_what_would_be_executed_is_touched():
    assert [text for text in NASTY if neutral(text) != text] == [*NASTY[:8]]
    assert neutral("") == restored("") == ""


CLASSES = {
    ASSIGNMENTS: {
        "id": NASTY,
        "cluster": np.arange(len(NASTY)) - 1,
        "distance": np.r_[np.nan, np.arange(1, len(NASTY)) / 3],
        "probability": np.full(len(NASTY), 0.25),
        "class": ["", *NASTY[1:]],
        "node": np.arange(len(NASTY)),
        "density": np.full(len(NASTY), 0.125),
    },
    CLASS_PREDICTIONS: {
        "id": NASTY,
        "split": ["test"] * len(NASTY),
        "fold": [2] * len(NASTY),
        "draw": [1] * len(NASTY),
        "true": NASTY[::-1],
        "predicted": NASTY,
        "probability": np.full(len(NASTY), 0.5),
    },
    TARGET_PREDICTIONS: {
        "id": ["a", "b"],
        "split": ["validation", "test"],
        "fold": [1, 1],
        "true:=x, y": [-1.5, 2.0],
        "true:z": [0.0, 1e-12],
        "predicted:=x, y": [-1.25, 2.5],
        "predicted:z": [0.5, 1e12],
        "squared_error": [0.125, 3.0],
    },
    APPLIED_CLASSES: {
        "id": ["a", "-b"],
        "true": ["", "=c"],
        "predicted": ["=c", "d"],
        "probability": [0.75, 0.5],
        "probability:=c": [0.75, 0.5],
        "probability:d": [0.25, 0.5],
    },
    APPLIED_TARGETS: {"id": ["a", "b"], "true:t": [np.nan, -1.0], "predicted:t": [1.0, -2.0]},
    LABELLED: {
        "id": ["a", "-b"],
        "label": ["=c", ""],
        "next": [np.nan, 1.0],
        "predicted": ["d", "=c"],
        "probability": [0.75, 0.5],
        "fold": [2, 0],
        "probability:=c": [0.25, 0.5],
        "probability:d": [0.75, 0.5],
    },
    SIMILAR: {
        "id": ["a", "=b"],
        "place": [1, 2],
        "similarity": [0.5, -0.25],
        "query": ["=c", "=c"],
        "label": ["", "-d"],
    },
    OUTLIERS: {
        "id": ["a", "=b"],
        "place": [1, 2],
        "distance": [0.5, 0.25],
        "nearest": ["=b", "a"],
        "label": ["", "-d"],
        "strength": [np.nan, 1.0],
    },
    COPIES: {"kind": ["near", "exact"], "id": ["=a", "=a"], "other": ["b", "b"]},
    GROUPS: {
        "group": [3, 0],
        "name": ["=c", ""],
        "rows": [40, 1],
        "spread": [0.5, 0.0],
        "separation": [2.5, np.nan],
        "mixed": ["yes", ""],
        "central:1": ["=a", "b"],
        "central:2": ["c", ""],
    },
    TREE: {
        "node": [0, 1],
        "parent": [-1, 0],
        "birth": [0.0, 0.5],
        "death": [0.5, 1.25],
        "rows": [40, 12],
        "stability": [20.0, 3.5],
        "cluster": [-1, 0],
    },
    NAMED: {"id": ["a", "=b"], "label": ["-c", ""], "confidence": [0.5, np.nan], "group": [2, -1]},
}


def test_every_table_is_tried_here():
    assert set(CLASSES) == set(TABLES)


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.name)
def test_a_table_comes_back_as_it_was_written(kind, tmp_path):
    columns = CLASSES[kind]
    path = write_table(tmp_path / "deep" / "t.csv", kind, columns)
    table = read_table(path, kind)
    assert list(table.columns) == list(columns)
    assert len(table) == len(next(iter(columns.values())))
    for name, values in columns.items():
        if isinstance(values[0], str):
            assert table[name].tolist() == list(values), name
        else:
            np.testing.assert_allclose(table[name], values, rtol=1e-5)
    dtypes = {"U": "text", "i": "integer", "f": "number"}
    declared = {name: column for column in kind.columns for name in column.names(list(columns))}
    assert {name: dtypes[values.dtype.kind] for name, values in table.columns.items()} == {
        name: column.dtype for name, column in declared.items()
    }
    assert [p.name for p in path.parent.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.name)
def test_no_cell_of_text_would_be_executed(kind, tmp_path):
    path = write_table(tmp_path / "t.csv", kind, CLASSES[kind])
    with path.open(newline="") as stream:
        header, *lines = list(csv.reader(stream))
    text = {name for column in kind.columns if column.dtype == "text" for name in column.names(header)}
    for line in lines:
        for name, cell in zip(header, line, strict=True):
            if name in text:
                assert not cell or cell[0] not in "=+-@\t\r\n"
            else:
                assert not cell.startswith("'")  # numbers stay numbers
    assert all(name[0] not in "=+-@'" for name in header)


def test_a_table_without_rows_and_one_without_its_optional_columns(tmp_path):
    empty = read_table(write_table(tmp_path / "t.csv", COPIES, {"kind": [], "id": [], "other": []}), COPIES)
    assert len(empty) == 0
    few = write_table(tmp_path / "t.csv", ASSIGNMENTS, {"cluster": [0], "id": ["a"]})
    assert few.read_text() == "id,cluster\na,0\n"
    table = read_table(few, ASSIGNMENTS)
    assert "distance" not in table
    assert table.take(np.array([False])).columns["id"].tolist() == []


def test_the_kind_is_told_by_the_columns(tmp_path):
    for kind in (CLASS_PREDICTIONS, TARGET_PREDICTIONS):
        path = write_table(tmp_path / "t.csv", kind, CLASSES[kind])
        assert read_table(path, CLASS_PREDICTIONS, TARGET_PREDICTIONS).kind is kind
    table = read_table(path, TARGET_PREDICTIONS)
    assert list(table.repeated("true")) == ["=x, y", "z"]


def test_more_columns_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffid,remark,cluster\r\n\r\n'=a,fine,3\r\n\r\n".encode())
    table = read_table(path, ASSIGNMENTS)
    assert {name: values.tolist() for name, values in table.columns.items()} == {"id": ["=a"], "cluster": [3]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"t\.csv: no such file\. Restore the file, or run `embedkit cluster` again\."),
        ("", r"t\.csv: an empty file\. Restore"),
        ("id,number\na,1\n", r"t\.csv: no table of cluster assignments, for it has no column cluster\."),
        ("id,cluster\na,1\nb\n", r"t\.csv:3: 1 cells, where the header has 2\."),
        ("id,cluster\na,1,2\n", r"t\.csv:2: 3 cells, where the header has 2\."),
        ("id,cluster\na,one\n", r"t\.csv:2: cluster 'one' is no integer\."),
        ("id,cluster\na,1.0\n", r"t\.csv:2: cluster '1\.0' is no integer\."),
        ("id,cluster\na,\n", r"t\.csv:2: cluster '' is no integer\."),
        ("id,cluster\na," + "9" * 30 + "\n", r"t\.csv:2: cluster '9+' is no integer\."),
        ("id,cluster\n,1\n", r"t\.csv:2: id '' is empty\."),
        ("id,cluster,distance\na,1,far\n", r"t\.csv:2: distance 'far' is no number\."),
        ("id,cluster,distance\na,1,inf\n", r"t\.csv:2: distance 'inf' is no number\."),
        ("id,cluster,distance\na,1,1_0\n", r"t\.csv:2: distance '1_0' is no number\."),
        ("id,cluster,cluster\na,1,1\n", r"t\.csv:1: two columns cluster\."),
        ("id,cluster\na,1\nb,1\na,2\n", r"t\.csv:4: id 'a' stands in line 2 already\."),
        ('id,cluster\n"a,1\nb,1\n', r"t\.csv:3: no CSV in UTF-8 \(unexpected end of data\)\."),
        (b"id,cluster\na,1\nb\xff\xfe,1\n", r"t\.csv:3: no CSV in UTF-8 \(.*invalid start byte\)\."),
    ],
    ids=repr,
)
def test_what_is_damaged_is_named_with_its_line_and_what_to_do(text, message, tmp_path):
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(EmbedkitError, match=message) as error:
        read_table(path, ASSIGNMENTS)
    assert "run `embedkit cluster` again" in str(error.value)


def test_another_table_is_none_to_restore(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n1,2\n")
    other = r"log\.csv: no table of .* It is another table: name one that `embedkit cluster` wrote\.$"
    with pytest.raises(EmbedkitError, match=other):
        read_table(path, ASSIGNMENTS)


def test_one_row_may_stand_in_several_folds_and_draws_but_in_each_once(tmp_path):
    line = "a,test,{},{},x,x,1\n"
    path = tmp_path / "t.csv"
    header = "id,split,fold,draw,true,predicted,probability\n"
    path.write_text(header + line.format(1, 1) + line.format(1, 2) + line.format(2, 1))
    assert len(read_table(path, CLASS_PREDICTIONS)) == 3
    path.write_text(header + line.format(1, 1) + line.format(1, 2) + line.format(1, 1))
    with pytest.raises(EmbedkitError, match=r"t\.csv:4: id 'a', fold 1, draw 1 stands in line 2 already"):
        read_table(path, CLASS_PREDICTIONS)


def test_what_is_not_declared_or_no_number_is_not_written(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(ValueError, match=r"missing \['cluster'\], unknown \['k'\]"):
        write_table(path, ASSIGNMENTS, {"id": ["a"], "k": [1]})
    with pytest.raises(EmbedkitError, match=r"t\.csv: not written, because distance of row 1 is inf"):
        write_table(path, ASSIGNMENTS, {"id": ["a", "b"], "cluster": [0, 0], "distance": [1, np.inf]})
    columns = CLASSES[APPLIED_TARGETS] | {"predicted:t": [0.0, np.nan]}
    with pytest.raises(EmbedkitError, match="predicted:t of row 1 is nan"):
        write_table(path, APPLIED_TARGETS, columns)
    assert list(tmp_path.iterdir()) == []


def test_predictions_of_targets_hold_the_mean_squared_error(tmp_path):
    rows = Rows(["a", "b"], targets=[[1.0, 2.0], [0.0, 0.0]], target_names=("s", "t"))
    true, predicted = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.5, 2.0], [0.0, 1.0]])
    one = Predictions(np.arange(2), np.array(["test"] * 2), np.array([1, 1]), true, predicted, None)
    text = write_predictions(tmp_path / "p.csv", one, rows).read_text()
    assert text.splitlines() == [
        "id,split,fold,true:s,true:t,predicted:s,predicted:t,squared_error",
        "a,test,1,1,2,1.5,2,0.125",
        "b,test,1,0,0,0,1,0.5",
    ]


def test_the_page_says_what_is_declared():
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    by_name = {section.partition("\n")[0].lower(): section for section in sections}
    for kind in TABLES:
        section = by_name[kind.name]
        assert f"`{kind.command}`" in section
        documented = re.findall(
            r"^\| `([^`]+)` \| (always|optional) \| (\w+) \| (.*) \|$", section, flags=re.M
        )
        assert documented == [
            (column.title, "optional" if column.optional else "always", column.dtype, column.meaning)
            for column in kind.columns
        ]
        keys = re.search(r"^Once each: (.*)\.$", section, flags=re.M)[1]
        assert re.findall(r"`(\w+)`", keys) == list(kind.key)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_another_mark_between_columns_is_named(mark, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(mark.join(("id", "split", "fold", "true", "predicted")) + "\n" + mark.join("abcde"))
    with pytest.raises(
        EmbedkitError, match=re.escape(f"a.csv: its columns are divided by {mark!r}. Save it")
    ):
        read_table(path, CLASS_PREDICTIONS)


def test_a_folder_is_not_called_missing(tmp_path):
    with pytest.raises(EmbedkitError, match="a folder, not a regular file. Name a file, such as one in it"):
        read_table(tmp_path, CLASS_PREDICTIONS)
