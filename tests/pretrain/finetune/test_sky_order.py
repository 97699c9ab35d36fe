"""Batches of neighbours on the sky."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

import embedkit
from embedkit.cli import main
from embedkit.errors import DataError
from pretrain.finetune.sky_order import check_positions, measures, sky_ordered, spread_sentence, within

RECIPE = """
about = "all of it"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
batch_plan = "8"

[[phase]]
name = "whole"
train = "all"
epochs = 1
lr = 1e-3
"""


def sky(n, seed=0):
    random = np.random.default_rng(seed)
    return np.column_stack([random.random(n) * 360, np.degrees(np.arcsin(random.random(n) * 2 - 1))])


def vectors(positions):
    ra, dec = np.radians(positions.T)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def apart(positions, order, size):
    """Mean angle within batches, in degrees, of all pairs."""
    v = vectors(positions)
    found = []
    for start in range(0, len(order) // size * size, size):
        batch = v[order[start : start + size]]
        angles = np.degrees(np.arccos(np.clip(batch @ batch.T, -1, 1)))
        found.append(angles[np.triu_indices(size, 1)].mean())
    return float(np.mean(found))


def test_every_row_once_an_epoch_by_seed_and_epoch():
    positions, rows = sky(1000), torch.arange(3, 1000, 2)
    order = sky_ordered(rows, positions, cell=10, size=lambda _: 32, seed=1)
    again = sky_ordered(rows, positions, cell=10, size=lambda _: 32, seed=1)
    other = sky_ordered(rows, positions, cell=10, size=lambda _: 32, seed=2)
    for epoch in range(4):
        assert sorted(order(epoch).tolist()) == rows.tolist()
        assert torch.equal(order(epoch), again(epoch))
        assert not torch.equal(order(epoch), other(epoch))
        assert not torch.equal(order(epoch), order(epoch + 1))


@pytest.mark.parametrize("cell", [5.0, 20.0])
def test_a_batch_is_of_neighbours(cell):
    positions = sky(4000)
    order = sky_ordered(torch.arange(4000), positions, cell=cell, size=lambda _: 16, seed=0)(0).numpy()
    random = np.random.default_rng(0).permutation(4000)
    assert apart(positions, random, 16) == pytest.approx(90, abs=2)
    assert apart(positions, order, 16) < 20


def test_batches_follow_the_size_of_the_epoch_and_are_shuffled():
    positions = sky(600)
    order = sky_ordered(torch.arange(600), positions, cell=10, size=lambda epoch: (8, 32)[epoch], seed=0)
    for epoch, size in enumerate((8, 32)):
        batches = order(epoch)[: 600 // size * size].numpy().reshape(-1, size)
        middles = vectors(positions)[batches].mean(axis=1)
        steps = np.linalg.norm(np.diff(middles, axis=0), axis=1)
        assert np.median(steps) > 0.7  # one batch is not beside the one before it


def test_right_ascension_goes_round():
    random = np.random.default_rng(0)
    near, far = random.random(128) * 2 - 1, random.random(128) * 2 + 179
    both = np.column_stack([np.concatenate([near % 360, far]), np.zeros(256)])

    def order(positions, epoch):
        return sky_ordered(torch.arange(256), positions, cell=30, size=lambda _: 8, seed=0)(epoch).numpy()

    # 32 batches, of which two or three are of both sides of the sky.
    assert np.median([apart(both, order(both, epoch), 8) for epoch in range(9)]) < 10
    turned = both + np.array([[720.0, 0.0]])
    np.testing.assert_array_equal(order(turned, 0), order(both, 0))


def test_poles_are_one_cell_and_all_in_one_place_is_no_trouble():
    positions = np.array([[ra, dec] for ra in (0, 90, 180, 270) for dec in (90.0, -90.0)] * 4)
    order = sky_ordered(torch.arange(32), positions, cell=180, size=lambda _: 4, seed=0)(0)
    assert sorted(order.tolist()) == list(range(32))
    same = np.zeros((32, 2))
    order = sky_ordered(torch.arange(32), same, cell=1e-3, size=lambda _: 32, seed=0)(0)
    assert sorted(order.tolist()) == list(range(32))


def test_the_spread_within_batches_against_numpy():
    values, order = np.arange(10.0) ** 2, np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    parts = values[order].reshape(2, 5)
    assert within(values, order, 5) == pytest.approx(np.sqrt(parts.var(axis=1, ddof=1).mean()))


def discs(levels, radii, side=48):
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    pixels = [np.where(np.hypot(x, y) < r, 250, level) for level, r in zip(levels, radii, strict=True)]
    return torch.from_numpy(np.repeat(np.stack(pixels)[:, None], 3, axis=1).astype(np.uint8))


def test_background_and_radius_are_those_of_drawn_discs():
    levels, radii = np.array([10.0, 80.0, 120.0]), np.array([4.0, 9.0, 15.0])
    level, radius = measures(discs(levels, radii))
    np.testing.assert_array_equal(level, levels)
    np.testing.assert_allclose(radius, radii, rtol=0.02)


def test_the_sentence_says_what_a_sky_with_a_gradient_gives():
    positions = sky(800)
    random = np.random.default_rng(1)
    levels = np.round(60 + positions[:, 1] / 2)  # by declination
    pixels = discs(levels, random.random(800) * 10 + 3)
    said = spread_sentence(pixels, torch.arange(800), positions, cell=10, size=16, seed=0)
    assert said.startswith("Batches of 16 from cells of 10 degrees: standard deviation within a batch")
    words = said.replace("(", "").split()
    here, there = (
        float(words[words.index("background") + 1]),
        float(words[words.index("instead") + 2].strip("(")),
    )
    assert there == pytest.approx(levels.std(), rel=0.05)
    assert here < 0.5 * there
    assert "less" in said


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        (None, "no positions, which --sky-cell orders images by"),
        (np.array([[0.0, 0.0], [np.nan, 1.0], [1.0, 91.0]]), "2 of 3 labelled images .* such as 'b'"),
        (np.array([[0.0, 0.0], [0.0, 1.0], [np.inf, 9.0]]), "1 of 3 labelled images .* such as 'c'"),
    ],
)
def test_what_has_no_place_is_refused_by_name(positions, words):
    with pytest.raises(DataError, match=words):
        check_positions(positions, np.arange(3), np.array(["a", "b", "c"]), "galaxies")


def test_the_command(tmp_path, capsys):
    random = np.random.default_rng(0)
    positions = sky(40)
    with (tmp_path / "galaxies.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "ra", "dec"])
        for i, (ra, dec) in enumerate(positions):
            Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
            writer.writerow([f"{i}.png", "ab"[i % 2], ra, dec])
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    options = {"recipe": str(recipe), "device": "cpu", "probe": False, "split": "stratified"}
    made = embedkit.finetune(tmp_path / "galaxies.csv", tmp_path / "sky", sky_cell=30, **options)
    assert any("from cells of 30 degrees" in note for note in made.reports[0].notes)
    assert made.results[0].params["sky_cell"] == 30
    plain = embedkit.finetune(tmp_path / "galaxies.csv", tmp_path / "plain", **options)
    assert "sky_cell" not in plain.results[0].params
    line = ["finetune", str(tmp_path / "none"), "--recipe", str(recipe), "--sky-cell", "5", "--no-probe"]
    for name in "ab":
        (tmp_path / "none" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (40, 40)).save(tmp_path / "none" / name / f"{i}.png")
    assert main([*line, "-o", str(tmp_path / "x")]) == 1
    assert "none: no positions, which --sky-cell orders images by." in capsys.readouterr().err
