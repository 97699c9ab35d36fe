"""The feature file: what comes back, what is refused, and that nothing is ever half there."""

import json
import multiprocessing
import os
import pickle
import re
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from embedkit.errors import EmbedkitError, FeatureFileError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, file_sha256, new_feature_file, write_features

N, D = 7, 5
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
IDS = [f"galaxy {i} Ω" for i in range(N)]


def every_column() -> Rows:
    return Rows(
        ids=IDS,
        labels=[0, 1, 2, -1, 0, 1, 2],
        class_names=("spiral", "fußball", "smooth"),
        targets=[[i / 10, np.nan] for i in range(N)],
        target_names=("bar", "ring"),
        split=["train", "train", "validation", "test", "", "train", "test"],
        group=["a", "a", "b", "", "c", "c", "ü"],
        coordinates=[[10.5 + i, -1.25] for i in range(N)],
        asked=[[40.0, np.nan if i else 3.0] for i in range(N)],
    )


def some_views() -> Views:
    return Views(mean=X / 2, within_covariance=np.eye(D) + 0.125, n_views=3)


@pytest.fixture
def sound(tmp_path) -> Path:
    return write_features(
        tmp_path / "f.h5", X, every_column(), provenance={"dataset": {"name": "sky"}}, views=some_views()
    )


def assert_same_rows(found: Rows, expected: Rows) -> None:
    for name in ("ids", "labels", "targets", "split", "group", "coordinates", "asked"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.class_names == expected.class_names
    assert found.target_names == expected.target_names


# --- there and back --------------------------------------------------------------------------------


def test_every_column_comes_back(sound):
    with FeatureFile(sound) as file:
        assert (file.n, file.d, file.n_views) == (N, D, 3)
        np.testing.assert_array_equal(file.read(), X)
        assert_same_rows(file.rows, every_column())
        assert file.ok.all()
        assert file.errors == {}
        assert file.views is not None
        np.testing.assert_array_equal(file.views.mean, X / 2)
        np.testing.assert_array_equal(file.views.within_covariance, np.eye(D) + 0.125)
        assert file.provenance == {"dataset": {"name": "sky"}}
        assert (file.dataset_name, file.features_name) == ("sky", "f")
        assert file.sha256 == file_sha256(sound)
        assert file.problems() == []


@pytest.mark.parametrize("column", ["labels", "targets", "split", "group", "coordinates"])
def test_each_column_is_optional_and_stands_alone(column, tmp_path):
    full = every_column()
    names = {"labels": "class_names", "targets": "target_names"}
    given = {column: getattr(full, column)}
    if column in names:
        given[names[column]] = getattr(full, names[column])
    path = write_features(tmp_path / "f.h5", X, Rows(IDS, **given))
    with FeatureFile(path) as file:
        assert_same_rows(file.rows, Rows(IDS, **given))
        assert file.views is None
        assert file.n_views == 1
        assert file.problems() == []


def test_ids_alone_are_enough(tmp_path):
    with FeatureFile(write_features(tmp_path / "f.h5", X, Rows(IDS))) as file:
        assert file.rows.labels is None
        assert file.rows.split is None
        assert file.provenance == {}
        assert file.problems() == []


def test_float16_is_kept_and_read_as_float32(tmp_path):
    half = X.astype(np.float16)
    path = write_features(tmp_path / "f.h5", half, Rows(IDS))
    with h5py.File(path) as plain:
        assert plain["features"].dtype == np.float16
    with FeatureFile(path) as file:
        assert file.read().dtype == np.float32
        np.testing.assert_array_equal(file.read(), half.astype(np.float32))


def test_float64_becomes_float32(tmp_path):
    path = write_features(tmp_path / "f.h5", X.astype(np.float64), Rows(IDS))
    with h5py.File(path) as plain:
        assert plain["features"].dtype == np.float32


def test_plain_h5py_reads_it(sound):
    with h5py.File(sound) as file:
        assert file.attrs["format"] == "embedkit-features"
        assert file.attrs["schema_version"] == 1
        assert list(file["ids"].asstr()) == IDS
        assert json.loads(file["labels"].attrs["class_names"]) == ["spiral", "fußball", "smooth"]
        assert file["within_covariance"].attrs["n_views"] == 3


def test_same_inputs_give_the_same_bytes(sound, tmp_path):
    again = write_features(
        tmp_path / "other.h5", X, every_column(), provenance={"dataset": {"name": "sky"}}, views=some_views()
    )
    assert again.read_bytes() == sound.read_bytes()
    changed = write_features(tmp_path / "changed.h5", X, every_column(), views=some_views())
    assert changed.read_bytes() != sound.read_bytes()


@pytest.mark.parametrize("shape", [(N + 1, D), (N,), (N, D, 1)])
def test_features_that_do_not_fit_the_rows(shape, tmp_path):
    with pytest.raises(EmbedkitError, match=rf"f\.h5: features of shape .* don't fit {N} rows"):
        write_features(tmp_path / "f.h5", np.zeros(shape), Rows(IDS))
    assert not list(tmp_path.iterdir())


# --- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(2, 5),
        slice(1, None, 3),
        slice(None, None, -1),
        slice(5, 5),
        np.array([True, False, True, True, False, False, True]),
        np.zeros(N, dtype=bool),
        np.array([6, 0, 3]),
        np.array([2, 2, 5, 2]),
        np.array([-1, 0, -N]),
        np.array([], dtype=np.int64),
        np.array([4], dtype=np.uint8),
    ],
    ids=str,
)
def test_reads_are_those_of_an_array(rows, sound):
    with FeatureFile(sound) as file:
        np.testing.assert_array_equal(file.read(rows), X[rows])
        assert file.read(rows).shape == X[rows].shape


