from dataclasses import replace

import numpy as np
import pytest

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.scoring.asked_split import FEW, Asked, draw_splits

LABELS = np.arange(60) % 3
ROWS = Rows(ids=np.array([f"g{i}" for i in range(60)]), labels=LABELS, class_names=("a", "b", "c"))
GROUPS = np.array([f"tile {i // 3}" for i in range(60)])
OWN = np.array(["train", "validation", "test"])[np.arange(60) // 20]


def drawn(rows, how="auto", *, n=60, **asked):
    notes = []
    return draw_splits(rows, rows.labels[:n], Asked(how, **asked), notes=notes), " ".join(notes)


def many(**more):
    n = FEW
    more = {name: np.resize(values, n) for name, values in more.items()}
    if "group" in more:
        more["group"] = np.array([f"tile {i // 3}" for i in range(n)])
    ids = np.array([f"g{i}" for i in range(n)])
    return Rows(ids=ids, labels=np.arange(n) % 3, class_names=("a", "b", "c"), **more)


@pytest.mark.parametrize(
    ("rows", "name", "said"),
    [
        (many(), "stratified 70/15/15", "drawn at random"),
        (many(group=GROUPS), "group 70/15/15", "drawn by group"),
        (many(group=GROUPS, split=OWN), "file", "the file's own"),
        (replace(ROWS, group=GROUPS, split=OWN), "file", "the file's own"),
    ],
)
def test_auto_takes_the_files_own_split_else_its_groups(rows, name, said):
    [split], notes = drawn(rows, n=None)
    assert split.name == name
    assert said in notes
    if rows.split is not None:
        assert np.array_equal(split.test, np.flatnonzero(rows.split == "test"))


def test_auto_takes_folds_below_300_labels():
    """The very folds that --split kfold:5 draws, counted over the rows that can be used."""
    rows = many()
    labels = np.where(np.arange(FEW) == 7, -1, rows.labels)
    notes = []
    found = draw_splits(rows, labels, Asked(seed=3), notes=notes)
    assert notes == ["Split: kfold:5, since 299 labelled rows are fewer than 300; every one is tested once."]
    same(found, draw_splits(rows, labels, Asked("kfold:5", seed=3), notes=[]))
    assert np.array_equal(
        np.sort(np.concatenate([split.test for split in found])), np.flatnonzero(labels >= 0)
    )


def same(found, expected):
    assert [split.name for split in found] == [split.name for split in expected]
    for a, b in zip(found, expected, strict=True):
        for part in ("train", "validation", "test"):
            assert np.array_equal(getattr(a, part), getattr(b, part))


@pytest.mark.parametrize(("rarest", "k"), [(20, 5), (5, 5), (4, 4), (3, 3)])
def test_no_more_folds_than_the_rarest_class_has_rows(rarest, k):
    labels = np.repeat([0, 1], [40, rarest])
    rows = Rows(ids=np.arange(len(labels)).astype(str), labels=labels, class_names=("a", "rare"))
    splits, notes = drawn(rows, n=None)
    assert {split.name.partition(" fold ")[0] for split in splits} == {f"kfold:{k}"}
    assert ("the rarest class can fill" in notes) == (k < 5)
    for split in splits:
        assert all(set(labels[part]) == {0, 1} for part in (split.train, split.validation, split.test))


def test_too_rare_a_class_is_refused_as_ever():
    labels = np.repeat([0, 1], [40, 2])
    rows = Rows(ids=np.arange(42).astype(str), labels=labels, class_names=("a", "rare"))
    for how in ("auto", "stratified"):
        # Without them one class is left: --min-per-class is no way out.
        with pytest.raises(
            DataError, match=r"'rare' \(2 rows\); a stratified split .* Label more rows"
        ) as said:
            drawn(rows, how, n=None)
        assert "--min-per-class" not in str(said.value)


def test_groups_stay_in_one_fold_and_few_groups_fill_few():
    splits, notes = drawn(replace(ROWS, group=GROUPS))
    assert len(splits) == 5
    assert "groups are kept together" in notes
    for split in splits:
        assert not set(GROUPS[split.test]) & set(GROUPS[np.setdiff1d(np.arange(60), split.test)])
    few = np.array([f"plate {i % 4}" for i in range(60)])
    splits, notes = drawn(replace(ROWS, group=few))
    assert {split.name.partition(" fold ")[0] for split in splits} == {"kfold:4"}
    assert "as many as the groups can fill" in notes


@pytest.mark.parametrize("rows", [ROWS, replace(ROWS, group=GROUPS)])
@pytest.mark.parametrize(
    ("one_split", "name"),
    [({"one_for": "--save-model"}, "--save-model"), ({"fractions": (0.6, 0.2, 0.2)}, "--fractions")],
)
def test_what_is_for_one_split_has_one(rows, one_split, name):
    found, notes = drawn(rows, **one_split)
    how = "stratified" if rows.group is None else "group"
    same(found, drawn(rows, how, fractions=one_split.get("fractions"))[0])
    assert (
        f"60 labelled rows are fewer than 300: the folds that `auto` makes of so few are not for {name}."
        in notes
    )


@pytest.mark.parametrize(("how", "lacks"), [("file", "split column"), ("group", "group column")])
def test_what_the_file_lacks_is_said(how, lacks):
    with pytest.raises(DataError, match=f"no {lacks} stored"):
        drawn(ROWS, how)


def test_folds_test_every_row_once_whatever_the_fractions():
    splits = drawn(ROWS, "kfold:4", fractions=(0.6, 0.2, 0.2), seed=3)[0]
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(60))
    assert all(
        len(split.validation) / (60 - len(split.test)) == pytest.approx(0.25, abs=0.05) for split in splits
    )
