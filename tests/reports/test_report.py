"""The report: what stands in the page, that it stands on its own, and that nothing in it runs."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from report_world import NASTY, page_data, section, unpack, write_clustering

from embedkit import report
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import Result, locate_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from reports.map.columns import Category
from reports.map.evidence import Clustering, _unique_titles
from reports.map.sections import clusters
from reports.report import results_below
from reports.report_options import ReportOptions


def pictures_of(path, data):
    """Cut every picture out of the page's sheets."""
    from io import BytesIO

    from PIL import Image

    sheets = re.findall(r'<script type="text/plain" id="sheet-\d+">(.*?)</script>', path.read_text("utf-8"))
    opened = [Image.open(BytesIO(base64.b64decode(sheet))) for sheet in sheets]
    kept = data["pictures"]
    columns, pitch = kept["columns"], kept["pitch"]
    found = {}
    shapes = zip(unpack(kept["place"]), unpack(kept["width"]), unpack(kept["height"]), strict=True)
    for row, (place, width, height) in enumerate(shapes):
        if place >= 0:
            sheet, slot = divmod(int(place), columns**2)
            left, top = slot % columns * pitch, slot // columns * pitch
            found[row] = opened[sheet].crop((left, top, left + int(width), top + int(height)))
    return found


def column(data, key):
    return next(c for c in data["columns"] if c["key"] == key)


@pytest.fixture(scope="module")
def written(world):
    return report(world.features, runs=world.runs)


@pytest.fixture(scope="module")
def data(written):
    return page_data(written.path)


def test_every_image_is_on_the_map(world, written, data):
    assert written.n_points == written.n_thumbnails == len(data["ids"]) == world.n
    assert written.path == world.runs / "colours.html"
    for axis in "xy":
        assert np.isfinite(unpack(data["map"][axis])).all()
        assert len(unpack(data["map"][axis])) == world.n


def test_label_and_cluster_columns(data):
    label = column(data, "label")
    assert label["names"] == ["blue", "green", "red"]
    assert np.bincount(unpack(label["values"])).tolist() == [20, 20, 20]
    cluster = column(data, "cluster:kmeans")
    codes = unpack(cluster["values"])
    assert cluster["names"] == ["cluster 0 (blue)", "cluster 1", "cluster 2 (red)"]
    assert cluster["missing"] == "noise"
    assert (codes[::9] == -1).all()
    others = np.arange(60) % 9 != 0
    np.testing.assert_array_equal(codes[others], unpack(label["values"])[others])
    assert data["color"] == "label"


def test_pictures_belong_to_their_ids(written, data):
    pictures = pictures_of(written.path, data)
    assert sorted(pictures) == list(range(60))
    for row, image in pictures.items():
        assert image.size == (48, 40)  # never enlarged
        strongest = np.asarray(image.convert("RGB"), float).mean(axis=(0, 1)).argmax()
        assert data["ids"][row].split("/")[0] == ("red", "green", "blue")[strongest]


