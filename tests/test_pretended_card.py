"""The branches that a GPU takes, run where there is none: all tensors on one side, and a CPU's numbers."""

import json
from contextlib import contextmanager, nullcontext

import h5py
import numpy as np
import pytest
import torch

from embedkit.backbones.options import BackboneSpec
from embedkit.cli import main
from embedkit.extraction.extract import extract
from embedkit.extraction.options import ExtractOptions
from embedkit.files.store import FeatureFile
from tests.pretended_card import pretended

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real card")


@pytest.fixture
def card(monkeypatch):
    with pretended(monkeypatch) as device:
        yield device


@contextmanager
def there_is(device):
    """Have a card be there where it is asked for."""
    with pytest.MonkeyPatch.context() as patch, pretended(patch) if device == "cuda" else nullcontext():
        yield


def test_a_pretended_card_refuses_what_a_real_one_refuses(card):
    here, there = torch.ones(3), torch.ones(3, device=card)
    assert there.device.type == torch.zeros_like(there).device.type == "cuda"
    assert (there + 1).cpu().tolist() == [2, 2, 2]
    assert there.sum().item() == 3
    here.copy_(there + 4)
    assert here.tolist() == [5, 5, 5]
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(RuntimeError, match="same device"):
        torch.nn.Linear(3, 3)(there)
    assert there[torch.tensor([0, 2])].cpu().tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="same device"):
        here[there.long()]
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("views", ["1", "d4", "galaxy:3"])
def test_features_are_those_of_a_cpu_that_prepares_as_a_card(tmp_path, views, precision):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 40, 48, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"] = pixels
    spec = BackboneSpec("pixels:8") if precision == "fp32" else BackboneSpec("test_vit", random_init=0)
    found = []
    for device in ("cpu", "cuda"):
        options = ExtractOptions(
            views=views, precision=precision, batch_size=6, device=device, prepare_with="torch"
        )
        output = tmp_path / f"{device}.h5"
        with there_is(device):
            extract(str(tmp_path / "images.h5"), output, backbone=spec, options=options)
        with FeatureFile(output) as file:
            assert not file.problems()
            assert file.provenance["device"].startswith(device)
            found.append((file.read(), None if file.views is None else file.views.mean))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    if views != "1":
        np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.fixture
def rows(tmp_path):
    """A feature file of 300 rows in five groups, in a tenth of which the label is another one."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 60)
    x = random.normal(size=(300, 70)) + 1.5 * random.normal(size=(5, 70))[labels]
    labels = np.where(random.random(300) < 0.1, random.integers(0, 5, 300), labels)
    np.savez(tmp_path / "rows.npz", features=x.astype(np.float32), labels=labels)
    assert main(["import", str(tmp_path / "rows.npz"), "-o", str(tmp_path / "rows.h5")]) == 0
    return tmp_path / "rows.h5"


CALLS = {
    "k-means": (["cluster", "--method", "kmeans", "-k", "5", "--prep", "pca:64"], "torch-cuda"),
    "HDBSCAN": (
        ["cluster", "--method", "hdbscan", "--min-cluster-size", "20"],
        "hdbscan (boruvka cuda float32)",
    ),
    "linear": (["probe", "--kind", "linear"], "torch-cuda"),
    "linear-sgd": (["probe", "--kind", "linear-sgd"], "torch-cuda"),
    "knn": (["probe", "--kind", "knn"], "torch-cuda"),
    "label-spreading": (["probe", "--kind", "label-spreading"], "scipy-cpu"),
    "budget": (["probe", "--kind", "linear", "--budget", "5", "--draws", "2"], "torch-cuda"),
}


@pytest.mark.parametrize("name", CALLS)
def test_scores_are_those_of_a_cpu(rows, tmp_path, name):
    call, backend = CALLS[name]
    found = []
    for device in ("cpu", "cuda"):
        whole = [call[0], str(rows), *call[1:], "--device", device, "-o", str(tmp_path / device)]
        with there_is(device):
            assert main(whole) == 0
        lines = (tmp_path / device / "results.jsonl").read_text().splitlines()
        found.append([json.loads(line) for line in lines])
    assert {line["backend"] for line in found[1]} == {backend}
    for here, there in zip(*found, strict=True):
        scores = [
            # What permuted labels get depends on how clusters are numbered.
            {key: value["value"] for key, value in line["metrics"].items() if not key.startswith("null_")}
            for line in (here, there)
        ]
        assert scores[1] == pytest.approx(scores[0], abs=1e-5)


NETWORK = "--backbone test_vit --random-init 0 --image-size 64"
TRAININGS = {
    "pretrain": "simulated --n 64 --method vicreg --held-out 16 --epochs 1 --batch-size 16",
    "finetune": "simulated --n 60 --recipe vit-tiny-lora --phase-epochs 1 --batch-plan 16 --no-probe",
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_keeps_to_the_card(card, tmp_path, name):
    call = [name, *TRAININGS[name].split(), *NETWORK.split(), "--device", "cuda"]
    assert main([*call, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "training.json").exists()
