"""HDF5 files from outside: what opens, where links lead, and which rows are there."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.hdf5 import contents, elsewhere, find, links_elsewhere, open_hdf5
from embedkit.files.hdf5_gaps import check_filters, gaps

SKY = np.arange(1, 61, dtype=np.uint8).reshape(10, 2, 3)


def missing(path: Path, name: str = "x") -> list[int]:
    """Rows that are not there; those that are must be read as they were written."""
    with open_hdf5(path, "Fix it.") as file:
        dataset = find(file, name)
        assert isinstance(dataset, h5py.Dataset)
        found = gaps(dataset, "here")
        assert bool(found.why) == found.rows.any()
        return np.flatnonzero(found.rows).tolist()


def test_each_cause_of_a_file_that_does_not_open_is_named(tmp_path: Path) -> None:
    good = tmp_path / "good.h5"
    with h5py.File(good, "w") as file:
        file["x"] = SKY
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "text.h5").write_text("id,label\n")
    (tmp_path / "empty.h5").touch()
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    for name, words in {
        "cut.h5": r"cut off .*truncated.* Fix it\.",
        "text.h5": "not an HDF5 file. Fix it",
        "empty.h5": r"empty \(0 bytes\)",
        "folder.h5": "a folder",
        "pipe.h5": "a named pipe",
        "gone.h5": "no such file",
    }.items():
        with pytest.raises(EmbedkitError, match=words):
            open_hdf5(tmp_path / name, "Fix it.")


@pytest.mark.parametrize("mark", [b"SNOD", b"HEAP"])
def test_a_file_whose_list_of_names_is_damaged_is_called_so(tmp_path: Path, mark: bytes) -> None:
    """HDF5 finds it while the names are listed, which is done for the heaps of text."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["x"] = file["y"] = SKY
    data = bytearray(path.read_bytes())
    at = data.rfind(mark)
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(EmbedkitError, match=r"x\.h5: damaged \(.*\)\. Restore it\."):
        open_hdf5(path, "Restore it.")


@pytest.mark.parametrize(("version", "locking"), [("earliest", "TRUE"), ("latest", "FALSE")])
def test_a_file_that_is_being_written_is_not_called_broken(
    tmp_path: Path, version: str, locking: str
) -> None:
    path = tmp_path / "busy.h5"
    read = (
        "import sys; from pathlib import Path; from embedkit.files.hdf5 import open_hdf5\n"
        "try: open_hdf5(Path(sys.argv[1]), 'Restore it.')\n"
        "except Exception as error: print(error)"
    )
    with h5py.File(path, "w", libver=version) as file:
        file["x"] = SKY
        file.flush()
        environment = os.environ | {"HDF5_USE_FILE_LOCKING": locking}
        said = subprocess.run(
            [sys.executable, "-c", read, path], capture_output=True, text=True, env=environment, check=True
        ).stdout
    assert "another program" in said
    assert "Restore it" not in said


def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data" / "more", tmp_path / "secret"
    inside.mkdir(parents=True)
    outside.mkdir()
    for folder in (inside, outside):
        with h5py.File(folder / "b.h5", "w") as file:
            file["deep/x"] = SKY
            file["soft"] = h5py.SoftLink("/deep")
    (inside / "out").symlink_to(outside)
    with h5py.File(tmp_path / "data" / "a.h5", "w") as file:
        file["g/own"] = SKY
        file["soft"] = h5py.SoftLink("g/own")
        file["g/up"] = h5py.SoftLink("/soft")
        file["g/circle"] = h5py.SoftLink("/g")
        file["loop"] = h5py.SoftLink("/loop")
        file["nowhere"] = h5py.SoftLink("/gone")
        file["beside"] = h5py.ExternalLink("more/b.h5", "/soft/x")
        for name, target in {
            "parent": "../secret/b.h5",
            "absolute": str(outside / "b.h5"),
            "by_symlink": "more/out/b.h5",
        }.items():
            file[name] = h5py.ExternalLink(target, "/deep/x")
    with open_hdf5(tmp_path / "data" / "a.h5", "") as file:
        found = contents(file)
        assert set(found.datasets) == {"g/own", "soft", "g/up", "beside"}
        assert all(np.array_equal(item[()], SKY) for item in found.datasets.values())
        assert set(found.unreachable) == {"loop", "nowhere", "parent", "absolute", "by_symlink"}
        assert find(file, "/g/circle/circle/up").name == "/g/own"
        assert find(file, "loop") is None
        assert find(file, "g/own/deeper") is None
        for name in ("parent", "absolute", "by_symlink"):
            with pytest.raises(EmbedkitError, match="outside the folder"):
                find(file, name)
        assert {name for name, _ in links_elsewhere(file)} == {"beside", "parent", "absolute", "by_symlink"}


def test_chunks_and_arrays_that_were_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["whole"] = SKY
        file.create_dataset("never", SKY.shape, "u1")
        file.create_dataset("scalar", (), "u1")
        file.create_dataset("none", (0, 3), "u1")
        for name, options in {"plain": {}, "packed": {"compression": "gzip"}}.items():
            half = file.create_dataset(name, SKY.shape, "u1", chunks=(2, 2, 2), **options)
            half[2:4] = SKY[2:4]
            half[6:9] = SKY[6:9]
            half[0:2, :, :2] = SKY[0:2, :, :2]  # one of two chunks of an image
        full = file.create_dataset("full", SKY.shape, "u1", chunks=(3, 2, 2))
        full[...] = 0  # black, but written
    assert missing(path, "whole") == missing(path, "full") == missing(path, "none") == []
    assert missing(path, "never") == list(range(10))
    assert missing(path, "scalar") == [0]
    assert missing(path, "plain") == missing(path, "packed") == [0, 1, 4, 5]