def test_neighbours_share_the_label_in_separate_groups(data):
    assert np.nanmin(unpack(column(data, "knn-agreement")["values"])) > 0.9
    near = unpack(data["neighbours"]["index"]).reshape(60, data["neighbours"]["k"])[:, :8]
    assert (near // 20 == np.arange(60)[:, None] // 20).all()


def test_neighbours_in_the_page_are_those_of_the_feature_file(world, data):
    from sklearn.neighbors import NearestNeighbors

    with FeatureFile(world.features) as file:
        x = file.read().astype(np.float64)
    peer = NearestNeighbors(n_neighbors=15, algorithm="brute", metric="cosine").fit(x)
    distance, index = peer.kneighbors()
    near = data["neighbours"]
    np.testing.assert_array_equal(unpack(near["index"]).reshape(60, 15), index)
    shown = unpack(near["distance"]).reshape(60, 15) / 255 * near["farthest"]
    np.testing.assert_allclose(shown, np.sqrt(2 * distance), atol=near["farthest"] / 255)


def members(gallery):
    """Return the rows of each cluster of a gallery, as the page cuts them."""
    ends = np.cumsum([cluster["size"] for cluster in gallery["clusters"]])
    return np.split(unpack(gallery["rows"]), ends[:-1])


def test_gallery_holds_the_images_of_each_cluster_the_nearest_to_its_centre_first(world, data):
    (gallery,) = section(data, "clusters")
    assert [cluster["name"] for cluster in gallery["clusters"]][-1] == "noise"
    assert sum(cluster["size"] for cluster in gallery["clusters"]) == world.n
    distance = unpack(column(data, "distance:kmeans")["values"])
    codes = unpack(column(data, "cluster:kmeans")["values"])
    for cluster, rows in zip(gallery["clusters"][:3], members(gallery), strict=False):
        code = int(cluster["name"].split()[1])
        assert cluster["classes"] == [[column(data, "label")["names"][code], 1.0]]
        # All of them: by their distance, and those of one distance in the order of the file.
        inside = np.flatnonzero(codes == code)
        expected = sorted(inside.tolist(), key=lambda row: (distance[row], row))
        assert rows.tolist() == expected
    noise = members(gallery)[-1]
    assert sorted(noise.tolist()) == np.flatnonzero(codes == -1).tolist()


def test_the_share_of_a_class_in_a_cluster_is_of_the_labelled_images():
    result = Result("cluster", "d", "f", "kmeans", {}, {}, "none", 0, {}, 5, 0.0, "numpy")
    clustering = Clustering(result, "kmeans", np.array([0, 0, 0, 0, 1]), None, None)
    label = Category("label", "label", "", np.array([0, 0, 1, -1, -1]), ["disc", "star"], "no label")
    near = SimpleNamespace(index=np.empty((5, 0), np.int64))
    page = SimpleNamespace(columns=[label], clusterings=[clustering], neighbours=near, linked=())
    (gallery,) = clusters.section(page).data
    first, second = gallery["clusters"]
    assert (first["size"], first["labelled"]) == (4, 3)
    assert first["classes"] == [("disc", 2 / 3), ("star", 1 / 3)]
    assert (second["size"], second["labelled"], second["classes"]) == (1, 0, [])


def test_results_and_confusion_of_this_file(written, data):
    body = written.path.read_text("utf-8").split('<section id="results">')[1].split("</section>")[0]
    cells = [re.findall(rf"<{tag}[^>]*>([^<]*)</{tag}>", body) for tag in ("th", "td")]
    row = dict(zip(*cells, strict=True))
    assert (row["method"], row["accuracy"], row["chance"]) == ("kmeans", "0.900 [0.850, 0.950]", "0.370")
    assert "features" not in row
    assert "embedkit leaderboard" in body
    (confusion,) = section(data, "confusions")
    assert confusion["counts"][1] == [0, 17, 1, 2]
    assert confusion["row_names"] == ["blue", "green", "red"]
    assert confusion["column_names"] == ["blue", "green", "red", "(none)"]


def test_every_section_has_a_place_a_link_and_a_script(written, data):
    names = [one["name"] for one in data["sections"]]
    assert names == ["results", "clusters", "confusions", "provenance"]
    text = written.path.read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]*)"', text) == ["map-section", *names]
    drawn = [one["name"] for one in data["sections"] if one["data"] is not None]
    assert re.findall(r"embedkit\.sections\.(\w+) = ", text) == drawn


class Loads(HTMLParser):
    """Every attribute that makes a browser fetch something, and the text of every element."""

    def __init__(self):
        super().__init__()
        self.urls, self.scripts, self.tags = [], 0, []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.scripts += tag == "script"
        self.urls += [v for k, v in attributes if k in ("src", "href", "srcset", "data", "action", "poster")]


