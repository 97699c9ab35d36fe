import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.hdf5_heaps import damaged_heap
from embedkit.files.own_hdf5 import unsound
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

READ = """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    dict(file.attrs)
    [file[name].asstr()[...] for name in ("ids", "group")]
    dict(file["labels"].attrs)
"""


@pytest.fixture
def file(tmp_path):
    n = 60
    ids = np.array([f"images/{'x' * (i % 23)}{i}.png" for i in range(n)])
    rows = Rows(
        ids, labels=np.arange(n) % 2, class_names=("a", "b"), group=np.array([f"g{i}" for i in range(n)])
    )
    return write_features(
        tmp_path / "f.h5", np.ones((n, 4), np.float32), rows, provenance={"dataset": "text"}
    )


def hangs(path):
    try:
        subprocess.run([sys.executable, "-c", READ, path], timeout=20, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return True
    return False


def test_where_hdf5_itself_stands_still_the_heap_is_refused(file, tmp_path):
    data = file.read_bytes()
    at = data.index(b"GCOL") + 16
    zeroed = tmp_path / "zeroed.h5"
    zeroed.write_bytes(data[:at] + bytes(64) + data[at + 64 :])
    assert hangs(zeroed)  # the truth, from HDF5
    with pytest.raises(EmbedkitError, match=r"zeroed.h5: damaged \(a heap of text is broken at byte"):
        FeatureFile(zeroed)


def test_every_zeroed_stretch_ends(file, tmp_path):
    data = file.read_bytes()
    broken = tmp_path / "broken.h5"
    for at in range(0, len(data), 160):
        broken.write_bytes(data[:at] + bytes(128) + data[at + 128 :])
        try:
            with FeatureFile(broken) as opened:
                opened.problems()
        except EmbedkitError:
            continue


@pytest.mark.parametrize("n", [1, 300, 5000])
def test_sound_heaps_of_any_size_pass(tmp_path, n):
    path = tmp_path / "many.h5"
    random = np.random.default_rng(n)
    with h5py.File(path, "w") as opened:
        words = ["x" * int(size) for size in random.integers(0, 6000, n)]
        opened.create_dataset("words", data=np.array(words, dtype=object), dtype=h5py.string_dtype())
        opened["numbers"] = random.integers(0, 255, 3 * 2**20, dtype=np.uint8)
        opened.attrs["about"] = json.dumps(words[:2])
    with h5py.File(path) as opened:
        assert damaged_heap(opened, path) is None
        assert unsound(opened, path) is None


def external_link(opened, other):
    del opened["features"]
    opened["features"] = h5py.ExternalLink(str(other), "features")


def virtual(opened, other):
    layout = h5py.VirtualLayout((60, 4), "f4")
    layout[...] = h5py.VirtualSource(str(other), "features", shape=(60, 4))
    del opened["features"]
    opened.create_virtual_dataset("features", layout)


def raw_elsewhere(opened, other):
    del opened["features"]
    opened.create_dataset("features", shape=(60, 4), dtype="f4", external=[(str(other), 0, 960)])


def sparse(opened, other):
    del opened["features"]
    opened.create_dataset("features", shape=(60, 4), dtype="f4", chunks=(10, 4))[:10] = 1


def huge(opened, other):
    for name in ("features", "ids"):
        del opened[name]
    opened.create_dataset("features", shape=(2**40, 4), dtype="f4", chunks=(10, 4))
    opened.create_dataset("ids", shape=(2**40,), dtype=h5py.string_dtype(), chunks=(10,))


@pytest.mark.parametrize("change", [external_link, virtual, raw_elsewhere, sparse, huge])
def test_a_feature_file_stands_alone_and_is_whole(file, tmp_path, change):
    other = tmp_path / "other.h5"
    other.write_bytes(file.read_bytes())
    with h5py.File(file, "r+") as opened:
        change(opened, other)
    with pytest.raises(EmbedkitError, match=r"f.h5: damaged \(.*(stands alone|not written to its end)\)"):
        FeatureFile(file)


def test_an_endless_id_is_refused_by_name(file):
    with h5py.File(file, "r+") as opened:
        opened["ids"][3] = "x" * 5_000_000
    with pytest.raises(EmbedkitError, match=r"f.h5: ids hold 'xxx.* of 5,000,000 characters"):
        len(FeatureFile(file).rows)


def test_a_large_bound_sets_no_memory_aside(tmp_path):
    import tracemalloc

    from embedkit.files.regular import read_bytes

    small = tmp_path / "small"
    small.write_bytes(b"x" * 10)
    tracemalloc.start()
    assert read_bytes(small, "", at_most=2**34) == b"x" * 10
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    with pytest.raises(EmbedkitError, match="over 9 bytes"):
        read_bytes(small, "", at_most=9)
