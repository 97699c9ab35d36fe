"""Vectors of other programs become a feature file: the very numbers, and what is known of their rows."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features

N, D = 30, 5
CLASS = np.arange(N) % 3
X = (np.random.default_rng(0).normal(size=(N, D)) + 4 * CLASS[:, None]).astype(np.float32)
IDS = np.array([f"g{row:02d}.jpg" for row in range(N)])
NAMES = np.array(["disc", "merger", "smooth"])[CLASS]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(name, x):
    np.save(name, x)
    return name


def imported(source, **options):
    done = embedkit.import_features(source, "out.h5", overwrite=True, **options)
    with FeatureFile(done.path) as file:
        assert file.problems() == []
        return done, file.read(), file.rows, file


def names_of(rows):
    return [rows.class_names[label] if label >= 0 else "" for label in rows.labels]


@pytest.mark.parametrize(
    "x",
    [X, X.astype(np.float64), X.astype(">f4"), np.asfortranarray(X), X[:, :1], (X * 9).astype(np.int16)],
    ids=["float32", "float64", "big-endian", "fortran", "one dimension", "whole numbers"],
)
def test_an_array_keeps_its_numbers(x):
    done, stored, rows, _ = imported(save("v.npy", x))
    np.testing.assert_array_equal(stored, x.astype(np.float32))
    assert (done.n, done.d, done.storage) == (*x.shape, "float32")
    assert rows.ids.tolist() == [str(row) for row in range(N)]
    assert rows.labels is None


def test_half_precision_is_kept():
    done, stored, _, file = imported(save("v.npy", X.astype(np.float16)))
    assert done.storage == "float16"
    np.testing.assert_array_equal(stored, X.astype(np.float16).astype(np.float32))
    with h5py.File(file.path) as handle:
        assert handle["features"].dtype == np.float16


def test_a_large_array_is_read_in_blocks(monkeypatch):
    from embedkit.extraction.vectors import calls

    monkeypatch.setattr(calls, "BLOCK_VALUES", 4 * D)
    _, stored, _, _ = imported(save("v.npy", X))
    np.testing.assert_array_equal(stored, X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 8, 8, 3), np.uint8), "looks like images.*`embedkit extract v.npy`"),
        (np.zeros((4, 8, 8)), "looks like images"),
        (X[:, 0], r"one axis.*reshape\(-1, 1\)"),
        (X[:0], "is empty"),
        (X.astype(complex), "complex128, not real numbers"),
        (np.array([["a"]]), "not real numbers"),
        (np.zeros(3, dtype=[("a", "f4"), ("b", "f4")]), "named fields"),
        (
            np.where(X[7, 2] == X, 1e39, X.astype(float)),
            "1e\\+39 in dimension 2 of row '7' is beyond float32",
        ),
        (np.where(X[7, 2] == X, np.nan, X), "1 of 30 rows hold NaN or infinity: '7'"),
        (np.where(X[7, 2] == X, -np.inf, X), "1 of 30 rows hold NaN or infinity: '7'"),
        (X * np.nan, "nothing to import"),
    ],
)
def test_what_is_no_vectors_is_refused_by_name(x, message, tmp_path):
    with pytest.raises(EmbedkitError, match=message):
        imported(save("v.npy", x))
    assert not (tmp_path / "out.h5").exists()


def test_python_objects_are_never_read():
    np.save("v.npy", np.array([[1, None]], dtype=object))
    with pytest.raises(EmbedkitError, match="running code"):
        imported("v.npy")


def test_rows_without_numbers_can_be_marked():
    x = X.copy()
    x[3], x[9, 1] = np.nan, np.inf
    done, stored, _, file = imported(save("v.npy", x), on_error="skip")
    assert done.n_failed == 2
    assert np.flatnonzero(~file.ok).tolist() == [3, 9]
    assert np.isnan(stored[[3, 9]]).all()
    assert set(file.errors) == {"3", "9"}
    np.testing.assert_array_equal(stored[file.ok], X[file.ok])


@pytest.mark.parametrize("save_npz", [np.savez, np.savez_compressed])
def test_arrays_of_an_npz_are_found_by_their_names(save_npz):
    split = np.where(CLASS == 0, "val", "train")
    save_npz(
        "v.npz", embeddings=X, filenames=IDS, y=CLASS, class_names=np.unique(NAMES), split=split, z=X[:, 0]
    )
    _, stored, rows, _ = imported("v.npz", target_columns=["z"])
    np.testing.assert_array_equal(stored, X)
    assert rows.ids.tolist() == IDS.tolist()
    assert names_of(rows) == NAMES.tolist()
    assert set(rows.split) == {"validation", "train"}
    np.testing.assert_array_equal(rows.targets[:, 0], X[:, 0])
    assert rows.target_names == ("z",)


def test_several_arrays_are_listed_and_one_is_named():
    np.savez("v.npz", clip=X, dino=2 * X)
    with pytest.raises(UsageError, match=r"several arrays.*--key.*clip \(30, 5\), dino \(30, 5\)"):
        imported("v.npz")
    with pytest.raises(UsageError, match="no array 'sam' for --key"):
        imported("v.npz", key="sam")
    np.testing.assert_array_equal(imported("v.npz", key="dino")[1], 2 * X)


def test_a_group_of_hdf5_has_its_annotations_beside_it():
    with h5py.File("v.h5", "w") as file:
        file["clip/vectors"], file["clip/ids"], file["clip/label"] = X, [str(one) for one in IDS], CLASS
        file["other/label"] = CLASS[::-1]
    _, stored, rows, _ = imported("v.h5")
    np.testing.assert_array_equal(stored, X)
    assert rows.ids.tolist() == IDS.tolist()
    assert names_of(rows) == [str(one) for one in CLASS]


def write_csv(name, header, lines):
    with Path(name).open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])
    return name


def test_a_wide_table_says_what_it_took(capsys):
    lines = [[row, *X[row], NAMES[row], IDS[row], 0.5, "x"] for row in range(N)]
    source = write_csv(
        "v.csv", ["", *(f"f{i}" for i in range(D)), "label", "file", "redshift", "remark"], lines
    )
    _, stored, rows, _ = imported(source)
    np.testing.assert_array_equal(stored, X)
    assert rows.ids.tolist() == IDS.tolist()
    assert names_of(rows) == NAMES.tolist()
    said = capsys.readouterr().err
    assert "5 dimensions from columns f0 ... f4; ids from file; labels from label." in said
    assert "not used: redshift, remark." in said


def test_columns_without_a_number_in_their_name_are_dimensions_too():
    lines = [[IDS[row], *X[row, :2], row % 2] for row in range(N)]
    source = write_csv("v.csv", ["id", "length", "width", "class"], lines)
    _, stored, rows, _ = imported(source)
    np.testing.assert_array_equal(stored, X[:, :2])
    assert rows.class_names == ("0", "1")
    np.testing.assert_array_equal(imported(source, key="wid*")[1], X[:, 1:2])


@pytest.mark.parametrize("separator", [",", " "])
def test_a_table_of_numbers_needs_no_header(separator):
    np.savetxt("v.csv", X, delimiter=separator)
    np.testing.assert_allclose(imported("v.csv")[1], X, rtol=1e-6)


def test_pandas_own_header_of_numbers_is_one():
    pd = pytest.importorskip("pandas")
    pd.DataFrame(X).to_csv("v.csv")
    _, stored, rows, _ = imported("v.csv")
    np.testing.assert_array_equal(stored, X)
    assert rows.ids.tolist() == [str(row) for row in range(N)]


def test_parquet_of_a_list_or_of_many_columns():
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    of_lists = pa.table({"id": IDS, "emb": list(X), "label": NAMES})
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D)
    wide = pa.table({"id": IDS, "label": NAMES, **{f"e_{i}": X[:, i] for i in range(D)}})
    for table in (of_lists, pa.table({"id": IDS, "emb": fixed, "label": NAMES}), wide):
        pq.write_table(table, "v.parquet")
        _, stored, rows, _ = imported("v.parquet")
        np.testing.assert_array_equal(stored, X)
        assert (rows.ids.tolist(), names_of(rows)) == (IDS.tolist(), NAMES.tolist())
    pq.write_table(pa.table({"emb": [[1.0, 2.0], [1.0]]}), "v.parquet")
    with pytest.raises(EmbedkitError, match="different lengths: 2 in row 0, 1 in row 1"):
        imported("v.parquet")
    pq.write_table(pa.table({"emb": [[1.0, 2.0], None, [3.0, None]]}), "v.parquet")
    _, stored, _, file = imported("v.parquet", on_error="skip")
    assert file.ok.tolist() == [True, False, False]
    assert stored[0].tolist() == [1.0, 2.0]


def test_anndata_dense_sparse_and_obsm():
    anndata, pd = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    from scipy.sparse import csr_matrix

    obs = pd.DataFrame({"cell_type": pd.Categorical(NAMES)}, index=IDS)
    data = anndata.AnnData(csr_matrix(np.abs(X)), obs=obs)
    data.obsm["X_pca"] = X[:, :2]
    data.write_h5ad("v.h5ad")
    _, stored, rows, _ = imported("v.h5ad", labels="cell_type")
    np.testing.assert_array_equal(stored, np.abs(X))
    assert (rows.ids.tolist(), names_of(rows)) == (IDS.tolist(), NAMES.tolist())
    np.testing.assert_array_equal(imported("v.h5ad", key="obsm/X_pca")[1], X[:, :2])
    with pytest.raises(UsageError, match="It has X, obsm/X_pca"):
        imported("v.h5ad", key="layers/raw")


@pytest.mark.parametrize(("package", "ending"), [("pyarrow", "parquet"), ("anndata", "h5ad")])
def test_a_missing_reader_is_named_with_its_command(package, ending, monkeypatch):
    import builtins

    def without(name, *args):
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, *args)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    Path(f"v.{ending}").touch()
    with pytest.raises(EmbedkitError, match=f"missing: `pip install {package}`"):
        imported(f"v.{ending}")


def test_labels_of_another_file_are_found_by_id(capsys):
    back = [[IDS[row], NAMES[row]] for row in reversed(range(1, N))]
    write_csv("labels.csv", ["file", "label"], [*back, ["stranger.jpg", "disc"]])
    with Path("ids.txt").open("w") as stream:
        stream.write("\n".join(IDS) + "\n")
    _, _, rows, _ = imported(save("v.npy", X), ids="ids.txt", labels="labels.csv")
    assert names_of(rows) == ["", *NAMES[1:]]
    said = capsys.readouterr().err
    assert "1 of 30 rows have no line" in said
    assert "1 of its 30 ids are of no row" in said


def test_labels_in_the_order_of_the_rows():
    save("labels.npy", NAMES)
    assert names_of(imported(save("v.npy", X), labels="labels.npy")[2]) == NAMES.tolist()
    save("labels.npy", NAMES[1:])
    with pytest.raises(EmbedkitError, match=r"labels.npy: 29 entries for 30 rows"):
        imported("v.npy", labels="labels.npy")
    write_csv("labels.csv", ["file", "label"], [[IDS[row], NAMES[row]] for row in range(N)])
    rows = imported("v.npy", labels="labels.csv")[2]  # and its ids, since the vectors have none
    assert (rows.ids.tolist(), names_of(rows)) == (IDS.tolist(), NAMES.tolist())


def test_labels_of_none_of_the_rows_and_ids_that_occur_twice_are_refused():
    np.savez("v.npz", x=X, ids=IDS)
    write_csv("labels.csv", ["file", "label"], [[f"a/{one}", "disc"] for one in IDS])
    with pytest.raises(
        EmbedkitError, match="none of its 30 ids, such as 'a/g00.jpg', is among .*folders, 30"
    ):
        imported("v.npz", labels="labels.csv")
    write_csv("labels.csv", ["file", "label"], [[IDS[0], "disc"], [IDS[0], "smooth"]])
    with pytest.raises(EmbedkitError, match=r"'g00.jpg' stands in it twice"):
        imported("v.npz", labels="labels.csv")
    np.savez("v.npz", x=X, ids=["a"] * N)
    with pytest.raises(EmbedkitError, match=r"v\.npz.*29 duplicate ids, such as 'a'"):
        imported("v.npz")


@pytest.mark.parametrize("option", ["ids", "labels"])
def test_a_name_that_is_no_column_and_no_file_is_refused(option):
    with pytest.raises(UsageError, match=f"no column, array or file 'kind' for --{option}"):
        imported(save("v.npy", X), **{option: "kind"})


def npy(descr: str, shape: str, data: bytes) -> bytes:
    """A .npy whose header says this, whatever follows; see numpy.lib.format."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy("'<f8'", "(9999999999,)", b""), "cut off"),
        (npy("'<f8'", "(99999999999999999999,)", b""), "not a NumPy array"),
        (npy("'<f8'", "(30, -9)", bytes(99)), "not a NumPy array"),
        (npy("'<f8'", "(True,)", bytes(8)), "not a NumPy array"),
        (npy("'<f8'", "(30", bytes(240)), "not a NumPy array"),
        (npy("'|O'", "(30,)", b"cos\nsystem\n(S'id'\ntR."), "holds Python objects"),
        (npy("'|V4'", "(30,)", bytes(120)), r"neither text nor plain numbers|holds \|V4, not real numbers"),
        (npy("'<U1'", "(30,)", b"\xff" * 120), "of number 4,294,967,295|holds <U1, not real numbers"),
        (b"PK\x03\x04" + bytes(99), "not a NumPy array"),
        (b"", "not a NumPy array"),
    ],
)
@pytest.mark.parametrize("option", ["labels", "ids", None])
def test_an_array_whose_header_lies_is_refused_by_name(option, data, message):
    Path("x.npy").write_bytes(data)
    with pytest.raises(EmbedkitError, match=rf"x\.npy.*({message})"):
        imported(save("v.npy", X) if option else "x.npy", **({option: "x.npy"} if option else {}))


