"""What a map can be coloured by."""

import itertools

import numpy as np

from embedkit.files.rows import Rows
from reports.map.columns import Category, agreement_column, annotation_columns, category, limited
from reports.map.hues import PALETTE


def test_agreement_against_a_naive_loop():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, 40)
    neighbours = np.stack([rng.permutation(np.delete(np.arange(40), i))[:6] for i in range(40)])
    values = agreement_column(labels, neighbours).values
    for i in range(40):
        known = [j for j in neighbours[i] if labels[j] >= 0]
        if labels[i] < 0 or not known:
            assert np.isnan(values[i])
        else:
            assert values[i] == np.float32(np.mean([labels[j] == labels[i] for j in known]))


def test_more_categories_than_can_be_told_apart_become_other():
    codes = np.repeat(np.arange(100), np.arange(1, 101))
    column = limited(Category("g", "g", "s", codes, tuple(f"c{i}" for i in range(100)), "none"))
    assert len(column.names) == 60
    assert column.names[-1] == "other (41 more)"
    for i in (99, 50, 41):
        assert column.names[column.codes[codes == i][0]] == f"c{i}"
    assert set(column.codes[codes < 41]) == {59}


def test_sixty_categories_stay():
    names = [f"c{i:02d}" for i in range(60)]
    column = category("g", names, title="g", section="s", missing="none")
    assert column.names == tuple(names)
    assert column.codes.tolist() == list(range(60))


def test_empty_string_is_missing():
    assert category("g", ["b", "", "a"], title="g", section="s", missing="none").codes.tolist() == [1, -1, 0]


def test_group_of_single_rows_is_no_colour():
    rows = Rows(ids=np.array(list("abcdef")), group=np.array(list("abcdef")))
    assert annotation_columns(rows) == []


def _oklab(colour, matrix):
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return lab @ np.cbrt(lms @ np.clip(matrix @ linear, 0, 1))


def test_palette_for_colour_vision_deficiencies():
    assert len(set(PALETTE)) == 10
    # Machado, Oliveira & Fernandes 2009, severity 1.
    simulated = {
        "none": np.eye(3),
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
        "tritanopia": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.3039],
        ],
    }
    for name, matrix in simulated.items():
        greys = ("#c6cbd3", "#4a515c")  # of what has no category, by day and by night
        seen = [_oklab(colour, np.array(matrix)) for colour in (*PALETTE, *greys)]
        closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        assert closest > 0.07, name
