import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.pooling import Pooling
from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction import loop
from embedkit.extraction import parts as parts_module
from embedkit.extraction import precision as precision_module
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job, load_image
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.verify import verify
from embedkit.files.store import FeatureFile
from embedkit.images.options import Overrides

CLI = ["--backbone", "test_vit", "--random-init", "0", "--image-size", "32", "--resize", "32"]
FP32 = ExtractOptions(precision="fp32", batch_size=4)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 8)


def test_features_are_those_of_a_plain_loop(image_folder, tiny, tmp_path):
    folder = image_folder(21, classes=3)
    done = extract(str(folder), tmp_path / "f.h5", backbone=tiny, options=FP32)
    assert (done.n, done.d, done.n_failed, done.done) == (21, 256, 0, "extracted")
    backbone = load_backbone(tiny)
    own = backbone.preprocessing
    with FeatureFile(tmp_path / "f.h5") as file:
        assert not file.problems()
        assert file.rows.class_names == ("class0", "class1", "class2")
        for row in (0, 7, 8, 20):
            image = Image.open(folder / str(file.rows.ids[row]))
            resized = image.resize((round(48 * 32 / 40), 32), Image.Resampling.BICUBIC).crop((3, 0, 35, 32))
            x = (np.asarray(resized) / 255 - np.array(own.mean)) / np.array(own.std)
            expected = Pooling.choose(backbone)(backbone, torch.tensor(x).permute(2, 0, 1)[None].float())
            np.testing.assert_allclose(file.read(slice(row, row + 1)), expected.numpy(), rtol=1e-4, atol=1e-4)
    assert not (tmp_path / "f.h5.parts").exists()


def test_the_same_again_does_nothing_and_another_way_is_refused(image_folder, tiny, tmp_path, capsys):
    folder, output = image_folder(), tmp_path / "f.h5"
    extract(str(folder), output, backbone=tiny, options=FP32)
    before = output.stat()
    again = extract(str(folder), output, backbone=tiny, options=FP32)
    assert again.done == "already there"
    assert output.stat().st_mtime_ns == before.st_mtime_ns
    others = {
        "layers": ExtractOptions(precision="fp32", layers="1"),
        "views": ExtractOptions(precision="fp32", views="rot4"),
        "precision": ExtractOptions(precision="bf16"),
        "dataset n": ExtractOptions(precision="fp32", limit=5),
    }
    for what, options in others.items():
        with pytest.raises(EmbedkitError, match=f"made in another way .*{what}.*--overwrite"):
            extract(str(folder), output, backbone=tiny, options=options)
    with pytest.raises(EmbedkitError, match="weights_sha256"):
        extract(
            str(folder),
            output,
            backbone=BackboneSpec("test_vit", random_init=1, preprocessing=tiny.preprocessing),
            options=FP32,
        )
    other = ExtractOptions(precision="fp32", layers="1", overwrite=True)
    assert extract(str(folder), output, backbone=tiny, options=other).d == 64


def test_a_changed_label_is_another_dataset(image_folder, tiny, tmp_path):
    folder = image_folder(6, classes=2)
    extract(str(folder), tmp_path / "f.h5", backbone=tiny, options=FP32)
    (folder / "class0" / "0000.jpg").rename(folder / "class1" / "0000.jpg")
    with pytest.raises(EmbedkitError, match="fingerprint"):
        extract(str(folder), tmp_path / "f.h5", backbone=tiny, options=FP32)


def test_batch_size_and_workers_do_not_change_features(image_folder, tiny, tmp_path):
    folder = str(image_folder(19))
    for i, (batch_size, workers) in enumerate([(1, 1), (4, 3), (64, 2)]):
        options = ExtractOptions(precision="fp32", batch_size=batch_size, workers=workers)
        extract(folder, tmp_path / f"{i}.h5", backbone=tiny, options=options)
    x = [FeatureFile(tmp_path / f"{i}.h5").read() for i in range(3)]
    np.testing.assert_allclose(x[0], x[1], atol=1e-4)
    np.testing.assert_allclose(x[0], x[2], atol=1e-4)


