"""A real browser without a network, for the tests of pages."""

import io
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_world import page_data

# A renderer that needs no card.
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STICKING = """[...document.querySelectorAll("section > :not(.scroll)")]
  .filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.className)"""


@contextmanager
def launched(*flags):
    """Start a browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox", *flags])
        yield browser
        browser.close()


@contextmanager
def looked_at(path, *, width, scheme):
    """Open a page of sections: nothing may stick out or be asked for, and nobody may complain."""
    with launched() as browser:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        view, problems, requests = context.new_page(), [], []
        view.on("console", lambda message: problems.append(message.text))
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(path.as_uri())
        view.wait_for_selector("html[data-ready]")
        assert view.evaluate("document.documentElement.scrollWidth") == width
        yield view
        assert view.evaluate(STICKING) == []
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


class Visit:
    """One open report, with everything that went wrong in it."""

    def __init__(self, browser, path: Path, *, address: str = "", width: int = 1400, height: int = 900):
        self.path, self.ids = path, page_data(path)["ids"]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True, reduced_motion="reduce"
        )
        self.context.set_default_timeout(120_000)  # two cores may have other things to do
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector("html[data-ready]")

    def _console(self, message):
        # Reading pixels, as these tests do, is slow, says the browser.
        said = message.type in ("error", "warning")
        if said and not any(word in message.text for word in ("GL Driver Message", "readback")):
            self.problems.append(message.text)

    def place(self, row: int) -> tuple[float, float]:
        """Where a row's point is on the screen."""
        x, y = self.page.evaluate(
            """row => {
              const frame = document.getElementById("map").getBoundingClientRect();
              const [x, y] = embedkit.points.place(row);
              return [frame.left + x, frame.top + y];
            }""",
            row,
        )
        return x, y

    def hover(self, row: int) -> int:
        """Point at a row's place, and return whose it is: a picture may lie over it."""
        x, y = self.place(row)
        over = self.page.evaluate("row => embedkit.overlay.at(...embedkit.points.place(row))", row)
        expected = row if over < 0 else over
        self.page.mouse.move(x - 60, y - 60)
        self.page.mouse.move(x, y, steps=4)
        self.page.wait_for_selector(f"#tip[data-row='{expected}']:visible")
        return expected

    def picture(self, selector: str):
        """Mean colour of a drawn picture."""
        self.page.wait_for_selector(f"{selector} canvas[data-drawn]")
        pixels = self.page.eval_on_selector(
            f"{selector} canvas[data-drawn]",
            "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)",
        )
        return np.array(pixels).reshape(-1, 4)[:, :3].mean(axis=0)

    def draw_around(self, left: float, top: float, right: float, bottom: float, *, on: str = "#map") -> None:
        """Draw a lasso around a part of the map, given as shares of its sides."""
        frame = self.page.locator(on).bounding_box()
        xs = [frame["x"] + share * frame["width"] for share in (left, right)]
        ys = [frame["y"] + share * frame["height"] for share in (top, bottom)]
        corners = [(xs[0], ys[0]), (xs[1], ys[0]), (xs[1], ys[1]), (xs[0], ys[1]), (xs[0], ys[0])]
        self.page.mouse.move(*corners[0])
        self.page.mouse.down()
        for x, y in corners[1:]:
            self.page.mouse.move(x, y, steps=6)
        self.page.mouse.up()
        self.page.wait_for_function("embedkit.state.set.size > 0")

    def zoom(self, times: float, row: int) -> None:
        script = "([times, row]) => embedkit.points.goTo(row, times)"
        self.page.evaluate(script, [times, row])
        self.page.wait_for_timeout(300)

    def whole(self) -> None:
        self.page.evaluate("() => embedkit.points.setCamera([0, 0, 1])")
        self.page.wait_for_timeout(300)

    def map_where(self, holds) -> bool:
        """Look at the map until something holds of its pixels: what is drawn may need some frames."""
        return any(holds(self.map_pixels()) for _ in range(30))

    def map_pixels(self):
        self.page.mouse.move(2, 2)
        self.page.wait_for_timeout(300)
        shot = self.page.locator("#map").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), int)

    def close(self):
        self.context.close()
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []
