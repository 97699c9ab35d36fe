"""Exports: what other programs read is what the report knows, held against their own rules."""

import csv
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from report_world import COLOURS, page_data, unpack, write_clustering

from embedkit import export, import_features, report
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.files.tabled import unique_names
from embedkit.options import declared
from reports.export.pictures import MOST_SIDE, cell_side, places_across
from reports.export.projector import cell
from reports.report_options import MapOptions

QUICK = {"projection": "pca"}


@pytest.fixture(scope="module")
def table(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "atlas.parquet"
    done = export(world.features, output=path, runs=world.runs, vectors=True, **QUICK)
    return done, pq.read_table(path)


@pytest.fixture(scope="module")
def projector(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("folder") / "projector"
    return export(world.features, output=path, runs=world.runs, **QUICK)


def lines(path):
    """Split as the projector does: by line feeds alone, lines of blanks passed over, cells by tabs."""
    text = path.read_bytes().decode()
    return [line.split("\t") for line in text.split("\n") if line.strip()]


def test_a_table_has_the_columns_and_types_that_embedding_atlas_asks_for(table):
    _, found = table
    types = {field.name: field.type for field in found.schema}
    assert types["x"] == types["y"] == pa.float32()
    assert types["neighbors"] == pa.struct(
        [("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))]
    )
    assert types["image"] == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert types["vector"] == pa.list_(pa.float32())
    assert all(types[name] == pa.string() for name in ("id", "path", "label", "cluster:kmeans"))


def test_a_table_says_of_each_image_what_the_feature_file_and_the_report_do(world, table):
    done, found = table
    with FeatureFile(world.features) as file:
        rows, x = file.rows, file.read()
    assert found["id"].to_pylist() == rows.ids.tolist()
    assert found["label"].to_pylist() == [rows.class_names[label] for label in rows.labels]
    np.testing.assert_array_equal(np.stack(found["vector"].to_pylist()).astype(np.float32), x)
    for path, name in zip(found["path"].to_pylist(), rows.ids.tolist(), strict=True):
        assert path == str(world.images / name)
    clusters = found["cluster:kmeans"].to_pylist()
    assert clusters[0] == "noise"
    assert clusters[1] == "cluster 0 (blue)"
    assert done.n_images == done.n_pictures == world.n
    assert done.columns == tuple(found.column_names)


def test_the_map_of_a_table_is_that_of_a_report(world, table):
    shown = report(world.features, runs=world.runs, thumbnails=False, **QUICK)
    xy = np.column_stack([table[1][axis].to_numpy() for axis in "xy"])
    np.testing.assert_array_equal(xy, shown.drawn.xy)


def test_neighbours_are_row_numbers_of_the_table_nearest_first(world, table):
    with FeatureFile(world.features) as file:
        x = file.read().astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    for row, near in enumerate(table[1]["neighbors"].to_pylist()):
        assert near["ids"] == np.argsort(apart[row], kind="stable")[:15].tolist()
        np.testing.assert_allclose(near["distances"], apart[row][near["ids"]], atol=1e-6)


def test_pictures_of_a_table_are_files_of_the_right_images(table):
    for label, picture in zip(table[1]["label"].to_pylist(), table[1]["image"].to_pylist(), strict=True):
        assert picture["bytes"].startswith(b"\xff\xd8\xff")  # by which Embedding Atlas knows a JPEG
        mean = np.asarray(Image.open(io.BytesIO(picture["bytes"]))).mean(axis=(0, 1))
        assert np.abs(mean - COLOURS[label]).max() < 8


def test_a_table_comes_back_as_a_feature_file(world, table, tmp_path):
    done, _ = table
    back = import_features(done.path, tmp_path / "back.h5")
    with FeatureFile(back.path) as again, FeatureFile(world.features) as file:
        np.testing.assert_array_equal(again.read(), file.read())
        assert again.rows.ids.tolist() == file.rows.ids.tolist()
        assert again.rows.class_names == file.rows.class_names
        np.testing.assert_array_equal(again.rows.labels, file.rows.labels)


def test_the_same_export_gives_the_same_bytes(world, tmp_path):
    names = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in names:
        export(world.features, output=path, runs=world.runs, **QUICK)
    assert names[0].read_bytes() == names[1].read_bytes()


def test_vectors_are_left_out_unless_asked_for(world, tmp_path):
    done = export(world.features, output=tmp_path / "a.parquet", thumbnails=False, **QUICK)
    assert "vector" not in done.columns
    assert "image" not in done.columns
    assert "neighbors" in done.columns
    assert done.commands[0].endswith("a.parquet --x x --y y --text id --neighbors neighbors")


def test_what_is_not_known_is_null_and_columns_of_nothing_are_left_out(plain_file, tmp_path):
    targets = np.stack([np.arange(30.0), np.full(30, np.nan)], axis=1)
    targets[3, 0] = np.nan
    labels = np.full(30, -1)
    labels[:5] = 0
    file = plain_file(labels=labels, class_names=("a",), targets=targets, target_names=("t", "never"))
    done = export(file, output=tmp_path / "a.parquet", **QUICK)
    found = pq.read_table(done.path)
    assert found["label"].to_pylist() == ["a"] * 5 + [None] * 25
    assert found["t"].to_pylist()[2:5] == [2.0, None, 4.0]
    assert "never" not in found.column_names


def test_positions_groups_and_many_classes_are_all_there(tmp_path, plain_file):
    sky = np.column_stack([np.linspace(0, 359.987654321, 30), np.linspace(-89, 89, 30)])
    names = tuple(f"class {i:02d}" for i in range(90))
    groups = [f"object {i}" for i in range(30)]
    file = plain_file(coordinates=sky, group=np.array(groups), labels=np.arange(30) * 3, class_names=names)
    found = pq.read_table(export(file, output=tmp_path / "a.parquet", **QUICK).path)
    assert found["ra"].to_pylist() == sky[:, 0].tolist()
    assert found["dec"].to_pylist() == sky[:, 1].tolist()
    assert found["group"].to_pylist() == groups
    assert found["label"].to_pylist() == list(names[::3])


def test_columns_whose_names_are_taken_get_a_number(tmp_path, plain_file):
    names = ("x", "Image", "ID", "id#2", "vector")
    values = np.arange(150.0).reshape(30, 5)
    file = plain_file(targets=values, target_names=names)
    found = pq.read_table(export(file, output=tmp_path / "a.parquet", **QUICK).path)
    folded = [name.casefold() for name in found.column_names]
    assert len(set(folded)) == len(folded)  # DuckDB takes X and x for one
    assert found["x#2"].to_pylist() == values[:, 0].tolist()
    assert found["Image#2"].to_pylist() == values[:, 1].tolist()
    assert unique_names(["a", "A", "a#2"]) == ["a", "A#2", "a#2#2"]


def test_some_rows_alone_are_written_with_their_own_neighbours(world, tmp_path):
    done = export(world.features, output=tmp_path / "a.parquet", only_class="red", vectors=True, **QUICK)
    found = pq.read_table(done.path)
    assert set(found["label"].to_pylist()) == {"red"}
    assert done.n_images == 20
    assert max(max(near["ids"]) for near in found["neighbors"].to_pylist()) < 20
    with FeatureFile(world.features) as file:
        rows = [file.rows.ids.tolist().index(name) for name in found["id"].to_pylist()]
        np.testing.assert_array_equal(np.stack(found["vector"].to_pylist()), file.read(np.array(rows)))


def test_a_projector_holds_vectors_map_and_what_is_known(world, projector):
    vectors = np.array(lines(projector.path / "vectors.tsv"), dtype=np.float64)
    with FeatureFile(world.features) as file:
        np.testing.assert_array_equal(vectors.astype(np.float32), file.read())
        ids = file.rows.ids.tolist()
    known = lines(projector.path / "metadata.tsv")
    assert known[0][0] == "id"
    assert tuple(known[0]) == projector.columns
    assert [row[0] for row in known[1:]] == ids
    assert {len(row) for row in known} == {len(known[0])}
    places = np.array(lines(projector.path / "map.tsv"), dtype=np.float32)
    assert places.shape == (world.n, 3)  # of two the projector can't make three principal components
    assert not places[:, 2].any()


def test_a_projectors_configuration_is_what_its_schema_reads(world, projector):
    """Parsed by a grammar of protobuf's text format as far as it is needed here."""
    text = (projector.path / "projector_config.pbtxt").read_text()
    tokens = re.findall(r'"[^"]*"|[\w.]+:?|[{}]', text)
    found, stack = [], []
    while tokens:
        token = tokens.pop(0)
        if token == "}":
            stack.pop()
        elif tokens[0] == "{":
            tokens.pop(0)
            one = {}
            (stack[-1].__setitem__(token, one) if stack else found.append(one))
            stack.append(one)
        else:
            assert token.endswith(":")
            stack[-1].setdefault(token[:-1], []).append(json.loads(tokens.pop(0)))
    features, places = found
    assert features["tensor_shape"] == [world.n, 24]
    assert places["tensor_shape"] == [world.n, 3]
    for one in found:
        assert one["metadata_path"] == ["metadata.tsv"]
        assert (projector.path / one["tensor_path"][0]).is_file()
        assert one["sprite"]["image_path"] == ["sprite.jpg"]
    with Image.open(projector.path / "sprite.jpg") as square:
        width, height = features["sprite"]["single_image_dim"]
        assert square.width % width == square.height % height == 0
        assert square.width == square.height <= 8192


def test_pictures_of_a_projector_stand_in_the_order_of_the_rows(world, projector):
    with Image.open(projector.path / "sprite.jpg") as square, FeatureFile(world.features) as file:
        pixels = np.asarray(square)
        side = len(pixels) // places_across(world.n)
        for row, label in enumerate(file.rows.labels):
            across = len(pixels) // side
            top, left = row // across * side + side // 2, row % across * side + side // 2
            middle = pixels[top - 8 : top + 8, left - 8 : left + 8].mean(axis=(0, 1))
            assert np.abs(middle - COLOURS[file.rows.class_names[label]]).max() < 12


@pytest.mark.parametrize("n", [1, 2, 9, 10, 600, 17_736, 100_000, 1_000_000])
def test_a_square_of_pictures_is_never_larger_than_the_projector_takes(n):
    across, side = places_across(n), cell_side(n, 96)
    assert across**2 >= n > (across - 1) ** 2
    assert side % 8 == 0
    assert 8 <= side <= 96
    assert across * side <= MOST_SIDE


NASTY = [
    "two\tcells",
    "two\nlines",
    "old\rline",
    "one\u2028more\x85line",
    "=HYPERLINK(1)",
    "-1+1",
    "@sum",
    "'=quoted",
    "1237648720693755918",
    "007",
    "1e5",
    "0x1F",
    "Infinity",
    "1.50",
    " ",
    "\u00a0",
    "\ufeff",
    "\x1b[31mred",
    "\u202eright to left",
    "12",
    "-3.5",
    "plain",
]


def test_no_text_breaks_a_line_runs_or_becomes_another_number():
    for text in NASTY:
        shown = cell(text)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", shown), text
        assert len(shown.splitlines()) == 1
        assert shown.strip().strip("\ufeff")
        assert not re.match(r"[=+@\t\r]|-(?![\d.]+$)", shown)
        try:
            number = float(shown)
        except ValueError:
            continue
        # JavaScript prints a double as its shortest text, and a whole one without a point.
        assert shown == (str(int(number)) if number.is_integer() else repr(number))
    assert len({cell(text) for text in NASTY}) == len(NASTY)
    assert cell("plain") == "plain"
    assert cell("12") == "12"
    assert cell(None) == ""


def test_nasty_ids_keep_their_lines(plain_file, tmp_path):
    file = plain_file(n=len(NASTY), ids=NASTY)
    done = export(file, output=tmp_path / "projector", **QUICK)
    known = lines(done.path / "metadata.tsv")
    assert [row[0] for row in known[1:]] == [cell(name) for name in NASTY]
    found = pq.read_table(export(file, output=tmp_path / "a.parquet", **QUICK).path)
    assert found["id"].to_pylist() == NASTY  # a table has types, and needs none of it


def test_one_dimension_and_one_row(tmp_path, capsys):
    rows = Rows(ids=np.array(["only"]))
    write_features(tmp_path / "one.h5", np.ones((1, 1), np.float32), rows)
    done = export(tmp_path / "one.h5", output=tmp_path / "projector")
    assert lines(done.path / "vectors.tsv") == [["1", "0", "0"]]
    assert any("further ones of zeros" in text for text in done.notes)
    found = pq.read_table(export(tmp_path / "one.h5", output=tmp_path / "a.parquet", vectors=True).path)
    assert "neighbors" not in found.column_names
    assert found["vector"].to_pylist() == [[1.0]]


def test_a_projectors_folder_is_replaced_whole_and_others_are_not_touched(world, tmp_path):
    there = tmp_path / "projector"
    export(world.features, output=there, **QUICK)
    assert (there / "sprite.jpg").exists()
    export(world.features, output=there, thumbnails=False, **QUICK)
    assert not (there / "sprite.jpg").exists()
    (there / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match=r"holds 'mine.txt'.*Name a new folder"):
        export(world.features, output=there, **QUICK)
    assert (there / "mine.txt").read_text() == "kept"


def test_wrong_calls_are_refused_before_anything_is_computed(world, tmp_path):
    with pytest.raises(UsageError, match="not known by its ending"):
        export(world.features, output=tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match="--vectors is for a table"):
        export(world.features, output=tmp_path / "folder", vectors=True)
    with pytest.raises(UsageError, match=r"--runs .*no such folder"):
        export(world.features, output=tmp_path / "a.parquet", runs=tmp_path / "nowhere")
    with pytest.raises(EmbedkitError, match="nowhere"):
        export(world.features, output=tmp_path / "a.parquet", path=str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_extra_is_named(world, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"embedkit-images\[parquet\]"):
        export(world.features, output=tmp_path / "a.parquet")


def test_an_export_asks_for_a_map_in_the_words_of_a_report():
    from embedkit.verbs import VERBS, target

    of_report = {name for one in VERBS["report"].options for name in declared(target(one))}
    of_export = {name for one in VERBS["export"].options for name in declared(target(one))}
    assert set(declared(MapOptions)) <= of_report & of_export
    assert of_export - of_report == {"vectors"}


def test_the_command_says_what_it_wrote_and_what_opens_it(world, tmp_path, capsys):
    path = tmp_path / "a b.parquet"
    assert main(["export", str(world.features), "-o", str(path), "--projection", "pca"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(path)
    assert f"Open it: `embedding-atlas '{path}' --x x --y y" in said.err
    assert main(["export", str(world.features), "-o", str(path), "--projection", "pca", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(path)
    assert found["n_images"] == world.n


def test_a_report_is_a_data_frame(world):
    shown = report(world.features, runs=world.runs, **QUICK)
    frame = shown.to_pandas()
    assert list(frame["id"]) == shown.drawn.ids.tolist()
    np.testing.assert_array_equal(frame[["x", "y"]].to_numpy(), shown.drawn.xy)
    with FeatureFile(world.features) as file:
        assert list(frame["label"]) == [file.rows.class_names[label] for label in file.rows.labels]
    assert (frame["cluster:kmeans"] == "noise").sum() == len(range(0, 60, 9))


def test_noise_and_rows_that_no_clustering_knows_are_told_apart(world, tmp_path):
    with FeatureFile(world.features) as file:
        write_clustering(tmp_path, file, "some.csv", np.array([-1, 0, 1]))
    found = pq.read_table(export(world.features, output=tmp_path / "a.parquet", runs=tmp_path, **QUICK).path)
    assert found["cluster:kmeans"].to_pylist()[:5] == ["noise", "cluster 0", "cluster 1", None, None]


@pytest.fixture(scope="module")
def second(world, tmp_path_factory):
    """Other features of most of the images, in another order."""
    with FeatureFile(world.features) as file:
        rows = np.arange(55)[::-1]
        x, kept = file.read(np.sort(rows))[::-1], file.rows.take(rows)
    path = tmp_path_factory.mktemp("second") / "other.h5"
    write_features(
        path, np.ascontiguousarray(x[:, :10] * 3), kept, provenance={"dataset": {"name": "colours"}}
    )
    return path


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_csv_says_the_same_as_parquet_to_the_last_digit(world, table, tmp_path):
    done = export(world.features, output=tmp_path / "o.csv", runs=world.runs, vectors=True, **QUICK)
    assert done.open_with == ()
    again = export(world.features, output=done.path, runs=world.runs, vectors=True, **QUICK)
    assert again.path.read_bytes() == done.path.read_bytes()
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\na,b\n")
    with pytest.raises(UsageError, match="a text is there, and would be replaced by"):
        export(world.features, output=labels, runs=world.runs, **QUICK)
    found, other = read_csv(done.path), table[1]
    assert tuple(found[0]) == done.columns
    for name in ("id", "label", "cluster:kmeans", "path"):
        assert [line[name] for line in found] == other[name].to_pylist()
    for name in ("x", "y", "distance:kmeans", "brightness"):
        np.testing.assert_array_equal(
            np.array([line[name] or "nan" for line in found], np.float32), other[name].to_numpy()
        )
    vectors = [[line[f"f{i}"] for i in range(24)] for line in found]
    np.testing.assert_array_equal(np.array(vectors, np.float32), np.stack(other["vector"].to_pylist()))


def test_csv_is_inert_in_a_spreadsheet_and_a_damaged_name_stays_in_its_cell(plain_file, tmp_path):
    ids = ["=1+1", 'a,"b"', "two\nlines", "-3", *(f"row {i}" for i in range(26))]
    done = export(plain_file(ids=ids), output=tmp_path / "o.csv", **QUICK)
    assert [line["id"] for line in read_csv(done.path)][:4] == ["'=1+1", 'a,"b"', "two\nlines", "'-3"]


def test_several_files_of_the_same_images_share_a_table(world, second, tmp_path):
    both = [world.features, second]
    done = export(both, output=tmp_path / "o.parquet", runs=world.runs, vectors=True, **QUICK)
    assert done.n_images == 55
    assert any("5 of its 60 images are left out" in one for one in done.notes)
    found = pq.read_table(done.path)
    for path, name in ((world.features, "vector"), (second, "vector:other")):
        with FeatureFile(path) as file:
            row_of = {one: row for row, one in enumerate(file.rows.ids.tolist())}
            x = file.read()[[row_of[one] for one in found["id"].to_pylist()]]
        np.testing.assert_array_equal(np.stack(found[name].to_pylist()), x)
    shown = report(both, runs=world.runs, thumbnails=False, **QUICK)
    (linked,) = page_data(shown.path)["linked"]["sets"]
    for axis in "xy":
        np.testing.assert_array_equal(found[f"{axis}:other"].to_numpy(), unpack(linked[axis]))
    with pytest.raises(UsageError, match="projector's folder is of one feature file, and 2 are named"):
        export(both, output=tmp_path / "folder")