def test_quarter_turns_do_not_change_averaged_features(image_folder, tiny, tmp_path):
    folder = image_folder(6)
    turned = tmp_path / "turned"
    turned.mkdir()
    for file in sorted(folder.iterdir()):
        square = Image.open(file).crop((0, 0, 32, 32))  # no resize, whose rounding is not symmetric
        square.save(folder / file.with_suffix(".png").name)
        square.transpose(Image.Transpose.ROTATE_90).save(turned / file.with_suffix(".png").name)
        file.unlink()
    x = {}
    for name in (folder, turned):
        for views in ("1", "rot4", "d4"):
            options = ExtractOptions(precision="fp32", views=views)
            extract(str(name), tmp_path / f"{name.name}-{views}.h5", backbone=tiny, options=options)
            x[name, views] = FeatureFile(tmp_path / f"{name.name}-{views}.h5").read()
    assert np.abs(x[folder, "1"] - x[turned, "1"]).max() > 1e-2
    np.testing.assert_allclose(x[folder, "rot4"], x[turned, "rot4"], atol=1e-4)
    np.testing.assert_allclose(x[folder, "d4"], x[turned, "d4"], atol=1e-4)


def test_within_covariance_is_that_of_all_views_at_once(image_folder, tiny, tmp_path):
    folder = str(image_folder(11))
    options = ExtractOptions(precision="fp32", views="galaxy:3", seed=5, batch_size=6)
    extract(folder, tmp_path / "f.h5", backbone=tiny, options=options)
    dataset = load_dataset(folder)
    job = Job.plan(dataset, tiny, options)
    with torch.inference_mode():
        views = torch.stack(
            [
                job.pooling(
                    job.backbone,
                    job.backbone.preprocessing.normalize(torch.from_numpy(load_image(job, row))),
                )
                for row in range(11)
            ]
        ).double()  # (n, v, d)
    unit = views / views.norm(dim=2, keepdim=True)
    off = (unit - unit.mean(1, keepdim=True)).flatten(0, 1).numpy()
    with FeatureFile(tmp_path / "f.h5") as file:
        assert file.views is not None
        assert file.n_views == 3
        np.testing.assert_allclose(file.read(), views.mean(1).numpy(), atol=1e-4)
        np.testing.assert_allclose(file.views.mean, unit.mean(1).numpy(), atol=1e-5)
        np.testing.assert_allclose(file.views.within_covariance, off.T @ off / (11 * 2), atol=1e-7)
        assert not file.problems()


def test_random_views_depend_on_seed_and_image_alone(image_folder, tiny, tmp_path):
    folder = str(image_folder(9))
    options = {"precision": "fp32", "views": "galaxy:2"}
    for name, seed, batch in (("a", 1, 4), ("b", 1, 8), ("c", 2, 4)):
        extract(
            folder,
            tmp_path / f"{name}.h5",
            backbone=tiny,
            options=ExtractOptions(seed=seed, batch_size=batch, **options),
        )
    a, b, c = (FeatureFile(tmp_path / f"{name}.h5").read() for name in "abc")
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.abs(a - c).max() > 1e-3


def test_limit_spreads_over_the_dataset(image_folder, tiny, tmp_path):
    folder = image_folder(40, classes=4)
    options = ExtractOptions(precision="fp32", limit=8)
    extract(str(folder), tmp_path / "f.h5", backbone=tiny, options=options)
    with FeatureFile(tmp_path / "f.h5") as file:
        assert file.n == 8
        assert set(np.asarray(file.rows.labels)) == {0, 1, 2, 3}
    assert verify(tmp_path / "f.h5").lowest_cosine > 0.9999


def test_float16_on_disk(image_folder, tiny, tmp_path):
    folder = str(image_folder(5))
    extract(folder, tmp_path / "32.h5", backbone=tiny, options=FP32)
    options = ExtractOptions(precision="fp32", storage="float16", batch_size=4)
    extract(folder, tmp_path / "16.h5", backbone=tiny, options=options)
    half, full = FeatureFile(tmp_path / "16.h5").read(), FeatureFile(tmp_path / "32.h5").read()
    np.testing.assert_array_equal(half, full.astype(np.float16).astype(np.float32))


def test_broken_features_are_refused():
    with pytest.raises(EmbedkitError, match="NaN or infinite"):
        loop._refuse_broken(np.array([[1.0, np.nan]], np.float32), "float32")
    with pytest.raises(EmbedkitError, match="--storage float32"):
        loop._refuse_broken(np.array([[1e5]], np.float32), "float16")


# --- precision -------------------------------------------------------------------------------------


def test_auto_takes_bf16_only_where_it_is_native_and_agrees(
    image_folder, tiny, tmp_path, monkeypatch, capsys
):
    folder = str(image_folder(5))

    def used(name):
        extract(folder, tmp_path / name, backbone=tiny, options=ExtractOptions(batch_size=4))
        return FeatureFile(tmp_path / name).provenance["precision_used"]

    monkeypatch.setattr(precision_module, "native_bf16", lambda _device: True)
    chosen = used("native.h5")
    assert chosen["used"] == "bf16"
    assert chosen["cosine"] >= 0.999
    monkeypatch.setattr(precision_module, "bf16_cosine", lambda _job: 0.99)
    assert used("disagrees.h5") == {"used": "fp32", "why": "bf16 disagrees", "cosine": 0.99}
    monkeypatch.setattr(precision_module, "native_bf16", lambda _device: False)
    assert used("plain.h5") == {"used": "fp32", "why": "no native bf16"}
    said = capsys.readouterr().err
    assert "Precision bf16" in said
    assert "agree only to a cosine of 0.99" in said


