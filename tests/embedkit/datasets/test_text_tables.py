"""Tables of image files as people save them; pandas says what stands in them."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from embedkit.datasets.load import load_dataset
from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError

FRAME = pd.DataFrame(
    {
        "file": [f"{i}.png" for i in range(4)],
        "label": ["Spirale é", "rund; klein", "Spirale é", None],
        "z": [0.25, 1.5, np.nan, -3e-4],
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_dialect_gives_what_pandas_wrote(
    folder: Path, encoding: str, separator: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decimal = "." if separator == "," else ","
    path = folder / "t.csv"
    FRAME.to_csv(path, sep=separator, encoding=encoding, lineterminator=end, decimal=decimal, index=False)
    truth = pd.read_csv(path, sep=separator, encoding=encoding, decimal=decimal)
    rows = load_dataset(str(path), target_columns="z").rows
    assert rows.ids.tolist() == truth["file"].tolist()
    names = [rows.class_names[label] if label >= 0 else None for label in rows.labels]
    assert names == [None if pd.isna(name) else name for name in truth["label"]]
    np.testing.assert_array_equal(rows.targets[:, 0], truth["z"].to_numpy(np.float32))
    assert ("not UTF-8, so read as" in capsys.readouterr().err) == (encoding in ("cp1252", "latin-1"))


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "SEP=;\n", "\ufeffsep=;\n"])
def test_a_line_that_names_the_separator(folder: Path, first: str) -> None:
    (folder / "t.csv").write_text(first + "file;a,b,c,d;label\n0.png;1;x\n1.png;2;y\n", encoding="utf-8")
    table = read_table(folder / "t.csv")
    assert (list(table.columns), table.lines) == (["file", "a,b,c,d", "label"], [3, 4])


def test_separators_in_quotes_of_the_header_do_not_count(folder: Path) -> None:
    (folder / "t.csv").write_text('\n"a,b,c";file\n\n1;0.png;\n')
    assert read_table(folder / "t.csv").columns == {"a,b,c": ["1"], "file": ["0.png"]}


def test_a_line_separator_in_a_cell_ends_no_line(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label\n0.png,a\u2028b\x85c\n", encoding="utf-8")
    assert read_table(folder / "t.csv").columns["label"] == ["a\u2028b\x85c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('file,z\n0.png,"1,5"\n', r"'1,5' in column 'z' is no number \(a decimal comma"),
        ("file;z\n0.png;1,5\n1.png;1.5\n", r"'1,5' in column 'z' is no number \(a decimal comma"),
        ("file;z\n0.png;1.234,5\n", "'1.234,5' in column 'z' is no number"),
        ("0.png,a\n1.png,b\n", "no column could hold the file names.*looks like data: put a header above"),
    ],
)
def test_numbers_of_two_readings_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "t.csv").write_text(text)
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(str(folder / "t.csv"), target_columns="z")


def test_text_of_no_encoding_is_refused(folder: Path) -> None:
    for data in (
        b"file,label\n0.png,a\0\n",
        "file\n0.png\n".encode("utf-16-le"),
        b"\xff\xfea",
        b"\xef\xbb\xbf\xff",
    ):
        (folder / "t.csv").write_bytes(data)
        with pytest.raises(EmbedkitError, match="UTF-8"):
            load_dataset(str(folder / "t.csv"))


@pytest.mark.parametrize(
    "header", ["filename,class", "file,Label", "FILE,LABELS", "path,kind", "Image,galaxy shape"]
)
def test_labels_are_taken_or_their_column_is_named(folder: Path, header: str, capsys) -> None:
    (folder / "t.csv").write_text(f"{header}\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    rows = load_dataset(str(folder / "t.csv")).rows
    said = capsys.readouterr().err
    column = header.split(",")[1]
    if column.lower() in ("label", "labels"):
        assert (rows.class_names, said) == (("a", "b"), "")
    else:
        assert rows.labels is None
        assert f"columns not used: {column}." in said
        assert f"--label-column {column}." in said


def test_a_table_inside_a_folder_is_named(folder: Path, capsys) -> None:
    (folder / "labels.csv").write_text("file,label\n0.png,a\n")
    assert load_dataset(str(folder)).rows.labels is None
    said = capsys.readouterr().err
    assert f"labels.csv is not read. If it has the labels, name it instead of the folder: {folder}/" in said


def test_the_same_labels_in_every_container(folder: Path, capsys) -> None:
    words = ["b", " a ", "None", "nan"]
    (folder / "t.csv").write_text("file,label\n" + "".join(f"{i}.png,{w}\n" for i, w in enumerate(words)))
    np.savez(folder / "t.npz", images=np.zeros((4, 5, 6), np.uint8), labels=np.array(words))
    classes = folder / "classes"
    for i, word in enumerate(words):
        (classes / word).mkdir(parents=True)
        shutil.copy(folder / f"{i}.png", classes / word / f"{i}.png")
    for source in ("t.csv", "t.npz", "classes"):
        rows = load_dataset(str(folder / source)).rows
        named = [rows.class_names[label] if label >= 0 else "" for label in rows.labels]
        assert sorted(named) == ["", "", "a", "b"]
        assert rows.class_names == ("a", "b")
        assert "'nan' (1 rows)" in capsys.readouterr().err


# --- file names of another system --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (r"sub\é 1.png", "written with backslashes"),
        ("sub/É 1.PNG", "in other capitals"),
        ("sub/é 1.PNG", "in other capitals"),
        (unicodedata.normalize("NFD", "sub/é 1.png"), "in another Unicode form"),
        ("sub/%C3%A9%201.png", "written as parts of a URL"),
        ("./sub/é 1.png", ""),
        ("sub//é 1.png", ""),
    ],
)
def test_a_name_of_another_system_finds_its_file(tmp_path: Path, written: str, why: str, capsys) -> None:
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (4, 4), (7, 0, 0)).save(tmp_path / "sub" / "é 1.png")
    (tmp_path / "t.csv").write_text(f"file,label\n{written},a\n", encoding="utf-8")
    dataset = load_dataset(str(tmp_path / "t.csv"))
    assert dataset.rows.ids.tolist() == [written]
    assert dataset.read(0) == (tmp_path / "sub" / "é 1.png").read_bytes()
    said = capsys.readouterr().err
    assert (f"1 file names are {why}" in said) if why else said == ""


@pytest.mark.parametrize("start", ["file://", "file://localhost", "FILE:"])
def test_an_address_of_a_file_is_its_path(tmp_path: Path, start: str, capsys) -> None:
    Image.new("RGB", (4, 4), (7, 0, 0)).save(tmp_path / "a 1.png")
    name = f"{start}{tmp_path}/a%201.png"
    (tmp_path / "t.csv").write_text(f"file,label\n{name},a\n")
    dataset = load_dataset(str(tmp_path / "t.csv"))
    assert dataset.rows.ids.tolist() == [name]
    assert dataset.read(0) == (tmp_path / "a 1.png").read_bytes()
    assert "1 file names are addresses of files" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("file,label\nfile:///gone/a%201.png,a\n")
    with pytest.raises(EmbedkitError, match=r"'a 1\.png' lies in .*: cut what is before it"):
        load_dataset(str(tmp_path / "t.csv"))


def test_a_name_that_could_mean_two_files_is_not_guessed(tmp_path: Path) -> None:
    for name in ("a.png", "A.PNG"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "t.csv").write_text("file\nA.png\n")
    with pytest.raises(EmbedkitError, match="1 of 1 files don't exist"):
        load_dataset(str(tmp_path / "t.csv"))
    (tmp_path / "A.PNG").unlink()
    (tmp_path / "t.csv").write_text("file\nA.png\na.png\n")
    with pytest.raises(EmbedkitError, match=r"1 of 2 files don't exist below .*'A.png' \(line 2\)"):
        load_dataset(str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        (r"C:\data\gz\0.png", r"paths of another place, and '0.png' lies in .*cut what is before it"),
        ("/home/someone/gz/0.png", r"paths of another place, and '0.png' lies in .*cut what is before it"),
        ("/home/someone/gz/in.png", r"seem to lie in .*/deep: give --root .*/deep and cut what is before it"),
        (r"\\server\share\gone.png", "paths of another place: make them relative to a folder"),
        ("/home/someone/gone.png", "paths of another place: make them relative"),
        ("0.jpg", r"The files end in '.png' and the names in '.jpg'"),
        ("0", r"lack their ending '.png'"),
        ("in.png", "give --root .*/deep"),
        (r"x\gone.png", "written with backslashes"),
        ("gone.png", "Give the folder that the names are relative to with --root"),
    ],
)
def test_the_hint_names_the_true_cause(folder: Path, written: str, hint: str) -> None:
    (folder / "deep").mkdir()
    shutil.copy(folder / "0.png", folder / "deep" / "in.png")
    (folder / "t.csv").write_text(f"file\n{written}\n")
    with pytest.raises(EmbedkitError, match=hint):
        load_dataset(str(folder / "t.csv"))


def test_names_without_the_several_folders_that_they_lie_in_get_no_root_to_give(folder: Path) -> None:
    for below, name in (("north/deep", "a[1].png"), ("south", "b.png")):
        (folder / below).mkdir(parents=True)
        shutil.copy(folder / "0.png", folder / below / name)
    (folder / "t.csv").write_text("file\nb.png\na[1].png\n")
    said = r"'b.png' in .*south and 'a\[1\].png' in .*deep: .* 'south/b.png' and 'north/deep/a\[1\].png'"
    with pytest.raises(EmbedkitError, match=said):
        load_dataset(str(folder / "t.csv"))
    (folder / "t.csv").write_text("file\nb.png\ngone.png\n")
    with pytest.raises(EmbedkitError, match=r"'gone.png' doesn't: write 'south/b.png'"):
        load_dataset(str(folder / "t.csv"))


def test_a_folder_named_as_an_image(folder: Path) -> None:
    (folder / "d.png").mkdir()
    (folder / "t.csv").write_text("file\nd.png\n")
    with pytest.raises(EmbedkitError, match="line 2: 'd.png' is a folder, pipe or device"):
        load_dataset(str(folder / "t.csv"))


def test_separators_of_columns_that_nothing_is_in_are_no_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("file,label,,\na.png,x,,\nb.png,y,,\n")
    assert read_table(path).columns == {"file": ["a.png", "b.png"], "label": ["x", "y"]}
    path.write_text("file,,\na.png,1,2\n")
    with pytest.raises(EmbedkitError, match="two columns and more have no name in the header"):
        read_table(path)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400"])
def test_an_infinite_number_is_named_and_no_target(cell, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"file,mass\na.png,1\nb.png,{cell}\n")
    with pytest.raises(EmbedkitError, match=f"line 3: '{cell}' in column 'mass' is infinite"):
        read_table(path).numbers("mass", "--target-columns")


def test_a_name_with_an_underscore_is_no_number(tmp_path):
    path = tmp_path / "t.csv"  # plate and fibre of a spectrum; Python reads 26651630 of it
    path.write_text("file,spectrum\na.png,266_51630\n")
    with pytest.raises(EmbedkitError, match="'266_51630' in column 'spectrum' is no number"):
        read_table(path).numbers("spectrum", "--target-columns")


def test_classes_that_differ_in_capitals_only_are_said(tmp_path, capsys):
    for name in ("a", "b", "c"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    path = tmp_path / "t.csv"
    path.write_text("file,label\na.png,Smooth\nb.png,smooth\nc.png,disc\n")
    assert load_dataset(str(path)).rows.class_names == ("Smooth", "disc", "smooth")
    assert "differ in capitals only: Smooth, smooth" in " ".join(capsys.readouterr().err.split())


ONE_HOT = "file,cat,dog,split\n0.png,1,0,train\n1.png,0,1,test\n2.png,1.0,0.0,train\n3.png,0,1,train\n"


def test_a_column_a_class_is_the_labels_of_images(folder: Path, capsys) -> None:
    (folder / "t.csv").write_text(ONE_HOT)
    rows = load_dataset(folder / "t.csv").rows
    assert (rows.labels.tolist(), rows.class_names) == ([0, 1, 0, 1], ("cat", "dog"))
    assert rows.split.tolist() == ["train", "test", "train", "train"]
    assert "labels from the columns cat, dog, a class each" in capsys.readouterr().err


@pytest.mark.parametrize("cells", ["1,1", "0,0", "2,0", "1,"], ids=["both", "none", "a count", "a gap"])
def test_columns_that_may_be_something_else_are_no_labels(folder: Path, cells: str, capsys) -> None:
    (folder / "t.csv").write_text(ONE_HOT.replace("1,0,train", f"{cells},train"))
    assert load_dataset(folder / "t.csv").rows.labels is None
    assert "columns not used: cat, dog" in capsys.readouterr().err


def test_an_address_of_this_machine_is_answered_with_its_path(folder: Path) -> None:
    with pytest.raises(EmbedkitError, match=f"what lies on this machine is named by its path: {folder}"):
        load_dataset(folder.as_uri())


def test_a_name_that_is_too_long_is_a_file_that_is_not_there(folder: Path) -> None:
    (folder / "t.csv").write_text(f"file,label\n{'x' * 300}.png,a\n")
    with pytest.raises(EmbedkitError, match=r"t\.csv: 1 of 1 files don't exist below .*\(line 2\)"):
        load_dataset(folder / "t.csv")


def test_an_error_about_ids_names_their_table(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.png"))[:2]
    (folder / "t.csv").write_text(f"file,id\n{names[0]},7\n{names[1]},7\n")
    with pytest.raises(EmbedkitError, match=r"t\.csv: 1 duplicate ids, such as '7'"):
        load_dataset(folder / "t.csv", id_column="id")
