"""Several feature sets on one page, in a real browser without a network."""

import numpy as np
import pytest
from browsing import WEBGL, Visit, launched
from report_world import NASTY, page_data, section, unpack

from embedkit import report
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with launched(*WEBGL) as browser:
        yield browser


@pytest.fixture(scope="module")
def html(world, tmp_path_factory):
    """Three sets of the same 60 images, in other orders; one image is in the first file alone."""
    folder = tmp_path_factory.mktemp("linked")
    paths = [world.features]
    with FeatureFile(world.features) as file:
        rows, labels = file.rows, file.rows.labels
        for seed, name in ((1, "other"), (2, "x" * 90)):
            rng = np.random.default_rng(seed)
            index = rng.permutation(np.arange(1, 60))
            x = rng.normal(size=(60, 9)) + 2 * np.eye(9)[labels]
            about = {"provenance": file.provenance}
            paths.append(
                write_features(folder / f"{name}.h5", x[index].astype(np.float32), rows.take(index), **about)
            )
    return report(paths, runs=world.runs, output=folder / "o.html").path


@pytest.fixture(scope="module")
def visit(browser, html):
    visit = Visit(browser, html)
    yield visit
    visit.close()


def places(data):
    """Places (n, 2) of each set, as the page scales them: the longer side of all maps is 2."""
    maps = [data["map"], *data["linked"]["sets"]]
    xy = [np.stack([unpack(one["x"]), unpack(one["y"])], axis=1).astype(float) for one in maps]
    low, high = (getattr(np.concatenate(xy), name)(axis=0) for name in ("min", "max"))
    return [(one - (low + high) / 2) * 2 / (high - low).max() for one in xy]


def at(visit, which):
    visit.page.evaluate("() => embedkit.linked.moving")
    x, y = visit.page.evaluate("k => ['x', 'y'].map((a) => Array.from(embedkit.maps[k].points[a]))", which)
    return np.stack([x, y], axis=1)


def test_both_maps_are_drawn_with_their_names(visit, html):
    data = page_data(html)
    assert len(data["ids"]) == 59
    for box in ("#map", "#map-other"):
        assert visit.page.locator(box).bounding_box()["width"] > 400
        assert visit.page.locator(f"{box} canvas").count() == 3
    assert visit.page.locator("#name-first").inner_text() == "colours"
    assert visit.page.locator("#name-other").inner_text() == "other"
    assert visit.page.locator("#faith-first").inner_text().startswith("trustworthiness 0.")
    wanted = places(data)
    np.testing.assert_allclose(at(visit, 0), wanted[0], atol=1e-5)
    np.testing.assert_allclose(at(visit, 1), wanted[1], atol=1e-5)
    for k in (0, 1):
        # Sheets are decoded aside.
        visit.page.wait_for_function("k => embedkit.maps[k].overlay.pictures().length > 1", arg=k)
        assert {one["text"] for one in visit.page.evaluate("k => embedkit.maps[k].overlay.names()", k)} == {
            "red",
            "green",
            "blue",
        }


def test_captions_and_ids_that_are_left_out_fold_out(visit, html):
    visit.page.locator("details.caption summary").click()
    said = visit.page.locator("details.caption").inner_text()
    assert "Shifted, turned and mirrored onto the map of colours" in said
    assert "Procrustes disparity 0." in said
    visit.page.locator("details.caption summary").click()
    fold = visit.page.locator(".left-out")
    assert (
        visit.page.locator(".note", has=fold)
        .inner_text()
        .startswith("colours: 1 of its 60 images is left out")
    )
    fold.locator("summary").click()
    (left,) = page_data(html)["linked"]["left_out"]
    visit.page.wait_for_function("document.querySelector('.left-out pre').textContent")
    assert fold.locator("pre").inner_text() == "\n".join(left["ids"])
    fold.locator("summary").click()


def test_what_is_selected_in_one_map_is_selected_in_the_other(visit):
    visit.page.click("#lasso")
    visit.draw_around(0.01, 0.01, 0.99, 0.5)
    chosen = set(visit.page.evaluate("() => [...embedkit.state.set]"))
    assert 0 < len(chosen) < 59

    def drawn_strongly(k):
        return set(visit.page.evaluate("k => embedkit.maps[k].points.marked()", k))

    visit.page.wait_for_timeout(400)
    assert drawn_strongly(0) == drawn_strongly(1) == chosen
    # And back: all of the second map, then the upper half of it.
    visit.page.get_by_label("Drop the selection").click()
    visit.draw_around(0.01, 0.01, 0.99, 0.5, on="#map-other")
    height = visit.page.locator("#map-other").bounding_box()["height"]
    above = {
        row
        for row in range(59)
        if visit.page.evaluate("r => embedkit.maps[1].points.place(r)[1]", row) < height / 2
    }
    visit.page.wait_for_timeout(400)
    assert drawn_strongly(0) == drawn_strongly(1) == above
    visit.page.get_by_label("Drop the selection").click()
    visit.page.click("#pan")