def test_page_asks_the_network_for_nothing(written):
    text = written.path.read_text(encoding="utf-8")
    page = Loads()
    page.feed(text)
    assert page.urls == []
    assert page.scripts == 3 + len(re.findall('id="sheet-', text))
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    # Only the page's own two scripts run, each by its hash.
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    for script in re.findall(r"<script>(.*?)</script>", text, re.S):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_ids_and_classes_are_never_markup(plain_file):
    ids = [
        NASTY,
        "<!--",
        "</title><b>",
        "{{data}}",
        "a&b \"c\" 'd'",
        "ü — 銀河",
        *(f"r{i}" for i in range(4)),
    ]
    labels = np.arange(10) % 2
    path = plain_file(n=10, ids=ids, labels=labels, class_names=("<script>alert(1)</script>", "{{script}}"))
    written = report(path, output=path.with_name("out.html"), thumbnails=False)
    text = written.path.read_text(encoding="utf-8")
    page = Loads()
    page.feed(text)
    assert page.scripts == 3
    assert page.urls == []
    assert "img" not in page.tags
    data = page_data(written.path)
    assert data["ids"] == ids
    assert column(data, "label")["names"] == ["<script>alert(1)</script>", "{{script}}"]


def test_title_is_escaped(tmp_path):
    provenance = {"dataset": {"name": "</title><script>"}, "features_name": "a<b", "odd": float("nan")}
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    path = write_features(tmp_path / "f.h5", x, Rows(ids=np.array(list("abc"))), provenance=provenance)
    written = report(path, output=tmp_path / "o.html", thumbnails=False)
    assert "<title>&lt;/title&gt;&lt;script&gt; · a&lt;b</title>" in written.path.read_text(encoding="utf-8")
    assert section(page_data(written.path), "provenance")["record"]["odd"] is None


def test_all_annotations_can_be_coloured_by(plain_file):
    n = 12
    targets = np.linspace(0, 1, 2 * n, dtype=np.float32).reshape(n, 2)
    targets[3, 0] = np.nan
    path = plain_file(
        n=n,
        labels=np.where(np.arange(n) == 5, -1, np.arange(n) % 2),
        class_names=("a", "b"),
        targets=targets,
        target_names=("smooth", "label"),
        split=np.array(["train", "test", ""] * 4),
        group=np.array([f"g{i // 3}" for i in range(n)]),
        coordinates=np.stack([np.arange(n, dtype=float), np.full(n, np.nan)], 1),
    )
    written = report(path, output=path.with_name("o.html"), thumbnails=False, color="dec")
    own = ("label", "split", "group", "ra", "dec", "knn-agreement", "smooth", "label#2")
    assert written.columns == (*own, "trustworthiness", "continuity")
    data = page_data(written.path)
    assert data["color"] == "dec"
    assert column(data, "split")["names"] == ["train", "test"]
    assert unpack(column(data, "split")["values"]).tolist() == [0, 1, -1] * 4
    assert unpack(column(data, "label")["values"])[5] == -1
    assert np.isnan(unpack(column(data, "smooth")["values"])[3])
    agreement = unpack(column(data, "knn-agreement")["values"])
    assert np.isnan(agreement[5])
    assert np.isfinite(np.delete(agreement, 5)).all()


