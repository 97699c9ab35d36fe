"""`report --transform`: new images on a map that stays as it is."""

import base64

import numpy as np
import pytest
from browsing import launched
from PIL import Image
from report_world import COLOURS, page_data, write_clustering
from sklearn.decomposition import PCA

from embedkit import report
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.rows_together import rows_together
from embedkit.files.store import FeatureFile, write_features
from reports.map.columns import Category
from reports.map.sheets import cut

QUICK = {"projection": "pca"}


@pytest.fixture(scope="module")
def new(world, tmp_path_factory):
    """Nine new images, three a class, one of them of a class that nobody knows yet."""
    root = tmp_path_factory.mktemp("new")
    classes = {**COLOURS, "grey": (128, 128, 128)}
    for name, colour in classes.items():
        (root / "images" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40, 48), colour).save(root / "images" / name / f"new {name} {i}.png")
    dataset = load_dataset(str(root / "images"))
    names = [dataset.rows.class_names[label] for label in dataset.rows.labels]
    place = {name: i for i, name in enumerate(sorted(COLOURS))}
    rng = np.random.default_rng(5)
    features = rng.normal(size=(12, 24)) + [
        6 * np.eye(24)[place[name]] if name in place else np.full(24, 9.0) for name in names
    ]
    provenance = {"dataset": {"name": "later", "origin": dict(dataset.origin)}, "features_name": "tiny"}
    path = root / "later.h5"
    return write_features(path, features.astype(np.float32), dataset.rows, provenance=provenance)


@pytest.fixture(scope="module")
def made(world, new):
    out = world.runs.parent / "placed.html"
    return report(world.features, runs=world.runs, transform=new, output=out, **QUICK)


def found(made, key):
    return next(column for column in made.drawn.columns if column.key == key)


def test_the_known_images_stay_where_they_are(world, made, tmp_path):
    alone = report(world.features, runs=world.runs, output=tmp_path / "alone.html", **QUICK)
    np.testing.assert_array_equal(made.drawn.xy[: world.n], alone.drawn.xy)
    assert made.n_points == world.n + 12
    assert made.drawn.ids[: world.n].tolist() == alone.drawn.ids.tolist()


def test_what_is_new_is_told_from_what_is_known(world, made):
    column = found(made, "set")
    assert made.drawn.color == "set"
    assert isinstance(column, Category)
    assert column.codes.tolist() == [-1] * world.n + [0] * 12
    assert (column.names, column.missing) == (("new: later",), "known: colours")
    assert page_data(made.path)["new"] == 12
    text = page_data(made.path)["map"]["text"]
    assert "The 12 images of later.h5, ringed, came later and moved no other." in text
    assert "25% are farther from it than 99% of the known ones are" in text  # the grey ones


def test_classes_are_matched_by_name_and_new_ones_come_last(world, made):
    label = found(made, "label")
    assert label.names == ("blue", "green", "red", "grey")
    frame = made.to_pandas()
    for name, text in zip(frame["id"][world.n :], frame["label"][world.n :], strict=True):
        assert name.startswith(f"{text}/")


def test_neighbours_of_a_new_image_are_known_and_those_of_a_known_one_are_as_before(world, new, made):
    data = page_data(made.path)["neighbours"]
    index = np.frombuffer(base64.b64decode(data["index"]["data"]), "<u2").reshape(-1, 15)
    with FeatureFile(world.features) as a, FeatureFile(new) as b:
        bank, x = (one.read().astype(float) for one in (a, b))
    bank, x = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (bank, x))
    truth = np.argsort(np.linalg.norm(x[:, None] - bank[None], axis=2), axis=1)[:, :15]
    np.testing.assert_array_equal(index[world.n :], truth)
    assert index.max() < world.n


def test_pictures_are_of_both_and_the_new_ones_come_first(world, made):
    sheets = made.drawn.sheets
    assert sheets.n_pictures == world.n + 12
    assert set(sheets.place[world.n :]) == set(range(12))
    label = found(made, "label")
    colours = {**COLOURS, "grey": (128, 128, 128)}
    for row, pixels in cut(sheets):
        want = colours[label.names[label.codes[row]]]
        assert np.abs(pixels.mean(axis=(0, 1)) - want).max() < 8, row


