"""The main job on real galaxies, typed as a new user would."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.files.results import read_results
from embedkit.files.store import FeatureFile

BACKBONE = "vit_tiny_patch16_224"
WEIGHTS = "vit_tiny_patch16_224.augreg_in21k_ft_in1k.fp16.safetensors"


@pytest.fixture(scope="module")
def place(shared, tmp_path_factory):
    weights = shared / "weights" / WEIGHTS
    if not weights.exists():
        pytest.skip(f"no weights at {weights}")
    return tmp_path_factory.mktemp("galaxies")


@pytest.fixture(scope="module")
def gz1(place, shared):
    """Features of 24 galaxies of Galaxy Zoo 1, with labels, made by the command."""
    command = ["extract", str(shared / "data/gz1/labels.csv"), "--root", str(shared / "data/gz1/images")]
    command += ["--backbone", BACKBONE, "--weights", str(shared / "weights" / WEIGHTS)]
    command += ["--center-crop", "212", "--limit", "24", "-o", str(place / "gz1.h5")]
    assert main(command) == 0
    return place / "gz1.h5"


pytestmark = pytest.mark.slow


def test_extract_keeps_ids_labels_and_distinct_features(gz1):
    with FeatureFile(gz1) as file:
        assert (file.n, file.d) == (24, 4 * 192)
        assert file.ok.all()
        assert "spiral_cw" in file.rows.class_names
        x = file.read()
        assert file.features_name.endswith("cls b8-b11")
    cosine = (unit := x / np.linalg.norm(x, axis=1, keepdims=True)) @ unit.T
    off = cosine[~np.eye(24, dtype=bool)]
    assert off.max() < 0.99  # no two galaxies alike
    assert off.min() > 0.2  # and all of them galaxies


def test_the_same_again_does_nothing(gz1, place, shared, capsys):
    before = gz1.stat().st_mtime_ns
    command = ["extract", str(shared / "data/gz1/labels.csv"), "--root", str(shared / "data/gz1/images")]
    command += ["--backbone", BACKBONE, "--weights", str(shared / "weights" / WEIGHTS)]
    command += ["--center-crop", "212", "--limit", "24", "-o", str(gz1), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["done"] == "already there"
    assert gz1.stat().st_mtime_ns == before


def test_verify(gz1, capsys):
    assert main(["verify", str(gz1)]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out


def test_cluster(gz1, place):
    runs = place / "cluster"
    assert main(["cluster", str(gz1), "--method", "kmeans", "-k", "3", "-o", str(runs)]) == 0
    (result,) = read_results(runs)
    assert (result.task, result.n, result.metrics["accuracy"].value is not None) == ("cluster", 24, True)


def test_a_flat_folder_clusters_without_labels(place, shared):
    unlabelled = place / "unlabelled.h5"
    folder = str(shared / "data" / "gz1" / "images")
    assert main(["extract", folder, "--backbone", "pixels:32", "--limit", "24", "-o", str(unlabelled)]) == 0
    with FeatureFile(unlabelled) as file:
        assert file.rows.labels is None
    assert main(["cluster", str(unlabelled), "-k", "3", "-o", str(place / "unlabelled runs")]) == 0


@pytest.fixture(scope="module")
def pixels(place, shared):
    """Pixels of 1,500 galaxies with their labels: enough rows of each class for a probe."""
    command = ["extract", str(shared / "data/gz1/labels.csv"), "--root", str(shared / "data/gz1/images")]
    command += ["--backbone", "pixels:16", "--limit", "1500", "-o", str(place / "pixels.h5")]
    assert main(command) == 0
    return place / "pixels.h5"


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_probe(kind, pixels, place):
    runs = place / kind
    assert main(["probe", str(pixels), "--kind", kind, "-o", str(runs)]) == 0
    (result,) = read_results(runs)
    assert 0.5 < result.metrics["accuracy"].value <= 1  # the largest class holds 70 %


def test_two_cutouts_of_one_position_are_a_leak(place, shared, capsys):
    sample = shared / "data" / "gz_decals_sample"
    images = {path.stem: path for path in sample.rglob("*.png")}
    rows = []
    for table in ("gz_decals_auto_posteriors", "gz_decals_volunteers_1_and_2", "gz_decals_volunteers_5"):
        with (sample / f"{table}.csv").open(newline="") as stream:
            rows += [(images[r["iauname"]], r["ra"], r["dec"]) for r in csv.DictReader(stream)]
    first, ra, dec = rows[0]
    Image.open(first).crop((80, 80, 300, 300)).save(place / "crop.png")  # no copy to the eye
    rows += [(place / "crop.png", ra, float(dec) + 0.5 / 3600)]
    lines = [f"{path},{ra},{dec}" for path, ra, dec in rows]
    (place / "decals.csv").write_text("\n".join(["file,ra,dec", *lines]))
    command = ["extract", str(place / "decals.csv"), "--backbone", "pixels:8", "-o", str(place / "decals.h5")]
    assert main(command) == 0
    capsys.readouterr()
    assert main(["leaks", str(place / "decals.h5"), "--pairs", str(place / "pairs.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert {kind: found[kind]["pairs"] for kind in ("exact", "near", "sky")} == {
        "exact": 0,
        "near": 0,
        "sky": 1,
    }
    assert (place / "pairs.csv").read_text().splitlines()[1] == f"sky,{first},{place / 'crop.png'}"


def test_the_error_tile_is_an_image_and_no_crash(place, shared):
    folder = str(shared / "data" / "bad")
    assert main(["extract", folder, "--backbone", "pixels:32", "-o", str(place / "bad.h5")]) == 0
    assert FeatureFile(place / "bad.h5").n == 1
