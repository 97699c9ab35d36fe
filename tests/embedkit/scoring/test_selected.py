"""Some rows of a feature file are what a file of these rows alone is."""

import pickle

import numpy as np
import pytest

from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import result_provenance
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.options import Selection
from embedkit.scoring.selected import select, selected

NAMES = ("artefact", "elliptical", "ring", "spiral")


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.array([-1, -1, *[0] * 8, *[1] * 20, *[2] * 2, *[3] * 20])
    n = len(labels)
    x = (3 * np.eye(4, 6)[labels] + rng.normal(size=(n, 6))).astype(np.float32)
    rows = Rows(
        ids=[f"g{i}" for i in range(n)],
        labels=labels,
        class_names=NAMES,
        split=np.where(np.arange(n) % 4 == 0, "test", "train"),
        group=np.where(np.arange(n) % 3 == 0, "night 1", "night 2"),
    )
    path = write_features(tmp_path / "f.h5", x, rows, provenance={"dataset": {"name": "sky"}})
    with FeatureFile(path) as opened:
        yield opened


def of(file, **asked):
    return select(file, Selection(**asked))


def test_nothing_asked_is_the_file_itself(file):
    assert of(file) is file
    assert of(file, min_per_class=2) is file
    assert file.remarks == ()


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"rows": ("split=test",)}, lambda r: r.split == "test"),
        ({"rows": ("split=test", "split=train")}, lambda r: r.split != ""),
        ({"rows": ("split=test", "group=night 2")}, lambda r: (r.split == "test") & (r.group == "night 2")),
        ({"only_class": ("ring", "spiral")}, lambda r: r.labels >= 2),
        ({"exclude_class": ("artefact",)}, lambda r: r.labels != 0),
        ({"min_per_class": 5}, lambda r: r.labels != 2),
        ({"min_per_class": 9, "exclude_class": ("spiral",)}, lambda r: np.isin(r.labels, (-1, 1))),
    ],
)
def test_rows_are_those_of_a_mask(file, asked, kept):
    found, mask = of(file, **asked), kept(file.rows)
    assert found.n == mask.sum()
    assert found.rows.ids.tolist() == file.rows.ids[mask].tolist()
    assert np.array_equal(found.read(), file.read()[mask])
    assert np.array_equal(found.read(slice(1, 3)), file.read()[mask][1:3])
    assert np.array_equal(np.concatenate([x for _, x in found.blocks(3)]), file.read()[mask])

    def names(rows):
        return [rows.class_names[c] if c >= 0 else "" for c in rows.labels]

    assert names(found.rows) == np.array(names(file.rows))[mask].tolist()
    assert mask.all() or str(found.n) in found.remarks[0]


def test_classes_that_are_left_out_are_no_classes(file):
    assert of(file, exclude_class=("artefact",)).rows.class_names == NAMES[1:]
    rare = of(file, min_per_class=5)
    assert rare.rows.class_names == ("artefact", "elliptical", "spiral")
    assert "fewer than 5 rows: ring (2)" in " ".join(rare.remarks)
    assert rare.selection["classes_left_out"] == {"ring": 2}


def test_ids_of_a_file(file, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("g7\r\ng3\n", encoding="utf-8")
    found = of(file, rows=(str(path),))
    assert found.rows.ids.tolist() == ["g3", "g7"]
    other = tmp_path / "other" / "ids.txt"
    other.parent.mkdir()
    other.write_text("g3\ng8\n")
    assert of(file, rows=(str(other),)).dataset_name != found.dataset_name
    path.write_text("g3\nG8\n")
    with pytest.raises(EmbedkitError, match="1 of its 2 ids are not in .* such as 'G8'"):
        of(file, rows=(str(path),))


def test_the_name_tells_subsets_apart_and_not_the_ways_to_them(file):
    names = {of(file, **a).dataset_name for a in ({"exclude_class": ("ring",)}, {"min_per_class": 5})}
    assert names == {"sky [without ring]"}
    assert of(file, rows=("split=test",)).dataset_name == "sky [split=test]"
    assert result_provenance(of(file, rows=("split=test",)))["selection"]["asked"] == {"rows": ["split=test"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"exclude_class": ("Spiral",)}, "no such class. Did you mean 'spiral'"),
        ({"only_class": ("star",)}, "There are: artefact, elliptical, ring, spiral"),
        ({"rows": ("split=validation",)}, "There are: test, train"),
        ({"rows": ("group=night 3",)}, "Did you mean 'night"),
    ],
)
def test_what_is_not_there_is_named(file, asked, message):
    with pytest.raises(UsageError, match=message):
        of(file, **asked)


def test_no_row_left(file):
    with pytest.raises(EmbedkitError, match="--only-class ring --exclude-class ring leaves no row"):
        of(file, only_class=("ring",), exclude_class=("ring",))


def test_a_selection_in_a_selection_is_made_once(file):
    asked = Selection(rows=("split=test",))
    with selected(file, asked) as once, selected(once, asked) as twice:
        assert twice is once


def test_it_survives_a_worker(file):
    found = pickle.loads(pickle.dumps(of(file, rows=("split=test",))))
    assert np.array_equal(found.read(), of(file, rows=("split=test",)).read())


def test_a_result_is_that_of_a_file_of_these_rows(file, tmp_path):
    options = {"k": 2, "n_init": 2, "device": "cpu"}
    run = cluster(file, ClusterOptions(**options, only_class=("elliptical", "spiral")))
    mask = np.isin(file.rows.labels, (1, 3))
    rows = file.rows.take(mask)
    alone = Rows(ids=rows.ids, labels=rows.labels // 2, class_names=("elliptical", "spiral"))
    peer = cluster(write_features(tmp_path / "alone.h5", file.read()[mask], alone), ClusterOptions(**options))
    assert run.result.metrics == peer.result.metrics
    assert run.result.dataset == "sky [classes elliptical, spiral]"


@pytest.mark.parametrize(("stored", "typed"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
def test_an_accent_is_found_however_it_is_typed(tmp_path, stored, typed):
    rows = Rows([str(i) for i in range(6)], labels=np.arange(6) % 2, class_names=(stored, "tea"))
    path = write_features(tmp_path / "f.h5", np.eye(6, dtype=np.float32), rows)
    with FeatureFile(path) as file:
        for asked in ({"only_class": (typed,)}, {"exclude_class": (typed,)}):
            by_other = of(file, **asked)
            same = of(file, **dict.fromkeys(asked, (stored,)))
            assert (by_other.name, by_other.record) == (same.name, same.record)
            assert of(by_other, **asked) is by_other
