"""What a GPU does to batches, on a CPU as far as it can be: resizing in torch, padding, compiling."""

import json
from functools import partial

import h5py
import numpy as np
import pytest
import torch

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, UsageError
from embedkit.extraction import forwarding
from embedkit.extraction import parts as parts_module
from embedkit.extraction.bound import Clock
from embedkit.extraction.extract import extract
from embedkit.extraction.feeding import Feeder
from embedkit.extraction.job import Job, load_image
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
from embedkit.extraction.verify import verify
from embedkit.extraction.way import Way
from embedkit.files.store import FeatureFile
from embedkit.images import views as views_module

N = 21
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 8)


@pytest.fixture
def stacked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (N, 40, 48, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "galaxies.h5", "w") as file:
        file["images"] = pixels
    return str(tmp_path / "galaxies.h5")


@pytest.fixture
def graphs(monkeypatch):
    """What torch.compile was given, computed as it is: no C compiler is needed, and no minute."""
    found = []

    def backend(module, _inputs):
        found.append(module)
        return module.forward

    torch._dynamo.reset()
    monkeypatch.setattr(forwarding.torch, "compile", partial(torch.compile, backend=backend))
    yield found
    torch._dynamo.reset()


def features(source, output, tiny, **options):
    settings = {"precision": "fp32", "batch_size": 5, "device": "cpu"} | options
    extract(source, output, backbone=tiny, options=ExtractOptions(**settings))
    with FeatureFile(output) as file:
        return file.read(), file.provenance


@pytest.mark.parametrize("views", ["1", "rot4", "d4"])
def test_torch_resizes_as_pillow_does(stacked, tiny, tmp_path, views):
    pillow, plain = features(stacked, tmp_path / "a.h5", tiny, views=views)
    ours, record = features(stacked, tmp_path / "b.h5", tiny, views=views, prepare_with="torch")
    cosines = (pillow * ours).sum(1) / np.linalg.norm(pillow, axis=1) / np.linalg.norm(ours, axis=1)
    assert cosines.min() > 0.9999
    assert record["precision_used"]["resize"] == "torch"
    assert record["prepare_with"] == "torch"
    assert not {"resize", "compiled"} & set(plain["precision_used"])
    assert not {"prepare_with", "compile"} & set(plain)
    assert not verify(tmp_path / "b.h5").problems


@pytest.mark.parametrize("source", ["stack", "files"])
def test_torch_draws_the_views_of_pillow(stacked, image_folder, tiny, tmp_path, monkeypatch, source):
    where = stacked if source == "stack" else str(image_folder(N))
    settings = {"views": "galaxy:3", "batch_size": 9, "seed": 5}
    pillow, _ = features(where, tmp_path / "a.h5", tiny, **settings)
    noisy, record = features(where, tmp_path / "c.h5", tiny, prepare_with="torch", **settings)
    cosines = (pillow * noisy).sum(1) / np.linalg.norm(pillow, axis=1) / np.linalg.norm(noisy, axis=1)
    assert cosines.min() > 0.9999
    with monkeypatch.context() as patch:
        patch.setattr(views_module, "NOISE_STD", 0.0)
        quiet, _ = features(where, tmp_path / "b.h5", tiny, prepare_with="torch", **settings)
    assert np.abs(noisy - quiet).max() > 1e-3
    assert record["precision_used"]["views"] == "torch"
    assert ("resize" in record["precision_used"]) == (source == "stack")
    assert not verify(tmp_path / "c.h5").problems
    # Any batch draws the same, the noise too.
    settings["batch_size"] = 3
    other, _ = features(where, tmp_path / "d.h5", tiny, prepare_with="torch", **settings)
    np.testing.assert_allclose(other, noisy, atol=1e-4)
    with FeatureFile(tmp_path / "c.h5") as file:
        assert file.views is not None
        assert not file.problems()


def test_a_file_of_pillow_is_not_one_of_torch(stacked, tiny, tmp_path):
    features(stacked, tmp_path / "a.h5", tiny)
    with pytest.raises(EmbedkitError, match=r"made in another way .*prepare_with"):
        features(stacked, tmp_path / "a.h5", tiny, prepare_with="torch")


