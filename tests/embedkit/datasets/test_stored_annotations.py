"""What stands beside arrays of images: as people store it, said where it is not used."""

import re
import shlex
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from tests.embedkit.datasets.test_datasets_arrays import IMAGES, both, write


def encoded(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@both
@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        (np.array([[3], [1], [3], [1], [9], [9], [1]], np.uint8), [1, 0, 1, 0, 2, 2, 0], ("1", "3", "9")),
        (np.eye(3)[[2, 0, 1, 1, 0, 2, 2]], [2, 0, 1, 1, 0, 2, 2], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[[2, 0, 1, 1, 0, 2, 2]], [2, 0, 1, 1, 0, 2, 2], ("0", "1", "2")),
        (
            np.vstack([np.eye(3, dtype=int)] * 2 + [np.zeros((1, 3), int)]),
            [0, 1, 2, 0, 1, 2, -1],
            ("0", "1", "2"),
        ),
        (["b", "nan", " a", "None", "-1", "b ", ""], [1, -1, 0, -1, -1, 1, -1], ("a", "b")),
        ([1.0, np.nan, 2.0, -1, 10, 2, 1], [0, -1, 1, -1, 2, 1, 0], ("1", "2", "10")),
    ],
)
def test_labels_as_people_store_them(tmp_path: Path, ending: str, labels, expected, names) -> None:
    rows = load_dataset(write(tmp_path / f"a{ending}", images=IMAGES, labels=labels)).rows
    assert (rows.labels.tolist(), rows.class_names) == (expected, names)


@both
@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"labels": [0, 1, -2, 0, 1, 1, 0]}, "label -2 of row 2; -1 or NaN stands for no label"),
        ({"labels": [0, 1, np.inf, 0, 1, 1, 0]}, "labels are not whole numbers"),
        ({"labels": np.full((7, 2), "a")}, "labels has shape"),
        ({"ids": np.full((7, 0), "a")}, r"ids has shape \(7, 0\)"),
        ({"targets": np.zeros((7, 0))}, r"targets has shape \(7, 0\)"),
        ({"labels": [0, 1] * 3 + [0], "class_names": ["a", "a"]}, "class_names holds 'a' more than once"),
        (
            {"labels": [0, 1] * 3 + [0], "class_names": ["a", "nan"]},
            "holds 'nan', which stands for no",
        ),
        (
            {"labels": ["a", "c"] * 3 + ["a"], "class_names": ["a", "b"]},
            "hold 'c', which is not among",
        ),
        (
            {"labels": np.eye(2)[[0, 1, 1, 0, 1, 0, 1]], "class_names": ["a"]},
            "2 columns, but",
        ),
        ({"split": ["seven"] * 7}, "split 'seven' of '0' is not one of"),
        ({"targets": ["x"] * 7}, "targets are not numbers"),
        ({"targets": np.full((7, 1), 1e39)}, r"1e\+39 is beyond what float32 holds"),
    ],
)
def test_annotations_that_are_none(tmp_path: Path, ending: str, stored, message: str) -> None:
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(write(tmp_path / f"a{ending}", images=IMAGES, **stored))


@both
def test_what_is_not_used_is_said(tmp_path: Path, ending: str, capsys) -> None:
    load_dataset(write(tmp_path / f"a{ending}", x=IMAGES, y=[0, 1] * 3 + [1], mask=np.zeros((7, 4))))
    said = capsys.readouterr().err
    assert "not used:" in said
    assert "mask (7, 4)" in said
    assert "--labels-key y." in said
    load_dataset(write(tmp_path / f"b{ending}", images=IMAGES, ans=[0, 1] * 3 + [1], pxscale=np.ones(7)))
    said = capsys.readouterr().err
    assert "pxscale (7,)" in said
    assert "--labels-key ans." in said
    load_dataset(write(tmp_path / f"c{ending}", images=IMAGES, labels=[0, 1] * 3 + [1]))
    assert capsys.readouterr().err == ""


@both
def test_capitals_and_the_singular_are_the_same_array(tmp_path: Path, ending: str) -> None:
    for name in ("Labels", "LABEL", "label"):
        rows = load_dataset(
            write(tmp_path / f"{name}{ending}", Images=IMAGES, **{name: [0, 1] * 3 + [1]})
        ).rows
        assert rows.class_names == ("0", "1")


