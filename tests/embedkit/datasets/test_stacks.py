from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.datasets.load import load_dataset
from embedkit.datasets.stacks import stack_of

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 9, 8, 3), dtype=np.uint8)


def written(path, name, **settings):
    with h5py.File(path / f"{name}.h5", "w", userblock_size=settings.pop("userblock_size", 0)) as file:
        file.create_dataset("labels", data=np.arange(20) % 2)
        file.create_dataset("images", data=PIXELS, **settings)
    return str(path / f"{name}.h5")


def npy(path):
    np.save(path / "a.npy", PIXELS)
    return str(path / "a.npy")


SOURCES = {
    "contiguous": lambda path: written(path, "a"),
    "behind a user block": lambda path: written(path, "b", userblock_size=512),
    "chunked by image": lambda path: written(path, "c", chunks=(1, 9, 8, 3)),
    "chunked across images": lambda path: written(path, "d", chunks=(7, 3, 3, 1), compression="gzip"),
    "npy": npy,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rows", [np.arange(20), np.arange(5, 17), np.array([0, 1, 2, 7, 9, 10, 19])])
def test_a_stack_reads_what_single_reads_give(tmp_path, source, rows):
    dataset = load_dataset(SOURCES[source](tmp_path))
    stack = stack_of(dataset)
    assert stack is not None
    assert stack.shape == (9, 8, 3)
    out = np.full((len(rows), 9, 8, 3), 7, np.uint8)
    assert stack.read_into(rows, out) == [""] * len(rows)
    np.testing.assert_array_equal(out, [dataset.read(int(row)) for row in rows])
    assert stack.parallel == (source in ("contiguous", "behind a user block", "npy"))


def test_no_stack_of_what_is_not_plain_pixels(tmp_path, image_folder):
    for name, array in {
        "uint16": PIXELS.astype(np.uint16),
        "grey": PIXELS[..., 0],
        "four": np.concatenate([PIXELS, PIXELS[..., :1]], axis=3),
        "channels first": np.moveaxis(PIXELS, 3, 1),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        assert stack_of(load_dataset(str(tmp_path / f"{name}.npy"))) is None
    assert stack_of(load_dataset(str(image_folder(3)))) is None


def test_a_damaged_chunk_is_told_of_its_images_alone(tmp_path):
    path = written(tmp_path, "f", chunks=(1, 9, 8, 3), fletcher32=True)
    with h5py.File(path) as file:
        place = file["images"].id.get_chunk_info(4).byte_offset
    with Path(path).open("r+b") as file:
        file.seek(place)
        file.write(b"\xff\x00\xff\x00\x12")
    stack = stack_of(load_dataset(path))
    out = np.full((20, 9, 8, 3), 7, np.uint8)
    errors = stack.read_into(np.arange(20), out)
    assert [row for row, error in enumerate(errors) if error] == [4]
    assert "[4]: cannot be read" in errors[4]
    assert not out[4].any()
    np.testing.assert_array_equal(np.delete(out, 4, axis=0), np.delete(PIXELS, 4, axis=0))


def test_an_image_that_was_never_written_is_an_error(tmp_path):
    with h5py.File(tmp_path / "g.h5", "w") as file:
        images = file.create_dataset("images", (20, 9, 8, 3), np.uint8, chunks=(1, 9, 8, 3))
        for row in range(20):
            if row != 11:
                images[row] = PIXELS[row]
    stack = stack_of(load_dataset(str(tmp_path / "g.h5")))
    out = np.zeros((20, 9, 8, 3), np.uint8)
    errors = stack.read_into(np.arange(20), out)
    assert [row for row, error in enumerate(errors) if error] == [11]
    np.testing.assert_array_equal(out[12:], PIXELS[12:])


def test_a_file_that_ends_early_is_told(tmp_path):
    path = npy(tmp_path)
    stack = stack_of(load_dataset(path))
    with Path(path).open("r+b") as file:
        file.truncate(128 + 10 * 216)
    out = np.zeros((4, 9, 8, 3), np.uint8)
    errors = stack.read_into(np.arange(8, 12), out)
    assert [bool(error) for error in errors] == [False, False, True, True]
    assert "the file ends before its images do" in errors[2]
    np.testing.assert_array_equal(out[:2], PIXELS[8:10])
