"""Engines: the same file whoever computes the parts, also where one of them is killed."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.engine import threads_each
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction import parts as parts_module
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
from embedkit.extraction.spread import PartsWork, engine_of

OPTIONS = ExtractOptions(precision="fp32", batch_size=4, device="cpu", views="galaxy:4")
TORCHRUN = replace(OPTIONS, engine="torchrun", processes=2)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 16)


@pytest.fixture
def galaxies() -> Dataset:
    return load_dataset("simulated", n=120, size=48)


def children(pid: int, named: str) -> list[int]:
    """Processes below one whose command line has that word in it."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    below = {pid}
    for _ in range(8):
        below |= {child for child, parent in parents.items() if parent in below}
    return sorted(child for child in below if named in commands.get(child, ""))


def when_parts_are_there(output: Path, n: int, do: Callable[[], None]) -> threading.Thread:
    def watch() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if len(list(output.with_name(output.name + ".parts").glob("part-*.npz"))) >= n:
                do()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"address": "10.0.0.1:6379"}, "--address is of a Ray cluster"),
        ({"engine": "torchrun", "address": "10.0.0.1:6379"}, "--engine ray, not torchrun"),
        ({"processes": 2}, "--processes needs --engine"),
        ({"engine": "ray", "shard": (0, 2)}, "--shard is for independent tasks"),
        ({"engine": "torchrun", "device": "cuda:1"}, "a card of its own"),
        ({"engine": "spark"}, "local"),
        ({"engine": "torchrun", "processes": 0}, "at least 1"),
    ],
)
def test_options_that_exclude_each_other(given, match):
    with pytest.raises(UsageError, match=match):
        ExtractOptions(**given)


def test_an_engine_under_torchrun_is_refused(tmp_path):
    code = (
        "import sys, embedkit.cli as c; sys.exit(c.main(['extract', 'simulated', '--n', '20', '--backbone', "
        f"'pixels:8', '--engine', 'torchrun', '-o', {str(tmp_path / 'f.h5')!r}]))"
    )
    alone = {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | alone, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "under torchrun: leave out one of the two" in done.stderr


def test_threads_fill_the_cores_and_no_more():
    assert [threads_each(n, 8) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


def work_of(dataset: Dataset, spec: BackboneSpec, folder: Path, **options) -> PartsWork:
    job = Job.plan(dataset, spec, replace(OPTIONS, engine="torchrun", **options))
    engine = engine_of(job, spec, Parts(folder / "f.h5", len(dataset), 4))
    return engine._work  # type: ignore[union-attr]


def test_a_process_with_other_weights_or_another_dataset_is_refused(galaxies, tiny, tmp_path):
    work = work_of(galaxies, tiny, tmp_path)
    work.begin(1)
    other = replace(work, spec=replace(tiny, random_init=1))
    with pytest.raises(EmbedkitError, match=r"test_vit: the weights are others .*SHA-256 [0-9a-f]{12} and"):
        other.begin(1)
    with pytest.raises(EmbedkitError, match="something else than the asking process.*fingerprint"):
        replace(work, dataset=load_dataset("simulated", n=120, size=48, dataset_seed=1)).begin(1)
    with pytest.raises(EmbedkitError, match=r"something else.*storage: float32 there, float16 asked"):
        replace(work, asked={**work.asked, "storage": "float16"}).begin(1)


def test_a_process_that_sees_other_images_or_none_is_refused(image_folder, tiny, tmp_path):
    folder = image_folder(6)
    work = pickle.loads(pickle.dumps(work_of(load_dataset(folder), tiny, tmp_path)))
    Image.fromarray(np.zeros((40, 48, 3), dtype=np.uint8)).save(folder / "0000.jpg")
    with pytest.raises(EmbedkitError, match=r"0000\.jpg: is another image than the asking process reads"):
        work.begin(1)
    (folder / "0000.jpg").unlink()
    with pytest.raises(EmbedkitError, match=r"0000\.jpg: can't be read .*as it can by the asking process"):
        work.begin(1)


# --- torchrun ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_torchrun_makes_the_same_file_with_a_process_killed(galaxies, tiny, tmp_path, capsys):
    extract(galaxies, tmp_path / "one.h5", backbone=tiny, options=OPTIONS)
    output = tmp_path / "two.h5"
    killed: list[int] = []

    def kill() -> None:
        killed.append(children(os.getpid(), "torchrun_rank")[-1])
        os.kill(killed[0], signal.SIGKILL)

    thread = when_parts_are_there(output, 3, kill)
    done = extract(galaxies, output, backbone=tiny, options=TORCHRUN)
    thread.join()
    assert killed
    assert "All were started again, time 1" in capsys.readouterr().err
    assert (done.done, done.n) == ("extracted", 120)
    assert output.read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert not children(os.getpid(), "torchrun_rank")
    assert extract(galaxies, output, backbone=tiny, options=TORCHRUN).done == "already there"


@pytest.mark.slow
def test_torchrun_ends_at_an_error_and_keeps_what_is_finished(image_folder, tiny, tmp_path):
    folder, output = image_folder(64), tmp_path / "f.h5"
    whole = (folder / "0063.jpg").read_bytes()
    (folder / "0063.jpg").write_bytes(b"no image")
    began = time.monotonic()
    with pytest.raises(ImageError, match=r"0063\.jpg.*--on-error skip"):
        extract(str(folder), output, backbone=tiny, options=TORCHRUN)
    assert time.monotonic() - began < 60  # and isn't tried again and again
    assert not children(os.getpid(), "torchrun")
    skipped = replace(TORCHRUN, on_error="skip")
    assert extract(str(folder), output, backbone=tiny, options=skipped).n_failed == 1
    alone = replace(OPTIONS, on_error="skip")
    extract(str(folder), tmp_path / "one.h5", backbone=tiny, options=alone)
    assert output.read_bytes() == (tmp_path / "one.h5").read_bytes()
    (folder / "0063.jpg").write_bytes(whole)


@pytest.mark.slow
def test_torchrun_leaves_no_process_behind_a_kill(tmp_path):
    output = tmp_path / "f.h5"
    code = (
        "import embedkit.extraction.parts as p, embedkit.cli as c; p.PART_ROWS = 8; c.main(['extract', "
        "'simulated', '--n', '4000', '--size', '32', '--backbone', 'pixels:8', '--engine', 'torchrun', "
        f"'--processes', '2', '-o', {str(output)!r}])"
    )
    command = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    ranks: list[int] = []
    thread = when_parts_are_there(output, 2, lambda: ranks.extend(children(command.pid, "torchrun_rank")))
    thread.join()
    assert len(ranks) >= 2
    command.kill()
    command.wait()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in ranks):
        assert time.monotonic() < end
        time.sleep(0.1)
