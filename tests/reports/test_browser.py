"""The report in a real browser, without a network."""

from pathlib import Path

import numpy as np
import pytest
from browsing import WEBGL, Visit, launched
from report_world import NASTY, unpack

from embedkit import report
from embedkit.datasets.label_file import read_labels_by_id
from embedkit.files.store import FeatureFile, write_features

pytestmark = pytest.mark.browser
LABELS = "tiles => tiles.map((tile) => tile.getAttribute('aria-label'))"


@pytest.fixture(scope="module")
def browser():
    with launched(*WEBGL) as browser:
        yield browser


@pytest.fixture(scope="module")
def html(world, tmp_path_factory) -> Path:
    # The same features with one id that would run if it were ever markup; its picture is still found.
    folder = tmp_path_factory.mktemp("browser")
    written = report(world.features, runs=world.runs, output=folder / "o.html")
    return written.path


@pytest.fixture(scope="module")
def visit(browser, html):
    """One visit that the tests share, since opening takes seconds: each leaves label colours behind."""
    visit = Visit(browser, html)
    yield visit
    visit.close()


def near(pixels, colour) -> int:
    """Number of pixels of about this colour, drawn with some transparency."""
    target = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - target).max(axis=2) < 36).sum())


def bare(visit) -> None:
    """Leave the points alone on the map."""
    for layer in ("pictures", "names", "shading"):
        if visit.page.locator(f"#layer-{layer}").get_attribute("aria-pressed") == "true":
            visit.page.click(f"#layer-{layer}")
    visit.page.wait_for_timeout(200)


@pytest.fixture
def points_alone(visit):
    bare(visit)
    yield
    for layer in ("pictures", "names", "shading"):
        visit.page.click(f"#layer-{layer}")


def test_points_are_drawn_and_recoloured(visit, points_alone):
    for colour in ("#0072B2", "#E69F00", "#009E73"):
        assert visit.map_where(lambda pixels, colour=colour: near(pixels, colour) > 100)
    visit.page.select_option("#color", "knn-agreement")
    assert visit.map_where(
        lambda pixels: (
            near(pixels, "#E69F00") == 0 and near(pixels, "#440154") + near(pixels, "#fde725") > 300
        )
    )
    visit.page.select_option("#color", "label")
    assert visit.map_where(lambda pixels: near(pixels, "#E69F00") > 100)


