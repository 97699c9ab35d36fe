"""The report in a real browser, without a network."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from report_world import NASTY

from embedkit import report
from embedkit.files.store import FeatureFile, write_features

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium")
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def html(world, tmp_path_factory) -> Path:
    # The same features with one id that would run if it were ever markup; its picture is still found.
    folder = tmp_path_factory.mktemp("browser")
    written = report(world.features, runs=world.runs, output=folder / "o.html")
    return written.path


class Visit:
    """One open report, with everything that went wrong in it."""

    def __init__(self, browser, path: Path):
        self.context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def place(self, row: int) -> tuple[float, float]:
        """Where a row's point is on the screen."""
        x, y = self.page.evaluate(
            """row => {
              const map = document.getElementById("map"), frame = map.getBoundingClientRect();
              const { xaxis, yaxis } = map._fullLayout;
              const trace = map.data.find((t) => t.customdata && t.customdata.includes(row));
              const at = trace.customdata.indexOf(row);
              return [frame.left + xaxis._offset + xaxis.l2p(trace.x[at]),
                      frame.top + yaxis._offset + yaxis.l2p(trace.y[at])];
            }""",
            row,
        )
        return x, y

    def hover(self, row: int) -> None:
        x, y = self.place(row)
        self.page.mouse.move(x - 60, y - 60)
        self.page.mouse.move(x, y, steps=4)
        self.page.wait_for_selector("#tip:visible")

    def map_pixels(self):
        import io

        from PIL import Image

        self.page.mouse.move(2, 2)
        self.page.wait_for_timeout(300)
        shot = self.page.locator("#map").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), int)

    def close(self):
        self.context.close()
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def visit(browser, html):
    """One visit that the tests share, since opening takes seconds: each leaves label colours behind."""
    visit = Visit(browser, html)
    yield visit
    visit.close()


def near(pixels, colour) -> int:
    """Number of pixels of about this colour, drawn with some transparency on white."""
    target = 0.88 * np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) + 0.12 * 255
    return int((np.abs(pixels - target).max(axis=2) < 14).sum())


def test_points_are_drawn_and_recoloured(visit):
    first = visit.map_pixels()
    for colour in ("#0072B2", "#E69F00", "#009E73"):
        assert near(first, colour) > 100
    visit.page.select_option("#color", "knn-agreement")
    second = visit.map_pixels()
    assert near(second, "#E69F00") == 0
    assert near(second, "#440154") + near(second, "#fde725") > 300
    visit.page.select_option("#color", "label")
    assert near(visit.map_pixels(), "#E69F00") > 100


def test_hover_shows_picture_id_label_and_cluster(visit):
    visit.hover(1)
    tip = visit.page.locator("#tip")
    assert "blue 01.png" in tip.inner_text()
    assert "cluster 0" in tip.inner_text()
    assert visit.page.eval_on_selector("#tip img", "i => i.complete && i.naturalWidth") == 48
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1400
    assert box["y"] + box["height"] <= 900


def test_click_pins_with_neighbours(visit):
    visit.page.mouse.click(*visit.place(25))
    card = visit.page.locator("#pins .card")
    card.wait_for()
    assert "green 05.png" in card.inner_text()
    assert card.locator(".near .tile img").count() == 8
    card.get_by_label("Unpin").click()
    assert visit.page.locator("#pins .card").count() == 0


def test_legend_hides_a_class(visit):
    visit.page.locator("#legend .toggle", has_text="green").click()
    pixels = visit.map_pixels()
    assert near(pixels, "#E69F00") == 0
    assert near(pixels, "#0072B2") > 100
    visit.page.get_by_role("button", name="show all", exact=True).click()
    assert near(visit.map_pixels(), "#E69F00") > 100


def test_search_finds_an_id(visit):
    visit.page.fill("#search", "RED 07")
    assert visit.page.locator("#found li").all_inner_texts() == ["red/red 07.png"]
    visit.page.press("#search", "Enter")
    assert "red 07.png" in visit.page.locator("#pins .card h3").inner_text()
    visit.page.fill("#search", "nobody")
    assert visit.page.locator("#found li").all_inner_texts() == ["No id contains this."]
    visit.page.fill("#search", "")
    visit.page.locator("#pins .card").get_by_label("Unpin").click()


def test_gallery_click_pins(visit):
    n_pins = visit.page.locator("#pins .card").count()
    visit.page.locator("#clusters .tile").nth(3).click()
    assert visit.page.locator("#pins .card").count() == n_pins + 1
    visit.page.evaluate("window.scrollTo(0, 0)")


def test_lasso_shows_a_region_and_can_be_dropped(visit):
    before = visit.map_pixels()
    visit.page.click("[data-val=lasso]")
    frame = visit.page.locator("#map").bounding_box()
    left, top = frame["x"] + 12, frame["y"] + 12
    right, bottom = left + frame["width"] - 24, top + frame["height"] - 24
    visit.page.mouse.move(left, top)
    visit.page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        visit.page.mouse.move(x, y, steps=4)
    visit.page.mouse.up()
    card = visit.page.locator("#pins .card", has_text="60 selected")
    card.wait_for()
    assert card.locator(".tile img").count() == 60
    assert "blue 33" in card.inner_text()
    card.get_by_label("Drop the selection").click()
    visit.page.click("[data-val=pan]")
    assert visit.page.locator("#pins .card", has_text="selected").count() == 0
    after = visit.map_pixels()
    for colour in ("#0072B2", "#E69F00", "#009E73"):
        assert near(after, colour) == pytest.approx(near(before, colour), rel=0.05)


def test_nothing_is_wider_than_the_window(visit):
    for width in (400, 800, 1400):
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
            class_names=("<img src=x onerror=window.pwned=1>", "b", "c"),
        )
        write_features(tmp_path / "f.h5", file.read(), changed)
    written = report(tmp_path / "f.h5", output=tmp_path / "o.html", thumbnails=False)
    visit = Visit(browser, written.path)
    visit.hover(0)
    assert "<script>window.pwned=1" in visit.page.locator("#tip").inner_text()
    visit.page.fill("#search", "pwned")
    visit.page.press("#search", "Enter")
    assert "<script>window.pwned=1" in visit.page.locator("#pins .card h3").inner_text()
    assert visit.page.evaluate("window.pwned") is None
    visit.close()
