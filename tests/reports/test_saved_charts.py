"""Charts of pages of sections are saved as they are drawn, on white, and say what made them."""

import base64
import io
from xml.etree import ElementTree

from browsing import looked_at
from PIL import Image
from report_world import NASTY

from embedkit.pages import sections
from embedkit.pages.svg import BLUE, INK, dot, figure, image, text

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_is_saved_in_the_inks_of_paper_with_what_made_it(tmp_path):
    green = io.BytesIO()
    Image.new("RGB", (8, 8), (0, 200, 0)).save(green, "PNG")
    held = f"data:image/png;base64,{base64.b64encode(green.getvalue()).decode()}"
    drawn = figure(
        80,
        40,
        [dot((20, 10), BLUE, NASTY), text(5, 30, NASTY, colour=INK), image((40, 0, 60, 20), held)],
        words="a chart",
    )
    made = f'<p class="made">{sections.escape(NASTY)}</p>'
    (tmp_path / "page.html").write_text(
        sections.fill("t", "f", [sections.Part("one", "One", "One", "", made + drawn)], [NASTY])
    )
    with looked_at(tmp_path / "page.html", width=390, scheme="dark") as view:
        for kind in ("SVG", "PNG"):
            with view.expect_download() as told:
                view.locator(".saves button", has_text=kind).click()
            assert told.value.suggested_filename == f"one-1.{kind.lower()}"
            told.value.save_as(tmp_path / told.value.suggested_filename)
        assert view.evaluate("window.pwned") is None
    tree = ElementTree.parse(tmp_path / "one-1.svg").getroot()
    assert (tree.get("width"), tree.get("height")) == ("80", "40")
    assert tree.findtext(f"{SVG}desc") == f"a chart. {NASTY}"
    assert (tree.find(f"{SVG}circle").get("fill"), tree.findtext(f"{SVG}text")) == (BLUE, NASTY)
    picture = Image.open(tmp_path / "one-1.png").convert("RGB")
    assert picture.size == (240, 120)
    assert picture.getpixel((230, 10)) == (255, 255, 255)
    assert picture.getpixel((150, 30)) == (0, 200, 0)
    red, green, blue = picture.getpixel((60, 30))
    assert blue > green > red