def test_clusters_of_the_known_images_are_still_theirs(world, made):
    frame = made.to_pandas()
    assert frame["cluster:kmeans"][: world.n].notna().all()
    assert frame["cluster:kmeans"][world.n :].isna().all()


def test_an_image_that_is_there_already_is_refused(world, tmp_path):
    with FeatureFile(world.features) as file:
        rows, x = file.rows, file.read()
    again = write_features(tmp_path / "again.h5", x[:3], rows.take(slice(0, 3)))
    with pytest.raises(
        UsageError, match=r"3 of its 3 images, such as 'blue/blue 00.png', are in .*colours.h5"
    ):
        report(world.features, transform=again, output=tmp_path / "a.html", **QUICK)
    assert not (tmp_path / "a.html").exists()


def test_features_of_another_kind_are_refused(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)

    def written(name, x, backbone="vit"):
        ids = np.array([f"{name} {i}" for i in range(len(x))])
        made = {"backbone": {"name": backbone}, "dataset": {"name": "d"}}
        return write_features(tmp_path / f"{name}.h5", x, Rows(ids=ids), provenance=made)

    known = written("known", x)
    with pytest.raises(UsageError, match=r"--transform .*d is 3, of the fitted file 4"):
        report(known, transform=written("narrow", x[:, :3]), output=tmp_path / "a.html", **QUICK)
    other = written("other", x, "resnet")
    with pytest.raises(UsageError, match=r"not of the kind that the map was fitted on.*resnet"):
        report(known, transform=other, output=tmp_path / "a.html", **QUICK)
    unread = x.copy()
    unread[2] = np.nan
    with pytest.raises(EmbedkitError, match=r"unread\.h5"):
        report(known, transform=written("unread", unread), output=tmp_path / "a.html", **QUICK)
    few = written("few", x[:4])
    with pytest.raises(EmbedkitError, match="a map of 4 images is too small"):
        report(few, transform=known, output=tmp_path / "a.html", **QUICK)
    assert not (tmp_path / "a.html").exists()


def test_the_page_does_not_take_the_place_of_the_new_features(world, new):
    before = new.read_bytes()
    with pytest.raises(UsageError, match="is the file that is read"):
        report(world.features, transform=new, output=new, **QUICK)
    assert new.read_bytes() == before


def test_a_preparation_is_fitted_on_the_known_images_alone(world, new, tmp_path):
    write_clustering(tmp_path, FeatureFile(world.features), "k.csv", np.zeros(60, np.int64), prep="pca3")
    asked = {"transform": new, "thumbnails": False, "runs": tmp_path, **QUICK}
    both = report(world.features, output=tmp_path / "a.html", **asked)
    alone = report(world.features, output=tmp_path / "b.html", **{**asked, "transform": None})
    np.testing.assert_array_equal(both.drawn.xy[:60], alone.drawn.xy)
    with FeatureFile(world.features) as a, FeatureFile(new) as b:
        pca = PCA(3).fit(a.read())
        bank, x = pca.transform(a.read()), pca.transform(b.read())
    own = np.linalg.norm(bank[:, None] - bank[None], axis=2) + np.diag(np.full(60, np.inf))
    unit = np.median(own.min(axis=1))
    truth = (
        np.concatenate([own.min(axis=1), np.linalg.norm(x[:, None] - bank[None], axis=2).min(axis=1)]) / unit
    )
    np.testing.assert_allclose(found(both, "distance-to-known").values, truth, rtol=1e-3)


def test_new_images_that_are_gone_are_said_and_the_others_have_pictures(world, new, tmp_path):
    with FeatureFile(new) as file:
        moved = write_features(tmp_path / "moved.h5", file.read(), file.rows)
    made = report(world.features, transform=moved, output=tmp_path / "a.html", **QUICK)
    assert made.n_thumbnails == world.n
    (said,) = [text for text in made.notes if "No pictures" in text]
    assert said.startswith(f"--transform {moved}: No pictures: ")
    assert "--path" not in said
    assert "Name where they are with --transform-path" in said


