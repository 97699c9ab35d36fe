"""Vectors in tables as people have them: lists in text, ids that look like numbers, cells that are none."""

import csv
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
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
