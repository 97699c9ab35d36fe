"""Vectors in tables as people have them: lists in text, ids that look like numbers, cells that are none."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.datasets.class_labels import class_labels
from embedkit.datasets.label_file import read_labels_by_id
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.words import label_words
from tests.embedkit.extraction.test_import import IDS, D, N, X, imported


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "write",
    [
        lambda row: str(row.tolist()),
        lambda row: repr(list(row)),  # NumPy 2 names its numbers
        lambda row: str(row),
        lambda row: repr(row),
        lambda row: f"tensor({row.tolist()})",
    ],
    ids=["list", "list of NumPy's numbers", "array", "array's repr", "tensor"],
)
def test_a_column_of_lists_in_text_is_the_vectors_and_no_other_number_is(write):
    with Path("wide.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "n_votes", "embedding"])
        table.writerows([name, 7, write(row)] for name, row in zip(IDS, X, strict=True))
    _, x, rows, _ = imported("wide.csv")
    np.testing.assert_allclose(x, X, rtol=1e-5, atol=1e-6)
    assert rows.ids.tolist() == IDS.tolist()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (str(np.arange(2000.0)), "line 3: the vector of column 'embedding' was shortened by NumPy"),
        ("[1, 2", "line 3: '.1, 2'... in column 'embedding' is no list"),
        ("[1, x]", "line 3: the vector of column 'embedding' holds what is no number"),
        ("[1, 2, 3]", "line 3: the vectors of column 'embedding' are of different lengths: 3 here, 2"),
    ],
)
def test_a_list_in_text_that_is_none_is_named_by_its_line(cell, message):
    cells = ["[1, 2]", cell, "[3, 4]", "[5, 6]"] if "..." not in cell else [cell] * 2
    lines = [f'{row},"{cell}"' for row, cell in enumerate(cells)]
    Path("wide.csv").write_text("\n".join(["id,embedding", *lines]))
    with pytest.raises(EmbedkitError, match=message if "..." not in cell else "was shortened by NumPy"):
        imported("wide.csv")


def test_tags_in_text_are_no_vectors():
    lines = [f"r{row},{row},{-row},\"['a', 'b']\"" for row in range(4)]
    Path("wide.csv").write_text("\n".join(["id,f0,f1,tags", *lines]))
    _, x, _, _ = imported("wide.csv")
    np.testing.assert_array_equal(x, [[row, -row] for row in range(4)])


@pytest.mark.parametrize("cell", ["n/a?", "1,234.5", "1_000"])
def test_a_dimension_with_one_cell_that_is_no_number_is_not_left_out(cell):
    lines = [f"r{row},{row},{row},{row}" for row in range(4)]
    Path("wide.csv").write_text("\n".join(["id,f0,f1,f2", *lines, f'r4,1,"{cell}",3']))
    with pytest.raises(EmbedkitError, match="'f1' is one of f0 ... f2 by its name.*on line 6 is no number"):
        imported("wide.csv")


@pytest.mark.parametrize("name", ["specobjid", "dr7objid", "my_source_id"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_ids_of_nineteen_digits_are_no_dimension_and_keep_their_digits(name, ending):
    ids = [1237648720693755918 + row for row in range(6)]
    columns = {name: ids, "a": list(range(6)), "b": list(range(1, 7))}
    if ending == ".csv":
        lines = [f"{one},{row},{row + 1}" for row, one in enumerate(ids)]
        Path("wide.csv").write_text("\n".join([f"{name},a,b", *lines]))
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), "wide.parquet")
    _, x, rows, _ = imported(f"wide{ending}")
    np.testing.assert_array_equal(x, np.stack([np.arange(6), np.arange(1, 7)], axis=1))
    if name != "my_source_id":
        assert rows.ids.tolist() == [str(one) for one in ids]


def test_ids_that_have_been_floats_are_refused():
    def save_npz(name, **arrays):
        np.savez(name, **arrays)
        return name

    # A float64 of this size is a multiple of 256, so the last digits are somebody else's.
    ids = np.array([1237648720693755918 + 1000 * row for row in range(N)])
    with pytest.raises(EmbedkitError, match=r"ids such as '1.2376\d+e\+18' have been floating-point"):
        imported(save_npz("v.npz", features=X, ids=ids.astype(np.float64)))
    _, _, rows, _ = imported(save_npz("v.npz", features=X, ids=ids))
    assert rows.ids.tolist() == [str(one) for one in ids.tolist()]
    _, _, rows, _ = imported(save_npz("v.npz", features=X, ids=np.arange(N).astype(np.float64)))
    assert rows.ids.tolist() == [str(row) for row in range(N)]


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_rows_is_no_dimension_of_a_table_without_header(start):
    counted = np.concatenate([np.arange(start, N + start)[:, None], X.astype(np.float64)], axis=1)
    np.savetxt("bare.csv", counted, delimiter=",")
    _, x, rows, _ = imported("bare.csv")
    np.testing.assert_array_equal(x, X)
    assert rows.ids.tolist() == [str(row) for row in range(start, N + start)]


def test_the_index_that_pandas_keeps_in_parquet_is_the_ids():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame(X, columns=[f"f{j}" for j in range(D)], index=IDS).to_parquet("wide.parquet")
    _, x, rows, _ = imported("wide.parquet")
    np.testing.assert_array_equal(x, X)
    assert rows.ids.tolist() == IDS.tolist()


def test_the_named_index_of_pandas_in_parquet_is_the_ids():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pd.DataFrame(X, columns=[f"f{j}" for j in range(D)])
    table.set_index(pd.Index(IDS, name="img")).to_parquet("named.parquet")
    _, x, rows, _ = imported("named.parquet")
    assert rows.ids.tolist() == pd.read_parquet("named.parquet").index.tolist()
    np.testing.assert_array_equal(x, X)


def test_decimals_and_text_in_bytes_of_parquet_are_read(capsys):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    exact = [[Decimal(f"{value:.4f}") for value in row] for row in X.tolist()]
    columns = {"id": [name.encode() for name in IDS], "thumbnail": [b"\xff\xd8\xff"] * N}
    kind = pa.decimal128(10, 4)
    pq.write_table(pa.table(columns | {"v": pa.array(exact, pa.list_(kind))}), "lists.parquet")
    wide = {f"f{j}": pa.array([row[j] for row in exact], kind) for j in range(D)}
    pq.write_table(pa.table(columns | wide), "wide.parquet")
    for name in ("lists.parquet", "wide.parquet"):
        _, x, rows, _ = imported(name)
        np.testing.assert_array_equal(x, np.array(exact, dtype=np.float64).astype(np.float32))
        assert rows.ids.tolist() == IDS.tolist()
        assert "not used: thumbnail (binary)" in capsys.readouterr().err


def test_decimal_commas_are_read_as_pandas_writes_them():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=[f"f{j}" for j in range(D)])
    table.assign(file=IDS).to_csv("comma.csv", sep=";", decimal=",", index=False)
    table.to_csv("bare.csv", sep=";", decimal=",", index=False, header=False)
    table.to_csv("tab.tsv", sep="\t", decimal=",", index=False, header=False)
    for name in ("comma.csv", "bare.csv", "tab.tsv"):
        np.testing.assert_allclose(imported(name)[1], X, rtol=1e-6)


def test_arrays_that_are_no_use_are_named(capsys):
    objects = np.array(IDS.tolist(), dtype=object)
    np.savez("part.npz", x=X, filenames=objects, labels=np.zeros(N - 1, int))
    imported("part.npz")
    said = " ".join(capsys.readouterr().err.split())
    assert f"not used: filenames (Python objects), labels ({N - 1},)." in said


def test_numbers_that_are_zero_in_float32_are_refused():
    np.save("small.npy", X.astype(np.float64) * 1e-60)
    with pytest.raises(EmbedkitError, match="row '0' is zero in float32"):
        imported("small.npy")


def test_zeros_in_front_of_a_label_are_part_of_its_name(tmp_path):
    names = [("007", "07", "7")[row % 3] for row in range(N)]
    lines = [f"{name},{row[0]},{row[1]}" for name, row in zip(names, X.tolist(), strict=True)]
    Path("codes.csv").write_text("label,f0,f1\n" + "\n".join(lines) + "\n")
    _, _, rows, _ = imported("codes.csv")
    assert [rows.class_names[label] for label in rows.labels] == names
    assert label_words(["007", "7.0", ""]) == ["007", "7.0", ""]
    assert label_words(["7.0", "10", "0.0"]) == ["7", "10", "0"]


def test_classes_that_look_the_same_are_said(capsys):
    labels = ["caf\u00e9", "cafe\u0301", "spiral", "spi\u200bral", "edge on"]
    _, names = class_labels(labels, (), "a.csv")
    assert len(names) == 5
    said = " ".join(capsys.readouterr().err.split())
    assert "can't be seen, or in how accents are stored: 'cafe\\u0301', 'caf\\xe9'" in said
    assert "'spiral', 'spi\\u200bral'" in said
    assert "edge on" not in said


def test_lists_in_text_are_the_vectors_of_parquet_too_and_a_shortened_one_is_named_by_its_row():
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cells = [str(row.tolist()) for row in X]
    pq.write_table(pa.table({"id": IDS.tolist(), "votes": [7.0] * N, "embedding": cells}), "t.parquet")
    _, x, rows, _ = imported("t.parquet")
    np.testing.assert_allclose(x, X, rtol=1e-6)
    assert rows.ids.tolist() == IDS.tolist()
    pq.write_table(pa.table({"id": IDS.tolist(), "embedding": ["[1, ..., 2]", *cells[1:]]}), "s.parquet")
    with pytest.raises(EmbedkitError, match=r"s\.parquet, row 0: the vector .* was shortened by NumPy"):
        imported("s.parquet")


@pytest.mark.parametrize("write", [list, json.dumps, np.bytes_], ids=["text", "JSON", "bytes"])
@pytest.mark.parametrize("at", ["labels", "/"])
def test_names_of_classes_in_an_attribute_of_hdf5_are_those_of_the_labels(write, at):
    with h5py.File("v.h5", "w") as file:
        file["features"], file["labels"] = X, np.arange(N) % 3
        file[at].attrs["class_names"] = write(["spiral", "disc", "merger"])
    rows = imported("v.h5")[2]
    assert rows.class_names == ("spiral", "disc", "merger")
    assert rows.labels.tolist() == [row % 3 for row in range(N)]


def test_what_is_no_list_of_names_and_arrays_that_are_a_row_each_are_refused_with_the_fix():
    with h5py.File("v.h5", "w") as file:
        file["features"], file["labels"] = X, np.arange(N) % 3
        file["labels"].attrs["class_names"] = "spiral, disc"
    with pytest.raises(EmbedkitError, match="class_names is no list of names. Store them as an array"):
        imported("v.h5")
    with h5py.File("each.h5", "w") as file:
        for name, row in zip(IDS, X, strict=True):
            file[f"emb/{name}"] = row
    with pytest.raises(UsageError, match=r"30 arrays of shape \(5,\).*emb/g00\.jpg.*numpy\.stack"):
        imported("each.h5")


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_columns_of_a_class_each_are_labels_where_each_row_has_one_of_them(ending):
    flags = np.eye(3, dtype=np.int64)[np.arange(N) % 3]

    def write(flags):
        columns = {"id": IDS, **{name: flags[:, c] for c, name in enumerate(("spiral", "disc", "merger"))}}
        if ending == "npz":
            np.savez("t.npz", **columns)
        else:
            lines = zip(*(values.tolist() for values in columns.values()), strict=True)
            Path("t.csv").write_text(
                "\n".join([",".join(columns), *(",".join(map(str, line)) for line in lines)])
            )

    np.savez("v.npz", features=X, ids=IDS)
    write(flags)
    found = read_labels_by_id(Path(f"t.{ending}"), IDS, "v")
    expected = [("spiral", "disc", "merger")[row % 3] for row in range(N)]
    assert [found.class_names[label] for label in found.labels] == expected
    rows = imported("v.npz", labels=f"t.{ending}")[2]
    assert [rows.class_names[label] for label in rows.labels] == expected
    flags[4] = 1
    write(flags)
    with pytest.raises(UsageError, match="none of its columns spiral, disc, merger is called label"):
        read_labels_by_id(Path(f"t.{ending}"), IDS, "v")
