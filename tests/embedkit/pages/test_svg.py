"""Pictures: values land where they belong, and words are never markup."""

from xml.etree import ElementTree

import pytest

from embedkit.pages.svg import BLUE, Frame, bar, dot, figure, line, picture, shifted, steps, text

SVG = "{http://www.w3.org/2000/svg}"


def test_values_land_between_the_sides_of_the_frame():
    frame = Frame((10, 20, 110, 220), (0, 5), (-1, 1))
    assert frame.points([(0, -1), (5, 1), (2.5, 0)]) == [(10, 220), (110, 20), (60, 120)]
    flat = Frame((10, 20, 110, 220), (3, 3), (7, 7))
    assert (flat.x(3), flat.y(7)) == (60, 120)


def test_axes_have_a_label_and_a_line_for_each_tick():
    frame = Frame((10, 20, 110, 220), (0, 4), (0, 1))
    tree = ElementTree.fromstring(
        picture(120, 240, frame.axes([(0, "none"), (4, "all")], [(0.5, "half"), (1, "whole")]))
    )
    words = {e.text: (float(e.get("x")), float(e.get("y"))) for e in tree.iter(SVG + "text")}
    assert words == {"none": (10, 237), "all": (110, 237), "half": (3, 124), "whole": (3, 24)}
    assert len(list(tree.iter(SVG + "polyline"))) == 5


@pytest.mark.parametrize("words", ["<script>x</script>", "a & b", '"quoted"'])
def test_words_are_text(words):
    parts = [text(0, 0, words), dot((1, 2), BLUE, words)]
    tree = ElementTree.fromstring(picture(9, 9, [shifted(parts, 1, 2)]))
    assert [e.text for e in tree.iter() if e.tag in (SVG + "text", SVG + "title")] == [words, words]


def test_a_dashed_line_is_dashed():
    assert "dasharray" in line([(0, 0), (1, 1)], BLUE, dashed=True)
    assert "dasharray" not in line([(0, 0), (1, 1)], BLUE)


def test_a_figure_has_no_white_of_its_own_and_says_what_it_shows():
    parts = [bar((1, 2, 4, 6), BLUE, "<1> to 2", opacity=0.5), bar((0, 0, 9, 9), BLUE, outline=True)]
    root = ElementTree.fromstring(figure(10, 10, parts, words='"all" <b>'))
    assert root.get("aria-label") == '"all" <b>'
    filled, outlined = root.iter("rect")
    assert [filled.get(name) for name in ("x", "y", "width", "height")] == ["1.0", "2.0", "3.0", "4.0"]
    assert filled.findtext("title") == "<1> to 2"
    assert outlined.get("fill") == "none"


def test_an_axis_has_two_ticks_at_least_at_round_values_within_it():
    assert [words for _, words in steps(0.03, 0.9, 2)] == ["0.2", "0.4", "0.6", "0.8"]
    for low in (0.0, 0.31, 0.499, 0.95, 99.0):
        for wide in (0.001, 0.02, 0.49, 0.99, 3.7, 1234.5):
            for n in (1, 2, 4, 5):
                places = [place for place, _ in steps(low, low + wide, n)]
                assert len(places) >= 2
                assert low - 1e-9 <= places[0]
                assert places[-1] <= low + wide + 1e-9
