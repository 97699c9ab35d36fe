"""A map that takes long to draw slides under the pointer between drawings, and ends where a drag ends."""

import pytest
from browsing import WEBGL, Visit, launched

from embedkit import report

pytestmark = pytest.mark.browser
SLID = """() => {
  const [x, y] = embedkit.points.place(0);
  const layers = [...document.querySelectorAll("#map canvas")].map((layer) => layer.style.translate);
  return [x, y, ...new Set(layers)];
}"""


@pytest.fixture(scope="module")
def visit(world, tmp_path_factory):
    written = report(world.features, output=tmp_path_factory.mktemp("slide") / "o.html", projection="pca")
    with launched(*WEBGL) as browser:
        visit = Visit(browser, written.path)
        yield visit
        visit.close()


def seen(visit):
    """Where the first point is seen: where it was drawn, and how far that slid."""
    x, y, *slid = visit.page.evaluate(SLID)
    (slid,) = slid  # of all layers the same
    dx, dy = (float(part.removesuffix("px")) for part in slid.split()) if slid else (0.0, 0.0)
    return x + dx, y + dy, bool(slid)


@pytest.mark.parametrize(("slow", "slides"), [(0, True), (1e9, False)])
def test_a_drag_moves_the_map_as_far_as_the_pointer(visit, slow, slides):
    visit.page.evaluate(f"() => {{ embedkit.sliding.slow = {slow}; }}")
    frame = visit.page.locator("#map").bounding_box()
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + 40
    before = seen(visit)
    visit.page.mouse.move(x, y)
    visit.page.wait_for_timeout(200)
    visit.page.mouse.down()
    visit.page.wait_for_timeout(200)
    slid = False
    for step in range(1, 31):
        visit.page.mouse.move(x + 4 * step, y + 2 * step)
        visit.page.wait_for_timeout(30)
        now = seen(visit)
        slid |= now[2]
        if now[2]:  # between drawings, too, the map is where the pointer took it
            assert now[:2] == pytest.approx((before[0] + 4 * step, before[1] + 2 * step), abs=1.5)
    visit.page.mouse.up()
    assert slid == slides
    visit.page.wait_for_function('document.getElementById("over").style.translate === ""')
    visit.page.wait_for_timeout(500)
    assert seen(visit)[:2] == pytest.approx((before[0] + 120, before[1] + 60), abs=1.5)
    # What is under the pointer is what is seen there, and the next drag begins anew.
    assert visit.hover(20) >= 0
    visit.whole()


def test_a_lasso_does_not_slide(visit):
    visit.page.evaluate("() => { embedkit.sliding.slow = 0; }")
    visit.page.click("#lasso")
    before = seen(visit)
    visit.draw_around(0.02, 0.02, 0.98, 0.98)
    visit.page.wait_for_timeout(300)
    assert seen(visit) == before
    assert visit.page.evaluate("embedkit.state.set.size") > 0
    visit.page.click("#pan")