def test_unknown_column_lists_the_known(world, tmp_path):
    options = {"color": "lable", "thumbnails": False}
    with pytest.raises(UsageError, match=r"--color lable: .* There are: label, cluster:kmeans"):
        report(world.features, runs=world.runs, output=tmp_path / "o.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_features_alone_are_enough(plain_file, tmp_path):
    path = plain_file(n=7)
    written = report(path, output=tmp_path / "o.html", thumbnails=False)
    assert written.columns == ("row", "trustworthiness", "continuity")
    assert written.n_results == 0
    data = page_data(written.path)
    assert [one["name"] for one in data["sections"]] == ["provenance"]
    assert re.findall(r'<section id="([^"]*)"', written.path.read_text()) == ["map-section", "provenance"]


def test_failed_rows_are_left_out(world, tmp_path):
    import h5py

    path = tmp_path / "failed.h5"
    path.write_bytes(world.features.read_bytes())
    with h5py.File(path, "a") as file:
        ok = np.ones(60, bool)
        ok[[3, 40]] = False
        file["features"][3] = file["features"][40] = np.nan
        file.create_dataset("ok", data=ok)
        lost = file["ids"].asstr()[3]
    written = report(path, output=tmp_path / "o.html", thumbnails=False)
    assert written.n_points == 58
    assert lost not in page_data(written.path)["ids"]
    assert "2 images that could not be read left out." in page_data(written.path)["notes"]


def test_a_file_where_results_would_lie_holds_none(tmp_path):
    (tmp_path / "runs").write_text("not results\n")
    assert results_below(None, tmp_path / "runs") == []


def test_limit_draws_with_the_seed(world, tmp_path):
    def ids(seed):
        options = {"max_points": 20, "seed": seed, "thumbnails": False}
        written = report(world.features, runs=world.runs, output=tmp_path / "o.html", **options)
        data = page_data(written.path)
        assert any("The map shows 20 of 60 images" in note for note in data["notes"])
        return data["ids"]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert len(ids(1)) == 20


def test_pictures_are_capped_with_the_galleries_first(world, tmp_path):
    options = {"max_thumbnails": 45, "thumbnail_size": 16}
    written = report(world.features, runs=world.runs, output=tmp_path / "o.html", **options)
    data = page_data(written.path)
    kept = {i for i, place in enumerate(unpack(data["pictures"]["place"])) if place >= 0}
    assert len(kept) == written.n_thumbnails == 45
    gallery = section(data, "clusters")[0]
    assert {i for rows in members(gallery) for i in rows[: gallery["shown"]].tolist()} <= kept
    assert any("Pictures of 45 of 60 images are kept" in note for note in data["notes"])


def test_missing_images_are_said_and_survived(plain_file, tmp_path, capsys):
    written = report(plain_file(n=6), output=tmp_path / "o.html")
    assert written.n_thumbnails == 0
    assert page_data(written.path)["pictures"] is None
    (note,) = page_data(written.path)["notes"]
    assert "doesn't record its dataset" in note
    assert "--path" in note
    assert "No pictures" in capsys.readouterr().err


def test_moved_images_are_named(world, tmp_path):
    moved = tmp_path / "elsewhere"
    (moved / "red").mkdir(parents=True)
    for path in (world.images / "red").iterdir():
        (moved / "red" / path.name).write_bytes(path.read_bytes())
    (moved / "red" / "red 00.png").write_bytes(b"")
    options = {"path": str(moved)}
    written = report(world.features, runs=world.runs, output=tmp_path / "o.html", **options)
    assert written.n_thumbnails == 19
    assert "40 of 60 images are not in elsewhere any more." in written.notes
    assert any(note.startswith("1 images can't be read, the first: ") for note in written.notes)


def test_images_named_in_vain_are_an_error(world, tmp_path):
    with pytest.raises(EmbedkitError, match="no such file or folder"):
        report(world.features, output=tmp_path / "o.html", path=str(tmp_path / "no"))


def test_a_folder_of_other_images_is_an_error_that_ends_in_a_sentence(world, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(
        EmbedkitError, match=r"other: none of the images is there, such as .*\. Name the folder"
    ):
        report(world.features, output=tmp_path / "o.html", path=str(tmp_path / "other"), projection="pca")


def test_a_few_images_are_not_said_to_wait_for_umap(plain_file, tmp_path, capsys):
    report(plain_file(n=3), output=tmp_path / "o.html", thumbnails=False)
    assert "UMAP compiles" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "advice"), [("m.PDF", "--figure FILE"), ("m.parquet", "embedkit export")])
def test_a_page_is_not_written_under_the_name_of_a_picture_or_table(world, tmp_path, name, advice):
    with pytest.raises(UsageError, match=rf"-o .*{name}: a report is an HTML page.*{advice}"):
        report(world.features, output=tmp_path / name)


def test_results_already_read_and_an_open_file_give_the_same_page(world, written, tmp_path):
    located = locate_results(world.runs)
    with FeatureFile(world.features) as file:
        again = report(file, results=located, output=tmp_path / "o.html")
        assert file.read([0]).shape == (1, 24)  # the caller's file stays open
    pages = [page_data(path) for path in (written.path, again.path)]
    for data in pages:
        del section(data, "provenance")["about"]
    assert pages[0] == pages[1]


