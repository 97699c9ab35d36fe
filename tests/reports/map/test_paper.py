"""The map as a figure for a paper: size, places, colours, names, fonts, and the same bytes each time."""

import json
import os
import re
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from embedkit import report
from embedkit.cli import main
from embedkit.errors import UsageError
from reports.figure_options import FigureOptions
from reports.map.columns import Category, Number
from reports.map.figure import Drawn
from reports.map.hues import MISSING, PALETTE, colour
from reports.map.paper import names
from reports.map.paper.drawing import limits
from reports.map.paper.fonts import families, short
from reports.map.sheets import Sheets, cut

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

NASTY = ("$x^2$ at 5$", "_under", "a\nb", "</svg><script>", "\x1b[31mred", "x" * 10_000, "مجرة")


def drawing(codes, xy, class_names, **how):
    label = Category("label", "label $ _", "", np.asarray(codes), tuple(class_names), "no label")
    ids = np.array([str(i) for i in range(len(xy))])
    return Drawn(ids, np.asarray(xy, np.float32), (label,), "label", ("UMAP 1", "UMAP 2"), **how)


def centre_of(image, hue):
    """Return the middle of all pixels of a colour, from the left and from the top."""
    wanted = [int(hue[at : at + 2], 16) for at in (1, 3, 5)]
    rows, columns = np.nonzero((np.asarray(image.convert("RGB")) == wanted).all(axis=2))
    return np.array([columns.mean(), rows.mean()])


@pytest.fixture
def two(tmp_path):
    return drawing([0, 1, -1], [[0, 0], [2, 1], [1, 0.5]], ("a", "b"))


@pytest.mark.parametrize(
    ("size", "dpi", "pixels"),
    [("120x80mm", 254, (1200, 800)), ("12 × 8 cm", 127, (600, 400)), ("4x3in", 100, (400, 300))],
)
def test_a_png_is_as_large_as_asked(two, tmp_path, size, dpi, pixels):
    path = tmp_path / "m.png"
    two.save(FigureOptions(figure=path, figure_size=size, figure_dpi=dpi))
    with Image.open(path) as image:
        assert image.size == pixels
        assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.02)


def test_a_pdf_and_an_svg_are_as_large_as_asked(two, tmp_path):
    for name in ("m.pdf", "m.svg"):
        two.save(FigureOptions(figure=tmp_path / name, figure_size="127x101.6mm"))
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", (tmp_path / "m.pdf").read_bytes())
    assert [float(one) for one in box.groups()] == pytest.approx([360, 288])
    svg = (tmp_path / "m.svg").read_text("utf-8")
    assert 'width="360pt" height="288pt"' in svg


def test_places_keep_their_proportions_and_bear_the_hue_of_the_page(two, tmp_path):
    path = tmp_path / "m.png"
    two.save(FigureOptions(figure=path, figure_size="120x80mm", figure_dpi=300, figure_names=False))
    with Image.open(path) as image:
        # The map alone: the legend's dots have the same colours.
        image = image.crop((0, 0, image.width - 250, image.height))
        a, b, grey = (centre_of(image, hue) for hue in (PALETTE[0], PALETTE[1], MISSING))
    across, down = b - a
    assert across > 300
    assert -down == pytest.approx(across / 2, abs=2)  # up is up, and one unit as long as across
    np.testing.assert_allclose(grey, (a + b) / 2, atol=2)


