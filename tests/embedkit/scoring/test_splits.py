import numpy as np
import pytest

from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.scoring.split_file import read_splits, write_splits
from embedkit.scoring.splits import Split, file_split, folds, group_split, stratified_split

NAMES = ("disc", "merger", "smooth")


def labels(counts=(200, 37, 81), unlabelled=10, seed=0):
    y = np.concatenate([np.full(n, j) for j, n in enumerate(counts)] + [np.full(unlabelled, -1)])
    return np.random.default_rng(seed).permutation(y)


def parts(split):
    return split.train, split.validation, split.test


def test_stratified_split_covers_every_labelled_row_once_in_proportion():
    y = labels()
    split = stratified_split(y, seed=3)
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.flatnonzero(y >= 0))
    for part, fraction in zip(parts(split), (0.7, 0.15, 0.15), strict=True):
        for j, n in enumerate((200, 37, 81)):
            assert abs((y[part] == j).sum() - fraction * n) < 1
    assert split.name == "stratified 70/15/15"


def test_seed_decides_the_split():
    y = labels()
    same, again, other = (stratified_split(y, seed=s) for s in (1, 1, 2))
    assert np.array_equal(same.test, again.test)
    assert not np.array_equal(same.test, other.test)


def test_three_rows_of_a_class_go_one_to_each_part():
    y = labels((200, 3, 81))
    split = stratified_split(y, fractions=(0.9, 0.05, 0.05))
    assert [(y[part] == 1).sum() for part in parts(split)] == [1, 1, 1]


def test_a_class_with_too_few_rows_is_named_with_its_count():
    with pytest.raises(DataError, match=r"'merger' \(1 row\).*at least 3.*--min-per-class 3"):
        stratified_split(labels((200, 1, 81)), class_names=NAMES)
    with pytest.raises(DataError, match=r"'merger' \(4 rows\); 5 folds put at least one in each"):
        folds(labels((200, 4, 81)), 5, class_names=NAMES)


def test_labels_missing_or_of_one_class():
    with pytest.raises(DataError, match="no row has a label"):
        stratified_split(np.full(9, -1))
    with pytest.raises(DataError, match="every labelled row is of one class, 'disc'"):
        stratified_split(np.zeros(9, np.int64), class_names=NAMES)