def test_it_shows_itself_in_a_notebook(tmp_path, plain_file, monkeypatch):
    (tmp_path / "a & b").mkdir()
    monkeypatch.chdir(tmp_path)
    shown = report(plain_file(n=6), output=tmp_path / "a & b" / "o.html")
    text = shown._repr_html_()
    assert '<a href="a%20%26%20b/o.html" target="_blank">' in text
    assert "6 images, 0 pictures, 0 results" in text
    assert "<li>No pictures: " in text


def test_results_of_another_version_of_the_file_are_not_shown(world, tmp_path):
    other = tmp_path / "other.h5"
    with FeatureFile(world.features) as file:
        write_features(other, file.read() * 2, file.rows, provenance=file.provenance)
    written = report(other, runs=world.runs, output=tmp_path / "o.html", thumbnails=False)
    assert written.n_results == 0
    assert any("1 of its results were computed on another version" in note for note in written.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file. Restore the file"),
        ("a,b\n1,2\n", "it has no column id and no column cluster"),
        ("id,cluster\nnobody,1\n", "none of its ids is in the feature file"),
        ("id,cluster\nred/red 00.png,one\n", "c.csv:2: cluster 'one' is no integer"),
    ],
)
def test_damaged_assignments_are_said_and_survived(world, tmp_path, text, message):
    with FeatureFile(world.features) as file:
        write_clustering(tmp_path, file, "c.csv", file.rows.labels, k=3)
    (tmp_path / "c.csv").unlink()
    if text is not None:
        (tmp_path / "c.csv").write_text(text)
    written = report(world.features, runs=tmp_path, thumbnails=False)
    assert written.n_results == 1
    (note,) = written.notes
    assert note.startswith("kmeans: its clusters are not shown.")
    assert message in note


def test_clusterings_are_told_apart_by_what_differs(world, tmp_path):
    with FeatureFile(world.features) as file:
        for k in (3, 5):
            write_clustering(tmp_path, file, f"{k}.csv", file.rows.labels, k=k, prep="pca95")
    written = report(world.features, runs=tmp_path, thumbnails=False, color="cluster")
    assert [c for c in written.columns if c.startswith("cluster:")] == [
        "cluster:kmeans k=3",
        "cluster:kmeans k=5",
    ]
    assert page_data(written.path)["color"] == "cluster:kmeans k=3"


def test_a_column_that_further_runs_gave_a_longer_name_is_still_called_by_its_own(world, tmp_path):
    with FeatureFile(world.features) as file:
        for k in (3, 5):
            write_clustering(tmp_path, file, f"{k}.csv", file.rows.labels, k=k, prep="pca95")
    written = report(world.features, runs=tmp_path, thumbnails=False, color="cluster:kmeans")
    assert page_data(written.path)["color"] == "cluster:kmeans k=3"
    said = "--color cluster:kmeans is 'cluster:kmeans k=3' here; there is 'cluster:kmeans k=5' too."
    assert said in page_data(written.path)["notes"]


def test_predictions_of_a_probe(world, tmp_path):
    from embedkit.files.results import Result, append_result, result_provenance

    with FeatureFile(world.features) as file:
        ids = file.rows.ids
        provenance = result_provenance(file) | {"predictions": "p.csv"}
    (tmp_path / "p.csv").write_text(
        "id,split,fold,true,predicted,probability\n"
        f"{ids[0]},test,1,blue,blue,0.9\n{ids[1]},test,1,blue,red,0.5\n{ids[2]},validation,1,blue,red,0.5\n"
    )
    line = Result(
        "probe", "colours", "tiny", "linear", {}, {"c": 1.0}, "stratified", 0, {}, 2, 0.1, "x", provenance
    )
    append_result(tmp_path / "results.jsonl", line)
    written = report(world.features, runs=tmp_path, thumbnails=False)
    data = page_data(written.path)
    verdict = column(data, "verdict:linear")
    names = [*verdict["names"], verdict["missing"]]
    assert [names[code] for code in unpack(verdict["values"])[:4]] == [
        "right",
        "wrong",
        *["not a test row"] * 2,
    ]