def test_hues_beyond_ten_are_those_of_the_page():
    assert [colour(i) for i in range(10)] == [*PALETTE]
    # What the page's own `mixed` makes of #0072B2: nearer to black, then nearer to white by 0.42.
    assert (colour(10), colour(20), colour(30)) == ("#004267", "#6badd2", "#0072B2")


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_map_gives_the_same_bytes(tmp_path, kind):
    """In another process, with another order of sets, another day and somebody's own settings."""
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nfigure.facecolor: red\n")
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from reports.figure_options import FigureOptions\n"
        "from reports.map.columns import Category\n"
        "from reports.map.figure import Drawn\n"
        "xy = np.random.default_rng(0).normal(size=(50, 2)).astype('f4')\n"
        "label = Category('label', 'label', '', np.arange(50) % 3, ('a', 'b', 'c'), '')\n"
        "options = FigureOptions(figure=Path(sys.argv[1]))\n"
        "Drawn(np.arange(50).astype(str), xy, (label,), 'label').save(options)"
    )
    found = []
    for seed, more in (("1", {}), ("2", {"MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "0"})):
        path = tmp_path / f"{seed}.{kind}"
        environment = {**os.environ, "PYTHONHASHSEED": seed, **more}
        subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=True)
        found.append(path.read_bytes())
    assert found[0] == found[1]
    assert not re.search(rb"matplotlib(\.org|,| v| pdf)", found[0], re.I)  # nor which version drew it
    assert b"Date" not in found[0]


def test_letters_of_a_pdf_are_embedded_as_truetype(tmp_path):
    path = tmp_path / "m.pdf"
    drawing([0, 1], [[0, 0], [1, 1]], ("galaxy", "star")).save(FigureOptions(figure=path))
    data = path.read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    # The points, with what of them is seen through; everything else is lines and letters.
    assert data.count(b"/Subtype /Image") - data.count(b"/SMask") == 1
    pages = [
        zlib.decompress(one)
        for one in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.S)
        if one[:1] == b"x"
    ]
    assert any(b"Tj" in page or b"TJ" in page for page in pages)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_names_are_text_and_nothing_else(tmp_path, kind):
    rng = np.random.default_rng(0)
    path = tmp_path / f"m.{kind}"
    codes = np.arange(70) % len(NASTY)
    found = drawing(codes, rng.normal(size=(70, 2)) + 9 * codes[:, None], NASTY)
    found.save(FigureOptions(figure=path, figure_size="300x200mm"))
    if kind == "svg":
        from xml.etree import ElementTree

        tags = {element.tag.split("}")[-1] for element in ElementTree.parse(path).iter()}
        assert not {"script", "a", "foreignObject"} & tags
        text = path.read_text("utf-8")
        assert set(re.findall(r'href="([^#][^"]{0,9})', text)) <= {"data:image"}


def test_long_names_are_cut_and_stay_on_a_line():
    assert short("x" * 99) == "x" * 27 + "…"
    assert short("a\n b\tc") == "a b c"
    assert short("\x1b[1m") == r"\x1b[1m"


def test_letters_that_no_font_has_are_said(tmp_path):
    odd = chr(0x10FFFD)  # for private use
    assert families(["plain"]) == (["DejaVu Sans"], "")
    assert families([odd])[1] == odd
    found = drawing([0], [[0, 0]], (odd,))
    (note,) = found.save(FigureOptions(figure=tmp_path / "m.pdf"))
    assert note.startswith("No font here has ")


def test_names_stand_at_the_densest_place_of_each():
    rng = np.random.default_rng(3)
    xy = np.concatenate(
        [rng.normal(0, 0.1, (200, 2)), rng.uniform(-9, 9, (60, 2)), rng.normal(6, 0.1, (99, 2))]
    )
    codes = np.array([0] * 230 + [1] * 30 + [1] * 99)
    first, second = names.anchors(xy, codes)
    assert (first.code, first.n, second.n) == (0, 230, 129)
    np.testing.assert_allclose([first.x, first.y], 0, atol=0.2)
    np.testing.assert_allclose([second.x, second.y], 6, atol=0.2)


@pytest.mark.parametrize("seed", range(20))
def test_names_never_overlap_and_never_leave_the_map(seed):
    rng = np.random.default_rng(seed)
    points = [tuple(one) for one in rng.uniform(0, 200, (40, 2))]
    sizes = [(float(one), 11.0) for one in rng.uniform(10, 90, 40)]
    boxes = [one for one in names.place(points, sizes, (200, 200)) if one is not None]
    assert len(boxes) >= 10
    for i, a in enumerate(boxes):
        assert min(a.left, a.low) >= 0
        assert max(a.left + a.wide, a.low + a.high) <= 200 + 1e-9
        for b in boxes[:i]:
            apart_across = a.left >= b.left + b.wide or b.left >= a.left + a.wide
            assert apart_across or a.low >= b.low + b.high or b.low >= a.low + a.high


def test_a_name_wider_than_the_map_has_no_place():
    assert names.place([(5, 5)], [(300.0, 11.0)], (200, 200)) == [None]


def test_the_scale_runs_between_percentiles():
    values = np.append(np.arange(1001, dtype=np.float32), [np.nan])
    assert limits(values) == (10, 990)
    assert limits(np.full(5, np.nan, np.float32)) == (0, 1)
    assert limits(np.full(5, 7, np.float32)) == (7, 7)


@pytest.mark.parametrize("values", [[np.nan] * 4, [3.0] * 4, [1, 2, np.nan, 1e30], [-1e-30, 0, 1e-30, 0]])
@pytest.mark.parametrize("size", ["170x120mm", "60x60mm"])
def test_numbers_of_every_kind_are_drawn(tmp_path, values, size):
    column = Number("size", "size $ _", "", np.array(values, np.float32))
    drawn = Drawn(np.array(list("abcd")), np.arange(8, dtype=np.float32).reshape(4, 2), (column,), "size")
    assert drawn.save(FigureOptions(figure=tmp_path / "m.svg", figure_size=size)) == []


def test_a_legend_without_room_names_the_largest(tmp_path):
    codes = np.repeat(np.arange(50), np.arange(50, 0, -1))
    found = drawing(
        codes, np.random.default_rng(0).normal(size=(len(codes), 2)), [f"class {i}" for i in range(50)]
    )
    notes = found.save(FigureOptions(figure=tmp_path / "m.svg", figure_size="80x80mm"))
    assert any("The figure's legend has room for" in note for note in notes)
    assert any("have no room on the figure's map" in note for note in notes)


def picture_sheets(n):
    """Return a sheet with a picture of one colour a point."""
    sheet = np.zeros((1536, 1536, 3), np.uint8)
    for i in range(n):
        sheet[96 * (i // 16) :, 96 * (i % 16) :][:96, :96] = (200, 20 * i, 40)
    stream = BytesIO()
    Image.fromarray(sheet).save(stream, "PNG")
    side = np.full(n, 96, np.uint16)
    place = np.arange(n, dtype=np.int32)[::-1].copy()
    return Sheets(96, (stream.getvalue(),), place, side, side, *np.zeros((4, n), np.float32))


def test_pictures_are_cut_from_their_sheet():
    sheets = picture_sheets(5)
    found = {row: pixels.mean(axis=(0, 1))[1] for row, pixels in cut(sheets)}
    assert list(found) == [4, 3, 2, 1, 0]
    assert found == {row: 20 * (4 - row) for row in range(5)}


def test_pictures_stand_where_their_points_are(tmp_path):
    xy = [[0, 0], [4, 0], [0, 4], [4, 4], [4.01, 4]]
    found = drawing([0, 0, 0, 0, 0], xy, ("a",), sheets=picture_sheets(5))
    path = tmp_path / "m.png"
    how = {"figure": path, "figure_size": "100x100mm", "figure_dpi": 254, "figure_names": False}
    assert found.save(FigureOptions(**how, figure_thumbnails=8)) == []
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # The first of two that would cover one another is drawn: that of row 4, which is first on the sheet.
    for row, green in ((0, 80), (1, 60), (2, 40), (4, 0)):
        n_pixels = (abs(pixels - (200, green, 40)).max(axis=2) < 3).sum()
        assert 75**2 <= n_pixels <= 80**2, row  # less the rim
    assert (abs(pixels - (200, 20, 40)).max(axis=2) < 3).sum() == 0


def test_pictures_too_small_for_the_paper_are_said(tmp_path):
    found = drawing([0, 0], [[0, 0], [4, 4]], ("a",), sheets=picture_sheets(2))
    (note,) = found.save(FigureOptions(figure=tmp_path / "m.pdf", figure_thumbnails=30))
    assert "96 pixels are few for 30 mm at 300 dpi" in note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"figure": "m.gif"}, "not known by its ending. Give a name that ends in .pdf, .svg or .png"),
        ({"figure": "m"}, "not known by its ending"),
        ({"figure_size": "100x80mm"}, "--figure-size is for --figure FILE"),
        ({"figure_dpi": 100, "figure_names": False}, "--figure-dpi and --figure-names are for"),
        ({"figure": "m.pdf", "figure_size": "100x80"}, "with their unit"),
        ({"figure": "m.pdf", "figure_size": "0x80mm"}, "19 to 2032 mm a side"),
        ({"figure": "m.pdf", "figure_size": "1e9x80mm"}, "with their unit"),
        ({"figure": "m.png", "figure_size": "2000x2000mm", "figure_dpi": 1200}, "megapixels"),
        ({"figure": "m.pdf", "figure_dpi": 5}, "--figure-dpi 5"),
        ({"figure": "m.pdf", "figure_thumbnails": 0}, "--figure-thumbnails 0"),
        ({"figure": "m.pdf", "figure_thumbnails": 8, "thumbnails": False}, "wants pictures"),
        ({"figure": "m.pdf", "figure_thumbnails": 8}, "there are no pictures"),
    ],
)
def test_what_a_figure_cannot_be(plain_file, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        report(plain_file(n=6), output=tmp_path / "o.html", **options)


def test_a_figure_with_no_room_for_a_map_is_refused(tmp_path):
    found = drawing([0, 1], [[0, 0], [1, 1]], ("a" * 28, "b" * 28))
    with pytest.raises(UsageError, match="no room for a map"):
        found.save(FigureOptions(figure=tmp_path / "m.pdf", figure_size="40x20mm"))
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_is_said_first(plain_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'embedkit-images\[figure\]'"):
        report(plain_file(n=6), output=tmp_path / "o.html", figure=tmp_path / "m.pdf")
    assert not (tmp_path / "o.html").exists()


def test_the_command_writes_page_and_figure(world, tmp_path, capsys):
    figure, page = tmp_path / "m.svg", tmp_path / "o.html"
    command = [
        "report",
        str(world.features),
        "--runs",
        str(world.runs),
        "-o",
        str(page),
        "--projection",
        "pca",
    ]
    assert main([*command, "--figure", str(figure), "--figure-thumbnails", "6", "--color", "cluster"]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == [str(page), str(figure)]
    assert "<image" in figure.read_text("utf-8")


def test_json_names_the_figure_and_holds_no_pictures(world, tmp_path, capsys):
    command = ["report", str(world.features), "-o", str(tmp_path / "o.html"), "--projection", "pca", "--json"]
    assert main([*command, "--figure", str(tmp_path / "m.png")]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert (document["figure_file"], document["n_thumbnails"]) == (str(tmp_path / "m.png"), 60)
    assert document["drawn"]["sheets"] is None
    assert len(text) < 50_000


def test_a_figure_replaces_only_a_picture(world, tmp_path):
    found = report(world.features, output=tmp_path / "o.html", projection="pca", thumbnails=False)
    (tmp_path / "m.svg").write_bytes(world.features.read_bytes())
    with pytest.raises(UsageError, match="a feature file is there"):
        found.save_figure(tmp_path / "m.svg")


def test_a_report_draws_more_of_them(world, tmp_path):
    found = report(world.features, runs=world.runs, output=tmp_path / "o.html", projection="pca")
    assert found.figure_file is None
    assert (
        found.save_figure(tmp_path / "m.pdf", "split" if "split" in found.columns else None)
        == tmp_path / "m.pdf"
    )
    assert (tmp_path / "m.pdf").read_bytes().startswith(b"%PDF-")
    found.save_figure(tmp_path / "m.png", "brightness", figure_size="60x60mm", figure_dpi=100)
    with Image.open(tmp_path / "m.png") as image:
        assert image.size == (236, 236)
    with pytest.raises(UsageError, match="There are label"):
        found.save_figure(tmp_path / "m.pdf", "no such")


def test_a_figure_never_replaces_what_is_read(world, tmp_path):
    image = next(world.images.rglob("*.png"))
    before = image.read_bytes()
    with pytest.raises(UsageError, match="one of the images"):
        report(world.features, output=tmp_path / "o.html", figure=image, path=str(world.images))
    page = tmp_path / "both.svg"
    with pytest.raises(UsageError):
        report(world.features, output=page, figure=page)
    assert image.read_bytes() == before