@pytest.mark.parametrize("rows", [np.array([N]), np.array([-N - 1]), np.ones(N - 1, bool)], ids=str)
def test_reads_outside_the_file_are_errors(rows, sound):
    with FeatureFile(sound) as file, pytest.raises(IndexError):
        file.read(rows)


def test_scattered_reads_over_several_blocks(tmp_path):
    x = np.arange(10_000, dtype=np.float32)[:, None] * [1, -1]
    path = write_features(tmp_path / "f.h5", x, Rows([str(i) for i in range(10_000)]))
    index = np.random.default_rng(0).permutation(10_000)
    with FeatureFile(path) as file:
        np.testing.assert_array_equal(file.read(index), x[index])


@pytest.mark.parametrize("size", [1, 3, N, N + 5])
def test_blocks_cover_every_row_once(size, sound):
    with FeatureFile(sound) as file:
        blocks = list(file.blocks(size))
    assert [where.start for where, _ in blocks] == list(range(0, N, size))
    np.testing.assert_array_equal(np.concatenate([x for _, x in blocks]), X)


def test_reading_goes_on_after_closing(sound):
    file = FeatureFile(sound)
    file.close()
    file.close()
    np.testing.assert_array_equal(file.read(), X)


def test_a_pickle_holds_the_path_and_no_handle(sound):
    file = FeatureFile(sound)
    copy = pickle.loads(pickle.dumps(file))
    assert copy._handle is None
    np.testing.assert_array_equal(copy.read(), X)
    assert_same_rows(copy.rows, file.rows)
    assert len(pickle.dumps(file)) < 1000


def _read_in_worker(file: FeatureFile) -> tuple[np.ndarray, int]:
    x = file.read(np.array([6, 0, 3]))
    return x, file._pid


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_worker_opens_the_file_for_itself(method, sound):
    file = FeatureFile(sound)
    file.read()
    with multiprocessing.get_context(method).Pool(2) as pool:
        for x, pid in pool.map(_read_in_worker, [file] * 4):
            np.testing.assert_array_equal(x, X[[6, 0, 3]])
            assert pid != os.getpid()
    np.testing.assert_array_equal(file.read(), X)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_handle_alone(sound):
    file = FeatureFile(sound)
    file.read()
    child = os.fork()
    if child == 0:  # inherited, not pickled
        same = np.array_equal(file.read(), X) and file._pid == os.getpid()
        file.close()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(file.read(slice(2, 4)), X[2:4])


# --- files that are none ---------------------------------------------------------------------------