def test_options_that_do_not_exist(image_folder, tmp_path):
    for wrong, message in [
        ({"precision": "fp8"}, "--precision fp8: unknown.* Give one of auto, fp32"),
        ({"storage": "float64"}, "--storage"),
        ({"on_error": "ignore"}, "--on-error"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"views": "galaxy:1"}, "--views galaxy:1"),
        ({"layers": "last"}, "--layers last"),
        ({"device": "toaster"}, "--device toaster: give auto, cpu, cuda, cuda:N or mps"),
        ({"limit": -1}, "--limit -1"),
        ({"shard": (2, 2)}, "--shard 2/2"),
        ({"shard": (0, 2), "overwrite": True}, "--overwrite with --shard"),
    ]:
        with pytest.raises(UsageError, match=message):
            ExtractOptions(**wrong)
    folder = image_folder(2)
    for options, message in [
        (ExtractOptions(device="cuda:7"), "CUDA devices here"),
        (ExtractOptions(device="cpu", precision="fp16"), "needs a GPU"),
    ]:
        with pytest.raises(UsageError, match=message):
            extract(str(folder), tmp_path / "f.h5", backbone=BackboneSpec("pixels:8"), options=options)
    with pytest.raises(UsageError, match="is a folder"):
        extract(str(folder), tmp_path, backbone=BackboneSpec("pixels:8"))


# --- unreadable images -----------------------------------------------------------------------------


def test_unreadable_images_fail_or_are_skipped_with_their_reason(image_folder, tiny, tmp_path):
    folder, output = image_folder(20), tmp_path / "f.h5"
    whole = tmp_path / "whole.h5"
    extract(str(folder), whole, backbone=tiny, options=FP32)
    (folder / "0009.jpg").write_bytes(b"")
    (folder / "0013.jpg").write_text("not an image")
    with pytest.raises(ImageError, match=r"0009\.jpg.*--on-error skip"):
        extract(str(folder), output, backbone=tiny, options=FP32)
    assert (tmp_path / "f.h5.parts" / "part-000000.npz").exists()  # what was finished is kept
    skip = ExtractOptions(precision="fp32", batch_size=4, on_error="skip")
    done = extract(str(folder), output, backbone=tiny, options=skip)
    assert (done.n, done.n_failed, done.done) == (20, 2, "resumed")
    with FeatureFile(output) as file, FeatureFile(whole) as reference:
        assert not file.problems()
        assert np.flatnonzero(~file.ok).tolist() == [9, 13]
        assert set(file.errors) == {"0009.jpg", "0013.jpg"}
        assert "0013.jpg" in file.errors["0013.jpg"]
        assert np.isnan(file.read()[~file.ok]).all()
        np.testing.assert_array_equal(file.read()[file.ok], reference.read()[file.ok])
    with pytest.raises(EmbedkitError, match="2 of its 20 images were skipped"):
        extract(str(folder), output, backbone=tiny, options=FP32)


def test_skipped_images_stay_out_of_the_view_statistics(image_folder, tiny, tmp_path):
    folder = image_folder(7)
    options = ExtractOptions(precision="fp32", views="rot4", on_error="skip")
    (folder / "0003.jpg").write_bytes(b"")
    extract(str(folder), tmp_path / "skip.h5", backbone=tiny, options=options)
    (folder / "0003.jpg").unlink()
    extract(str(folder), tmp_path / "without.h5", backbone=tiny, options=options)
    a, b = FeatureFile(tmp_path / "skip.h5").views, FeatureFile(tmp_path / "without.h5").views
    np.testing.assert_allclose(a.within_covariance, b.within_covariance, atol=1e-8)


def test_an_image_smaller_than_the_crop_is_named(image_folder, tmp_path):
    spec = BackboneSpec("pixels:8", preprocessing=Overrides(center_crop=64))
    with pytest.raises(ImageError, match=r"48 x 40 pixels, smaller than the centre crop of 64"):
        extract(str(image_folder(2)), tmp_path / "f.h5", backbone=spec)


# --- interruptions ---------------------------------------------------------------------------------


