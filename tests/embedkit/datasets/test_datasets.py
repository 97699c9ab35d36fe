"""Folders and tables of images, and how a dataset is named."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import DATASETS, load_dataset
from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.images.decode import decode


def write_image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, one of them nested."""
    root = tmp_path / "galaxies"
    for value, name in enumerate(["spiral/a.png", "spiral/deep/b.png", "smooth/ä b.png", "smooth/c.png"]):
        write_image(root / name, value)
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for value, name in enumerate(["a.png", "b.png", "sub/c d.png"]):
        write_image(tmp_path / name, value)
    path = tmp_path / "table.csv"
    path.write_text(
        "file,label,split,group,ra,dec,t1,t2\n"
        "a.png,spiral,train,g1,10.5,-3,0.25,1\n"
        '"b.png",,VAL,g1,,,,2\n'
        "sub/c d.png,smooth,,g2,0,90,0.5,3\n",
        encoding="utf-8",
    )
    return path


# --- folders ---------------------------------------------------------------------------------------------


def test_folder_reads_classes_in_the_order_of_the_paths(classes: Path) -> None:
    dataset = load_dataset(str(classes))
    assert dataset.rows.ids.tolist() == [
        "smooth/c.png",
        "smooth/ä b.png",
        "spiral/a.png",
        "spiral/deep/b.png",
    ]
    assert dataset.rows.class_names == ("smooth", "spiral")
    assert dataset.rows.labels.tolist() == [0, 0, 1, 1]
    assert dataset.rows.split is None
    assert [int(decode(dataset.read(i), "x")[0, 0, 0]) for i in range(4)] == [3, 2, 0, 1]
    assert dataset.where(1) == str(classes / "smooth/ä b.png")
    assert dataset.name == "galaxies"


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "10.png", "9.png"):
        write_image(tmp_path / name)
    rows = load_dataset(str(tmp_path)).rows
    assert rows.ids.tolist() == ["10.png", "9.png", "a.jpeg", "b.JPG"]
    assert (rows.labels, rows.class_names) == (None, ())


def test_images_beside_class_folders_have_no_label(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(classes / "z.png")
    rows = load_dataset(str(classes)).rows
    assert rows.labels.tolist() == [0, 0, 1, 1, -1]
    assert "1 images lie beside the class folders and have no label" in capsys.readouterr().err


def test_one_subfolder_makes_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "images" / "a.png")
    assert load_dataset(str(tmp_path)).rows.labels is None
    assert "one subfolder with images, 'images'" in capsys.readouterr().err


def test_folders_named_after_splits_are_the_split(tmp_path: Path) -> None:
    for name in ("train/x/1.png", "train/y/2.png", "val/x/3.png", "test/y/4.png"):
        write_image(tmp_path / name)
    rows = load_dataset(str(tmp_path)).rows
    assert rows.split.tolist() == ["test", "train", "train", "validation"]
    assert [rows.class_names[label] for label in rows.labels] == ["y", "x", "y", "x"]


