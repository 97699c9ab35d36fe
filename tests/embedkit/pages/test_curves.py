"""The picture of a log."""

from xml.etree import ElementTree

from embedkit.pages.curves import draw_curves
from embedkit.pages.svg import BLUE

SVG = "{http://www.w3.org/2000/svg}"
LOG = [
    {"epoch": 0, "rankme": 4.0},
    {"epoch": 1, "loss": 2.0, "seconds": 1.0},
    {"epoch": 2, "loss": 1.0, "seconds": 1.0, "rankme": 8.0},
]


def test_a_panel_for_each_column_with_a_point_for_each_value():
    tree = ElementTree.fromstring(draw_curves(LOG, kept=2))
    panels = {g.find(SVG + "text").text: g for g in tree.iter(SVG + "g")}
    assert list(panels) == ["loss", "rankme"]

    def lines(name, **has):
        found = [e for e in panels[name].iter(SVG + "polyline") if has.items() <= e.attrib.items()]
        return [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in found]

    points = [lines(name, stroke=BLUE)[0] for name in panels]
    (fall_x, rise_x) = ([x for x, _ in line] for line in points)
    assert fall_x == [(62 + 288) / 2, 288.0]
    assert rise_x == [62.0, 288.0]
    assert points[0][0][1] < points[0][1][1]  # y grows downwards
    assert points[1][0][1] > points[1][1][1]
    titles = [t.text for t in panels["rankme"].iter(SVG + "title")]
    assert titles == ["epoch 0: 4", "epoch 2: 8"]
    assert lines("loss", **{"stroke-dasharray": "5 4"}) == [[(288.0, 30.0), (288.0, 142.0)]]


def test_one_look_and_values_that_never_change_are_drawn_too():
    text = draw_curves([{"epoch": 0, "rankme": 0.0}])
    assert "nan" not in text
    assert "epoch 0: 0" in text
