"""The backbone in the package: small, whole, its preprocessing, and better than what it must beat."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.shipped import FOLDER, SHIPPED
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.files.store import FeatureFile

NAMES = sorted(SHIPPED)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_there_whole_and_small_without_a_hub(name, monkeypatch):
    monkeypatch.setattr("embedkit.backbones.hub.hub_reachable", lambda *_: pytest.fail("asked the hub"))
    backbone = load_backbone(BackboneSpec(name))
    assert backbone.source == "embedkit"
    assert SHIPPED[name].path.stat().st_size < 12e6
    assert backbone.weights_sha256 in (FOLDER / "README.md").read_text()
    size = SHIPPED[name].image_size
    assert (backbone.preprocessing.image_size, backbone.preprocessing.resize) == (size, size)
    features = backbone.model(torch.rand(3, 3, size, size))
    assert torch.isfinite(features).all()
    assert features.std(dim=0).min() >= 0
    assert float((features[0] - features[1]).norm()) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_its_control_has_its_architecture_and_input(name):
    own, control = load_backbone(BackboneSpec(name)), load_backbone(BackboneSpec(name, random_init=0))
    assert control.source == "random 0"
    assert control.preprocessing == own.preprocessing
    assert control.weights_sha256 != own.weights_sha256


def test_a_misspelt_name_is_told_the_right_one():
    with pytest.raises(UsageError, match="Close: embedkit-galaxy"):
        load_backbone(BackboneSpec("embedkit-galaxi"))


@pytest.mark.slow
def test_it_tells_real_galaxies_apart_better_than_its_controls(shared, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = (shared / "data/gz1/labels.csv").read_text().split()[1:]
    chosen = [row for label in ("edge_on", "spiral_cw", "elliptical") for row in rows if row.endswith(label)][
        :1200
    ]
    labels.write_text("file,label\n" + "\n".join(chosen) + "\n")
    accuracy = {}
    command = ["extract", str(labels), "--root", str(shared / "data/gz1/images"), "--center-crop", "128"]
    controls = {"random": ["--random-init", "0"], "pixels": ["--backbone", "pixels:32"]}
    for key, more in ({"shipped": []} | controls).items():
        file = tmp_path / f"{key}.h5"
        assert main([*command, "--backbone", NAMES[0], *more, "-o", str(file)]) == 0
        with FeatureFile(file) as features:
            x, y = features.read(), np.asarray(features.rows.labels)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        accuracy[key] = KNeighborsClassifier(20).fit(x[::2], y[::2]).score(x[1::2], y[1::2])
    assert accuracy["shipped"] > accuracy["random"] + 0.05
    assert accuracy["shipped"] > accuracy["pixels"]