def test_a_truncated_file_is_named_wherever_it_is_cut(sound, tmp_path):
    whole = sound.read_bytes()
    cut = tmp_path / "cut.h5"
    for length in (0, 1, 7, 8, 96, 512, 2048, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(FeatureFileError, match=r"cut\.h5: not a readable HDF5 file; it is truncated"):
            FeatureFile(cut)


def test_flipped_bytes_never_end_in_another_error(sound, tmp_path):
    whole = sound.read_bytes()
    damaged = tmp_path / "damaged.h5"
    for place in range(0, len(whole), 211):
        content = bytearray(whole)
        content[place] ^= 0xFF
        damaged.write_bytes(content)
        try:
            with FeatureFile(damaged) as file:
                file.problems()
        except FeatureFileError as error:
            assert "damaged.h5: " in str(error)  # noqa: PT017 (most bytes are numbers, and flip unseen)


def _images(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((3, 8, 8, 3), np.uint8)


FOREIGN = {
    "images.h5": (_images, "an HDF5 file, but not a feature file.* DATASET for extract"),
    "notes.h5": (lambda path: path.write_text("id,label\na,b\n"), "not a readable HDF5 file"),
    "arrays.npz": (lambda path: np.savez(path, features=X), "not a feature file.*embedkit import"),
    "galaxy.jpg": (lambda path: Image.new("RGB", (9, 9)).save(path), "not a readable HDF5 file"),
    "folder": (lambda path: path.mkdir(), "a folder without part-000000.h5. Name a feature file"),
    "missing.h5": (
        lambda path: None,
        "no such file. Make it with `embedkit extract DATASET -o .*missing.h5`",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named_with_what_to_do(name, tmp_path):
    make, message = FOREIGN[name]
    make(tmp_path / name)
    with pytest.raises(FeatureFileError, match=rf"{name}: {message}"):
        FeatureFile(tmp_path / name)


def test_an_unreadable_file_is_named(sound, monkeypatch):
    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    if os.getuid() == 0:  # root may read everything
        monkeypatch.setattr(h5py, "File", denied)
    else:
        sound.chmod(0)
    with pytest.raises(FeatureFileError, match=r"f\.h5: permission denied. Make the file readable"):
        FeatureFile(sound)


def _replace(name, value, **attributes):
    def change(file):
        del file[name]
        file[name] = value
        for key, text in attributes.items():
            file[name].attrs[key] = text

    return change


def _remove(name):
    return lambda file: file.__delitem__(name)


def _root(key, value):
    return lambda file: file.attrs.__setitem__(key, value)


def _attribute(name, key, value):
    return lambda file: file[name].attrs.__setitem__(key, value)


BROKEN = {
    "newer": (_root("schema_version", 2), r"written by a newer embedkit \(schema 2.*Upgrade embedkit"),
    "version text": (_root("schema_version", "one"), "its schema_version is 'one', not a number"),
    "other format": (_root("format", "anndata"), "not a feature file"),
    "provenance cut": (_root("provenance", '{"data'), "provenance is not a JSON object"),
    "provenance list": (_root("provenance", "[1]"), "provenance is not a JSON object"),
    "no features": (_remove("features"), "the required /features is missing"),
    "no ids": (_remove("ids"), "the required /ids is missing"),
    "features 1-d": (
        _replace("features", np.zeros(N, np.float32)),
        r"/features has 1 axes, expected \(n, d\)",
    ),
    "features int": (_replace("features", np.zeros((N, D), int)), "/features holds int64"),
    "features complex": (_replace("features", np.zeros((N, D), complex)), "/features holds complex128"),
    "ids short": (_replace("ids", IDS[:3]), r"/ids has shape \(3,\), expected \(7,\)"),
    "ids numbers": (_replace("ids", np.arange(N)), "/ids holds int64, which is no text"),
    "labels long": (_replace("labels", np.zeros(N + 1, int)), r"/labels has shape \(8,\), expected \(7,\)"),
    "labels float": (_replace("labels", np.zeros(N)), "/labels holds float64, which is no whole number"),
    "labels group": (
        lambda file: (_remove("labels")(file), file.create_group("labels")),
        "/labels has shape none",
    ),
    "class names gone": (_replace("labels", np.zeros(N, int)), "/labels has no class_names"),
    "class names cut": (_attribute("labels", "class_names", '["spi'), "/labels has no class_names"),
    "targets 1-d": (_replace("targets", np.zeros(N)), r"/targets has shape \(7,\)"),
    "asked": (_replace("asked", np.zeros((N, 3))), r"/asked has shape \(7, 3\), expected \(7, 2\)"),
    "coordinates": (_replace("coordinates", np.zeros((N, 3))), r"/coordinates has shape \(7, 3\)"),
    "split": (_replace("split", ["train"]), r"/split has shape \(1,\)"),
    "covariance": (_replace("within_covariance", np.eye(D - 1), n_views=2), r"/within_covariance has shape"),
    "n_views gone": (_replace("within_covariance", np.eye(D)), "/within_covariance is of None views"),
    "one view": (_attribute("within_covariance", "n_views", 1), "/within_covariance is of 1 views"),
    "mean without covariance": (_remove("within_covariance"), "/view_mean and /within_covariance belong"),
    "covariance without mean": (_remove("view_mean"), "/view_mean and /within_covariance belong together"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_half_written_or_broken_file_is_refused_on_opening(name, sound):
    change, message = BROKEN[name]
    with h5py.File(sound, "a") as file:
        change(file)
    with pytest.raises(FeatureFileError, match=rf"f\.h5: .*{message}.*(again|Upgrade|extract)"):
        FeatureFile(sound)


def _set(name, index, value):
    return lambda file: file[name].__setitem__(index, value)


UNSOUND = {
    "nan": (_set("features", (2, 1), np.nan), "1 rows marked ok hold NaN or infinity in their features"),
    "infinite": (_set("features", (slice(1, 4), 0), np.inf), "3 rows marked ok hold NaN or infinity"),
    "huge": (_set("features", (2, 1), -2e15), r"1 rows marked ok hold numbers beyond 1e\+15 in their"),
    "asymmetric": (_set("within_covariance", (0, 1), 3.0), "/within_covariance is not a finite symmetric"),
    "nan covariance": (_set("within_covariance", (0, 0), np.nan), "/within_covariance is not a finite"),
    "negative variance": (_set("within_covariance", (1, 1), -0.5), "/within_covariance has a negative"),
    "nan view mean": (_set("view_mean", (1, 1), np.nan), "/view_mean of rows marked ok holds NaN"),
    "duplicate ids": (_set("ids", 3, IDS[0]), "1 duplicate ids, such as 'galaxy 0 Ω'"),
    "empty id": (_set("ids", 3, ""), "row 3 has an empty id"),
    "label outside": (_set("labels", 0, 9), "label 9 of 'galaxy 0 Ω' is outside the 3 classes"),
    "split name": (_set("split", 0, "holdout"), "split 'holdout'"),
    "ids not text": (_set("ids", 0, b"\xff\xfe"), "damaged .*utf-8.*extract again"),
    "target names": (_attribute("targets", "target_names", '["bar"]'), r"targets has shape \(7, 2\)"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_problems_finds_what_opening_does_not(name, sound):
    change, message = UNSOUND[name]
    with h5py.File(sound, "a") as file:
        change(file)
    with FeatureFile(sound) as file:
        problems = file.problems()
    assert len(problems) == 1
    assert re.search(message, problems[0])
    assert str(sound) not in problems[0]  # the caller names the file


def test_nan_in_rows_that_are_marked_is_no_problem(sound):
    with h5py.File(sound, "a") as file:
        file["features"][2] = np.nan
        file["ok"] = np.arange(N) != 2
        file["errors"] = ["", "", "cut off", "", "", "", ""]
    with FeatureFile(sound) as file:
        assert file.problems() == []
        assert file.errors == {IDS[2]: "cut off"}


def test_a_file_without_rows_is_a_problem(tmp_path):
    path = write_features(tmp_path / "f.h5", np.zeros((0, D)), Rows([]))
    assert FeatureFile(path).problems() == ["no rows."]


# --- whole or not at all ---------------------------------------------------------------------------


def test_an_error_while_writing_leaves_the_old_file(sound, tmp_path):
    before = sound.read_bytes()

    def stop_midway():
        with new_feature_file(sound, (N, D), np.float32, Rows(IDS), {}) as file:
            file["features"][:3] = 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_midway()
    assert sound.read_bytes() == before
    assert list(tmp_path.iterdir()) == [sound]


def test_nothing_is_at_the_place_before_the_end(tmp_path):
    path = tmp_path / "new folder" / "f.h5"
    with new_feature_file(path, (N, D), np.float32, Rows(IDS), {}) as file:
        file["features"][...] = X
        assert not path.exists()
    np.testing.assert_array_equal(FeatureFile(path).read(), X)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_names_the_file_and_leaves_the_old_one(sound, tmp_path):
    before = sound.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # fails in the middle of a write, as a full disk
    try:
        with pytest.raises(OSError, match=r"f\.h5"):
            write_features(sound, X, Rows(IDS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sound.read_bytes() == before
    assert list(tmp_path.iterdir()) == [sound]


@pytest.mark.parametrize("value", [1e39, -1e39, 3.5e38])
def test_a_feature_beyond_float32_is_refused_and_not_stored_as_infinite(tmp_path, value):
    x = np.ones((3, 2))
    x[1, 1] = value
    with pytest.raises(EmbedkitError, match=r"row 1 holds .*e\+3., beyond what float32 can store \(3\.4"):
        write_features(tmp_path / "a.h5", x, Rows(range(3)))
    assert not (tmp_path / "a.h5").exists()


def test_the_largest_numbers_and_what_is_not_finite_are_kept(tmp_path):
    x = np.array([[3.4028e38, -3.4028e38], [np.nan, np.inf], [0, 1e-40]])
    with FeatureFile(write_features(tmp_path / "a.h5", x, Rows(range(3)))) as file:
        np.testing.assert_array_equal(file.read(), x.astype(np.float32))
    half = np.array([[65504, np.inf]], np.float16)
    with FeatureFile(write_features(tmp_path / "h.h5", half, Rows(range(1)))) as file:
        np.testing.assert_array_equal(file.read(), half)
    for wrong in (np.array([["a", "b"]]), np.ones((1, 2), complex)):
        with pytest.raises(EmbedkitError, match="not numbers"):
            write_features(tmp_path / "c.h5", wrong, Rows(range(1)))
