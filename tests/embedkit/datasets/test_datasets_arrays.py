"""Arrays of images in .npy, .npz and .h5 files."""

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.datasets.arrays import ArrayImages
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.images.decode import decode

RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (7, 10, 12, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 0, -1, 2, 5, 5])


def write(path: Path, **arrays: object) -> str:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                values = np.asarray(values)
                if values.dtype.kind == "U":
                    file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
                else:
                    file[name] = values
    else:
        np.savez(path, **arrays)
    return str(path)


both = pytest.mark.parametrize("ending", [".npz", ".h5"])


def test_npy_is_mapped_and_read_by_row(tmp_path: Path) -> None:
    np.save(tmp_path / "sky.npy", IMAGES)
    dataset = load_dataset(str(tmp_path / "sky.npy"))
    assert dataset.rows.ids.tolist() == ["0", "1", "2", "3", "4", "5", "6"]
    assert dataset.rows.labels is None
    for row in (6, 0, 3):
        np.testing.assert_array_equal(decode(dataset.read(row), "x"), IMAGES[row])
    assert dataset.where(3) == f"{tmp_path / 'sky.npy'}[3]"
    assert dataset.name == "sky"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7, 10, 12), (7, 10, 12, 1), (7, 3, 10, 12)])
def test_layouts_of_arrays(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    stored = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", np.asarray(stored, order=order))
    np.savez(tmp_path / "b.npz", images=np.asarray(stored, order=order))
    for name in ("a.npy", "b.npz"):
        dataset = load_dataset(str(tmp_path / name))
        np.testing.assert_array_equal(dataset.read(5), stored[5])
        assert decode(dataset.read(5), "x").shape == (10, 12, 3)


@both
def test_annotations_by_name(tmp_path: Path, ending: str) -> None:
    path = write(
        tmp_path / f"a{ending}",
        images=IMAGES,
        labels=LABELS,
        ids=[f"gal é {i}" for i in range(7)],
        split=["train", "test", "", "train", "train", "validation", ""],
        group=["a", "a", "b", "c", "d", "e", "f"],
        targets=np.arange(14).reshape(7, 2),
        target_names=["x", "y"],
        ra=np.linspace(0, 10, 7),
        dec=np.linspace(-5, 5, 7),
    )
    rows = load_dataset(path).rows
    assert rows.ids[3] == "gal é 3"
    assert rows.class_names == ("0", "2", "5")
    assert rows.labels.tolist() == [1, 0, 0, -1, 1, 2, 2]
    assert rows.split[5] == "validation"
    assert rows.group[6] == "f"
    assert (rows.targets[4].tolist(), rows.target_names) == ([8, 9], ("x", "y"))
    assert rows.coordinates[6].tolist() == [10, 5]


@both
def test_class_names_are_the_index_of_labels(tmp_path: Path, ending: str) -> None:
    names = [f"kind {i}" for i in range(6)]
    rows = load_dataset(write(tmp_path / f"a{ending}", images=IMAGES, labels=LABELS, class_names=names)).rows
    assert rows.class_names == tuple(names)
    assert rows.labels.tolist() == LABELS.tolist()


@both
def test_text_labels_and_other_keys(tmp_path: Path, ending: str) -> None:
    path = write(
        tmp_path / f"a{ending}", x=IMAGES, y=["b", "a", "", "b", "a", "a", "a"], mask=IMAGES[:, :, 0, 0]
    )
    dataset = load_dataset(path, labels_key="y")
    assert dataset.rows.class_names == ("a", "b")
    assert dataset.rows.labels.tolist() == [1, 0, -1, 1, 0, 0, 0]
    np.testing.assert_array_equal(dataset.read(2), IMAGES[2])
    again = load_dataset(**dataset.origin)
    assert again.fingerprint == dataset.fingerprint


def test_bytes_and_float_labels(tmp_path: Path) -> None:
    rows = load_dataset(
        write(tmp_path / "a.npz", images=IMAGES, labels=np.array([b"x", b"y"] * 3 + [b"x"]))
    ).rows
    assert rows.class_names == ("x", "y")
    rows = load_dataset(
        write(tmp_path / "b.npz", images=IMAGES, labels=np.array([1.0, 2, np.nan] * 2 + [1]))
    ).rows
    assert rows.labels.tolist() == [0, 1, -1, 0, 1, -1, 0]
    with pytest.raises(EmbedkitError, match="labels are not whole numbers"):
        load_dataset(write(tmp_path / "c.npz", images=IMAGES, labels=np.linspace(0, 1, 7)))


def test_groups_inside_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["survey/deep/pixels"] = IMAGES
        file["survey/kind"] = LABELS
    dataset = load_dataset(str(tmp_path / "a.h5"), labels_key="survey/kind")
    np.testing.assert_array_equal(dataset.read(6), IMAGES[6])
    assert dataset.rows.class_names == ("0", "2", "5")


@both
def test_keys_that_are_not_there(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", x=IMAGES, z=IMAGES)
    with pytest.raises(UsageError, match=r"several arrays could be the images.*x \(7, 10, 12, 3\), z"):
        load_dataset(path)
    with pytest.raises(UsageError, match="no array 'pix' for --images-key"):
        load_dataset(path, images_key="pix")
    with pytest.raises(UsageError, match="no array 'kind' for --labels-key"):
        load_dataset(path, images_key="x", labels_key="kind")
    with pytest.raises(UsageError, match="no array could be the images"):
        load_dataset(write(tmp_path / f"b{ending}", features=np.zeros((7, 5))))


def test_compressed_npz_is_read_and_says_what_it_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=IMAGES)
    dataset = load_dataset(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(dataset.read(4), IMAGES[4])
    assert "compressed, so each worker holds all images" in capsys.readouterr().err
    np.savez(tmp_path / "b.npz", images=IMAGES)
    load_dataset(str(tmp_path / "b.npz"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("chunks", [None, (1, 10, 12, 3), (4, 5, 6, 1)])
def test_hdf5_chunks_of_any_shape_give_the_same_images(
    tmp_path: Path, chunks: tuple[int, ...] | None
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=IMAGES, chunks=chunks, compression="gzip" if chunks else None)
    dataset = load_dataset(str(tmp_path / "a.h5"))
    for row in (6, 0, 5, 1, 6):
        np.testing.assert_array_equal(dataset.read(row), IMAGES[row])


def test_chunks_across_images_are_inflated_once(tmp_path: Path) -> None:
    """With the usual cache every image inflates all chunks that it touches again: 300 times here."""
    images = np.zeros((300, 64, 64, 3), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(300, 4, 4, 1), compression="gzip")
    dataset = load_dataset(str(tmp_path / "a.h5"))
    dataset.read(0)
    reader: ArrayImages = dataset.read.__self__
    settings = reader._array.file.id.get_access_plist().get_cache()
    assert settings[2] >= images.nbytes  # bytes of the cache
    assert settings[1] >= 10 * (16 * 16 * 3)  # slots: with few, chunks push each other out


def test_readers_survive_pickling_and_forking(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    for path in (
        str(tmp_path / "a.npy"),
        write(tmp_path / "a.npz", images=IMAGES),
        write(tmp_path / "a.h5", images=IMAGES),
    ):
        dataset = load_dataset(path)
        dataset.read(0)  # opens the file here first
        with multiprocessing.get_context("spawn" if path.endswith(".npy") else "fork").Pool(1) as pool:
            np.testing.assert_array_equal(pool.map(dataset.read, [3])[0], IMAGES[3])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset.read))(5), IMAGES[5])


def test_fingerprint_follows_shape_and_labels_and_not_the_place(tmp_path: Path) -> None:
    first = load_dataset(write(tmp_path / "a.npz", images=IMAGES, labels=LABELS)).fingerprint
    (tmp_path / "b").mkdir()
    assert load_dataset(write(tmp_path / "b" / "c.npz", images=IMAGES, labels=LABELS)).fingerprint == first
    changed = load_dataset(write(tmp_path / "d.npz", images=IMAGES, labels=LABELS[::-1])).fingerprint
    shape = load_dataset(write(tmp_path / "e.npz", images=IMAGES.swapaxes(1, 2), labels=LABELS)).fingerprint
    assert len({first, changed, shape}) == 3


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 5), r"shape \(7, 5\) holds no images. .*`embedkit import`.* Images are \(n, h, w\)"),
        ((64, 64, 3), "looks like one image"),
        ((0, 8, 8), "holds no images"),
        ((7, 70, 8, 80), "no axis of channels"),
        ((2, 3, 4, 5, 6), "holds no images"),
    ],
)
def test_wrong_shapes(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(str(tmp_path / "a.npy"))
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(write(tmp_path / "a.h5", images=np.zeros(shape, np.uint8)))


def test_complex_numbers_are_no_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), complex))
    with pytest.raises(EmbedkitError, match="array of complex128 holds no images"):
        load_dataset(str(tmp_path / "a.npy"))