def _child(folder: str, output: str, part_rows: int, kill: tuple[int, float] | None) -> None:
    parts_module.PART_ROWS = part_rows
    torch.set_num_threads(1)
    calls, real_fsync = 0, os.fsync

    def fsync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if kill is not None and calls == kill[0] + 1:
            threading.Timer(kill[1], os.kill, (os.getpid(), signal.SIGKILL)).start()
        real_fsync(handle)

    os.fsync = fsync
    tiny = BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))
    options = ExtractOptions(precision="fp32", views="rot4", batch_size=8, workers=1)
    extract(folder, output, backbone=tiny, options=options)


def _run_child(folder: Path, output: Path, kill: tuple[int, float] | None = None) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["embedkit.extraction.extract", "timm", __name__])
    child = context.Process(target=_child, args=(str(folder), str(output), 16, kill))
    child.start()
    child.join()
    assert child.exitcode in ((0,) if kill is None else (0, -signal.SIGKILL))
    return child.exitcode


@pytest.mark.slow
def test_kill_9_at_20_random_moments_leaves_the_same_bytes(image_folder, tmp_path):
    """Each moment is up to 5 ms after a disk step: how fast the machine is matters little."""
    folder = image_folder(48, classes=2)
    reference = tmp_path / "reference.h5"
    _run_child(folder, reference)
    expected = reference.read_bytes()
    moments = random.Random(0)
    killed_midway = 0
    for i in range(20):
        output = tmp_path / f"killed{i}.h5"
        killed = _run_child(folder, output, kill=(i % 16, moments.uniform(0, 0.005))) != 0
        killed_midway += killed and (tmp_path / f"killed{i}.h5.parts").exists()
        _run_child(folder, output)
        assert output.read_bytes() == expected, f"kill number {i}"
        assert not (tmp_path / f"killed{i}.h5.parts").exists()
        assert not list(tmp_path.glob(".killed*"))
    assert killed_midway >= 10  # else the test kills nothing


@pytest.mark.parametrize("step", range(14))
def test_a_crash_at_every_step_of_the_disk_work_loses_nothing(
    step, image_folder, tiny, tmp_path, monkeypatch
):
    folder, output = str(image_folder(12)), tmp_path / "f.h5"
    extract(folder, tmp_path / "reference.h5", backbone=tiny, options=FP32)
    calls = 0
    real_fsync, real_replace, real_unlink = os.fsync, Path.replace, Path.unlink

    def crash_at(real):
        def step_or_crash(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return step_or_crash

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash_at(real_fsync))
        patch.setattr(Path, "replace", crash_at(real_replace))
        patch.setattr(Path, "unlink", crash_at(real_unlink))
        try:
            extract(folder, output, backbone=tiny, options=FP32)
        except KeyboardInterrupt:
            if output.exists():
                FeatureFile(output).close()  # whole, if it is there at all
        else:
            pytest.skip(f"fewer than {step + 1} steps")
    extract(folder, output, backbone=tiny, options=FP32)
    assert output.read_bytes() == (tmp_path / "reference.h5").read_bytes()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(image_folder, tmp_path):
    folder, output = image_folder(600), tmp_path / "f.h5"
    code = (
        "import sys, embedkit.extraction.parts as p, embedkit.cli as c; p.PART_ROWS = 8; "
        "sys.exit(c.main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "extract",
        str(folder),
        "-o",
        str(output),
        *CLI,
        "--batch-size",
        "1",
        "--views",
        "d4",
        "--precision",
        "fp32",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if (tmp_path / "f.h5.parts" / "part-000003.npz").exists():
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "f.h5.parts").glob("part-*.npz"))) >= 3
    assert not output.exists()