@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.h5", "v.h5ad", "v.parquet", "v.csv"])
def test_a_damaged_file_is_an_error_that_names_it(name):
    with Path(name).open("wb") as stream:
        stream.write(b"\x93NUMPY\x01\x00garbage")
    with pytest.raises(EmbedkitError, match=name.replace(".", r"\.")):
        imported(name)


def test_a_truncated_npy_and_npz_are_errors(tmp_path):
    np.save("v.npy", X)
    np.savez_compressed("v.npz", x=X)
    for name in ("v.npy", "v.npz"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-40])
        with pytest.raises(EmbedkitError, match=name):
            imported(name)


def test_other_files_are_refused_with_what_to_do():
    for name, message in (("v.pt", r"numpy\.save"), ("v.doc", r"Its ending has to be one of \.npy")):
        Path(name).touch()
        with pytest.raises(UsageError, match=message):
            imported(name)


def test_a_feature_file_gets_other_labels_and_stays_what_it_is():
    marked = X.copy()
    marked[2] = np.nan
    rows = Rows(IDS, split=["train"] * N)
    views = Views(X, np.eye(D), 3)
    origin = {"source": "images"}
    made = {
        "backbone": {"name": "b"},
        "dataset": {"name": "set", "fingerprint": "f", "n": N, "origin": origin},
    }
    write_features("f.h5", X, rows, provenance={**made, "features_name": "b cls"}, views=views)
    write_csv("labels.csv", ["id", "label"], [[IDS[row], NAMES[row]] for row in range(N)])
    done, stored, rows, file = imported("f.h5", labels="labels.csv")
    np.testing.assert_array_equal(stored, X)
    assert names_of(rows) == NAMES.tolist()
    assert set(rows.split) == {"train"}
    assert (done.dataset, done.features_name) == ("set", "b cls")
    assert file.provenance["backbone"] == {"name": "b"}
    assert file.provenance["dataset"]["origin"] == origin
    np.testing.assert_array_equal(file.read_view_mean(), X)


