"""A feature file as a pandas DataFrame."""

import sys

import numpy as np
import pandas as pd
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.feature_set import FeatureSet
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.files.tabled import row_columns


def everything(n=4):
    return Rows(
        ids=np.array([f"image {i}" for i in range(n)]),
        labels=np.array([1, -1, 0, 1])[:n],
        class_names=("disk", "=cmd()"),
        targets=np.arange(3 * n, dtype=np.float32).reshape(n, 3) / 7,
        target_names=("size", "ID", "f0"),
        split=np.array(["train", "", "test", "validation"])[:n],
        group=np.array(["a", "a", "", "b"])[:n],
        coordinates=np.column_stack([np.linspace(0, 359.123456789, n), np.full(n, np.nan)]),
        asked=np.full((n, 3), 40.0),
    )


def test_every_annotation_is_a_column_as_it_is(tmp_path):
    rows = everything()
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    with FeatureFile(write_features(tmp_path / "f.h5", x, rows)) as file:
        found = file.to_pandas()
        whole = file.to_pandas(features=True)
    assert isinstance(found, pd.DataFrame)
    assert list(found) == [
        *("id", "label", "split", "group", "ra", "dec", "size", "ID#2", "f0"),
        *("asked:size", "asked:ID", "asked:f0", "ok"),
    ]
    assert list(found["id"]) == rows.ids.tolist()
    assert found["label"].fillna("").tolist() == ["=cmd()", "", "disk", "=cmd()"]
    assert found["split"].isna().tolist() == [False, True, False, False]
    assert found["group"].isna().tolist() == [False, False, True, False]
    np.testing.assert_array_equal(found["ra"], rows.coordinates[:, 0])
    np.testing.assert_array_equal(found[["size", "ID#2", "f0"]], rows.targets)
    assert found["ok"].tolist() == [True] * 4
    np.testing.assert_array_equal(whole[["f0#2", "f1", "f2", "f3", "f4"]], x)
    assert whole["f1"].dtype == np.float32


def test_a_file_of_ids_alone(tmp_path):
    file = write_features(tmp_path / "f.h5", np.zeros((2, 3), np.float32), Rows(ids=np.array(["a", "b"])))
    assert list(FeatureFile(file).to_pandas()) == ["id", "ok"]
    assert row_columns(Rows(ids=np.array([], dtype=str)))["id"].shape == (0,)


def test_a_set_of_parts_is_one_table(tmp_path):
    x = np.arange(20, dtype=np.float32).reshape(4, 5)
    rows = everything()
    for number, part in enumerate((slice(0, 3), slice(3, 4))):
        write_features(tmp_path / f"part-{number:06d}.h5", x[part], rows.take(part))
    write_features(tmp_path / "whole.h5", x, rows)
    parts = FeatureSet(tmp_path).to_pandas(features=True)
    pd.testing.assert_frame_equal(parts, FeatureFile(tmp_path / "whole.h5").to_pandas(features=True))


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    file = write_features(tmp_path / "f.h5", np.zeros((2, 3), np.float32), Rows(ids=np.array(["a", "b"])))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EmbedkitError, match=r"pip install 'embedkit-images\[pandas\]'"):
        FeatureFile(file).to_pandas()