@both
def test_several_classes_an_image_are_targets(tmp_path: Path, ending: str, capsys) -> None:
    marks = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]] * 2 + [[1, 0, 1]])
    rows = load_dataset(write(tmp_path / f"a{ending}", images=IMAGES, labels=marks)).rows
    assert rows.labels is None
    assert rows.target_names == ("label_0", "label_1", "label_2")
    assert rows.targets.tolist() == marks.tolist()
    assert "3 images are of several of the 3 classes" in capsys.readouterr().err


@both
def test_a_divided_set_is_one_dataset_with_its_split(tmp_path: Path, ending: str) -> None:
    """The arrays of MedMNIST: {train,val,test}_images, and _labels of (n, 1)."""
    labels = np.array([1, 0, 2, 0, 1, 0, 2], np.uint8)[:, None]
    cuts = {"train": slice(0, 4), "val": slice(4, 5), "test": slice(5, 7)}
    stored = {f"{name}_images": IMAGES[cut] for name, cut in cuts.items()}
    stored |= {f"{name}_labels": labels[cut] for name, cut in cuts.items()}
    dataset = load_dataset(write(tmp_path / f"pathmnist{ending}", **stored))
    assert dataset.rows.labels.tolist() == labels[:, 0].tolist()
    assert dataset.rows.split.tolist() == ["train"] * 4 + ["validation"] + ["test"] * 2
    assert dataset.rows.ids[[0, 4, 6]].tolist() == ["train/0", "validation/0", "test/1"]
    for row in range(7):
        np.testing.assert_array_equal(dataset.read(row), IMAGES[row])
    assert dataset.where(6).endswith(f"pathmnist{ending}: test_images[1]")
    assert load_dataset(**dataset.origin).fingerprint == dataset.fingerprint
    one = load_dataset(dataset.origin["source"], images_key="val_images")
    assert len(one) == 1


def test_the_arrays_of_keras_and_a_test_set_without_labels(tmp_path: Path) -> None:
    grey = IMAGES[..., 0]
    path = write(tmp_path / "mnist.npz", x_train=grey[:5], y_train=np.arange(5) % 2, x_test=grey[5:])
    rows = load_dataset(path).rows
    assert rows.labels.tolist() == [0, 1, 0, 1, 0, -1, -1]
    assert rows.split.tolist() == ["train"] * 5 + ["test"] * 2


@pytest.mark.parametrize("coding", ["utf-8", "latin-1", "cp1252"])
def test_bytes_are_text_of_their_encoding(tmp_path: Path, coding: str, capsys) -> None:
    names = ["Spirale é", "Ellipse", "Müll"] * 2 + ["Müll" if coding != "cp1252" else "“Müll”"]
    raw = np.array([name.encode(coding) for name in names])
    ids = np.array([f"é{i}".encode(coding) for i in range(7)])
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=raw, ids=ids)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = IMAGES
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(raw.dtype.itemsize)
        kind.set_cset(h5py.h5t.CSET_UTF8)
        item = h5py.h5d.create(file.id, b"labels", kind, h5py.h5s.create_simple((7,)))
        item.write(h5py.h5s.ALL, h5py.h5s.ALL, raw, kind)
        file["ids"] = ids
    for ending in (".npz", ".h5"):
        rows = load_dataset(str(tmp_path / f"a{ending}")).rows
        assert [rows.class_names[label] for label in rows.labels] == names
        assert rows.ids[3] == "é3"
        assert ("is no UTF-8; read as" in capsys.readouterr().err) == (coding != "utf-8")
    cut = np.array(["é".encode(), "é".encode()[:1], b"c"] * 2 + [b"d"])
    with pytest.raises(EmbedkitError, match="cut in the middle of a letter"):
        load_dataset(write(tmp_path / "cut.npz", images=IMAGES, labels=cut))


