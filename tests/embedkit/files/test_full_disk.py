"""A disk that fills up: an error that names the file, nothing half-written, and no crash of HDF5."""

import errno
import os
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from embedkit.files.results import append_result
from embedkit.files.room import room_for, room_for_features
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features

# What writes, by what it writes; each runs in a process of its own, whose files may not grow beyond a limit.
WRITERS = {
    "a feature file": "write_features(path, np.ones((400, 20)), Rows([f'image {i}' for i in range(400)]))",
    "its strings": "write_features(path, np.ones((400, 1)), Rows(['é' * 90 + str(i) for i in range(400)]))",
    "its targets": "write_features(path, np.ones((40, 1)), Rows([str(i) for i in range(40)], "
    "targets=np.ones((40, 300)), target_names=tuple(map(str, range(300)))))",
    "a model": "",
    "a text": "write_text(path, 'x' * 40000)",
    "a checkpoint": "write_checkpoint(path.parent, {'weights': torch.ones(9000)})",
    "a table": "write_table(path, COPIES, {name: ['near'] * 9000 for name in ('kind', 'id', 'other')})",
}
HEAD = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from embedkit.errors import DISK_FULL
from embedkit.files.aside import write_text
from embedkit.files.model_file import ModelFormat
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.files.tables import COPIES, write_table
from pretrain.journal import write_checkpoint
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    {}
except OSError as error:
    sys.exit(40 if error.errno in DISK_FULL and Path(error.filename).parent == path.parent else 41)
"""
MODEL = (
    "with ModelFormat('x', 1, '', '', '', '').create(path, {{}}) as file:\n        file['a'] = np.ones(9000)"
)


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(what, tmp_path):
    job = MODEL.replace("{{", "{").replace("}}", "}") if what == "a model" else WRITERS[what]
    code = HEAD.replace("{}", job, 1)
    path = tmp_path / "out.h5"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 40, (done.returncode, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_does_not_fit_leaves_the_others_as_they_were(tmp_path, a_result):
    path = tmp_path / "results.jsonl"
    append_result(path, a_result)
    before = path.read_bytes()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, len(before) + 20))
        try:
            append_result(path, a_result)
        except OSError as error:
            os._exit(40 if error.errno in (errno.ENOSPC, errno.EFBIG) and error.filename == str(path) else 41)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 40
    assert path.read_bytes() == before


@pytest.fixture
def a_result():
    from embedkit.files.results import Result

    facts = {"task": "probe", "dataset": "d", "features": "f", "method": "knn", "split": "s", "backend": "b"}
    numbers = {"params": {}, "outcomes": {}, "seed": 0, "metrics": {}, "n": 1, "seconds": 0.0}
    return Result(**facts, **numbers, provenance={"features_sha256": "0"})


@pytest.mark.parametrize("length", [0, 1, 8, 90, 525, 2100, 4000])
def test_the_room_that_is_reserved_holds_every_file(length, tmp_path):
    """HDF5 keeps strings in heaps of 4,096 bytes, of which long ones leave up to half unused."""
    text = "é" * length
    n = 50
    rows = Rows(
        [f"{i}{text}" for i in range(n)],
        labels=np.zeros(n, int),
        class_names=(text[:100] or "x",),
        targets=np.ones((n, 7)),
        target_names=tuple("abcdefg"),
        group=[text or "g"] * n,
        split=["train"] * n,
        coordinates=np.zeros((n, 2)),
        asked=np.ones((n, 7)),
    )
    path = write_features(
        tmp_path / "x.h5", np.ones((n, 3)), rows, views=Views(np.ones((n, 3)), np.eye(3), 2)
    )
    assert path.stat().st_size <= room_for_features((n, 3), np.float32, views=True) + room_for(rows)


def test_what_was_reserved_is_given_back_and_the_bytes_are_those_of_hdf5_alone(tmp_path):
    features = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    rows = Rows([f"image {i}" for i in range(300)])
    path = write_features(tmp_path / "x.h5", features, rows)
    with FeatureFile(path) as file:
        np.testing.assert_array_equal(file.read(), features)
    with h5py.File(tmp_path / "plain.h5", "w", track_order=True) as file:
        for name, value in {"format": "embedkit-features", "schema_version": 1, "provenance": "{}"}.items():
            file.attrs[name] = value
        file.create_dataset("features", shape=features.shape, dtype=np.float32)
        kind = h5py.string_dtype("utf-8")
        file.create_dataset("ids", data=np.array(rows.ids.tolist(), dtype=object), dtype=kind)
        file["features"][...] = features
    assert path.stat().st_size == (tmp_path / "plain.h5").stat().st_size