def test_a_lasso_that_ends_where_it_began_pins_nothing(visit):
    visit.page.click("#lasso")
    x, y = visit.place(25)
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    for dx, dy in ((90, 0), (90, 90), (0, 90), (0, 0)):
        visit.page.mouse.move(x + dx, y + dy, steps=5)
    visit.page.mouse.up()
    visit.page.wait_for_timeout(400)
    assert visit.page.evaluate("() => embedkit.state.pins") == []
    visit.page.click("#pan")
    visit.page.mouse.click(x, y)
    assert len(visit.page.evaluate("() => embedkit.state.pins")) == 1
    visit.page.evaluate(
        "() => { embedkit.state.select([], ''); embedkit.state.unpin(embedkit.state.pins[0]); }"
    )


def test_an_image_under_the_pointer_is_ringed_in_both(visit):
    visit.page.wait_for_timeout(200)
    row = visit.hover(25)
    rings = visit.page.locator(".ring:visible")
    assert rings.count() == 2
    frame = visit.page.locator("#map-other").bounding_box()
    x, y = visit.page.evaluate("row => embedkit.maps[1].points.place(row)", row)
    box = rings.nth(1).bounding_box()
    assert box["x"] + box["width"] / 2 == pytest.approx(frame["x"] + x, abs=1)
    assert box["y"] + box["height"] / 2 == pytest.approx(frame["y"] + y, abs=1)
    visit.page.mouse.move(2, 2)
    assert visit.page.locator(".ring:visible").count() == 0


def test_the_slider_morphs_one_map_into_the_other(visit, html):
    one, other, third = places(page_data(html))
    visit.page.focus("#morph")
    for _ in range(25):
        visit.page.keyboard.press("ArrowRight")
    np.testing.assert_allclose(at(visit, 0), one + (other - one) * 0.25, atol=1e-4)
    assert visit.page.locator("#name-first").inner_text().endswith("25\u00a0%")
    visit.page.click("#morph-other")
    np.testing.assert_allclose(at(visit, 0), other, atol=1e-6)
    np.testing.assert_allclose(at(visit, 1), other, atol=1e-6)
    assert visit.page.locator("#morph-other").get_attribute("aria-pressed") == "true"
    # Where the renderer finds them, too: no picture stands for a point here.
    visit.page.click("#layer-pictures")
    assert visit.hover(25) == 25
    visit.page.click("#layer-pictures")
    visit.page.select_option("#other-set", index=1)
    np.testing.assert_allclose(at(visit, 1), third, atol=1e-6)
    np.testing.assert_allclose(at(visit, 0), third, atol=1e-6)
    visit.page.click("#morph-first")
    np.testing.assert_allclose(at(visit, 0), one, atol=1e-6)
    visit.page.select_option("#other-set", index=0)
    np.testing.assert_allclose(at(visit, 1), other, atol=1e-6)


def test_filter_selection_and_colours_stay_while_it_morphs(visit):
    visit.page.evaluate("() => embedkit.state.select([40, 41, 42], 'three')")
    visit.page.locator("#legend .toggle", has_text="green").click()
    for layer in ("pictures", "names", "shading"):
        visit.page.click(f"#layer-{layer}")
    visit.page.evaluate("() => embedkit.linked.setMorph(0.6)")
    visit.page.evaluate("() => embedkit.linked.moving")

    def drawn(pixels):
        colours = {"blue": (0x00, 0x72, 0xB2), "green": (0xE6, 0x9F, 0x00), "red": (0x00, 0x9E, 0x73)}
        return {name: (np.abs(pixels - one).max(axis=2) < 36).sum() > 60 for name, one in colours.items()}

    assert visit.page.evaluate("() => embedkit.points.marked()") == [40, 41, 42]
    visit.page.get_by_label("Drop the selection").click()
    assert visit.map_where(lambda pixels: drawn(pixels) == {"blue": True, "green": False, "red": True})
    visit.page.get_by_role("button", name="show all", exact=True).click()
    assert visit.map_where(lambda pixels: drawn(pixels) == {"blue": True, "green": True, "red": True})
    for layer in ("pictures", "names", "shading"):
        visit.page.click(f"#layer-{layer}")
    visit.page.click("#morph-first")


