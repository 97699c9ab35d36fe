"""One small labelled folder of images, its features, and a clustering of it."""

import numpy as np
import pytest
from PIL import Image
from report_world import COLOURS, World, write_clustering

from embedkit.datasets.load import load_dataset
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features


@pytest.fixture(scope="session", autouse=True)
def no_maps_of_before(tmp_path_factory):
    """Keep maps in a folder of this session, not in the developer's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDKIT_DATA", str(tmp_path_factory.mktemp("kept")))
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(rng.normal(colour, 12, size=(40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / name / f"{name} {i:02d}.png")
    dataset = load_dataset(str(root / "images"))
    labels = dataset.rows.labels
    features = rng.normal(size=(60, 24)) + 6 * np.eye(24)[labels]
    provenance = {"dataset": {"name": "colours", "origin": dict(dataset.origin)}, "features_name": "tiny"}
    write_features(root / "colours.h5", features.astype(np.float32), dataset.rows, provenance=provenance)
    runs = root / "runs"
    runs.mkdir()
    with FeatureFile(root / "colours.h5") as file:
        assigned = labels.copy()
        assigned[::9] = -1
        outcome = {
            "confusion": [[17, 0, 0, 3], [0, 17, 1, 2], [0, 0, 18, 2]],
            "class_names": sorted(COLOURS),
            "confusion_columns": [*sorted(COLOURS), "(none)"],
            "matching": {"0": "blue", "2": "red"},
        }
        write_clustering(runs, file, "kmeans.csv", assigned, outcome, k=3)
    return World(root / "images", root / "colours.h5", runs, 60, 3)


@pytest.fixture
def plain_file(tmp_path):
    """Write features without labels or images."""

    def write(n=30, d=8, ids=None, **rows):
        rng = np.random.default_rng(1)
        ids = [f"row {i}" for i in range(n)] if ids is None else ids
        return write_features(
            tmp_path / "plain.h5", rng.normal(size=(n, d)).astype(np.float32), Rows(ids=np.array(ids), **rows)
        )

    return write


@pytest.fixture(autouse=True)
def nowhere(tmp_path_factory, monkeypatch):
    """Work in an empty folder, so that a developer's own runs/ never takes part."""
    monkeypatch.chdir(tmp_path_factory.mktemp("nowhere"))