def test_labels_spread_to_every_image(world, tmp_path):
    from embedkit.files.results import Result, append_result, result_provenance
    from embedkit.files.tables import LABELLED, write_table

    with FeatureFile(world.features) as file:
        ids = file.rows.ids
        provenance = result_provenance(file) | {"predictions": "l.csv"}
    n = len(ids)
    columns = {
        "id": ids,
        "label": ["blue", "blue", *[""] * (n - 2)],
        "next": [np.nan, np.nan, 1.0, *[np.nan] * (n - 3)],
        "predicted": ["blue", "red", *["red"] * (n - 2)],
        "probability": np.linspace(0.5, 1, n),
        "fold": [1, 2, *[0] * (n - 2)],
        "probability:red": np.full(n, 0.5),
    }
    write_table(tmp_path / "l.csv", LABELLED, columns)
    line = Result("label", "colours", "tiny", "linear", {}, {}, "2 folds", 0, {}, 2, 0.1, "x", provenance)
    append_result(tmp_path / "results.jsonl", line)
    written = report(world.features, runs=tmp_path, thumbnails=False, color="predicted:linear")
    data = page_data(written.path)
    predicted, verdict = column(data, "predicted:linear"), column(data, "verdict:linear")
    assert [predicted["names"][code] for code in unpack(predicted["values"])] == columns["predicted"]
    named = [*verdict["names"], verdict["missing"]]
    assert [named[code] for code in unpack(verdict["values"])[:3]] == ["right", "wrong", "no label"]
    assert {"probability:linear", "next:linear"} <= set(written.columns)