def test_an_unfinished_extraction_of_another_kind_is_refused(image_folder, tiny, tmp_path, monkeypatch):
    folder, output = str(image_folder(20)), tmp_path / "f.h5"

    def interrupt(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts_module.Parts, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract(folder, output, backbone=tiny, options=FP32)
    other = ExtractOptions(precision="fp32", layers="1", batch_size=4)
    with pytest.raises(EmbedkitError, match="unfinished extraction was begun in another way.*layers"):
        extract(folder, output, backbone=tiny, options=other)
    assert len(list((tmp_path / "f.h5.parts").glob("part-*.npz"))) == 3
    again = ExtractOptions(precision="fp32", layers="1", batch_size=4, overwrite=True)
    assert extract(folder, output, backbone=tiny, options=again).done == "extracted"


def test_an_interrupted_overwrite_goes_on(image_folder, tiny, tmp_path, monkeypatch):
    folder, output = str(image_folder(20)), tmp_path / "f.h5"
    extract(folder, output, backbone=tiny, options=FP32)
    anew = ExtractOptions(precision="fp32", layers="1", batch_size=4, overwrite=True)
    real_write = parts_module.Parts.write

    def stop_at_the_second(self, number, part):
        if number == 1:
            raise KeyboardInterrupt
        real_write(self, number, part)

    with monkeypatch.context() as patch:
        patch.setattr(parts_module.Parts, "write", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            extract(folder, output, backbone=tiny, options=anew)
    assert FeatureFile(output).d == 256  # the old file stays until the new one is whole
    assert extract(folder, output, backbone=tiny, options=anew).done == "resumed"
    assert FeatureFile(output).d == 64


def test_two_at_once_are_told(image_folder, tiny, tmp_path):
    output = tmp_path / "f.h5"
    holder = (
        "import fcntl, sys, time\n"
        "f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    (tmp_path / "f.h5.parts").mkdir()
    lock = tmp_path / "f.h5.parts" / "rank-0-of-1.lock"
    other = subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(EmbedkitError, match="another process is extracting it right now"):
            extract(str(image_folder(3)), output, backbone=tiny, options=FP32)
    finally:
        other.kill()
        other.communicate()
    assert extract(str(image_folder(3)), output, backbone=tiny, options=FP32).done == "extracted"


# --- a full disk -----------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_nothing_finished_is_lost(image_folder, tmp_path, capsys):
    folder, output = str(image_folder(20)), tmp_path / "f.h5"
    command = ["extract", folder, "-o", str(output), *CLI, "--precision", "fp32", "--batch-size", "4"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on file size fails just as a full disk does, in the middle of a write; parts need 8 KiB here.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, hard))
    try:
        assert main(command) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "part-000000" in (said := capsys.readouterr().err)
    assert "no room left on the disk" in said
    assert not output.exists()
    assert not list((tmp_path / "f.h5.parts").glob("part-*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, hard))  # the parts fit, the joined file does not
    try:
        assert main(command) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "f.h5" in (said := capsys.readouterr().err)
    assert "no room left on the disk" in said
    assert not output.exists()
    assert not list(tmp_path.glob(".f.h5*"))
    assert len(list((tmp_path / "f.h5.parts").glob("part-*.npz"))) == 3
    assert main(command) == 0
    assert "resumed" in capsys.readouterr().out


# --- several processes -----------------------------------------------------------------------------


def test_shards_join_when_the_last_is_done(image_folder, tiny, tmp_path):
    folder, output = str(image_folder(30)), tmp_path / "f.h5"
    extract(folder, tmp_path / "whole.h5", backbone=tiny, options=FP32)
    for shard in (1, 0, 2):
        options = ExtractOptions(precision="fp32", batch_size=4, shard=(shard, 3))
        done = extract(folder, output, backbone=tiny, options=options)
        assert output.exists() is (shard == 2)
        assert (done.done == "waiting") is (shard != 2)
    assert output.read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.slow
def test_torchrun_ranks_write_parts_of_one_file(image_folder, tmp_path):
    folder = image_folder(40, classes=2)
    code = (
        "import sys, embedkit.extraction.parts as p, embedkit.cli as c; p.PART_ROWS = 8; "
        "sys.exit(c.main(sys.argv[1:]))"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    arguments = ["extract", str(folder), *CLI, "--precision", "fp32", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command, output in ((torchrun, "two.h5"), ([sys.executable], "one.h5")):
        subprocess.run(
            [*command, str(script), *arguments, "-o", str(tmp_path / output)],
            check=True,
            env=environment,
            capture_output=True,
            timeout=300,
        )
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


# --- the command -----------------------------------------------------------------------------------


def test_the_command(image_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = image_folder(9, classes=3, name="birds")
    assert main(["extract", str(folder), *CLI, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["images"], plan["dimensions"], plan["output"]) == (9, 256, "runs/birds.h5")
    assert not Path("runs").exists()
    assert main(["extract", str(folder), *CLI, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["n"], done["d"], done["path"]) == (9, 256, "runs/birds.h5")
    assert main(["verify", "runs/birds.h5"]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out
    assert main(["extract", str(folder), *CLI, "--shard", "nonsense"]) == 2
    assert main(["extract", str(tmp_path / "nowhere")]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_unicode_and_spaces_in_names(image_folder, tiny, tmp_path):
    folder = image_folder(2)
    (folder / "0000.jpg").rename(folder / "Ω galaxy № 7 ü.jpg")
    extract(str(folder), tmp_path / "f ü.h5", backbone=tiny, options=FP32)
    assert "Ω galaxy № 7 ü.jpg" in FeatureFile(tmp_path / "f ü.h5").rows.ids