def test_pickled_objects_are_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    objects = np.empty(2, dtype=object)
    objects[:] = Trap()
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=IMAGES, ids=objects)
    np.savez_compressed(tmp_path / "c.npz", images=objects)
    for name in ("a.npy", "b.npz", "c.npz"):
        with pytest.raises(
            EmbedkitError, match="holds Python objects, which can only be read by running code"
        ):
            load_dataset(str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()


def test_truncated_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    write(tmp_path / "a.npz", images=IMAGES)
    write(tmp_path / "a.h5", images=IMAGES)
    for name, message in (
        ("a.npy", "cut off"),
        ("a.npz", "not a .npz file, or cut off"),
        ("a.h5", "cut off"),
    ):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(EmbedkitError, match=message):
            load_dataset(str(path))


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 20])
@pytest.mark.parametrize(
    ("name", "message"),
    [("a.npy", "not a NumPy array"), ("a.npz", r"not a \.npz file"), ("a.h5", "not an HDF5")],
)
def test_empty_and_foreign_files(tmp_path: Path, name: str, message: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(str(tmp_path / name))


def test_annotation_of_another_length(tmp_path: Path) -> None:
    with pytest.raises(EmbedkitError, match=r"labels has shape \(3,\), but there are 7 images"):
        load_dataset(write(tmp_path / "a.npz", images=IMAGES, labels=LABELS[:3]))
    with pytest.raises(EmbedkitError, match=r"labels has shape \(7, 2\), expected one class an image"):
        load_dataset(write(tmp_path / "b.npz", images=IMAGES, labels=np.zeros((7, 2))))


def test_duplicate_ids(tmp_path: Path) -> None:
    with pytest.raises(EmbedkitError, match="1 duplicate ids, such as 'a'"):
        load_dataset(write(tmp_path / "a.npz", images=IMAGES[:3], ids=["a", "b", "a"]))


def test_a_feature_file_is_not_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_features(path, np.zeros((2, 3), np.float32), Rows(ids=np.array(["a", "b"])), provenance={})
    with pytest.raises(UsageError, match=r"features\.h5: a feature file, not a dataset of images"):
        load_dataset(str(path))


def test_a_format_that_is_no_text_is_no_format(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = IMAGES
        file.attrs["format"] = [1, 2]
    assert len(load_dataset(str(tmp_path / "a.h5"))) == len(IMAGES)


def test_nan_in_one_image_names_it(tmp_path: Path) -> None:
    values = RNG.random((3, 8, 8)).astype(np.float32)
    values[1, 2, 3] = np.nan
    np.save(tmp_path / "a.npy", values)
    dataset = load_dataset(str(tmp_path / "a.npy"))
    assert decode(dataset.read(0), dataset.where(0)).shape == (8, 8, 3)
    with pytest.raises(ImageError, match=r"a\.npy\[1\]: 1 of 64 values are NaN"):
        decode(dataset.read(1), dataset.where(1))


def test_a_damaged_chunk_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    noise = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", data=noise, chunks=(1, 32, 32, 3), compression="gzip")
        at = images.id.get_chunk_info(2).byte_offset
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 50)
    dataset = load_dataset(str(path))
    np.testing.assert_array_equal(dataset.read(1), noise[1])
    with pytest.raises(ImageError, match=r"a\.h5\[2\]: cannot be read"):
        dataset.read(2)