def test_the_same_call_again_does_nothing_and_another_is_refused(capsys):
    save("v.npy", X)
    assert main(["import", "v.npy", "-o", "o.h5"]) == 0
    first = Path("o.h5").read_bytes()
    assert main(["import", "v.npy", "-o", "o.h5"]) == 0
    assert "already there" in capsys.readouterr().out
    save("v.npy", 2 * X)
    assert main(["import", "v.npy", "-o", "o.h5"]) == 1
    assert "made in another way" in capsys.readouterr().err
    assert Path("o.h5").read_bytes() == first
    assert main(["import", "v.npy", "-o", "o.h5", "--overwrite"]) == 0
    assert main(["import", "o.h5", "-o", "o.h5", "--overwrite"]) == 2
    assert "vectors o.h5" in capsys.readouterr().err


def test_the_same_rows_in_another_order_and_format_are_one_dataset():
    np.savez("a.npz", x=X, ids=IDS, labels=NAMES)
    lines = [[IDS[row], NAMES[row], *X[row]] for row in reversed(range(N))]
    write_csv("b.csv", ["id", "label", *(f"f{i}" for i in range(D))], lines)
    np.savez("c.npz", x=X, ids=IDS, labels=2 - CLASS, class_names=["smooth", "merger", "disc"])
    np.savez("d.npz", x=X, ids=IDS, labels=np.roll(NAMES, 1))
    names = [imported(source)[0].dataset for source in ("a.npz", "b.csv", "c.npz", "d.npz")]
    assert names[0] == names[1] == names[2] != names[3]


