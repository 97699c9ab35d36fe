"""Several feature sets of the same images on one page: who is matched, how maps are laid over, who moved."""

import h5py
import numpy as np
import pytest
from report_world import page_data, section, unpack, write_clustering
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from sklearn.neighbors import NearestNeighbors

import embedkit
from embedkit import report
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import computed_on, locate_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.files.tables import ASSIGNMENTS, read_table
from embedkit.workflows.measures import measure_of
from reports.map.linked.matching import labelled, match, names_of, rows_by_id
from reports.map.linked.sets import aligned, overlap_words, shared_neighbours
from reports.map.linked.verdicts import verdict_words
from reports.map.packing import pack_rows

PCA = {"projection": "pca", "thumbnails": False}
NAMES = ("a", "b", "c")


def write(path, n=60, *, seed=0, strength=2.0, order=None, labelled=True, ok=None):
    """Rows of three classes, apart by `strength`; the same images for every seed."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = (rng.normal(size=(n, 6)) + strength * np.eye(6)[labels]).astype(np.float32)
    ids = np.array([f"row {i:03d}" for i in range(n)])
    rows = Rows(ids, labels, NAMES) if labelled else Rows(ids)
    index = np.arange(n) if order is None else np.asarray(order)
    about = {"dataset": {"name": "three"}, "features_name": path.stem}
    write_features(path, x[index], rows.take(index), provenance=about)
    if ok is not None:
        with h5py.File(path, "a") as file:
            file["ok"] = ok[index]
    return path


@pytest.fixture
def two(tmp_path):
    """The same images by two feature sets, the second in another order."""
    order = np.random.default_rng(5).permutation(60)
    return write(tmp_path / "a.h5"), write(tmp_path / "b.h5", seed=1, strength=4, order=order)


def opened(*paths):
    return [FeatureFile(path) for path in paths]


# ---- which rows are of the same image --------------------------------------------------------------------


def test_rows_are_matched_by_id_whatever_their_order(two):
    files = opened(*two)
    matched = match(files, names_of(files))
    assert matched.shared.all()
    assert matched.notes == ()
    rows = rows_by_id(files[1], files[0].rows.ids)
    np.testing.assert_array_equal(files[1].rows.ids[rows], files[0].rows.ids)


def test_images_that_are_not_everywhere_are_left_out_and_all_named(tmp_path):
    a = write(tmp_path / "a.h5", 40)
    b = write(tmp_path / "b.h5", seed=1, order=np.arange(8, 50))
    ok = np.arange(60) != 20
    c = write(tmp_path / "c.h5", seed=2, ok=ok)
    files = opened(a, b, c)
    matched = match(files, names_of(files))
    ids = [set(file.rows.ids[file.ok].tolist()) for file in files]
    shared = set.intersection(*ids)
    assert set(files[0].rows.ids[matched.shared].tolist()) == shared
    for name, file, (note, left) in zip("abc", files, matched.left_out.items(), strict=True):
        assert left.tolist() == [one for one in file.rows.ids.tolist() if one not in shared]
        assert note.startswith(f"{name}: {len(left)} of its {file.n} images are left out, not being in every")
    found = report([a, b, c], output=tmp_path / "o.html", **PCA)
    assert found.n_points == len(shared) == 31
    data = page_data(found.path)
    assert data["ids"] == [name for name in files[0].rows.ids.tolist() if name in shared]
    assert {one["note"]: one["ids"] for one in data["linked"]["left_out"]} == {
        note: left.tolist() for note, left in matched.left_out.items()
    }
    assert data["notes"][:3] == list(matched.left_out)


def test_files_of_other_images_are_refused_with_both_named(two, plain_file, capsys):
    other = plain_file(ids=[f"other {i}" for i in range(30)])
    message = r"a\.h5 and .*plain\.h5: no image is in both\. Ids such as 'row 000'"
    with pytest.raises(EmbedkitError, match=message):
        report([two[0], other])
    assert main(["report", str(two[0]), str(other)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_files_of_datasets_with_other_names_are_matched_and_it_is_said(tmp_path, two):
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    with FeatureFile(two[0]) as file:
        other = write_features(tmp_path / "c.h5", x, Rows(file.rows.ids))
    files = opened(two[0], other)
    assert match(files, ("a", "c")).notes == (
        "a is of the dataset three, c of c: their images are matched by id alone.",
    )


def test_no_image_in_all_of_three(tmp_path):
    a = write(tmp_path / "a.h5", 40)
    b = write(tmp_path / "b.h5", seed=1, order=np.arange(20))
    c = write(tmp_path / "c.h5", seed=2, order=np.arange(20, 40))
    with pytest.raises(EmbedkitError, match="no image is in all of them"):
        report([a, b, c])


def test_a_file_is_named_once(two):
    with pytest.raises(UsageError, match="are the same features. Name each file once"):
        report([two[0], two[0]])


def test_an_id_that_stands_twice_is_in_no_feature_file(tmp_path):
    with pytest.raises(EmbedkitError, match="duplicate ids"):
        write(tmp_path / "a.h5", order=[0, 1, 1, 2])


def test_nothing_and_figures_are_refused(two, tmp_path):
    with pytest.raises(UsageError, match="No feature file"):
        report([])
    with pytest.raises(UsageError, match="it draws the map of one feature file, and 2 are named"):
        report(list(two), figure=tmp_path / "map.png")
    with pytest.raises(UsageError, match=r"-o .*b\.h5"):
        report(list(two), output=two[1])


def test_names_are_as_short_as_they_may_be(tmp_path):
    for name in ("x/f.h5", "y/f.h5", "y/g.h5", "z/y/f.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name)
    assert names_of(opened(tmp_path / "x/f.h5", tmp_path / "y/g.h5")) == ("f", "g")
    assert names_of(opened(tmp_path / "x/f.h5", tmp_path / "y/f.h5")) == ("x/f", "y/f")
    assert names_of(opened(tmp_path / "y/f.h5", tmp_path / "z/y/f.h5")) == ("A: f", "B: f")


def test_labels_come_from_whoever_has_some_and_contradictions_are_said(tmp_path):
    a = write(tmp_path / "a.h5", labelled=False)
    b = write(tmp_path / "b.h5", seed=1, order=np.arange(60)[::-1])
    files = opened(a, b)
    rows, notes = labelled(files[0].rows, files, ("a", "b"))
    assert [rows.class_names[code] for code in rows.labels] == [NAMES[i % 3] for i in range(60)]
    assert notes == ("a has no labels: those of b are shown.",)
    changed = Rows(files[1].rows.ids, np.roll(files[1].rows.labels, 1), NAMES)
    c = write_features(tmp_path / "c.h5", files[1].read(), changed)
    rows, (note,) = labelled(files[1].rows, [files[1], FeatureFile(c)], ("b", "c"))
    assert rows is files[1].rows
    assert note.startswith("c calls 60 of the images otherwise than b, such as 'row 059' ")


# ---- one map over another --------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.3, 30.0])
def test_maps_are_turned_as_scipy_turns_them_and_keep_their_size(noise):
    rng = np.random.default_rng(0)
    onto = rng.normal(size=(50, 2)) * [3, 1] + [10, -4]
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])  # a mirror image, too
    xy = 7 * onto @ turn + rng.normal(size=(50, 2)) * noise * 7 + 100
    found, apart = aligned(xy, onto)
    _, moved, disparity = procrustes(onto, xy)
    assert apart == pytest.approx(disparity, abs=1e-9)
    size = np.linalg.norm(onto - onto.mean(0))
    wanted = moved / np.sqrt(1 - disparity) * size + onto.mean(0)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.linalg.norm(found - found.mean(0)) == pytest.approx(size, rel=1e-5)
    centred = xy - xy.mean(0)
    rotation, _ = orthogonal_procrustes(centred, onto - onto.mean(0))
    np.testing.assert_allclose(
        found, centred @ rotation * size / np.linalg.norm(centred) + onto.mean(0), atol=1e-4
    )
    if not noise:
        np.testing.assert_allclose(found, onto, atol=1e-4)


def test_a_map_of_one_place_is_laid_on_the_middle():
    onto = np.random.default_rng(0).normal(size=(9, 2))
    for xy, target in ((np.full((9, 2), 0.1), onto), (onto, np.full((9, 2), 0.1)), (onto[:1], onto[:1])):
        found, apart = aligned(xy, target)
        np.testing.assert_allclose(found, np.broadcast_to(target.mean(0), found.shape), atol=1e-6)
        assert apart == 1


# ---- who moved -------------------------------------------------------------------------------------------


def neighbours_by_sklearn(path, order):
    with FeatureFile(path) as file:
        place = {name: row for row, name in enumerate(file.rows.ids.tolist())}
        x = file.read()[[place[name] for name in order]].astype(np.float64)
    peer = NearestNeighbors(n_neighbors=15, algorithm="brute", metric="cosine").fit(x)
    return peer.kneighbors(return_distance=False)


def test_who_moved_is_the_count_of_numpy(two, tmp_path):
    c = write(tmp_path / "c.h5", seed=9, strength=0)
    found = report([*two, c], output=tmp_path / "o.html", **PCA)
    data = page_data(found.path)
    own = neighbours_by_sklearn(two[0], data["ids"])
    assert [one["name"] for one in data["linked"]["sets"]] == ["b", "c"]
    for one, path in zip(data["linked"]["sets"], (two[1], c), strict=True):
        near = neighbours_by_sklearn(path, data["ids"])
        np.testing.assert_array_equal(unpack(one["near"]["index"]).reshape(60, 15), near)
        wanted = [len(np.intersect1d(a, b)) for a, b in zip(own, near, strict=True)]
        (kept,) = (column for column in data["columns"] if column["key"] == one["column"])
        np.testing.assert_array_equal(unpack(kept["values"]), wanted)
        words = section(data, "moved")["says"][data["linked"]["sets"].index(one)][0]
        assert f"{np.mean(wanted):.1f} on average" in words
        assert f"chance gives {15 * 15 / 59:.1f} ({15 / 59:.0%})" in words


def test_shared_neighbours_are_those_of_sets():
    rng = np.random.default_rng(0)
    a, b = (np.array([rng.permutation(300)[:15] for _ in range(5000)]) for _ in range(2))
    wanted = [len(set(x) & set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_array_equal(shared_neighbours(a, b), wanted)
    # Chance is what unrelated sets share.
    assert np.mean(wanted) == pytest.approx(15 * 15 / 300, rel=0.1)


def test_too_few_images_have_no_neighbours(tmp_path):
    assert overlap_words(np.zeros(1, np.int64), 0, "a", "b") == "There are too few images to have neighbours."
    a, b = write(tmp_path / "a.h5", 1), write(tmp_path / "b.h5", 1, seed=1)
    data = page_data(report([a, b], output=tmp_path / "o.html", **PCA).path)
    assert data["linked"]["sets"][0]["near"] is None


# ---- the verdict -----------------------------------------------------------------------------------------


def test_the_verdict_is_that_of_compare_word_for_word(two, tmp_path):
    runs = tmp_path / "r"
    compared = embedkit.compare(*two, split="kfold:3", draws=2, output=runs / "compare")
    found = report(list(two), runs=runs, output=tmp_path / "o.html", **PCA)
    ((_, *says),) = section(page_data(found.path), "moved")["says"]
    assert says == [compared.verdict, *compared.sentences]
    assert [line.split(":")[0] for line in says[1:]] == ["20-NN", "linear", "k-means", "10-labels-a-class"]


def test_results_on_a_copy_in_another_order_are_those_of_the_file(two, tmp_path):
    runs = tmp_path / "r"
    embedkit.compare(*two, split="kfold:3", draws=2, output=runs)
    with FeatureFile(two[1]) as file:
        mine = [run for _, run in locate_results(runs) if file.sha256 in computed_on(run)]
        copy = {run.provenance["features_sha256"] for run in mine}
        assert file.sha256 not in copy
        ids, sha256 = file.rows.ids.tolist(), file.sha256
    assert sorted(measure_of(run) for run in mine) == ["10-labels-a-class", "20-NN", "k-means", "linear"]
    assert sha256
    # On the page of B by itself, and beside A, in the order of the page.
    for files, key in (([two[1]], "cluster:kmeans"), (list(two), "cluster:b: kmeans")):
        data = page_data(report(files, runs=runs, output=tmp_path / "o.html", **PCA).path)
        assert not any("another version" in note for note in data["notes"])
        (column,) = (one for one in data["columns"] if one["key"] == key)
        table = runs / "B" / next(run.provenance["assignments"] for run in mine if run.method == "kmeans")
        lines = [line.split(",")[:2] for line in table.read_text("utf-8").splitlines()[1:]]
        wanted = dict(lines)
        assert sorted(wanted) == sorted(ids)
        names = [column["names"][code].split()[1] for code in unpack(column["values"])]
        assert names == [wanted[name] for name in data["ids"]]


def test_common_images_have_a_verdict_and_another_dataset(tmp_path):
    a = write(tmp_path / "a.h5", 75)
    b = write(tmp_path / "b.h5", 90, seed=1, strength=4, order=np.arange(15, 90))
    compared = embedkit.compare(a, b, split="kfold:3", draws=2, common=True, output=tmp_path / "r")
    found = report([a, b], runs=tmp_path / "r", output=tmp_path / "o.html", **PCA)
    ((_, *says),) = section(page_data(found.path), "moved")["says"]
    assert says[0] == compared.verdict
    (dataset,) = {run.dataset for _, run in locate_results(tmp_path / "r")}
    assert dataset.startswith("three [60 images of both files ")


def test_what_is_missing_for_a_verdict_is_said(two, tmp_path):
    files = tuple(opened(*two))
    (says,) = verdict_words(([], []), files, ("a", "b"), where=tmp_path / "my runs")
    assert f"`embedkit compare {two[0]} {two[1]} -o '{tmp_path}/my runs/compare'`" in says
    fewer = FeatureFile(write(tmp_path / "e.h5", 40, seed=3))
    (says,) = verdict_words(([], []), (files[0], fewer), ("a", "e"), where=tmp_path)
    assert f"a.h5 {fewer.path} --common -o {tmp_path}/compare`" in says
    bare = tuple(
        opened(write(tmp_path / "c.h5", labelled=False), write(tmp_path / "d.h5", labelled=False, seed=1))
    )
    assert verdict_words(([], []), bare, ("c", "d"), where=tmp_path) == [
        "There are no labels, so nothing says which of the two is better."
    ]


def test_a_result_whose_table_is_gone_is_named(two, tmp_path):
    runs = tmp_path / "r"
    embedkit.compare(*two, split="kfold:3", draws=2, output=runs)
    next((runs / "A").glob("*-knn-*.csv")).unlink()
    found = report(list(two), runs=runs, output=tmp_path / "o.html", **PCA)
    ((_, first, *rest),) = section(page_data(found.path), "moved")["says"]
    assert "20-NN" not in first
    assert any(line.startswith("20-NN is not compared: ") for line in rest)


def test_results_of_the_other_file_are_not_called_stale(tmp_path):
    """Two epochs bear one name: what was computed on one is no other version of the other."""
    about = {"provenance": {"dataset": {"name": "sky"}, "features_name": "vit"}}
    paths = []
    for seed in (0, 1):
        x = np.random.default_rng(seed).normal(size=(30, 5)).astype(np.float32)
        rows = Rows(np.array([f"row {i}" for i in range(30)]))
        paths.append(write_features(tmp_path / f"epoch{seed}.h5", x, rows, **about))
    runs = tmp_path / "r"
    runs.mkdir()
    with FeatureFile(paths[0]) as file:
        write_clustering(runs, file, "k.csv", np.arange(30) % 2, k=2)
    data = page_data(report(paths, runs=runs, output=tmp_path / "o.html", **PCA).path)
    assert data["notes"] == []
    assert "cluster:epoch0: kmeans" in [column["key"] for column in data["columns"]]


# ---- the page --------------------------------------------------------------------------------------------


def test_a_page_of_one_file_holds_nothing_of_others(two, tmp_path):
    once, listed = (report(one, output=tmp_path / "o.html", **PCA) for one in (two[0], [two[0]]))
    assert repr(once) == repr(listed)
    text = once.path.read_text("utf-8")
    assert "linked" not in page_data(once.path)
    for word in ('id="morph"', 'id="map-other"', 'id="moved"', "embedkit.linked = "):
        assert word not in text
    assert page_data(once.path)["title"] == "three · a"


def test_the_command_takes_several_files(two, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "a.h5", "b.h5", "--projection", "pca", "--no-thumbnails"]) == 0
    assert capsys.readouterr().out.strip() == "runs/a-and-b.html"
    data = page_data(tmp_path / "runs" / "a-and-b.html")
    assert data["title"] == "three · a and b"
    assert data["file_stem"] == "a-and-b"
    places = data["map"], data["linked"]["sets"][0]
    spread = [np.linalg.norm(np.ptp([unpack(one["x"]), unpack(one["y"])], axis=1)) for one in places]
    assert spread[1] == pytest.approx(spread[0], rel=0.6)


def test_the_name_of_a_page_of_many_fits_a_disk(tmp_path):
    paths = [write(tmp_path / f"{letter * 100}.h5", 20, seed=at) for at, letter in enumerate("abcd")]
    found = report(paths, runs=tmp_path, **PCA)
    assert found.path.name == f"{'a' * 100}-and-3-more.html"
    data = page_data(found.path)
    assert len(data["linked"]["sets"]) == 3
    assert unpack(pack_rows(np.arange(3), 3)).tolist() == [0, 1, 2]


def test_rows_and_most_points_hold_for_all_files(two, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("".join(f"row {i:03d}\n" for i in range(20)))
    found = report(list(two), rows=[str(ids)], output=tmp_path / "o.html", **PCA)
    assert page_data(found.path)["ids"] == [f"row {i:03d}" for i in range(20)]
    found = report(list(two), max_points=25, output=tmp_path / "o.html", **PCA)
    data = page_data(found.path)
    assert len(data["ids"]) == len(unpack(data["linked"]["sets"][0]["x"])) == 25


def test_what_lies_beside_a_cluster_is_by_the_file_that_was_clustered(two, tmp_path):
    runs = tmp_path / "r"
    runs.mkdir()
    with FeatureFile(two[1]) as file:
        write_clustering(runs, file, "k.csv", np.arange(60) % 4, k=4)
    both, alone = (
        page_data(report(files, runs=runs, output=tmp_path / "o.html", **PCA).path)
        for files in (list(two), two[1])
    )
    (beside,), (by_itself,) = (section(data, "clusters") for data in (both, alone))

    wanted, found = (
        {one["name"]: one["beside"] for one in gallery["clusters"]} for gallery in (by_itself, beside)
    )
    assert found == wanted
    assert all(found.values())


def test_clusterings_of_both_files_side_by_side_stand_on_their_page_alone(two, tmp_path):
    found = embedkit.cluster(list(two), k=3, output=tmp_path / "r")
    data = page_data(report(list(two), runs=tmp_path / "r", output=tmp_path / "o.html", **PCA).path)
    (gallery,) = section(data, "clusters")
    assert gallery["title"] == "a + b: kmeans"
    column = next(one for one in data["columns"] if one["key"] == "cluster:a + b: kmeans")
    assert data["color"] == "label"
    codes = dict(zip(data["ids"], unpack(column["values"]).tolist(), strict=True))
    table = read_table(tmp_path / "r" / found.result.provenance["assignments"], ASSIGNMENTS)
    assert codes == dict(zip(table["id"].tolist(), table["cluster"].tolist(), strict=True))
    alone = page_data(report(two[0], runs=tmp_path / "r", output=tmp_path / "p.html", **PCA).path)
    assert [one["name"] for one in alone["sections"]] == ["provenance"]
    other = write(tmp_path / "c.h5", seed=2)
    three = page_data(report([*two, other], runs=tmp_path / "r", output=tmp_path / "q.html", **PCA).path)
    assert section(three, "clusters")[0]["title"] == "a + b + c: kmeans"


def test_a_colour_that_is_not_there_is_refused_before_a_map_is_made(two, tmp_path, monkeypatch):
    def laid(*_, **__):
        raise AssertionError("a map was made")

    monkeypatch.setattr("reports.map.making.lay_rows_out", laid)
    with pytest.raises(UsageError, match=r"--color nosuch: .*a.h5 .*There are: label"):
        report(two[0], color="nosuch", output=tmp_path / "o.html", **PCA)
    for name in ("label", "trustworthiness", "kept:b"):
        with pytest.raises(AssertionError, match="a map was made"):
            report(list(two), color=name, output=tmp_path / "o.html", **PCA)