@pytest.mark.parametrize("times", [1, 3, 40])
def test_hover_shows_the_picture_of_this_id_on_every_level_of_zoom(visit, times):
    for row in (1, 25, 59):
        visit.zoom(times, row) if times > 1 else visit.whole()
        shown = visit.hover(row)
        assert shown == row or times < 40
        assert visit.page.locator("#tip .name").inner_text() == visit.ids[shown]
        colour = visit.picture("#tip")
        assert visit.ids[shown].split("/")[0] == ("red", "green", "blue")[colour.argmax()]
    box = visit.page.locator("#tip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1400
    assert box["y"] + box["height"] <= 900
    assert "kmeans" in visit.page.locator("#tip").inner_text()
    visit.whole()


def test_a_picture_on_the_map_is_the_one_of_its_point(visit):
    visit.zoom(30, 25)
    laid = visit.page.evaluate("() => embedkit.overlay.pictures().map(({i, x, y}) => [i, x, y])")
    assert 25 in [row for row, *_ in laid]
    for row, x, y in laid[:8]:
        px = visit.page.evaluate("row => embedkit.points.place(row)", row)
        assert px == pytest.approx([x, y], abs=0.01)
        pixel = visit.page.evaluate(
            "at => Array.from(embedkit.overlay.canvas.getContext('2d').getImageData(...at, 1, 1).data)",
            [round(x), round(y)],
        )
        if 5 < x < 600 and 5 < y < 600:
            assert visit.ids[row].split("/")[0] == ("red", "green", "blue")[int(np.argmax(pixel[:3]))]
    visit.whole()


def test_more_pictures_come_nearer_and_those_from_afar_stay(visit):
    def shown():
        return set(visit.page.evaluate("() => embedkit.overlay.pictures().map((p) => p.i)"))

    visit.page.wait_for_timeout(300)
    far = shown()
    assert 0 < len(far) < 60
    visit.zoom(2, min(far))
    x0, y0, x1, y1 = visit.page.evaluate(
        "() => { const {area: a, affine: f} = embedkit.points; return [0, 0, a.width, a.height]; }"
    )
    inside = {
        row
        for row in far
        if x0 < (p := visit.page.evaluate("r => embedkit.points.place(r)", row))[0] < x1 and y0 < p[1] < y1
    }
    assert inside <= shown()
    visit.whole()


def test_names_on_the_map_do_not_overlap(visit):
    names = visit.page.evaluate("() => embedkit.overlay.names()")
    assert {name["text"] for name in names} == {"red", "green", "blue"}
    for i, a in enumerate(names):
        for b in names[:i]:
            apart_x = a["left"] + a["wide"] <= b["left"] or b["left"] + b["wide"] <= a["left"]
            apart_y = a["up"] + a["high"] <= b["up"] or b["up"] + b["high"] <= a["up"]
            assert apart_x or apart_y


def test_click_pins_with_the_neighbours_of_the_feature_file(visit, world):
    from sklearn.neighbors import NearestNeighbors

    visit.page.mouse.click(*visit.place(25))
    card = visit.page.locator("#pins .card")
    card.wait_for()
    assert "green 05.png" in card.inner_text()
    titles = [tile.get_attribute("title") for tile in card.locator(".near .tile").all()]
    with FeatureFile(world.features) as file:
        x = file.read().astype(np.float64)
    peer = NearestNeighbors(n_neighbors=15, metric="cosine", algorithm="brute").fit(x)
    expected = [visit.ids[j] for j in peer.kneighbors(return_distance=False)[25]]
    assert [title.split(":")[0] for title in titles] == expected
    # A step on to the nearest, which is pinned above.
    card.locator(".near .tile").first.click()
    heads = visit.page.locator("#pins .card h3").all_inner_texts()
    assert heads == [expected[0], visit.ids[25]]
    for head in heads:
        visit.page.get_by_label(f"Unpin {head}", exact=True).click()
    assert visit.page.locator("#pins .card").count() == 0


def test_legend_hides_a_class(visit, points_alone):
    visit.page.locator("#legend .toggle", has_text="green").click()
    alone = visit.map_where(lambda pixels: near(pixels, "#E69F00") == 0 and near(pixels, "#0072B2") > 100)
    visit.page.get_by_role("button", name="show all", exact=True).click()
    assert alone
    assert visit.map_where(lambda pixels: near(pixels, "#E69F00") > 100)


def test_a_brush_shows_a_part_of_a_scale(visit):
    visit.page.select_option("#color", "brightness")
    bars = visit.page.locator("#legend .histogram").bounding_box()
    middle = bars["y"] + bars["height"] - 5
    visit.page.mouse.move(bars["x"] + 2, middle)
    visit.page.mouse.down()
    visit.page.mouse.move(bars["x"] + bars["width"] / 2, middle, steps=5)
    visit.page.mouse.up()
    low, high = visit.page.evaluate("() => embedkit.state.brush")
    script = """() => { const c = embedkit.columns.byKey.get("brightness");
      return [Array.from(c.values), Array.from(embedkit.points.shown)]; }"""
    values, shown = map(np.array, visit.page.evaluate(script))
    np.testing.assert_array_equal(shown.astype(bool), (values >= low) & (values <= high))
    assert 0 < shown.sum() < 60
    # The same by keys.
    visit.page.get_by_role("button", name="show all", exact=True).click()
    assert visit.page.evaluate("() => embedkit.points.shown.every(Boolean)")
    visit.page.get_by_label("Least of").focus()
    for _ in range(20):
        visit.page.keyboard.press("ArrowRight")
    assert visit.page.evaluate("() => embedkit.state.brush[0]") == pytest.approx(
        (min(values) + max(values)) / 2, rel=0.01
    )
    visit.page.select_option("#color", "label")


def test_search_finds_an_id_and_a_class(visit):
    visit.page.fill("#search", "RED 07")
    assert visit.page.locator("#found li").all_inner_texts() == ["red/red 07.png"]
    visit.page.press("#search", "Enter")
    assert "red 07.png" in visit.page.locator("#pins .card h3").inner_text()
    visit.page.locator("#pins .card").get_by_label("Unpin").click()
    visit.page.fill("#search", "nobody")
    assert visit.page.locator("#found li").all_inner_texts() == ["No id and no column contains this."]
    visit.page.fill("#search", "gree")
    visit.page.locator("#found li", has_text="label: green").click()
    assert visit.page.locator("#selection h3").inner_text() == "20 selected"
    visit.page.get_by_label("Drop the selection").click()
    visit.page.click("#tab-pins")


def test_gallery_click_pins(visit):
    visit.page.locator("#clusters .tile").nth(3).click()
    assert visit.page.locator("#pins .card").count() == 1
    visit.page.locator("#pins .card").get_by_label("Unpin").click()
    visit.page.evaluate("window.scrollTo(0, 0)")


def test_all_images_of_a_cluster_on_request_by_keys_and_as_the_selection(visit):
    card = visit.page.locator("#clusters .cluster").first
    gallery = visit.page.evaluate("() => embedkit.data.sections.find((s) => s.name === 'clusters').data[0]")
    rows = unpack(gallery["rows"])[: gallery["clusters"][0]["size"]].tolist()
    ids = [visit.ids[row] for row in rows]
    button = card.locator(".all")
    assert button.inner_text() == f"show all {len(rows)} images"
    button.focus()
    visit.page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    tiles = card.locator(".many-grid .tile")
    names = [name.removeprefix("Pin ").split(":")[0] for name in tiles.evaluate_all(LABELS)]
    assert names == ids
    assert f"All {len(rows)} shown, nearest to its centre first." in card.inner_text()
    colour = visit.picture("#clusters .many-grid")
    assert ids[0].split("/")[0] == ("red", "green", "blue")[colour.argmax()]
    card.get_by_text("take these as the selection").click()
    assert sorted(visit.page.evaluate("() => [...embedkit.state.set]")) == sorted(rows)
    assert visit.page.evaluate("() => embedkit.state.how").startswith("kmeans: cluster")
    button.click()
    assert card.locator(".many").count() == 0
    assert card.locator(".strip").first.is_visible()
    visit.page.evaluate("embedkit.state.select([], ''); window.scrollTo(0, 0)")
    visit.page.click("#tab-pins")


def test_many_images_are_drawn_as_one_scrolls_and_a_button_goes_on(visit):
    visit.page.evaluate(
        """() => {
          const rows = Array.from({ length: 600 }, (_, i) => i % 60);
          const box = embedkit.many(rows, { how: "test" });
          box.id = "many-test";
          document.querySelector("main").append(box);
          box.scrollIntoView();
        }"""
    )
    tiles = visit.page.locator("#many-test .tile")
    # As many as fill the box and a little more.
    end = "document.querySelector('#many-test .many-grid > button').getBoundingClientRect().top"
    bottom = "document.querySelector('#many-test .many-grid').getBoundingClientRect().bottom"
    visit.page.wait_for_function(f"{end} > {bottom} + 300")
    first = tiles.count()
    assert 96 <= first < 600
    visit.page.evaluate("document.querySelector('#many-test .many-grid').scrollTop = 1e6")
    visit.page.wait_for_function(f"document.querySelectorAll('#many-test .tile').length > {first}")
    while (more := visit.page.locator("#many-test .many-grid > button")).is_visible():
        before = tiles.count()
        more.focus()
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate("document.activeElement.className") in ("tile", "small")
        assert tiles.count() > before
    assert tiles.count() == 600
    visit.page.evaluate("document.getElementById('many-test').remove(); window.scrollTo(0, 0)")


def test_lists_lead_to_images(visit):
    visit.page.click("#tab-lists")
    titles = visit.page.locator("#lists select option").all_inner_texts()
    assert titles[:2] == ["Outliers", "Near duplicates"]
    visit.page.select_option("#lists select", label="Near duplicates")
    assert visit.page.locator("#lists .pair").count() == 24
    visit.page.locator("#lists .pair .tile").first.click()
    assert visit.page.locator("#pins .card").count() == 1
    visit.page.locator("#pins .card").get_by_label("Unpin").click()


def test_lasso_name_export_and_reading_back_are_the_selected_ids(visit, world, tmp_path):
    visit.page.click("#lasso")
    visit.draw_around(0.01, 0.01, 0.99, 0.99)
    assert visit.page.locator("#selection h3").inner_text() == "60 selected"
    visit.page.get_by_label("Drop the selection").click()
    visit.draw_around(0.01, 0.01, 0.99, 0.5)
    chosen = visit.page.evaluate("() => [...embedkit.state.set].sort((a, b) => a - b)")
    height = visit.page.locator("#map").bounding_box()["height"]
    above = [
        row for row in range(60) if visit.page.evaluate("r => embedkit.points.place(r)[1]", row) < height / 2
    ]
    assert chosen == above
    assert 0 < len(chosen) < 60
    # One more by its corner, one less.
    visit.page.locator("#selection .tile-box").first.hover()
    visit.page.locator("#selection .add").first.click()
    chosen = visit.page.evaluate("() => [...embedkit.state.set].sort((a, b) => a - b)")
    assert len(chosen) == len(above) - 1
    visit.page.fill("#name", '=odd, "name"')
    visit.page.press("#name", "Enter")
    with visit.page.expect_download() as download:
        visit.page.click("#export")
    table = tmp_path / "labels.csv"
    download.value.save_as(table)
    assert table.read_text(encoding="utf-8").splitlines()[0] == "id,label,how"
    assert "'=odd" in table.read_text(encoding="utf-8")
    with FeatureFile(world.features) as file:
        found = read_labels_by_id(table, file.rows.ids, "f")
        back = sorted(visit.ids.index(str(file.rows.ids[i])) for i in np.flatnonzero(found.labels >= 0))
    assert back == chosen
    assert found.class_names == ('=odd, "name"',)
    visit.page.click("#pan")


def test_state_is_saved_loaded_and_kept_in_the_address(browser, visit, html, tmp_path):
    before = visit.page.evaluate("() => [[...embedkit.state.set], [...embedkit.state.labels]]")
    assert before[1]
    with visit.page.expect_download() as download:
        visit.page.click("#save-state")
    saved = tmp_path / "state.json"
    download.value.save_as(saved)
    # The address follows the state with a little delay, and held an earlier one.
    visit.page.wait_for_function(
        """() => {
          const found = /^#state=([\\w-]+)$/.exec(location.hash);
          return !!found && atob(found[1].replaceAll("-", "+").replaceAll("_", "/")).includes('"labels":[[');
        }"""
    )
    other = Visit(browser, html, address=visit.page.evaluate("location.hash"))
    assert other.page.evaluate("() => [[...embedkit.state.set], [...embedkit.state.labels]]") == before
    other.close()
    fresh = Visit(browser, html)
    assert fresh.page.evaluate("() => embedkit.state.labels.size") == 0
    fresh.page.set_input_files("#state-file", saved)
    fresh.page.wait_for_function("() => embedkit.state.labels.size > 0")
    assert fresh.page.evaluate("() => [[...embedkit.state.set], [...embedkit.state.labels]]") == before
    fresh.close()
    visit.page.evaluate("embedkit.state.labels.clear(); embedkit.state.select([], '')")
    visit.page.evaluate("embedkit.state.tell('labels')")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"kind": 3}', "\u0000", '{"kind": "embedkit report state"}']
)
def test_a_file_that_is_no_state_changes_nothing(visit, tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    visit.page.set_input_files("#state-file", tmp_path / "s.json")
    visit.page.wait_for_timeout(200)
    assert visit.page.evaluate("() => embedkit.state.labels.size + embedkit.state.set.size") == 0


def test_keys_alone_pin_step_and_select(visit):
    visit.whole()
    visit.page.focus("#map")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("ArrowRight")
    first = visit.page.evaluate("() => embedkit.state.cursor")
    assert first >= 0
    said = visit.page.locator("#live").inner_text()
    assert visit.ids[first] in said
    visit.page.keyboard.press("Space")
    # Somewhere there is another one.
    for arrow in ("ArrowLeft", "ArrowUp", "ArrowDown", "ArrowRight"):
        visit.page.keyboard.press(arrow)
        second = visit.page.evaluate("() => embedkit.state.cursor")
        if second != first:
            break
    step = visit.page.evaluate(
        "([a, b]) => [0, 1].map((k) => embedkit.points.place(b)[k] - embedkit.points.place(a)[k])",
        [first, second],
    )
    ways = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, -1), "ArrowDown": (0, 1)}
    assert np.dot(step, ways[arrow]) > 0
    visit.page.keyboard.press("Space")
    assert set(visit.page.evaluate("() => [...embedkit.state.set]")) == {first, second}
    visit.page.keyboard.press("Enter")
    assert visit.page.locator("#pins .card h3").first.inner_text() == visit.ids[second]
    visit.page.keyboard.press("n")
    near = visit.page.evaluate("row => embedkit.images.neighboursOf(row)[0]", second)
    assert visit.page.evaluate("() => embedkit.state.cursor") == near
    before = visit.page.evaluate("() => embedkit.points.zoom()")
    visit.page.keyboard.press("+")
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("() => embedkit.points.zoom()") > before
    visit.page.keyboard.press("0")
    visit.page.wait_for_timeout(600)
    visit.page.keyboard.press("a")
    assert visit.page.evaluate("() => embedkit.state.set.size") == 60
    visit.page.keyboard.press("Escape")
    visit.page.evaluate(
        "embedkit.state.select([], ''); embedkit.state.pins = []; embedkit.state.tell('pins')"
    )