def test_every_verb_works_on_imported_vectors(capsys):
    np.savez("a.npz", x=X, ids=IDS, labels=NAMES)
    np.savez("b.npz", x=X[:, ::-1] * 2, ids=IDS, labels=NAMES)
    for name in ("a", "b"):
        assert main(["import", f"{name}.npz", "-o", f"{name}.h5"]) == 0
        assert main(["cluster", f"{name}.h5", "-k", "3", "-o", "runs"]) == 0
        assert main(["probe", f"{name}.h5", "--kind", "knn", "--n-neighbors", "3", "-o", "runs"]) == 0
    capsys.readouterr()
    assert main(["leaderboard", "runs", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len({line["dataset"] for line in lines}) == 1
    assert {line["features"] for line in lines} == {"a", "b"}
    assert all(line["rank_low"] for line in lines)
    assert main(["verify", "a.h5"]) == 0
    assert "imported from a.npz" in capsys.readouterr().err
    assert main(["leaks", "a.h5"]) == 0
    assert "were imported, so it knows of no images" in capsys.readouterr().err
    assert main(["quality", "a.h5", "b.h5", "-o", "runs"]) == 0
    assert main(["report", "a.h5", "-o", "map.html", "--n-neighbors", "5"]) == 0
    assert "were imported" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["cluster", "probe", "report", "quality", "leaks", "verify"])
@pytest.mark.parametrize("name", ["v.npy", "v.npz", "v.csv", "v.parquet", "v.h5ad", "v.h5"])
def test_a_verb_that_meets_vectors_says_import(verb, name, capsys):
    with h5py.File(name, "w") as file:
        file["x"] = X
    assert main([verb, name]) == 1
    assert "embedkit import" in capsys.readouterr().err


def test_extract_that_meets_vectors_says_import(capsys):
    save("v.npy", X)
    np.savez("v.npz", x=X)
    write_csv("v.csv", ["a", "b"], [[1, 2]])
    for name in ("v.npy", "v.npz", "v.csv"):
        assert main(["extract", name, "-o", "o.h5"]) in (1, 2)
        assert "embedkit import" in capsys.readouterr().err


def test_images_with_their_labels_are_sent_to_extract(tmp_path):
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as file:
        file["ans"] = np.zeros(4, np.uint8)
        file["images"] = np.zeros((4, 6, 6, 3), np.uint8)
    with pytest.raises(UsageError, match=r"images: an array .* looks like images.*embedkit extract"):
        embedkit.import_features(tmp_path / "Galaxy10.h5", tmp_path / "x.h5")