def test_torch_does_not_resize_what_is_no_stack(image_folder, tiny, tmp_path):
    with pytest.raises(UsageError, match="--prepare-with torch needs images of one size"):
        features(str(image_folder(3)), tmp_path / "a.h5", tiny, prepare_with="torch")


def test_a_batch_is_read_in_one_go_and_ends_in_zeros(stacked, tiny, tmp_path):
    job = Job.plan(load_dataset(stacked), tiny, ExtractOptions(batch_size=5, device="cpu"))
    parts = Parts(tmp_path / "f.h5", N, 1)
    feeder = Feeder(job, parts, Way(job), Clock())
    sizes = []
    for fed in feeder.batches([0, 1, 2]):
        sizes.append((fed.number, len(fed.errors)))
        assert fed.pixels.shape == feeder.shape == (5, 1, 32, 32, 3)
        assert not fed.pixels[len(fed.errors) :].any()
        if len(sizes) == 2:
            expected = np.stack([load_image(job, row) for row in (5, 6, 7)])
            np.testing.assert_array_equal(fed.pixels[:3], expected)
    assert sizes == [(0, 5), (0, 3), (1, 5), (1, 3), (2, 5)]


@pytest.mark.parametrize(
    ("views", "prepare_with"), [("1", "auto"), ("galaxy:3", "auto"), ("galaxy:3", "torch")]
)
def test_compiled_features_are_those_of_the_network_itself(
    stacked, tiny, tmp_path, graphs, views, prepare_with
):
    settings = {"views": views, "prepare_with": prepare_with, "batch_size": 9}
    plain, _ = features(stacked, tmp_path / "a.h5", tiny, **settings)
    compiled, record = features(stacked, tmp_path / "b.h5", tiny, compile="on", **settings)
    np.testing.assert_allclose(plain, compiled, atol=1e-5)
    assert record["precision_used"]["compiled"] is True
    # One shape for all batches, the shorter ones at the end of every part among them.
    assert len(graphs) == 2


def test_a_killed_compiled_run_goes_on_to_the_same_bytes(stacked, tiny, tmp_path, graphs, monkeypatch):
    features(stacked, tmp_path / "a.h5", tiny, compile="on", prepare_with="torch")
    write, written = Parts.write, []

    def killed(self, number, part):
        if number == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, part)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            features(stacked, tmp_path / "b.h5", tiny, compile="on", prepare_with="torch")
    assert written == [0, 1]
    features(stacked, tmp_path / "b.h5", tiny, compile="on", prepare_with="torch")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_what_cannot_be_compiled_is_said(stacked, tiny, tmp_path, monkeypatch):
    def broken(*_args, **_settings):
        def called(_):
            raise RuntimeError("no such backend")

        return called

    monkeypatch.setattr(forwarding.torch, "compile", broken)
    with pytest.raises(EmbedkitError, match="can't be compiled here .*no such backend.*--compile off"):
        features(stacked, tmp_path / "a.h5", tiny, compile="on")


def test_the_last_line_says_what_bound_it(stacked, tmp_path, capsys):
    call = ["extract", stacked, "--backbone", "test_vit", "--random-init", "0", "--device", "cpu"]
    assert main([*call, "-o", str(tmp_path / "a.h5")]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert "bound by " in line
    assert "of forward passes alone." in line
    assert main([*call, "-o", str(tmp_path / "b.h5"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["bound"]
    assert found["stage"] in ("read", "decode", "prepare", "forward", "write")
    assert 0 < found["share"] <= 1


@needs_gpu
@pytest.mark.parametrize("compiled", ["off", "on"])
@pytest.mark.parametrize("views", ["1", "d4", "galaxy:3"])
def test_a_gpu_gives_the_features_of_a_cpu(stacked, tiny, tmp_path, compiled, views):
    settings = {"views": views, "batch_size": 9}
    cpu, _ = features(stacked, tmp_path / "a.h5", tiny, prepare_with="torch", **settings)
    gpu, record = features(stacked, tmp_path / "b.h5", tiny, device="cuda", compile=compiled, **settings)
    assert record["precision_used"]["resize"] == "torch"
    cosines = (cpu * gpu).sum(1) / np.linalg.norm(cpu, axis=1) / np.linalg.norm(gpu, axis=1)
    assert cosines.min() > 0.9999