@pytest.mark.parametrize("fractions", [(0.7, 0.3, 0.0), (0.5, 0.1, 0.1), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(UsageError, match="add up to 1"):
        stratified_split(labels(), fractions=fractions)


@pytest.mark.parametrize("k", [2, 5])
def test_folds_test_every_row_once_and_evenly(k):
    y = labels()
    made = folds(y, k, seed=1)
    assert np.array_equal(np.sort(np.concatenate([s.test for s in made])), np.flatnonzero(y >= 0))
    for split in made:
        assert sorted(np.concatenate(parts(split))) == sorted(np.flatnonzero(y >= 0))
        for j, n in enumerate((200, 37, 81)):
            assert (y[split.test] == j).sum() in (n // k, n // k + 1)
            assert (y[split.validation] == j).sum() >= 1
    sizes = [len(s.test) for s in made]
    assert max(sizes) - min(sizes) <= 1


def test_two_folds_leave_each_class_something_to_validate_on():
    with pytest.raises(DataError, match="at least 4"):
        folds(labels((200, 3, 81)), 2)
    assert len(folds(labels((200, 4, 81)), 2)) == 2
    with pytest.raises(UsageError, match="at least 2 folds"):
        folds(labels(), 1)


@pytest.mark.parametrize("make", [lambda g, y: (group_split(g, y),), lambda g, y: folds(y, 4, groups=g)])
def test_groups_stay_on_one_side(make):
    y = labels((400, 80, 160))
    groups = np.array([f"plate-{i}" for i in np.random.default_rng(1).integers(0, 90, len(y))])
    for split in make(groups, y):
        sides = [set(groups[part]) for part in parts(split)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
        assert np.array_equal(np.sort(np.concatenate(parts(split))), np.flatnonzero(y >= 0))


def test_groups_come_near_the_fractions_in_every_class():
    y = labels((4000, 300, 1500), seed=2)
    groups = np.array([f"{i}" for i in np.random.default_rng(1).integers(0, 900, len(y))])
    split = group_split(groups, y)
    for part, fraction in zip(parts(split), (0.7, 0.15, 0.15), strict=True):
        share = np.bincount(y[part], minlength=3) / np.array([4000, 300, 1500])
        assert np.abs(share - fraction).max() < 0.03


def test_rows_without_a_group_are_groups_of_their_own():
    y = labels()
    split = group_split(np.full(len(y), ""), y)
    assert min(split.counts.values()) > 30


def test_groups_too_few():
    y = labels()
    with pytest.raises(DataError, match="2 groups can't fill 3 parts"):
        group_split(np.where(np.arange(len(y)) % 2, "a", "b"), y)
    groups = np.where(y == 1, "all mergers", np.arange(len(y)).astype(str))
    with pytest.raises(DataError, match="'merger' has no .* rows when groups stay together"):
        group_split(groups, y, class_names=NAMES)
    with pytest.raises(DataError, match="'merger' has no train rows when groups stay together"):
        folds(y, 3, groups=groups, class_names=NAMES)


def given_split(y, validation=True):
    names = np.array(["train", "train", "train", "validation" if validation else "train", "test", ""])
    return names[np.random.default_rng(5).integers(0, 6, len(y))]


def test_the_files_own_split_is_taken_as_it_is():
    y = labels()
    column = given_split(y)
    split = file_split(column, y)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(split, part), np.flatnonzero((column == part) & (y >= 0)))


def test_validation_is_carved_from_train_and_never_from_test():
    y = labels()
    column = given_split(y, validation=False)
    split = file_split(column, y, validation=0.2, seed=1)
    assert np.array_equal(split.test, np.flatnonzero((column == "test") & (y >= 0)))
    assert set(column[np.concatenate([split.train, split.validation])]) == {"train"}
    for j in range(3):
        n = ((column == "train") & (y == j)).sum()
        assert abs((y[split.validation] == j).sum() - 0.2 * n) < 1


def test_split_column_without_train_or_test():
    y = labels()
    column = given_split(y)
    with pytest.raises(DataError, match=r"no labelled test rows \(\d+ train, \d+ validation, 0 test\)"):
        file_split(np.where(column == "test", "", column), y)
    with pytest.raises(DataError, match="no labelled train rows"):
        file_split(np.where(column == "train", "", column), y)
    y[(y == 1) & (column == "train")] = -1
    with pytest.raises(DataError, match="'merger' has 0 rows to train on in the split column"):
        file_split(column, y, class_names=NAMES)


def test_a_split_refuses_a_row_in_two_parts_and_an_empty_part():
    with pytest.raises(EmbedkitError, match="row 2 more than once"):
        Split("bad", np.array([1, 2]), np.array([3]), np.array([2]))
    with pytest.raises(EmbedkitError, match="no validation rows"):
        Split("bad", np.array([1, 2]), np.array([], int), np.array([3]))


def test_splits_are_kept_by_id(tmp_path):
    y = labels()
    ids = np.array([f"galaxy {i}.jpg" for i in range(len(y))])
    made = folds(y, 3)
    write_splits(tmp_path / "splits.json", made, ids)
    order = np.random.default_rng(0).permutation(len(y))
    back = read_splits(tmp_path / "splits.json", ids[order])
    for split, again in zip(made, back, strict=True):
        assert again.name == split.name
        assert set(ids[order][again.test]) == set(ids[split.test])
    with pytest.raises(EmbedkitError, match=r"splits.json: .* are not in the feature file"):
        read_splits(tmp_path / "splits.json", ids[:50])


def test_split_files_that_are_none(tmp_path):
    with pytest.raises(EmbedkitError, match="no such split file"):
        read_splits(tmp_path / "missing.json", np.array(["a"]))
    for text in ("{", "[]", '{"format": "embedkit-splits", "splits": [{"name": "x"}]}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(EmbedkitError, match=r"bad.json: not a split file"):
            read_splits(tmp_path / "bad.json", np.array(["a"]))


@pytest.mark.parametrize("seed", range(3))
def test_another_order_of_the_classes_gives_the_same_split(seed):
    """And alphabetical order gives what it always has: the labels as they are."""
    y = labels((60, 21, 40, 30))
    groups = np.array([f"g{i // 3}" for i in range(len(y))])
    own = np.random.default_rng(1).choice(["train", "test", ""], len(y), p=[0.6, 0.3, 0.1])
    names = ("disc", "merger", "ring", "smooth")
    order = np.random.default_rng(seed).permutation(4)  # new index of each class
    other = np.where(y >= 0, order[y], -1)
    renamed = tuple(names[j] for j in np.argsort(order))
    assert [renamed[j] for j in other[y >= 0]] == [names[j] for j in y[y >= 0]]
    for draw in (
        lambda y, **said: [stratified_split(y, **said)],
        lambda y, **said: [group_split(groups, y, **said)],
        lambda y, **said: folds(y, 3, **said),
        lambda y, **said: folds(y, 3, groups=groups, **said),
        lambda y, **said: [file_split(own, y, **said)],
        lambda y, **said: [file_split(own, y, groups=groups, **said)],
    ):
        plain = draw(y, seed=seed)
        for one in (draw(y, seed=seed, class_names=names), draw(other, seed=seed, class_names=renamed)):
            for split, same in zip(plain, one, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(parts(split), parts(same), strict=True))