def test_other_and_hidden_files_are_left_out(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (classes / "notes.txt").write_text("x")
    (classes / ".hidden.png").write_bytes(b"x")
    write_image(classes / ".thumbs" / "a.png")
    assert len(load_dataset(str(classes))) == 4
    assert "left out 1 file, no images by their ending (1 .txt)" in capsys.readouterr().err


def test_links_out_of_the_folder_are_not_followed(
    classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = write_image(tmp_path / "outside" / "secret.png")
    (classes / "spiral" / "link.png").symlink_to(outside)
    (classes / "linked").symlink_to(outside.parent)
    (classes / "circle").symlink_to(classes)
    (classes / "broken.png").symlink_to(tmp_path / "nothing")
    (classes / "spiral" / "same.png").symlink_to(classes / "smooth" / "c.png")
    ids = load_dataset(str(classes)).rows.ids.tolist()
    assert len(ids) == 5
    assert "spiral/same.png" in ids
    assert "left out 4 links" in capsys.readouterr().err


def test_a_folder_reached_through_a_link_is_read(classes: Path, tmp_path: Path) -> None:
    (tmp_path / "door").symlink_to(classes)
    assert len(load_dataset(str(tmp_path / "door"))) == 4


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        EmbedkitError, match=r"no images in this folder. Images are known by their ending: \.avif"
    ):
        load_dataset(str(tmp_path))


def test_unreadable_folder(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> object:  # root, as tests often run, may read everything
        if str(path).endswith("smooth"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        EmbedkitError, match=r"smooth: cannot be read \(Permission denied\)\. Change its perm"
    ):
        load_dataset(str(classes))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system allows UTF-8 names only")
    with pytest.raises(EmbedkitError, match=r"the file name b'\\xff.png' is not UTF-8"):
        load_dataset(str(tmp_path))


def test_an_image_that_vanishes_is_an_image_error(classes: Path) -> None:
    dataset = load_dataset(str(classes))
    (classes / "smooth" / "c.png").unlink()
    with pytest.raises(ImageError, match=r"c\.png: cannot be read \(No such file or directory\)"):
        dataset.read(0)


# --- fingerprint, origin, workers ------------------------------------------------------------------------


def test_fingerprint_follows_the_content_and_not_the_place(classes: Path, tmp_path: Path) -> None:
    first = load_dataset(str(classes)).fingerprint
    moved = tmp_path / "elsewhere" / "other name"
    shutil.copytree(classes, moved)
    for path in moved.rglob("*.png"):
        os.utime(path, (1, 1))
    assert load_dataset(str(moved)).fingerprint == first
    with (moved / "smooth" / "c.png").open("ab") as file:
        file.write(b"\0")
    longer = load_dataset(str(moved)).fingerprint
    (moved / "smooth" / "c.png").rename(moved / "spiral" / "c.png")
    assert len({first, longer, load_dataset(str(moved)).fingerprint}) == 3


def test_fingerprint_of_a_table_follows_its_labels(table: Path) -> None:
    first = load_dataset(str(table)).fingerprint
    table.write_text(table.read_text().replace("smooth", "barred"))
    second = load_dataset(str(table)).fingerprint
    assert first != second
    assert load_dataset(str(table), label_column="t2").fingerprint not in (first, second)


def test_origin_gives_the_dataset_again(classes: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(classes.parent)
    for dataset in (
        load_dataset("galaxies"),
        load_dataset("table.csv", label_column="group", target_columns="t1,t2", root="."),
    ):
        monkeypatch.chdir("/")
        again = load_dataset(**json.loads(json.dumps(dataset.origin)))
        assert again.fingerprint == dataset.fingerprint
        assert again.origin == dataset.origin
        monkeypatch.chdir(classes.parent)


def test_reading_survives_pickling(classes: Path) -> None:
    dataset = load_dataset(str(classes))
    read, where = pickle.loads(pickle.dumps((dataset.read, dataset.where)))
    assert read(2) == dataset.read(2)
    assert where(2) == dataset.where(2)


# --- tables ----------------------------------------------------------------------------------------------


def test_table_with_every_column(table: Path) -> None:
    rows = load_dataset(str(table), target_columns="t1, t2").rows
    assert rows.ids.tolist() == ["a.png", "b.png", "sub/c d.png"]
    assert rows.class_names == ("smooth", "spiral")
    assert rows.labels.tolist() == [1, -1, 0]
    assert rows.split.tolist() == ["train", "validation", ""]
    assert rows.group.tolist() == ["g1", "g1", "g2"]
    assert rows.target_names == ("t1", "t2")
    np.testing.assert_array_equal(rows.targets, np.array([[0.25, 1], [np.nan, 2], [0.5, 3]], np.float32))
    np.testing.assert_array_equal(rows.coordinates, [[10.5, -3], [np.nan, np.nan], [0, 90]])
    assert load_dataset(str(table)).rows.targets is None


def test_columns_by_option(table: Path) -> None:
    dataset = load_dataset(
        str(table), file_column="file", label_column="group", split_column="split", id_column="t2"
    )
    assert dataset.rows.ids.tolist() == ["1", "2", "3"]
    assert dataset.rows.class_names == ("g1", "g2")
    assert int(decode(dataset.read(2), "x")[0, 0, 0]) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_table_dialects(tmp_path: Path, separator: str, encoding: str, newline: str) -> None:
    write_image(tmp_path / "ü, x;y.png")
    lines = [f"file{separator}label", f'"ü, x;y.png"{separator}é ', ""]
    (tmp_path / "t.csv").write_bytes(newline.join(lines).encode(encoding))
    rows = load_dataset(str(tmp_path / "t.csv")).rows
    assert rows.ids.tolist() == ["ü, x;y.png"]
    assert rows.class_names == ("é",)


def test_numeric_classes_are_sorted_as_numbers(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / f"{i}.png")
    (tmp_path / "t.csv").write_text("file,label\n0.png,10\n1.png,9\n2.png,9\n")
    rows = load_dataset(str(tmp_path / "t.csv")).rows
    assert rows.class_names == ("9", "10")
    assert rows.labels.tolist() == [1, 0, 0]


def test_root_by_option(table: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    moved = table.rename(tmp_path / "tables" / "table.csv")
    assert len(load_dataset(str(moved), root=str(tmp_path))) == 3
    with pytest.raises(UsageError, match="--root is not a folder"):
        load_dataset(str(moved), root=str(tmp_path / "nowhere"))


def test_missing_files_are_counted_and_named(table: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").unlink()
    with pytest.raises(
        EmbedkitError, match=r"1 of 3 files don't exist below .*: 'b\.png' \(line 3\)\. Remove"
    ):
        load_dataset(str(table))


def test_all_missing_names_the_folder_that_has_them(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    (tmp_path / "t.csv").write_text("file,label\na.png,x\n")
    with pytest.raises(EmbedkitError, match=r"1 of 1 files.*seem to lie in .*images: give --root .*images"):
        load_dataset(str(tmp_path / "t.csv"))


def test_all_missing_their_ending(tmp_path: Path) -> None:
    write_image(tmp_path / "587.png")
    (tmp_path / "t.csv").write_text("file\n587\n")
    with pytest.raises(EmbedkitError, match=r"names lack their ending '\.png'"):
        load_dataset(str(tmp_path / "t.csv"))


def test_files_without_a_line_are_counted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(table.parent / "extra.png")
    write_image(table.parent / "unrelated" / "extra.png")
    assert len(load_dataset(str(table))) == 3
    assert "1 images beside those that it names have no line" in (err := capsys.readouterr().err)
    assert "'extra.png': left out" in err


def test_same_file_twice(table: Path) -> None:
    table.write_text(table.read_text() + "./a.png,smooth,,,,,,\n")
    with pytest.raises(EmbedkitError, match=r"'\./a\.png' stands on line 2 and again on line 5"):
        load_dataset(str(table))


def test_duplicate_ids(table: Path) -> None:
    with pytest.raises(EmbedkitError, match="1 duplicate ids, such as 'g1'"):
        load_dataset(str(table), id_column="group")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows below the header"),
        ("file,label\n", "no rows below the header"),
        ("file,label\na.png\n", "line 2: 1 cells, but the header has 2"),
        ("file,file\na.png,b.png\n", "names 'file' more than once"),
        ('file,label\n"a.png,x\n', "line 2: not a CSV table"),
        ("name,label\na.png,x\n", r"no column could hold the file names.*name one with --file-column"),
        ("file,path\na.png,x\n", "several columns could hold the file names"),
        ("file,split\na.png,seven\n", "split 'seven' of 'a.png' is not one of train, validation, test"),
        ("file,label\n,x\n", "line 2: no file name"),
    ],
)
def test_tables_that_are_none(table: Path, text: str, message: str) -> None:
    table.write_text(text)
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(str(table))


def test_a_table_that_is_not_text(table: Path) -> None:
    table.write_bytes("file,label\nä.png,x\n".encode("utf-16-le"))  # without its mark
    with pytest.raises(EmbedkitError, match="not text: it holds zero bytes"):
        load_dataset(str(table))


def test_unknown_column_suggests_the_close_one(table: Path) -> None:
    with pytest.raises(UsageError, match=r"no column 'lable' for --label-column. Did you mean 'label'\?"):
        load_dataset(str(table), label_column="lable")
    with pytest.raises(UsageError, match="no column 't9' for --target-columns"):
        load_dataset(str(table), target_columns=["t1", "t9"])


def test_a_target_that_is_no_number(table: Path) -> None:
    with pytest.raises(EmbedkitError, match="line 2: 'spiral' in column 'label' is no number"):
        load_dataset(str(table), target_columns="label")


def test_positions_in_hours_are_left_out(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.write_text(table.read_text().replace("10.5", "00:42:44"))
    assert load_dataset(str(table)).rows.coordinates is None
    assert "ra and dec are not in degrees" in capsys.readouterr().err


def test_no_label_at_all_is_unlabelled(table: Path) -> None:
    table.write_text("file,label\na.png,\nb.png,\n")
    assert load_dataset(str(table)).rows.labels is None


def test_blank_lines_and_line_numbers(table: Path) -> None:
    table.write_text("file,label\n\n a.png , x \n,\n\nb.png,y\n")
    found = read_table(table)
    assert found.columns == {"file": ["a.png", "b.png"], "label": ["x", "y"]}
    assert found.lines == [3, 6]


# --- names and options -----------------------------------------------------------------------------------


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"first-radoi: no such file or folder.*Did you mean 'first-radio'\?"
    ) as e:
        load_dataset("first-radoi")
    assert all(name in str(e.value) for name in DATASETS)


def test_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match=r"a\.txt: not a dataset by its ending.*\.csv .*\.npy"):
        load_dataset(str(tmp_path / "a.txt"))


def test_options_that_do_not_apply(classes: Path, table: Path) -> None:
    with pytest.raises(UsageError, match=r"--root does not apply to the folder .*Its options are --follow"):
        load_dataset(str(classes), root="x")
    with pytest.raises(UsageError, match="--path does not apply to the file"):
        load_dataset(str(table), path="x")
    with pytest.raises(
        UsageError, match=r"--threshold does not apply to simulated\. Its options are --n, --size"
    ):
        load_dataset("simulated", threshold=0.6)


def test_a_registered_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "simulated" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("simulated", n=3).name == "simulated"
    assert len(load_dataset("./simulated")) == 1


# --- the command -----------------------------------------------------------------------------------------


def test_command_lists_every_registered_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed.keys() == DATASETS.keys()
    assert all(entry["citation"] and entry["licence"] for entry in listed.values())
    assert listed["first-radio"]["origin"].endswith("pip install firstgalaxydata==0.2.1")
    assert main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in DATASETS)


def test_command_describes_a_dataset(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", str(table), "--target-columns", "t1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 3
    assert found["classes"] == {"smooth": 1, "spiral": 1}
    assert found["unlabelled"] == 1
    assert found["split"] == {"train": 1, "validation": 1, "test": 0}
    assert found["in no split"] == 1
    assert (found["groups"], found["with position"], found["targets"]) == (2, 2, ["t1"])
    assert found["first"] == ["a.png", "b.png", "sub/c d.png"]
    assert found["fingerprint"] == load_dataset(str(table), target_columns="t1").fingerprint
    assert main(["datasets", str(table)]) == 0
    assert "smooth: 1" in capsys.readouterr().out


def test_command_shows_names_with_brackets_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "[red]a.png")
    assert main(["datasets", str(tmp_path)]) == 0
    assert "[red]a.png" in capsys.readouterr().out


def test_command_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "no-such-thing"]) == 2
    assert main(["datasets", "--threshold", "0.6"]) == 2
    assert main(["datasets", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "Known by name" in err
    assert "--threshold needs a DATASET" in err
    assert "no images in this folder" in err


def test_real_folder_and_table_agree(shared: Path) -> None:
    folder = shared / "data" / "gz1"
    table = load_dataset(str(folder / "labels.csv"), root=str(folder / "images"))
    images = load_dataset(str(folder / "images"))
    assert sorted(table.rows.ids) == images.rows.ids.tolist()
    counts = dict(zip(table.rows.class_names, np.bincount(table.rows.labels).tolist(), strict=True))
    assert counts == {
        "dont_know": 44,
        "edge_on": 798,
        "elliptical": 3716,
        "merger": 92,
        "spiral_acw": 349,
        "spiral_cw": 331,
    }
    assert table.name == "gz1-labels"
    assert decode(table.read(0), table.where(0)).shape == (256, 256, 3)