def test_nothing_is_wider_than_the_window(visit):
    for width in (390, 800, 1440, 2560, 1400):
        visit.page.set_viewport_size({"width": width, "height": 900})
        visit.page.wait_for_timeout(300)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_matrix_of_many_classes_scrolls_by_itself_on_a_phone(visit):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    more = "for (const row of document.querySelectorAll('.matrix tr')) "
    more += "for (let i = 0; i < 20; i++) row.append(row.lastChild.cloneNode(true))"
    assert visit.page.locator(".matrix").count()
    visit.page.evaluate(more)
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nasty_id_is_text(browser, world, tmp_path):
    with FeatureFile(world.features) as file:
        rows = file.rows
        # All of them, since two alike may lie so near that the pointer can't tell which it is on.
        changed = type(rows)(
            ids=np.array([f"{NASTY}{i}" for i in range(len(rows))]),
            labels=rows.labels,
            class_names=("<img src=x onerror=window.pwned=1>", "\u202egnp.exe", "c" * 4_000),
        )
        write_features(tmp_path / "f.h5", file.read(), changed)
    written = report(tmp_path / "f.h5", output=tmp_path / "o.html", thumbnails=False)
    visit = Visit(browser, written.path)
    visit.hover(0)
    assert "<script>window.pwned=1" in visit.page.locator("#tip").inner_text()
    visit.page.fill("#search", "pwned")
    visit.page.press("#search", "Enter")
    assert "<script>window.pwned=1" in visit.page.locator("#pins .card h3").inner_text()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1400
    assert visit.page.evaluate("window.pwned") is None
    visit.close()


