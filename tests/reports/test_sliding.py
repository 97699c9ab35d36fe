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


DRAWN = """() => {
  const [x, y] = embedkit.points.place(0);
  return [x, y, embedkit.points.zoom(), document.getElementById("over").style.translate];
}"""


def dragged(visit, slow, during=lambda x, y: None, after=lambda x, y: None):
    """Drag by (80, 40) with something on the way or at the end: how far the first point went, and zoom."""
    visit.whole()
    visit.page.evaluate(f"() => {{ embedkit.sliding.slow = {slow}; }}")
    mouse, frame = visit.page.mouse, visit.page.locator("#map").bounding_box()
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + 40
    before = visit.page.evaluate(DRAWN)
    mouse.move(x, y)
    visit.page.wait_for_timeout(200)
    mouse.down()
    for step in range(1, 21):
        mouse.move(x + 4 * step, y + 2 * step)
        visit.page.wait_for_timeout(20)
        if step == 15:
            during(x + 4 * step, y + 2 * step)
    mouse.up()
    after(x + 80, y + 40)
    visit.page.wait_for_timeout(700)
    now = visit.page.evaluate(DRAWN)
    assert now[3] == ""
    return now[0] - before[0], now[1] - before[1], now[2]


def test_a_map_that_slides_is_where_one_is_that_is_drawn(visit):
    mouse, press = visit.page.mouse, visit.page.keyboard.press
    visit.page.locator("#map").focus()
    for during, after in (
        (lambda x, y: press("Shift+ArrowRight"), lambda x, y: None),
        (lambda x, y: press("+"), lambda x, y: None),
        (lambda x, y: press("0"), lambda x, y: None),
        (lambda x, y: None, mouse.dblclick),
        (lambda x, y: None, lambda x, y: (mouse.down(), mouse.move(x, y + 9, steps=3), mouse.up())),
    ):
        slid, drawn = (dragged(visit, slow, during, after) for slow in (0, 1e9))
        assert slid == pytest.approx(drawn, abs=1.5)


def test_the_wheel_waits_until_a_slide_is_over(visit):
    wheel = visit.page.mouse.wheel
    assert dragged(visit, 0, lambda x, y: wheel(0, -60)) == pytest.approx((80, 40, 1), abs=1.5)
    *_, zoom = dragged(visit, 0, after=lambda x, y: (visit.page.wait_for_timeout(300), wheel(0, -60)))
    assert zoom > 1.05
    visit.whole()


def test_a_second_drag_may_begin_before_the_first_is_drawn(visit):
    visit.page.evaluate("() => { embedkit.sliding.slow = 0; }")
    visit.whole()
    # All in one go, in which nothing is drawn: a drag that slides, its end, and the next press.
    visit.page.evaluate("""async () => {
      const canvas = document.getElementById("points"), frame = canvas.getBoundingClientRect();
      const drawn = () => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
      const mouse = (type, far) => canvas.dispatchEvent(new MouseEvent(type, {
        bubbles: true, clientX: frame.left + 300 + far, clientY: frame.top + 40, buttons: 1 }));
      window.before = embedkit.points.place(0);
      mouse("mousemove", 0);
      await drawn();
      mouse("mousedown", 0);
      for (let far = 5; far <= 60; far += 5) { mouse("mousemove", far); await drawn(); }
      mouse("mousemove", 80);
      mouse("mouseup", 80);
      mouse("mousedown", 80);
      await drawn();
      await drawn();
    }""")
    assert visit.page.evaluate("document.getElementById('over').style.translate") == ""
    x, y = visit.page.evaluate("() => { const [x] = embedkit.points.place(0); return [x - before[0], 80]; }")
    assert x == pytest.approx(y, abs=1.5)
    visit.page.mouse.up()
    visit.whole()


def test_a_click_before_the_slide_is_drawn_pins_what_is_seen(visit):
    row = visit.page.evaluate("""async () => {
      const { points, overlay, state } = embedkit, canvas = document.getElementById("points");
      const { i, x, y } = overlay.pictures().at(-1), frame = points.box.getBoundingClientRect();
      points.slid = [150, 90]; // as between a release and the drawing
      for (const type of ["mousedown", "mouseup", "click"])
        canvas.dispatchEvent(new MouseEvent(type, {
          bubbles: true, clientX: frame.left + x + 150, clientY: frame.top + y + 90 }));
      points.slid = [0, 0];
      return [i, [...state.pins].at(-1)];
    }""")
    assert row[0] == row[1]
    visit.page.evaluate("() => embedkit.state.pin(embedkit.overlay.pictures().at(-1).i)")
