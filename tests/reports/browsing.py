"""A real browser without a network, for the tests of pages."""

import shutil
from contextlib import contextmanager

import pytest

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
