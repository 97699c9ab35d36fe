"""The leaderboard's page: what it holds, and sorting and filtering in a real browser."""

import shutil

import numpy as np
import pytest
from report_world import NASTY, page_data, write_predictions

from embedkit.cli import main
from embedkit.files.results import Metric, Result, append_result

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PIXELS = {"features": {"backbone": {"name": "pixels:32"}}}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Three rows, of which the first two can't be told apart, and one without test rows to pair."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    order = rng.permutation(400)
    for i, (features, n_right) in enumerate((("vit <b>&amp;", 300), (NASTY, 296), ("pixels:32", 120))):
        right = np.isin(np.arange(400), order[:n_right])
        name = f"{i}.csv"
        write_predictions(folder / name, right)
        accuracy = n_right / 400
        append_result(
            folder / "results.jsonl",
            Result(
                task="probe",
                dataset="colours",
                features=features,
                method=("knn", "linear", "knn")[i],
                params={},
                outcomes={"confusion": [[100, 100], [100, 100]]},
                split="kfold:5",
                seed=0,
                metrics={
                    "accuracy": Metric(accuracy, accuracy - 0.04, accuracy + 0.04),
                    "majority_accuracy": Metric(0.45),
                    "roc_auc": Metric((0.7, 0.9, None)[i]),
                },
                n=400,
                seconds=1.0,
                backend="test",
                provenance={"predictions": name, **(PIXELS if i == 2 else {})},
            ),
        )
    output = folder / "board.html"
    assert main(["leaderboard", str(folder), "-o", str(output)]) == 0
    return output


def test_page_holds_points_levels_and_what_is_apart(html):
    (group,) = page_data(html)["groups"]
    assert [row["cells"][0] for row in group["rows"]] == ["1-2", "1-2", "3"]
    assert group["rows"][0]["point"] == pytest.approx([0.75, 0.71, 0.79])
    assert [row["apart"] for row in group["rows"]] == [[2], [2], [0, 1]]
    assert [row["control"] for row in group["rows"]] == [None, None, "pixels"]
    assert group["levels"] == {"majority class": 0.45, "permuted labels": 0.5}


def test_html_beside_the_table(html, capsys):
    other = html.parent / "other.html"
    assert main(["leaderboard", str(html.parent), "--html", str(other)]) == 0
    assert "colours: probe" in capsys.readouterr().out
    assert page_data(other) == page_data(html)


@pytest.fixture
def page(html):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems, requests = [], []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(html.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        yield page
        assert page.evaluate("window.pwned") is None
        browser.close()
        assert problems == []
        assert [url for url in requests if not url.startswith("file:")] == []


def column(page, name):
    """Text of one column, as shown from top to bottom."""
    heads = [text.strip() for text in page.locator(".board thead th").all_inner_texts()]
    at = next(i for i, text in enumerate(heads) if text == name) + 1
    return page.locator(f".board tbody td:nth-child({at})").all_inner_texts()


@pytest.mark.browser
def test_sort_and_filter(page):
    assert column(page, "rank") == ["1-2", "1-2", "3"]
    head = page.get_by_role("button", name="ROC AUC")
    head.click()
    assert column(page, "ROC AUC") == ["0.900", "0.700", ""]
    head.click()
    assert column(page, "ROC AUC") == ["0.700", "0.900", ""]  # what is missing stays last
    assert page.locator("th[aria-sort=ascending]").inner_text() == "ROC AUC"

    page.fill("#filter", "knn PIX")
    assert column(page, "rank") == ["3"]
    assert page.locator("#shown").inner_text() == "1 of 3 rows"
    page.uncheck("#controls")
    assert page.locator(".board tbody").inner_text() == "No row matches."
    page.fill("#filter", "")
    assert column(page, "method") == ["knn", "linear"]


@pytest.mark.browser
def test_intervals_lie_on_one_axis_with_the_levels(page):
    def left(selector, row):
        box = page.locator(f".board tbody tr:nth-child({row}) {selector}").first.bounding_box()
        return box["x"] + box["width"] / 2

    (majority, permuted), dots = ([left(f".level >> nth={i}", 1) for i in (0, 1)], [])
    dots = [left(".dot", row) for row in (1, 2, 3)]
    scale = (dots[0] - dots[2]) / 0.45
    assert dots[1] - dots[2] == pytest.approx(0.44 * scale, abs=1.5)
    assert majority - dots[2] == pytest.approx(0.15 * scale, abs=2)
    assert permuted - dots[2] == pytest.approx(0.20 * scale, abs=2)
    bar = page.locator(".board tbody tr:nth-child(1) .bar").bounding_box()
    assert bar["width"] == pytest.approx(0.08 * scale, abs=1.5)


@pytest.mark.browser
def test_pointing_fades_what_can_be_told_apart(page):
    page.locator(".board tbody tr").first.hover()
    faded = page.locator(".board tbody tr").evaluate_all("rows => rows.map((r) => r.matches('.apart'))")
    assert faded == [False, False, True]


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_page_is_never_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
