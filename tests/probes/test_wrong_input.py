"""Files that a probe can't be fitted on: each refused with the file, the fact and what to do."""

import h5py
import numpy as np
import pytest

from embedkit.cli import main
from embedkit.files.rows import Rows
from embedkit.files.store import write_features


def error(capsys, *command):
    assert main(["probe", *map(str, command)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


@pytest.fixture
def targets(tmp_path):
    """A feature file of vote fractions, one of them above 1 and one row without."""
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 4)).astype(np.float32)
    y = random.uniform(size=(90, 2))
    y[7, 1], y[9, 0] = 1.5, np.nan
    rows = Rows(ids=[f"g{i}" for i in range(90)], targets=y, target_names=("smooth", "disc"))
    return write_features(tmp_path / "votes.h5", x, rows)


def test_a_split_column_with_unknown_names(make_file, capsys, tmp_path):
    path = make_file(split=np.array(["train", "train", "validation", "test"] * 75))
    with h5py.File(path, "a") as file:
        file["split"][4] = "trein"
    said = error(capsys, path, "-o", tmp_path)
    assert "split 'trein' of 'images/galaxy 4.jpg' is not one of train, validation, test" in said
    assert "Rename it" in said


def test_targets_outside_0_and_1(targets, capsys, tmp_path):
    for seed in range(4):  # whatever part the row is in
        said = error(capsys, targets, "--kind", "sigmoid", "--seed", seed, "-o", tmp_path)
        assert "votes.h5: 1 of 89 rows have targets outside [0, 1], such as disc = 1.5 of 'g7'" in said
        assert "Use --kind ridge, or make fractions of them" in said
    assert "Leave --clip out" in error(capsys, targets, "--kind", "ridge", "--clip", "-o", tmp_path)
    assert main(["probe", str(targets), "--kind", "ridge", "-o", str(tmp_path)]) == 0
    assert "Left out 1 rows without all targets" in capsys.readouterr().err


def test_labels_where_targets_are_needed_and_the_other_way_round(targets, make_file, capsys):
    assert "no labels stored. Name a table of ids and labels: --labels" in error(capsys, targets)
    said = error(capsys, make_file(), "--kind", "ridge")
    assert "no targets stored" in said
    assert "or take a probe of labels, such as --kind linear" in said


def test_a_split_of_other_images(make_file, capsys, tmp_path):
    path, kept = make_file(n=60), tmp_path / "split.json"
    command = ("--kind", "nearest-centroid", "-o", tmp_path / "runs")
    assert main(["probe", str(path), "--save-split", str(kept), *map(str, command)]) == 0
    other = make_file(n=60, name="other.h5")
    with h5py.File(other, "a") as file:
        file["ids"][...] = [f"other {i}" for i in range(60)]
    capsys.readouterr()
    said = error(capsys, other, "--split", kept, *command)
    assert "60 ids, such as 'images/galaxy" in said
    assert "Use the split of the same images" in said
    for more in (("--budget", "1"), ("--seeds", "2"), ("--leaks",)):
        assert "Use the split of the same images" in error(capsys, other, "--split", kept, *command, *more)


@pytest.mark.parametrize("more", [(), ("--budget", "1"), ("--leaks",), ("--seeds", "2")])
def test_a_class_with_one_row(make_file, capsys, tmp_path, more):
    path = make_file(labels=np.append(np.arange(299) % 2, 2))
    said = error(capsys, path, "-o", tmp_path, *more)
    assert "'spiral, tight' (1 row)" in said
    assert "--min-per-class 3" in said