def test_labels_behind_a_link_are_found(tmp_path: Path, capsys) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw/images"] = IMAGES
        file["raw/kind"] = [0, 1] * 3 + [0]
        file["labels"] = h5py.SoftLink("/raw/kind")
        file["images"] = h5py.SoftLink("/raw/images")
        file["ids"] = h5py.ExternalLink("/etc/ids.h5", "/ids")
        file["group"] = h5py.SoftLink("/gone")
    dataset = load_dataset(str(tmp_path / "a.h5"))
    assert dataset.rows.labels.tolist() == [0, 1] * 3 + [0]
    np.testing.assert_array_equal(dataset.read(5), IMAGES[5])
    said = capsys.readouterr().err
    assert "leads to '/etc/ids.h5', outside the folder" in said
    assert "the link group leads to nothing" in said
    with pytest.raises(UsageError, match="outside the folder"):
        load_dataset(str(tmp_path / "a.h5"), labels_key="ids")


def test_images_that_are_not_in_the_file_are_errors_and_not_black(tmp_path: Path, capsys) -> None:
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["x"] = IMAGES[:4]
    layout = h5py.VirtualLayout((7, 10, 12, 3), "u1")
    layout[:4] = h5py.VirtualSource("source.h5", "x", (4, 10, 12, 3))
    layout[4:] = h5py.VirtualSource("gone.h5", "x", (3, 10, 12, 3))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    with h5py.File(tmp_path / "chunks.h5", "w") as file:
        file.create_dataset("images", IMAGES.shape, "u1", chunks=(1, 10, 12, 3))[:4] = IMAGES[:4]
    with h5py.File(tmp_path / "never.h5", "w") as file:
        file.create_dataset("images", IMAGES.shape, "u1")
    for name, why in (
        ("virtual", "virtual source gone.h5 is missing"),
        ("chunks", "3 of 7 chunks were never written"),
    ):
        dataset = load_dataset(str(tmp_path / f"{name}.h5"))
        assert f"3 of 7 images are not in the file: the {why}" in capsys.readouterr().err.replace(
            "file: 3", "file: the 3"
        )
        np.testing.assert_array_equal(dataset.read(3), IMAGES[3])
        with pytest.raises(ImageError, match=rf"{name}\.h5\[5\]: not in the file .*so it would be black"):
            dataset.read(5)
    with pytest.raises(EmbedkitError, match="none of the 7 images is in the file: never written"):
        load_dataset(str(tmp_path / "never.h5"))
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["images"] = IMAGES
        file.create_dataset("labels", (7,), "i8")
    with pytest.raises(EmbedkitError, match=r"labels: 7 entries are not in the file \(never written\)"):
        load_dataset(str(tmp_path / "labels.h5"))


def test_image_files_in_one_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        files = file.create_dataset("images", (7,), h5py.vlen_dtype(np.uint8), chunks=(3,))
        for row in range(7):
            files[row] = np.frombuffer(encoded(IMAGES[row]), np.uint8)
        file["labels"] = [0, 1] * 3 + [0]
    dataset = load_dataset(str(tmp_path / "a.h5"))
    from embedkit.images.decode import decode

    assert dataset.rows.class_names == ("0", "1")
    for row in range(7):
        np.testing.assert_array_equal(decode(dataset.read(row), "x"), IMAGES[row])


def test_signed_bytes_are_those_of_an_image_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        files = file.create_dataset("images", (3,), h5py.vlen_dtype(np.int8))
        for row in range(3):
            files[row] = np.frombuffer(encoded(IMAGES[row]), np.int8)
    dataset = load_dataset(str(tmp_path / "a.h5"))
    from embedkit.images.decode import decode

    for row in range(3):
        np.testing.assert_array_equal(decode(dataset.read(row), "x"), IMAGES[row])


def test_references_and_rows_of_free_length_are_named(tmp_path: Path) -> None:
    place = tmp_path / "a.h5"
    with h5py.File(place, "w") as file:
        file["images"] = IMAGES[:2]
        labels = file.create_dataset("labels", (2,), h5py.ref_dtype)
        labels[0] = file["images"].ref
        file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.float32))
    with pytest.raises(EmbedkitError, match="labels holds references to other parts of the file"):
        load_dataset(str(place))
    with pytest.raises(EmbedkitError, match="ragged: holds text, references or rows of free length"):
        load_dataset(str(place), images_key="ragged")