def test_same_seed_same_page(world, tmp_path):
    pages = []
    for _ in range(2):
        written = report(
            world.features,
            runs=world.runs,
            output=tmp_path / "o.html",
            thumbnails=False,
        )
        data = page_data(written.path)
        about = section(data, "provenance")["about"]
        about[:] = [pair for pair in about if pair[0] != "report"]
        pages.append(data)
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thumbnail_size": 4}, "--thumbnail-size 4: give an integer of at least 16 and of at most 256"),
        ({"max_points": 0}, "--max-points 0: give an integer of at least 1"),
        ({"max_thumbnails": -1}, "--max-thumbnails -1: give an integer of at least 0"),
        ({"n_neighbors": 1}, "--n-neighbors 1: give an integer of at least 2"),
        ({"umap_metric": "cosin"}, "--umap-metric cosin: unknown. Did you mean 'cosine'"),
        ({"prep": "umap"}, "--prep umap: unknown step 'umap'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        ReportOptions(**options)


def test_features_are_prepared_before_the_map(world, tmp_path):
    def coordinates(prep):
        options = {"thumbnails": False, "prep": prep}
        written = report(world.features, output=tmp_path / "o.html", **options)
        map_ = page_data(written.path)["map"]
        return np.array([unpack(map_["x"]), unpack(map_["y"])]), written.notes

    plain, notes = coordinates("none")
    assert not any("prepared" in text for text in notes)
    prepared, notes = coordinates("l2+pca2")
    assert notes[-1].startswith(
        "Features of the map are prepared first (l2+pca2). Rows scaled to length 1. PCA: 2 of 24 dimensions"
    )
    assert not np.allclose(plain, prepared)
    with pytest.raises(EmbedkitError, match=r"colours\.h5: no view statistics, which view whitening needs"):
        coordinates("view-whiten")


def test_command(world, tmp_path, capsys):
    target = tmp_path / "deep" / "out.html"
    command = ["report", str(world.features), "--runs", str(world.runs), "-o", str(target)]
    assert main([*command, "--no-thumbnails"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(target)
    assert "60 images, 0 pictures, 1 result," in err
    assert main([*command, "--no-thumbnails", "--json", "--prep", "pca3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n_points"] == 60
    assert any("prepared first (pca3)" in text for text in document["notes"])
    assert [path.name for path in target.parent.iterdir()] == ["out.html"]


def test_command_mistakes(world, tmp_path, capsys):
    assert main(["report", str(tmp_path / "no.h5")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main(["report", str(world.features), "--runs", str(tmp_path / "no")]) == 2
    assert "no such folder" in capsys.readouterr().err
    constant = write_features(
        tmp_path / "c.h5", np.ones((9, 4), np.float32), Rows(ids=np.arange(9).astype(str))
    )
    assert main(["report", str(constant), "--runs", str(tmp_path)]) == 1
    assert f"{constant}: all 9 images have the same features" in capsys.readouterr().err


def test_nothing_readable_is_an_error(tmp_path):
    import h5py

    path = write_features(
        tmp_path / "x.h5", np.full((2, 3), np.nan, np.float32), Rows(ids=np.array(["a", "b"]))
    )
    with h5py.File(path, "a") as file:
        file.create_dataset("ok", data=np.zeros(2, bool))
    with pytest.raises(EmbedkitError, match="no row could be read"):
        report(path, output=tmp_path / "o.html")


def test_the_map_is_made_as_the_clustering_prepared_the_features(world, tmp_path):
    with FeatureFile(world.features) as file:
        write_clustering(tmp_path, file, "c.csv", file.rows.labels, k=3, prep="l2+pca3")
    quick = {"thumbnails": False, "projection": "pca"}

    def caption(**options):
        written = report(world.features, output=tmp_path / "o.html", **quick, **options)
        return page_data(written.path)["map"]["text"]

    assert caption(runs=tmp_path).startswith(
        "Features prepared by l2+pca3, as for the clustering kmeans: 3 of 24 dimensions; then: The first two"
    )
    assert caption().startswith("Features prepared by pca95, as a clustering would: ")
    assert "Trustworthiness 0." in caption(prep="none")


@pytest.mark.parametrize("k", [{"k": 3}, {"k": "auto:fine", "outcomes": {"k": 3}}])
def test_the_map_keeps_as_many_directions_as_the_clustering_did(k, tmp_path):
    rows = Rows(ids=np.array([f"row-{i}" for i in range(120)]))
    path = write_features(tmp_path / "x.h5", np.random.default_rng(0).normal(size=(120, 12)), rows)
    with FeatureFile(path) as file:
        write_clustering(tmp_path, file, "c.csv", np.arange(120) % 3, prep="pca8+neighbor-whiten", **k)
    written = report(path, runs=tmp_path, output=tmp_path / "o.html", thumbnails=False, projection="pca")
    assert ": 4 of 12 dimensions; then" in page_data(written.path)["map"]["text"]


def test_a_map_is_not_computed_twice(world, tmp_path, monkeypatch):
    from reports.map import layout

    options = {"output": tmp_path / "o.html", "thumbnails": False, "seed": 11}
    first = page_data(report(world.features, **options).path)["map"]
    monkeypatch.setattr(layout, "_umap", None)
    assert page_data(report(world.features, **options).path)["map"] == first


def test_tsne_without_its_package_names_it(world, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(UsageError, match=r"--projection tsne needs openTSNE: pip install"):
        report(world.features, output=tmp_path / "o.html", thumbnails=False, projection="tsne")


def test_probes_of_one_method_are_told_apart_by_task_and_split():
    told = (("probe", "kfold:5"), ("probe", "group 70/15/15"), ("probe 10 per class", "stratified"))
    results = [
        Result(task, "d", "f", "linear", {}, {}, split, 0, {}, 5, 0.0, "numpy") for task, split in told
    ]
    results.append(Result("probe", "d", "f", "knn", {}, {}, "kfold:5", 0, {}, 5, 0.0, "numpy"))
    assert _unique_titles(results) == [
        "linear (probe) kfold:5",
        "linear (probe) group 70/15/15",
        "linear (probe 10 per class)",
        "knn",
    ]
