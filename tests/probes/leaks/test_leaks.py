import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.scoring.split_file import read_splits
from embedkit.scoring.splits import Split, folds
from probes import division
from probes.leaks.dedupe import with_the_first
from probes.leaks.leaks import (
    N_CELLS,
    Leaks,
    close_neighbours,
    exact_copies,
    far_apart,
    fingerprint,
    identical_rows,
    n_cells,
    near_copies,
    sky_copies,
    without_copies,
)


def galaxy(seed: int, side: int = 96) -> Image.Image:
    """A round source, which all have, and a few faint ones, which tell images apart."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    pixels = 160 * np.exp(-((x - side / 2) ** 2 + (y - side / 2) ** 2) / 200)
    for cx, cy in rng.uniform(0, side, size=(12, 2)):
        pixels += 90 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18)
    return Image.fromarray(np.clip(pixels + rng.normal(0, 3, (side, side)), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def test_near_copies_in_every_orientation_size_and_compression():
    images = [galaxy(seed) for seed in range(20)]
    copies = [images[i].transpose(turn) for i, turn in enumerate(Image.Transpose)]  # the 7 but for identity
    copies += [images[7].resize((60, 60)), images[8].resize((50, 50)).transpose(Image.Transpose.ROTATE_90)]
    sources = [encoded(i) for i in (*images, *copies)] + [
        encoded(images[9], 50),
        encoded(Image.new("L", (9, 9))),
    ]
    thumbnails = np.stack([fingerprint(source, "x")[1] for source in sources])
    assert near_copies(thumbnails).tolist() == [[i, 20 + i] for i in range(10)]
    thumbnails[3] = np.nan  # not read
    thumbnails[22] = 5.0  # blank
    assert near_copies(thumbnails).tolist() == [[i, 20 + i] for i in range(10) if i not in (2, 3)]


def test_points_on_black_are_alike_and_no_copies():
    y, x = np.mgrid[:192, :192]
    points = [np.exp(-((x - 96 - i / 9) ** 2 + (y - 96) ** 2) / 8) for i in range(3)]
    sources = [encoded(Image.fromarray((200 * point).astype(np.uint8))) for point in points]
    thumbnails = np.stack([fingerprint(source, "x")[1] for source in sources])
    assert (n_cells(thumbnails) < N_CELLS).all()
    assert near_copies(thumbnails).tolist() == []
    spots = np.zeros((3, 32, 32), np.float32)
    spots[0, 9, 9] = spots[1, 9:20:10, 9:20:10] = 1  # one, four, none
    one = 1 / (0.8**2 + 4 * 0.05**2)  # of its Laplacian: 4, and -1 four times
    assert n_cells(spots) == pytest.approx([one, 4 * one, 0])


def test_exact_copies_are_of_bytes_or_of_pixels():
    pixels = np.asarray(galaxy(0))
    digests = [fingerprint(source, "x")[0] for source in (pixels, pixels.copy(), pixels.astype(np.int32))]
    assert digests[0] == digests[1] != digests[2]
    assert exact_copies(np.array([*digests, digests[0], "", ""])).tolist() == [[0, 1], [0, 3]]


def test_sky_copies_across_zero_and_near_the_pole():
    within, beyond = 0.9 / 3600, 1.1 / 3600
    coordinates = [(359.9999, 0), (359.9999 + within - 360, 0), (10, 60), (10 + within / 0.5, 60)]
    coordinates += [(50, 0), (50, beyond), (0, 90), (180, 90), (np.nan, 90)]
    assert sorted(map(tuple, sky_copies(np.array(coordinates)))) == [(0, 1), (2, 3), (6, 7)]


def test_far_apart_only_where_both_positions_are_known():
    coordinates = np.array([(359.999, 0), (0.001, 0), (0.1, 0), (np.nan, 0)])
    pairs = np.array([(0, 1), (0, 2), (0, 3)])
    assert far_apart(pairs, coordinates).tolist() == [False, True, False]
    assert far_apart(pairs[:0], coordinates).tolist() == []


def test_close_neighbours_are_mutual_and_unusually_near():
    x = np.random.default_rng(0).normal(size=(50, 30))
    x[40] = x[3] + 0.01 * x[4]
    x[41] = x[7]
    assert close_neighbours(x).tolist() == [[3, 40], [7, 41]]


def test_test_rows_stay_and_their_copies_leave():
    split = Split("s", np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6]))
    leaks = Leaks(
        {"exact": np.array([[0, 5]]), "near": np.array([[1, 3], [0, 4]]), "embedding": np.array([[2, 6]])}
    )
    assert [leaks.n_across(kind, split, 7) for kind in leaks.pairs] == [1, 0, 1]
    kept = without_copies(split, leaks.groups(7))  # 0, 4 and 5 are one; 1 and 3 are one
    assert (kept.train.tolist(), kept.validation.tolist(), kept.test.tolist()) == ([2], [3], [5, 6])


def test_every_copy_goes_with_the_first_and_folds_still_test_every_row_once():
    split = Split("s", np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6]))
    groups = np.array([0, 1, 2, 1, 4, 0, 6])
    kept = with_the_first(split, groups)
    assert (kept.train.tolist(), kept.validation.tolist(), kept.test.tolist()) == ([0, 1, 2, 3, 5], [4], [6])


def test_folds_keep_copies_together_and_test_every_row_once():
    random = np.random.default_rng(0)
    y, groups = random.integers(0, 3, 120), random.integers(0, 70, 120)
    after = [with_the_first(split, groups) for split in folds(y, 4)]
    assert np.array_equal(np.sort(np.concatenate([split.test for split in after])), np.arange(120))
    for split in after:
        parts = [set(groups[part]) for part in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))  # no group in two


def test_identical_features_show_a_copy_without_its_image():
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    x[5] = x[8] = x[2]
    x[6] = x[1] + np.float32(1e-6)
    assert identical_rows(x).tolist() == [[2, 5], [2, 8]]


@pytest.fixture
def copied(tmp_path):
    """Forty images in two classes, of which each class's last is its first again."""
    images = tmp_path / "images"
    for kind in range(2):
        (images / f"class {kind}").mkdir(parents=True)
        for i in range(20):
            (images / f"class {kind}/{i:02}.jpg").write_bytes(encoded(galaxy(100 * kind + i % 19)))
    dataset = load_dataset(str(images))
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    rows = Rows(
        ids=dataset.rows.ids,
        labels=dataset.rows.labels,
        class_names=dataset.rows.class_names,
        split=np.array((["test"] * 5 + ["validation"] * 5 + ["train"] * 10) * 2),
    )
    provenance = {"dataset": {"origin": dict(dataset.origin)}}
    return write_features(tmp_path / "f.h5", x, rows, provenance=provenance)