def test_one_dataset_an_image(tmp_path: Path, capsys) -> None:
    from embedkit.images.decode import decode

    with h5py.File(tmp_path / "a.h5", "w") as file:
        for row in range(7):
            name = f"images/{'cats' if row % 2 else 'dogs'}/{row}"
            file[name] = IMAGES[row] if row < 5 else np.frombuffer(encoded(IMAGES[row]), np.uint8)
        file["images/dogs/8"] = np.void(encoded(IMAGES[0]))
    dataset = load_dataset(str(tmp_path / "a.h5"))
    names = dataset.rows.ids.tolist()
    assert names == ["cats/1", "cats/3", "cats/5", "dogs/0", "dogs/2", "dogs/4", "dogs/6", "dogs/8"]
    assert dataset.rows.class_names == ("cats", "dogs")
    for row, name in enumerate(names):
        np.testing.assert_array_equal(
            decode(dataset.read(row), "x"), IMAGES[int(name[-1]) % 8 % 7 if name[-1] != "8" else 0]
        )
    assert dataset.where(0).endswith("a.h5: images/cats/1")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for row in range(3):
            file[f"tiles/{row}"] = IMAGES[row]
        file["ids"] = ["2", "0", "1"]
        file["labels"] = ["two", "zero", "one"]
    dataset = load_dataset(str(tmp_path / "b.h5"), images_key="tiles")
    assert [dataset.rows.class_names[label] for label in dataset.rows.labels] == ["zero", "one", "two"]
    with h5py.File(tmp_path / "b.h5", "a") as file:
        del file["ids"]
    assert load_dataset(str(tmp_path / "b.h5"), images_key="tiles").rows.labels is None
    assert "not used: labels (3,)" in capsys.readouterr().err
    with pytest.raises(UsageError, match="nothing says which entry of labels"):
        load_dataset(str(tmp_path / "b.h5"), images_key="tiles", labels_key="labels")


# --- hostile -----------------------------------------------------------------------------------------------