def virtual(path: Path, *parts: tuple[object, str, object], shape: tuple[int, ...] = SKY.shape) -> Path:
    """Write a virtual dataset x of (where, file, rows of it)."""
    layout = h5py.VirtualLayout(shape, "u1")
    for where, name, rows in parts:
        layout[where] = h5py.VirtualSource(name, "x", SKY.shape)[rows]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)
    return path


def test_virtual_sources(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file["x"] = SKY
    with h5py.File(tmp_path / "half.h5", "w") as file:
        file.create_dataset("x", SKY.shape, "u1", chunks=(1, 2, 3))[:7] = SKY[:7]
    with h5py.File(tmp_path / "short.h5", "w") as file:
        file["x"] = SKY[:3]
    first, last, all_rows = np.s_[:4], np.s_[4:10], np.s_[:]
    v = tmp_path / "v.h5"
    assert missing(virtual(v, (first, "good.h5", first), (last, "good.h5", last))) == []
    assert missing(virtual(v, (all_rows, "good.h5", all_rows))) == []
    assert missing(virtual(v, (np.s_[::2], "good.h5", np.s_[:5]), (np.s_[1::2], "gone.h5", np.s_[:5]))) == [
        1,
        3,
        5,
        7,
        9,
    ]
    assert missing(virtual(v, (all_rows, "half.h5", all_rows))) == [7, 8, 9]
    assert missing(virtual(v, (np.s_[::2], "half.h5", np.s_[5:]), (np.s_[1::2], "good.h5", np.s_[:5]))) == [
        4,
        6,
        8,
    ]
    assert missing(virtual(v, (first, "good.h5", first))) == [4, 5, 6, 7, 8, 9]
    assert missing(virtual(v, (all_rows, "short.h5", all_rows))) == list(range(10))
    # Two sources in one place leave another empty.
    assert missing(virtual(v, (np.s_[:5], "good.h5", np.s_[:5]), (np.s_[:5], "good.h5", np.s_[5:]))) == [
        5,
        6,
        7,
        8,
        9,
    ]
    # Half of every image.
    assert missing(virtual(v, (np.s_[:, :1], "good.h5", np.s_[:, :1]))) == list(range(10))
    virtual(tmp_path / "inner.h5", (all_rows, "half.h5", all_rows))
    assert missing(virtual(v, (all_rows, "inner.h5", all_rows))) == [7, 8, 9]
    assert missing(virtual(v, (all_rows, str(tmp_path / "good.h5"), all_rows))) == []


def test_virtual_sources_without_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file.create_dataset("x", data=SKY, chunks=(5, 2, 3), maxshape=(None, 2, 3))
    with h5py.File(tmp_path / "g0.h5", "w") as file:
        file["x"] = SKY[:1]
    unlimited = h5py.h5s.UNLIMITED
    for name, source, n, gone in (
        ("good.h5", "x", 10, []),
        ("good.h5", "x", 12, []),  # HDF5 itself ends it with its source
        ("g%b.h5", "x", 10, None),
    ):
        with h5py.File(tmp_path / "v.h5", "w") as file:
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            into = h5py.h5s.create_simple((n, 2, 3), (unlimited, 2, 3))
            into.select_hyperslab((0, 0, 0), (unlimited, 1, 1), block=(1, 2, 3), stride=(1, 1, 1))
            of = h5py.h5s.create_simple((10, 2, 3), (unlimited, 2, 3))
            if gone is not None:
                of.select_hyperslab((0, 0, 0), (unlimited, 1, 1), block=(1, 2, 3), stride=(1, 1, 1))
            else:
                of = h5py.h5s.create_simple((1, 2, 3))
            properties.set_virtual(into, name.encode(), source.encode(), of)
            h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, into, properties)
        if gone is None:
            with pytest.raises(EmbedkitError, match="pattern"):
                missing(tmp_path / "v.h5")
        else:
            assert missing(tmp_path / "v.h5") == gone


def test_sources_outside_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = SKY
    os.mkfifo(tmp_path / "own" / "pipe.h5")
    every = np.s_[:]
    for name, words in {
        "../secret.h5": "outside the folder",
        str(tmp_path / "secret.h5"): "outside the folder",
        "pipe.h5": "named pipe",
        "v.h5": "without end",
    }.items():
        path = virtual(tmp_path / "own" / "v.h5", (every, name, every))
        with pytest.raises(EmbedkitError, match=words):
            missing(path)
    (tmp_path / "raw.bin").write_bytes(SKY.tobytes())
    with h5py.File(tmp_path / "own" / "raw.h5", "w") as file:
        file.create_dataset("x", SKY.shape, "u1", external=[(str(tmp_path / "raw.bin"), 0, 60)])
        assert "raw.bin" in elsewhere(file["x"])
    with pytest.raises(EmbedkitError, match=r"raw\.bin.*outside the HDF5 file"):
        missing(tmp_path / "own" / "raw.h5")
    with h5py.File(path) as file:
        assert "v.h5" in elsewhere(file["x"])


def test_a_missing_filter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, 2, 3))
        properties.set_filter(60_000, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(SKY.shape)
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, properties)
        with pytest.raises(EmbedkitError, match=r"filter number 60000, which is not installed"):
            check_filters(file["x"], "here")


def test_a_filter_of_hdf5plugin_is_taken_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    write = (
        "import sys, h5py, hdf5plugin, numpy\n"
        "with h5py.File(sys.argv[1], 'w') as file:\n"
        "    file.create_dataset('x', data=numpy.ones((4, 2, 2)), chunks=(1, 2, 2), **hdf5plugin.Zstd())"
    )
    subprocess.run([sys.executable, "-c", write, tmp_path / "a.h5"], check=True)
    assert missing(tmp_path / "a.h5") == []
