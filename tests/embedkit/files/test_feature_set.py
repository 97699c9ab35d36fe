import pickle

import h5py
import numpy as np
import pytest

from embedkit.errors import EmbedkitError, FeatureFileError
from embedkit.files import feature_set
from embedkit.files.feature_set import FeatureSet, opened, opened_at, part_name
from embedkit.files.results import Result
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.preparing.preparation import prepare
from embedkit.scoring.outcomes import TrueClasses

N, D, SIZES = 60, 6, (25, 1, 20, 14)


def rows_of(index):
    return Rows(
        ids=np.array([f"img{i:03d}" for i in index]),
        labels=np.array(index) % 3,
        class_names=("a", "b", "c"),
        split=np.array(["train", "test"])[np.array(index) % 2],
        group=np.array([f"g{i % 7}" * (1 + i // 30) for i in index]),
    )


def features():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    whole = features()
    place = tmp_path / "set"
    place.mkdir()
    start = 0
    for number, size in enumerate(SIZES):
        index = range(start, start + size)
        write_features(place / part_name(number), whole[start : start + size], rows_of(index))
        start += size
    return place


def test_a_folder_reads_as_the_joined_file(folder, tmp_path):
    write_features(tmp_path / "whole.h5", features(), rows_of(range(N)))
    rng = np.random.default_rng(1)
    asked = [None, slice(20, 47), slice(5, 50, 7), rng.permutation(N), np.array([30, 3, 3, 59])]
    asked += [np.array([], np.int64), rng.random(N) < 0.5, np.arange(N)[::-1]]
    with FeatureFile(tmp_path / "whole.h5") as whole, opened(folder) as parts:
        assert isinstance(parts, FeatureSet)
        assert (parts.n, parts.d, parts.n_views) == (whole.n, whole.d, 1)
        for rows in asked:
            np.testing.assert_array_equal(parts.read(rows), whole.read(rows))
        for name in ("ids", "labels", "split", "group"):
            np.testing.assert_array_equal(getattr(parts.rows, name), getattr(whole.rows, name))
        assert parts.rows.class_names == whole.rows.class_names
        assert parts.ok.all()
        assert not parts.problems()
        np.testing.assert_array_equal(np.concatenate([block for _, block in parts.blocks(13)]), whole.read())
        again = pickle.loads(pickle.dumps(parts))
        np.testing.assert_array_equal(again.read(slice(24, 27)), whole.read(slice(24, 27)))
        again.close()


def test_a_result_on_a_folder_is_scored_by_the_classes_in_it(folder):
    with opened_at(folder) as parts:
        provenance = {"features_file": str(folder), "features_sha256": parts.sha256}
        classes = dict(zip(parts.rows.ids.tolist(), ("a", "b", "c") * (N // 3), strict=True))
    result = Result("cluster", "gz", "vit", "kmeans", {}, {}, "none", 0, {}, N, 0.1, "x", provenance)
    assert TrueClasses().of(result) == classes
    (folder / part_name(3)).unlink()
    with pytest.raises(EmbedkitError, match="has changed since"):
        TrueClasses().of(result)


def test_few_files_are_open_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(feature_set, "MOST_OPEN", 2)
    with opened_at(folder) as parts:
        np.testing.assert_array_equal(parts.read(), features())
        np.testing.assert_array_equal(parts.rows.ids, rows_of(range(N)).ids)
        assert sum(part._handle is not None for part in parts._parts) <= 2


def test_view_statistics_are_pooled_over_the_parts(tmp_path):
    rng = np.random.default_rng(2)
    views = rng.normal(size=(N, 4, D)) + 3 * rng.normal(size=(N, 1, D))
    views /= np.linalg.norm(views, axis=2, keepdims=True)

    def write(path, index):
        some = views[index]
        mean = some.mean(axis=1, keepdims=True)
        rest = (some - mean).reshape(-1, D)
        within = rest.T @ rest / (len(some) * 3)
        write_features(path, mean[:, 0], rows_of(index), views=Views(mean[:, 0], within, 4))

    write(tmp_path / "whole.h5", range(N))
    (tmp_path / "set").mkdir()
    write(tmp_path / "set/part-000000.h5", range(45))
    write(tmp_path / "set/part-000001.h5", range(45, N))
    with FeatureFile(tmp_path / "whole.h5") as whole, opened_at(tmp_path / "set") as parts:
        np.testing.assert_allclose(parts.within_covariance, whole.within_covariance, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(parts.read_view_mean(), whole.read_view_mean())
        a, b = (prepare(one, "view-whiten").transform_file(one) for one in (whole, parts))
        np.testing.assert_allclose(a, b, atol=1e-4)


def drop(folder):
    (folder / part_name(1)).unlink()


def drop_last(folder):
    for number, _ in enumerate(SIZES):
        with h5py.File(folder / part_name(number), "a") as file:
            file.attrs["n_parts"] = len(SIZES)
    (folder / part_name(3)).unlink()


def truncate(folder):
    content = (folder / part_name(2)).read_bytes()
    (folder / part_name(2)).write_bytes(content[: len(content) // 2])


def other_width(folder):
    write_features(folder / part_name(3), np.ones((2, D + 1), np.float32), rows_of([70, 71]))


def no_labels(folder):
    rows = Rows(ids=np.array(["x"]), split=np.array(["train"]), group=np.array(["g"]))
    write_features(folder / part_name(3), np.ones((1, D), np.float32), rows)


def other_classes(folder):
    rows = Rows(
        ids=np.array(["x"]),
        labels=np.array([0]),
        class_names=("a", "b"),
        split=np.array(["train"]),
        group=np.array(["g"]),
    )
    write_features(folder / part_name(3), np.ones((1, D), np.float32), rows)


def twice(folder):
    write_features(folder / part_name(3), np.ones((2, D), np.float32), rows_of([0, 50]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (drop, "part-000001.h5 is missing"),
        (drop_last, "part-000003.h5 is missing"),
        (truncate, "part-000002.h5: "),
        (other_width, "part-000003.h5: has 7 dimensions instead of 6, unlike part-000000.h5"),
        (no_labels, "part-000003.h5: has no /labels"),
        (other_classes, "part-000003.h5: has other class_names"),
        (twice, "1 duplicate ids, such as 'img000'"),
    ],
)
def test_a_set_that_is_not_whole_is_refused(folder, harm, message):
    harm(folder)
    with pytest.raises(FeatureFileError, match=message), opened_at(folder) as parts:
        _ = parts.rows
