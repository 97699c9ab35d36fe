"""Pictures on sheets: each in its place, and the first few of them spread over the map."""

import io

import numpy as np
import pytest
from PIL import Image

from embedkit.datasets.load import load_dataset
from reports.map.sheets import COLUMNS, pitch_of, read_sheets, thinning_order


@pytest.mark.parametrize("n", [0, 1, 2, 700])
def test_the_order_holds_every_row_once(n):
    xy = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    assert sorted(thinning_order(xy)) == list(range(n))


def test_points_of_one_place_are_all_there():
    assert sorted(thinning_order(np.zeros((20, 2), np.float32))) == list(range(20))


@pytest.mark.parametrize("cells", [4, 8, 16])
def test_the_first_points_cover_every_cell_of_a_grid(cells):
    xy = np.random.default_rng(1).random((3000, 2))
    order = thinning_order(xy)
    unit = (xy - xy.min(axis=0)) / (xy.max(axis=0) - xy.min(axis=0)).max()
    cell = np.minimum(np.floor(unit * cells), cells - 1) @ [cells, 1]
    n_cells = len(np.unique(cell))
    # A grid gives a point for each cell that has none; those of the coarser grids came before.
    first = order[: 2 * n_cells]
    assert len(np.unique(cell[first])) == n_cells


def test_pictures_of_many_sheets_stand_where_their_place_says(tmp_path):
    n = COLUMNS**2 + 5
    colours = np.random.default_rng(0).integers(0, 256, (n, 3))
    for i, colour in enumerate(colours):
        Image.new("RGB", (20, 16), tuple(int(c) for c in colour)).save(tmp_path / f"{i:03d}.png")
    dataset = load_dataset(str(tmp_path))
    order = np.random.default_rng(1).permutation(n)
    found = read_sheets(dataset, dataset.rows.ids.tolist(), order.tolist(), size=20)
    assert len(found.sheets) == 2
    assert found.n_pictures == n
    assert found.place[order].tolist() == list(range(n))
    opened = [np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"), int) for sheet in found.sheets]
    for row in range(n):
        sheet, slot = divmod(int(found.place[row]), COLUMNS**2)
        top, left = slot // COLUMNS * found.pitch, slot % COLUMNS * found.pitch
        cut = opened[sheet][top : top + found.height[row], left : left + found.width[row]]
        assert cut.shape == (16, 20, 3)
        assert np.abs(cut[4:12, 4:16].mean(axis=(0, 1)) - colours[row]).max() < 30
        assert found.brightness[row] == pytest.approx(colours[row].mean())


@pytest.mark.parametrize(("size", "pitch"), [(16, 16), (17, 32), (64, 64), (96, 96), (100, 112)])
def test_pictures_fill_whole_blocks(size, pitch):
    assert pitch_of(size) == pitch


def test_axis_ratio_and_angle_are_those_of_the_drawn_ellipses(tmp_path):
    """Also of pictures of several sizes on one sheet, and of none that is round or even."""
    drawn = [
        (30, 15, 20, (128, 128)),
        (40, 10, 155, (160, 128)),
        (20, 12, 90, (100, 120)),
        (20, 20, 0, (128, 128)),
    ]
    for i, (long, short, degrees, (wide, high)) in enumerate(drawn):
        y, x = np.mgrid[:high, :wide]
        x, y, a = x - (wide - 1) / 2, (high - 1) / 2 - y, np.deg2rad(degrees)
        u, v = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
        grey = 20 + 200 * np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2) * 4)
        Image.fromarray(np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, 2)).save(
            tmp_path / f"{i}.png"
        )
    Image.new("RGB", (128, 128), (90, 90, 90)).save(tmp_path / "4.png")
    dataset = load_dataset(str(tmp_path))
    found = read_sheets(dataset, dataset.rows.ids.tolist(), [3, 1, 0, 4], size=64)
    for i in (0, 1):
        long, short, degrees, _ = drawn[i]
        assert found.axis_ratio[i] == pytest.approx(short / long, abs=0.03)
        assert found.angle[i] == pytest.approx(degrees, abs=1.5)
        # Light falls off as a Gaussian of half the drawn axes.
        side = min(drawn[i][3])
        assert found.extent[i] == pytest.approx(np.hypot(long, short) / 2 / side, rel=0.08)
    assert found.axis_ratio[3] == pytest.approx(1, abs=0.02)
    assert np.isnan(found.angle[[2, 3, 4]]).all()
    assert np.isnan(found.axis_ratio[[2, 4]]).all()