def test_the_command_counts_lists_and_keeps_a_split(copied, tmp_path, capsys):
    split, listed = tmp_path / "split.json", tmp_path / "pairs.csv"
    options = ["--save-split", str(split), "--pairs", str(listed)]
    assert main(["leaks", str(copied), *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["found"]["exact"] == {"pairs": 2, "test_rows": 2}
    assert document["found"]["near"] == {"pairs": 0, "test_rows": 0}
    assert "no coordinates" in document["not_checked"]["sky"]
    with listed.open(newline="") as stream:
        pairs = [(row["id"], row["other"]) for row in csv.DictReader(stream) if row["kind"] == "exact"]
    assert pairs[0] == ("class 0/00.jpg", "class 0/19.jpg")
    ids = np.array([f"class {kind}/{i:02}.jpg" for kind in range(2) for i in range(20)])
    [kept] = read_splits(split, ids)
    assert kept.counts == {"train": 18, "validation": 10, "test": 10}
    assert main(["probe", str(copied), "--split", str(split), "-o", str(tmp_path)]) == 0


@pytest.mark.parametrize("how", ["group", "drop"])
def test_probe_shows_copies_before_the_score_and_scores_without_them(copied, tmp_path, capsys, how):
    assert main(["probe", str(copied), "--dedupe", how, "-o", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["leaks"]["found"]["exact"] == {"pairs": 2, "test_rows": 2}
    assert document["before"]["outcomes"]["division"][0]["train"] == 20
    counts = document["outcomes"]["division"][0]
    # Each class's first is tested and its copy trained on.
    changed = {"group": {"train": 18, "test": 12}, "drop": {"train": 18, "test": 10}}[how]
    assert {name: counts[name] for name in changed} == changed
    assert document["params"]["dedupe"] == how
    assert main(["probe", str(copied), "--dedupe", how, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("exact copies") < shown.index("balanced accuracy")
    assert "with copies" in shown


@pytest.mark.parametrize(("options", "n_seeds"), [((), 1), (("--seeds", "2"), 2), (("--budget", "2"), 1)])
def test_the_rows_of_a_seed_are_dealt_out_once(copied, tmp_path, monkeypatch, options, n_seeds):
    dealt = []
    draw = division.draw_splits

    def count(*arguments, **options):
        dealt.append(options)
        return draw(*arguments, **options)

    monkeypatch.setattr(division, "draw_splits", count)
    command = ["probe", str(copied), "--split", "stratified", "--dedupe", "group", "-o", str(tmp_path)]
    assert main([*command, *options]) == 0
    assert len(dealt) == n_seeds


def test_seeds_and_budgets_show_the_score_with_copies_too(copied, tmp_path, capsys):
    command = ["probe", str(copied), "--split", "stratified", "--dedupe", "group", "-o", str(tmp_path)]
    assert main([*command, "--seeds", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(r["seed"], r["params"].get("dedupe")) for r in results] == [
        *((seed, None) for seed in (0, 1)),
        *((seed, "group") for seed in (0, 1)),
    ]
    accuracy = [r["metrics"]["accuracy"]["value"] for r in results]
    assert document["before"]["over_seeds"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracy[:2]))
    assert document["over_seeds"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracy[2:]))
    assert main([*command, "--seeds", "2"]) == 0
    shown, said = capsys.readouterr()
    assert "Test rows are those of seed 0" in said
    row = next(line for line in shown.splitlines()[::-1] if line.strip().startswith("accuracy"))
    change = np.subtract(accuracy[2:], accuracy[:2])
    assert f"{change.mean():+.3f} ± {change.std(ddof=1):.3f}" in row
    assert main([*command, "--budget", "2", "--draws", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "dedupe" not in document["before"]["budgets"][0]["params"]
    assert document["budgets"][0]["params"]["dedupe"] == "group"
    assert main([*command, "--budget", "2", "--draws", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("70/15/15, 6 test rows") < shown.index("70/15/15, copies together, 7 test rows")


def test_without_images_it_says_what_was_not_checked(make_file, capsys):
    assert main(["leaks", str(make_file())]) == 0
    out, err = capsys.readouterr()
    assert out.count("not checked") == 3
    assert "doesn't record its dataset" in err


def test_one_class_can_be_checked_and_not_divided(tmp_path, capsys):
    rows = Rows(np.array(["a", "b", "c"]), np.zeros(3, np.int64), ("galaxy",))
    path = write_features(tmp_path / "one.h5", np.ones((3, 2), np.float32), rows)
    assert main(["leaks", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["found"]["identical"] == {"pairs": 2, "test_rows": None}
    assert "no labels of two classes, so no split is drawn" in err