def test_a_tap_shows_and_pins_an_image_and_leaves_the_map_where_it_is(browser, html):
    """On a phone, where the cards of pinned images stand below the map."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, offline=True
    )
    page = context.new_page()
    page.goto(html.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.wait_for_timeout(500)
    top = "document.getElementById('map').getBoundingClientRect().top"
    where = f"() => [scrollY, {top}, ...embedkit.points.camera()]"
    before = page.evaluate(where)
    place = """() => {
      const frame = document.getElementById("map").getBoundingClientRect(), [x, y] = embedkit.points.place(7);
      return [frame.left + x, frame.top + y];
    }"""
    page.touchscreen.tap(*page.evaluate(place))
    page.wait_for_function("embedkit.state.pins.length === 1")
    pinned = page.evaluate("embedkit.state.pins[0]")
    page.wait_for_selector(f"#tip[data-row='{pinned}']:visible")
    page.wait_for_timeout(500)
    assert page.evaluate(where) == before
    touch = context.new_cdp_session(page)
    middle = page.evaluate(place)

    def finger(kind, *points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    # A finger that rests for some frames, far from where the last one was, is a tap as well.
    finger("touchStart", {"x": middle[0], "y": middle[1] + 60})
    page.wait_for_timeout(700)
    finger("touchEnd")
    page.wait_for_timeout(300)
    assert page.evaluate(where) == before
    finger("touchStart", {"x": middle[0], "y": middle[1]})
    page.wait_for_timeout(300)
    for step in range(1, 8):
        finger("touchMove", {"x": middle[0], "y": middle[1] - 20 * step})
    finger("touchEnd")
    page.wait_for_timeout(500)
    after = page.evaluate(where)
    assert after[:2] == before[:2]  # the finger moves the map, and not the page
    assert after[2:] != before[2:]
    assert page.locator("#tip").is_hidden()
    context.close()
