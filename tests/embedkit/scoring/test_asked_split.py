from dataclasses import replace

import numpy as np
import pytest

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.scoring.asked_split import draw_splits

LABELS = np.arange(60) % 3
ROWS = Rows(ids=np.array([f"g{i}" for i in range(60)]), labels=LABELS, class_names=("a", "b", "c"))
GROUPS = np.array([f"tile {i // 3}" for i in range(60)])
OWN = np.array(["train", "validation", "test"])[np.arange(60) // 20]


@pytest.mark.parametrize(
    ("rows", "name", "said"),
    [
        (ROWS, "stratified 70/15/15", "drawn at random"),
        (replace(ROWS, group=GROUPS), "group 70/15/15", "drawn by group"),
        (replace(ROWS, group=GROUPS, split=OWN), "file", "the file's own"),
    ],
)
def test_auto_takes_the_files_own_split_else_its_groups(rows, name, said):
    notes = []
    [split] = draw_splits(rows, LABELS, "auto", notes=notes)
    assert split.name == name
    assert said in notes[0]
    if rows.split is not None:
        assert np.array_equal(split.test, np.arange(40, 60))


@pytest.mark.parametrize(("how", "lacks"), [("file", "split column"), ("group", "group column")])
def test_what_the_file_lacks_is_said(how, lacks):
    with pytest.raises(DataError, match=f"no {lacks} stored"):
        draw_splits(ROWS, LABELS, how, notes=[])


def test_folds_test_every_row_once_whatever_the_fractions():
    splits = draw_splits(ROWS, LABELS, "kfold:4", fractions=(0.6, 0.2, 0.2), seed=3, notes=[])
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(60))
    assert all(
        len(split.validation) / (60 - len(split.test)) == pytest.approx(0.25, abs=0.05) for split in splits
    )