def test_new_images_are_looked_for_where_they_are_said_to_be(world, new, tmp_path):
    with FeatureFile(new) as file:
        origin = file.made.origin
        told = {"dataset": {"name": "later", "origin": {**origin, "source": str(tmp_path / "gone")}}}
        moved = write_features(tmp_path / "moved.h5", file.read(), file.rows, provenance=told)
    asked = {"transform": moved, "output": tmp_path / "a.html", **QUICK}
    assert report(world.features, **asked).n_thumbnails == world.n
    made = report(world.features, transform_path=origin["source"], **asked)
    assert made.n_thumbnails == world.n + 12
    with pytest.raises(EmbedkitError, match="nowhere"):
        report(world.features, transform_path=str(tmp_path / "nowhere"), **asked)
    with pytest.raises(UsageError, match="--transform-path is for the images of --transform FILE"):
        report(world.features, transform_path=origin["source"])


def test_several_maps_have_no_place_for_new_images(world, new, tmp_path):
    with pytest.raises(UsageError, match="placed on one map, and 2 feature files are named"):
        report([world.features, world.features], transform=new, output=tmp_path / "a.html")


def test_rows_of_two_files_are_those_of_one():
    first = Rows(
        ids=["a", "b"],
        labels=[0, -1],
        class_names=("x",),
        targets=[[1.0], [2.0]],
        target_names=("t",),
        split=["train", ""],
    )
    second = Rows(
        ids=["c"],
        labels=[0],
        class_names=("y",),
        targets=[[3.0, 4.0]],
        target_names=("u", "t"),
        coordinates=[[5.0, 6.0]],
    )
    both = rows_together(first, second)
    assert (both.class_names, both.labels.tolist()) == (("x", "y"), [0, -1, 1])
    np.testing.assert_array_equal(both.targets, np.float32([[1, np.nan], [2, np.nan], [4, 3]]))
    assert both.split.tolist() == ["train", "", ""]
    np.testing.assert_array_equal(both.coordinates, [[np.nan] * 2, [np.nan] * 2, [5, 6]])
    assert (both.group, both.asked) == (None, None)
    bare = rows_together(Rows(ids=["a"]), Rows(ids=["b"]))
    assert (bare.labels, bare.targets, len(bare)) == (None, None, 2)
    with pytest.raises(EmbedkitError, match="duplicate ids"):
        rows_together(first, first)


@pytest.mark.browser
def test_new_images_are_ringed_on_every_colouring(world, made):
    flags = ("--use-angle=swiftshader", "--use-gl=angle", "--enable-unsafe-swiftshader")
    with launched(*flags) as browser:
        view, problems = browser.new_page(viewport={"width": 1000, "height": 800}), []
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.goto(made.path.as_uri())
        view.wait_for_selector("html[data-ready=yes]")
        view.click("#layer-pictures")
        view.select_option("#color", "label")
        view.wait_for_timeout(500)
        # On the canvas over the points the ring's ink is at its radius, around new images alone.
        inked = view.evaluate("""() => {
          const { points, overlay } = embedkit, ratio = devicePixelRatio || 1, found = [];
          const context = overlay.canvas.getContext("2d");
          for (let i = 0; i < points.n; i++) {
            const [px, py] = points.place(i), r = points.size / 2 + 1.5;
            const inked = ([dx, dy]) => {
              const [ax, ay] = [px + dx, py + dy].map((v) => Math.round(v * ratio));
              return context.getImageData(ax, ay, 1, 1).data[3] > 0;
            };
            found.push([[r, 0], [-r, 0], [0, r], [0, -r]].filter(inked).length);
          }
          return found;
        }""")
        assert min(inked[world.n :]) >= 3
        assert np.mean(np.array(inked[: world.n]) >= 3) < 0.5
        assert not problems
