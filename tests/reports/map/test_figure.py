"""The map as a plotly figure."""

import numpy as np
import pytest

from embedkit.errors import UsageError
from reports.map.columns import Category, Number
from reports.map.figure import MISSING, Drawn
from reports.map.hues import PALETTE

IDS = np.array(["a", "b", "c", "<d>"])
XY = np.arange(8, dtype=np.float32).reshape(4, 2)
LABEL = Category("label", "Label", "Labels", np.array([0, 1, -1, 1]), ("cat", "dog"), "no label")
SIZE = Number("size", "Size", "Targets", np.array([1, np.nan, 3, 4], dtype=np.float32))


@pytest.fixture
def drawn():
    return Drawn(IDS, XY, (LABEL, SIZE), "label")


def test_a_trace_a_class_in_its_own_hue(drawn):
    found = {trace.name: trace for trace in drawn.figure().data}
    assert list(found) == ["no label", "cat", "dog"]
    assert list(found["dog"].text) == ["b", "<d>"]
    np.testing.assert_array_equal(found["dog"].x, [2, 6])
    np.testing.assert_array_equal(found["dog"].y, [3, 7])
    colours = [found[name].marker.color for name in found]
    assert colours == [MISSING, PALETTE[0], PALETTE[1]]


def test_numbers_have_a_scale_and_those_without_are_grey(drawn):
    grey, scaled = drawn.figure("size").data
    assert (grey.marker.color, list(grey.text)) == (MISSING, ["b"])
    np.testing.assert_array_equal(scaled.marker.color, [1, 3, 4])
    assert scaled.marker.colorbar.title.text == "Size"


def test_it_can_be_written(drawn, tmp_path):
    drawn.figure().write_html(tmp_path / "map.html", include_plotlyjs=False)
    assert "no label" in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_a_column_that_is_not_there(drawn):
    with pytest.raises(UsageError, match="There are label, size"):
        drawn.figure("split")