def member(path: Path, name: str, data: bytes, **options: int) -> None:
    with zipfile.ZipFile(path, "a", **options) as archive:
        archive.writestr(name, data)


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header("(99999, 99999, 9999)") + bytes(100), "cut off: its header promises"),
        (header("(2, -1, 8)"), "not a NumPy array"),
        (header("(2, 8, 2**70)"), "not a NumPy array"),
        (header("(2, 8, 99999999999999999999)"), "not a NumPy array"),
        (header("('a', 8)"), "not a NumPy array"),
        (header("()") + b"\0", "holds no images"),
        (header("(2, 4, 8)", "[('a', '<i4')]") + bytes(256), "holds no images"),
        (header("(2, 4, 8)", "'<M8[s]'") + bytes(512), "holds no images"),
        (header("(2, 4, 4)", "'__import__(\"os\")'"), "not a NumPy array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 1000, "not a NumPy array"),
        (b"\x93NUMPY\x09\x00\x10\x00", "not a NumPy array"),
    ],
)
def test_headers_that_lie(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    member(tmp_path / "a.npz", "images.npy", data, compression=zipfile.ZIP_DEFLATED)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(EmbedkitError, match=message):
            load_dataset(str(tmp_path / name))


def test_members_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.npz", images=IMAGES, labels=[0, 1] * 3 + [0]))
    good = path.read_bytes()
    central = good.rindex(b"PK\1\2")  # of labels
    local = good.rindex(b"PK\3\4")
    for at, value, message in (
        (8, 1, "labels: encrypted"),
        (10, 99, "labels: compressed in a way that isn't known"),
    ):
        data = bytearray(good)
        data[central + at] = value
        data[local + at - 2] = value
        path.write_bytes(data)
        with pytest.raises(EmbedkitError, match=message):
            load_dataset(str(path))
    packed = tmp_path / "b.npz"
    np.savez_compressed(packed, images=IMAGES, labels=np.arange(7))
    data = bytearray(packed.read_bytes())
    start = data.rindex(b"PK\3\4")
    data[start + 80 : start + 100] = bytes(20)
    packed.write_bytes(data)
    with pytest.raises(EmbedkitError, match="labels: (damaged|not a NumPy array)"):
        load_dataset(str(packed))


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    """A megabyte that would be 800 GB of labels, and a header of 2 GB characters an id."""
    path = Path(write(tmp_path / "a.npz", images=IMAGES))
    member(path, "ids.npy", header("(7,)", "'<U400000000'"), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(EmbedkitError, match="ids: cut off|ids is declared as text of 400,000,000 characters"):
        load_dataset(str(path))
    wide = np.array(["a"] * 6 + ["x" * 100_000])
    with pytest.raises(EmbedkitError, match="ids is declared as text of 100,000 characters"):
        load_dataset(write(tmp_path / "b.npz", images=IMAGES, ids=wide))
    with pytest.raises(EmbedkitError, match="hold 'xxx.* of 100,000 characters; at most 4,096"):
        load_dataset(write(tmp_path / "b.h5", images=IMAGES, ids=wide))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.csv"])
def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    import os

    os.mkfifo(tmp_path / name)
    with pytest.raises(EmbedkitError, match="a named pipe, not a regular file"):
        load_dataset(str(tmp_path / name))
    (tmp_path / f"link_{name}").symlink_to("/dev/zero")
    with pytest.raises(EmbedkitError, match="a device, not a regular file"):
        load_dataset(str(tmp_path / f"link_{name}"))


def test_big_endian_arrays_are_the_same(tmp_path: Path) -> None:
    wide = IMAGES.astype(np.uint16) * 257
    np.savez(tmp_path / "a.npz", images=wide.astype(">u2"), labels=np.array([0, 1] * 3 + [1], ">i4"))
    dataset = load_dataset(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(dataset.read(3), wide[3])
    assert dataset.rows.labels.tolist() == [0, 1] * 3 + [1]


def test_zeros_where_text_was_are_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.h5", images=IMAGES, labels=["a", "b"] * 3 + ["a"]))
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 64] = bytes(48)
    path.write_bytes(data)
    with pytest.raises(EmbedkitError, match=r"a\.h5: damaged.* Restore the file"):
        load_dataset(str(path))


def test_names_of_an_hdf5_enumeration_are_the_classes(tmp_path: Path) -> None:
    kind = h5py.enum_dtype({"spiral": 2, "merger": 0, "smooth": 1}, basetype="i1")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["images"] = IMAGES
        file.create_dataset("labels", data=np.arange(len(IMAGES), dtype="i1") % 3, dtype=kind)
    rows = load_dataset(str(tmp_path / "e.h5")).rows
    assert rows.labels is not None
    assert [rows.class_names[label] for label in rows.labels[:3]] == ["merger", "smooth", "spiral"]


def test_images_along_the_last_axis_are_refused_with_what_mends_that(tmp_path: Path) -> None:
    images = np.zeros((32, 30, 3, 17), np.uint8)  # as of the .mat files of SVHN
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(EmbedkitError, match=r"images along the last axis.*numpy.moveaxis\(x, -1, 0\)"):
        load_dataset(str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", np.moveaxis(images, -1, 0))
    assert len(load_dataset(str(tmp_path / "x.npy"))) == 17


def test_a_galaxy10_file_by_path_is_said_how_to_be_read_with_its_names(tmp_path, capsys):
    path = tmp_path / "my galaxies.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((20, 8, 8, 3), np.uint8)
        file["ans"] = np.arange(20) % 10
        for name in ("ra", "dec", "redshift", "pxscale"):
            file[name] = np.linspace(0, 80, 20)
    load_dataset(str(path))
    (advised,) = re.findall(r"`embedkit extract (.*?)`", " ".join(capsys.readouterr().err.split()))
    assert main(["datasets", *shlex.split(advised)]) == 0
    assert "Barred Spiral" in capsys.readouterr().out


@both
def test_an_error_about_ids_names_their_file(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", images=IMAGES, ids=["a"] * len(IMAGES))
    with pytest.raises(EmbedkitError, match=rf"a\{ending}: 6 duplicate ids, such as 'a'"):
        load_dataset(path)


def test_a_label_that_nobody_stored_is_not_called_minus_one(tmp_path: Path, capsys) -> None:
    load_dataset(write(tmp_path / "a.npz", images=IMAGES, labels=[1, np.nan, 1, 1, 1, 1, 1]))
    said = " ".join(capsys.readouterr().err.split())
    assert "1 images have no label (-1, or none stored) and all others are 1." in said