def test_who_moved_is_in_the_order_of_numpy_and_leads_to_images(visit, html):
    data = page_data(html)
    own, near = (
        unpack(one["index"]).reshape(59, 15)
        for one in (data["neighbours"], data["linked"]["sets"][0]["near"])
    )
    kept = np.array([len(np.intersect1d(a, b)) for a, b in zip(own, near, strict=True)])
    order = np.argsort(kept, kind="stable")
    lines = visit.page.locator("#moved li")
    assert [int(one.get_attribute("data-row")) for one in lines.all()] == order[:8].tolist()
    assert visit.page.evaluate("() => embedkit.linked.moved().order") == order.tolist()
    first = int(order[0])
    strips = lines.first.locator(".strip")
    for strip, rows in zip(strips.all(), (own[first], near[first]), strict=True):
        titles = [tile.get_attribute("title").split(":")[0] for tile in strip.locator(".tile").all()]
        assert titles == [data["ids"][row] for row in rows]
    assert strips.first.locator(".kept").count() == kept[first]
    says = section(data, "moved")["says"][0]
    assert visit.page.locator("#moved .says p").first.inner_text() == says[0]
    lines.first.locator(".who .tile").click()
    card = visit.page.locator("#pins .card")
    assert data["ids"][first] in card.inner_text()
    assert card.locator(".near").count() == 2
    card.get_by_label("Unpin").click()
    visit.page.get_by_role("button", name="select these").click()
    assert set(visit.page.evaluate("() => [...embedkit.state.set]")) == set(order[:8].tolist())
    visit.page.get_by_label("Drop the selection").click()
    visit.page.get_by_role("button", name="colour the maps by it").click()
    assert visit.page.input_value("#color") == data["linked"]["sets"][0]["column"]
    visit.page.get_by_role("button", name="show more").click()
    assert lines.count() == 16
    visit.page.select_option("#color", "label")
    visit.page.locator("#legend .toggle", has_text="green").click()
    green = {row for row, name in enumerate(data["ids"]) if name.startswith("green")}
    shown = [int(one.get_attribute("data-row")) for one in lines.all()]
    assert shown == [int(row) for row in order if int(row) not in green][:16]
    visit.page.get_by_role("button", name="show all", exact=True).click()


def test_the_state_keeps_the_slider_and_the_other_set(browser, visit, html):
    visit.page.evaluate("() => { embedkit.linked.setOther(1); embedkit.linked.setMorph(0.5); }")
    visit.page.wait_for_function(
        """() => {
          const found = /^#state=([\\w-]+)$/.exec(location.hash);
          return !!found && atob(found[1].replaceAll("-", "+").replaceAll("_", "/")).includes('"morph":0.5');
        }"""
    )
    again = Visit(browser, html, address=visit.page.evaluate("location.hash"))
    one, _, third = places(page_data(html))
    np.testing.assert_allclose(at(again, 0), (one + third) / 2, atol=1e-5)
    assert again.page.input_value("#other-set") == "1"
    again.close()
    visit.page.evaluate("() => { embedkit.linked.setOther(0); embedkit.linked.setMorph(0); }")


def test_keys_work_on_the_other_map(visit):
    visit.page.focus("#map-other")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("ArrowRight")
    row = visit.page.evaluate("() => embedkit.state.cursor")
    assert visit.ids[row] in visit.page.locator("#live").inner_text()
    visit.page.keyboard.press("Enter")
    assert visit.page.locator("#pins .card h3").inner_text() == visit.ids[row]
    visit.page.keyboard.press("Escape")
    visit.page.locator("#pins .card").get_by_label("Unpin").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_one_map_morphs_and_nothing_is_wider(browser, html, scheme):
    visit = Visit(browser, html, width=390, height=844)
    visit.page.emulate_media(color_scheme=scheme)
    assert visit.page.locator("#map").is_visible()
    assert not visit.page.locator("#map-other").is_visible()
    for width in (390, 800, 1440, 2560, 390):
        visit.page.set_viewport_size({"width": width, "height": 844})
        visit.page.wait_for_timeout(300)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    _, other, _ = places(page_data(html))
    visit.page.click("#morph-other")
    np.testing.assert_allclose(at(visit, 0), other, atol=1e-6)
    visit.page.locator("details.caption summary").click()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.close()


def test_names_and_ids_from_outside_are_text(browser, tmp_path):
    paths = []
    for seed, name in enumerate(("<b>bold", "javascript:alert(1)`code`")):
        x = np.random.default_rng(seed).normal(size=(30, 5)).astype(np.float32)
        ids = np.array([f"{NASTY}{i}" for i in range(30 - 2 * seed)])
        paths.append(write_features(tmp_path / f"{name}.h5", x[: len(ids)], Rows(ids)))
    visit = Visit(browser, report(paths, output=tmp_path / "o.html", thumbnails=False).path)
    assert visit.page.locator("#name-first").inner_text() == "<b>bold"
    visit.page.locator(".left-out summary").click()
    visit.page.wait_for_function("document.querySelector('.left-out pre').textContent")
    assert "<script>window.pwned=1" in visit.page.locator(".left-out pre").inner_text()
    assert visit.page.evaluate("window.pwned") is None
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1400
    visit.close()
