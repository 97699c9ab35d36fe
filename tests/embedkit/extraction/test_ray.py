"""Extraction on a real Ray cluster, which the tests start: a head that computes nothing, and two workers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedkit import versions
from embedkit.cli import main
from embedkit.computing import ray_engine
from embedkit.computing.ray_address import check_address
from embedkit.computing.ray_hand import hand_class
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction import parts as parts_module
from embedkit.extraction import spread
from embedkit.extraction.extract import extract
from tests.embedkit.extraction.test_engines import OPTIONS, children, when_parts_are_there

# Of each node; a part is some kilobytes here.
STORE = 80 * 2**20
ON_RAY = replace(OPTIONS, engine="ray")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 16)


# --- without a cluster -------------------------------------------------------------------------------


def test_without_ray_the_extra_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["extract", "simulated", "--n", "20", "--backbone", "pixels:8", "--engine", "ray"]
    assert main([*command, "-o", str(tmp_path / "f.h5")]) == 1
    said = capsys.readouterr().err
    assert "the extra `ray`" in said
    assert "pip install 'ray>=" in said


@pytest.mark.parametrize(
    "address", ["ray", "http://10.0.0.1:6379", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000"]
)
def test_what_is_no_address(address):
    with pytest.raises(UsageError, match="give HOST:PORT"):
        check_address(address)


def test_an_address_that_nothing_answers_at():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EmbedkitError, match=rf"127\.0\.0\.1:{port}: Connection refused.*ray start --head"):
        check_address(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("answer", "match"), [(b"", "no answer in 0 s"), (b"HTTP/1.1 400 Bad Request\r\n", "no Ray cluster")]
)
def test_an_address_where_something_else_answers(answer, match):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            line.settimeout(5)
            with line, contextlib.suppress(OSError):  # who asked leaves without hearing all
                line.sendall(answer)
                while line.recv(100):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(EmbedkitError, match=match):
            check_address(f"127.0.0.1:{server.getsockname()[1]}", patience=0.4)
        thread.join()


def test_a_worker_says_what_it_lacks(monkeypatch, tmp_path):
    hand = hand_class()
    other = hand(b"", versions.code_versions() | {"embedkit": "9.9"}, str(tmp_path), ("cpu", 1)).begin()
    assert other[0] == "error"
    assert "and 9.9 here. Install the same as here" in other[1][1]
    missing = hand(b"", versions.code_versions() | {"something": "1"}, str(tmp_path), ("cpu", 1)).begin()
    assert "something is missing there, and 1 here" in missing[1][1]
    monkeypatch.setitem(sys.modules, "embedkit.versions", None)
    without = hand(b"", {}, str(tmp_path), ("cpu", 1)).begin()
    assert "embedkit can't be imported there" in without[1][1]


# --- with one ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


@pytest.mark.slow
def test_the_file_is_the_same_with_a_process_and_a_machine_killed(cluster, tiny, tmp_path, capsys):
    galaxies = load_dataset("simulated", n=400, size=48)
    extract(galaxies, tmp_path / "one.h5", backbone=tiny, options=OPTIONS)
    options = replace(ON_RAY, address=cluster.address)
    killed: list[int] = []

    def kill() -> None:
        killed.extend(children(os.getpid(), "ray::Hand")[-1:])
        os.kill(killed[0], signal.SIGKILL)

    thread = when_parts_are_there(tmp_path / "process.h5", 3, kill)
    done = extract(galaxies, tmp_path / "process.h5", backbone=tiny, options=options)
    thread.join()
    assert killed
    assert "ended early" in capsys.readouterr().err
    assert (done.done, done.n) == ("extracted", 400)
    assert (tmp_path / "process.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()

    doomed = list(cluster.worker_nodes)[-1]
    thread = when_parts_are_there(
        tmp_path / "machine.h5", 3, lambda: cluster.remove_node(doomed, allow_graceful=False)
    )
    extract(galaxies, tmp_path / "machine.h5", backbone=tiny, options=options)
    thread.join()
    assert "ended early" in capsys.readouterr().err
    assert (tmp_path / "machine.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()


@pytest.mark.slow
def test_what_is_wrong_with_a_worker_is_said_and_what_is_finished_stays(
    cluster, image_folder, tiny, tmp_path, monkeypatch
):
    folder, output = image_folder(64), tmp_path / "f.h5"
    options = replace(ON_RAY, address=cluster.address)
    with monkeypatch.context() as other:
        ours = versions.code_versions()
        other.setattr(ray_engine, "code_versions", lambda: ours | {"embedkit": "9.9"})
        with pytest.raises(EmbedkitError, match=rf"{socket.gethostname()}: embedkit is .* and 9\.9 here"):
            extract(str(folder), output, backbone=tiny, options=options)
    with monkeypatch.context() as other:
        work = spread.PartsWork

        def changed(**fields: Any) -> Any:
            return work(**fields | {"spec": replace(tiny, random_init=1)})

        other.setattr(spread, "PartsWork", changed)
        with pytest.raises(EmbedkitError, match="the weights are others than those of the asking"):
            extract(str(folder), output, backbone=tiny, options=options)
    (folder / "0063.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=rf"{socket.gethostname()}: .*0063\.jpg.*--on-error skip"):
        extract(str(folder), output, backbone=tiny, options=options)
    skip = replace(options, on_error="skip")
    assert extract(str(folder), output, backbone=tiny, options=skip).n_failed == 1
    extract(str(folder), tmp_path / "one.h5", backbone=tiny, options=replace(OPTIONS, on_error="skip"))
    assert output.read_bytes() == (tmp_path / "one.h5").read_bytes()


@pytest.mark.slow
def test_an_image_that_only_workers_miss_is_not_skipped(cluster, image_folder, tiny, tmp_path):
    """An image that only the workers can't see must not be skipped as if nobody could."""
    folder = image_folder(40)
    dataset = load_dataset(folder)
    blind = replace(dataset, read=_blind_elsewhere(dataset.read, os.getpid(), 18))
    options = replace(ON_RAY, address=cluster.address, on_error="skip")
    with pytest.raises(EmbedkitError, match=r"0018\.jpg.*It can be read here.*same place on all"):
        extract(blind, tmp_path / "f.h5", backbone=tiny, options=options)
    own = replace(dataset, read=partial(_unknown_elsewhere, dataset.read))
    with pytest.raises(EmbedkitError, match=r"the dataset's code is not there .*test_ray.*Install it on all"):
        extract(own, tmp_path / "f.h5", backbone=tiny, options=options)


def _blind_elsewhere(read: Any, pid: int, row: int) -> Any:
    """Make a reader that travels by value, unlike what this module defines, which workers can't import."""

    def blind(asked: int) -> Any:
        import os

        if asked == row and os.getpid() != pid:
            raise FileNotFoundError(2, "No such file or directory")
        return read(asked)

    return blind


def _unknown_elsewhere(read: Any, row: int) -> Any:
    return read(row)


@pytest.mark.slow
def test_a_cluster_for_one_command(tmp_path):
    """Nothing is left behind, neither by the end of the command nor by its death."""
    pytest.importorskip("ray", reason="Ray is not installed: the extra `ray`")
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, embedkit.extraction.parts as p, embedkit.cli as c; p.PART_ROWS = 64; "
        "sys.exit(c.main(sys.argv[1:]))"
    )
    words = [
        "extract",
        "simulated",
        "--n",
        "600",
        "--size",
        "32",
        "--backbone",
        "pixels:8",
        "--device",
        "cpu",
    ]
    command = [sys.executable, str(script), *words, "-o"]
    subprocess.run([*command, str(tmp_path / "one.h5")], check=True, capture_output=True, timeout=200)
    engine = ["--engine", "ray", "--processes", "2"]
    with subprocess.Popen(
        [*command, str(tmp_path / "two.h5"), *engine], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        thread = when_parts_are_there(
            tmp_path / "two.h5", 1, lambda: started.extend(children(process.pid, "ray"))
        )
        started: list[int] = []
        assert process.stdout is not None
        said = process.stdout.read().decode()
        assert process.wait(200) == 0, said
    thread.join()
    assert len(started) > 2
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    _gone(started)

    output = tmp_path / "killed.h5"
    words[3] = "20000"
    process = subprocess.Popen(
        [sys.executable, str(script), *words, "-o", str(output), *engine],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = []
    when_parts_are_there(output, 2, lambda: started.extend(children(process.pid, "ray"))).join()
    hands = children(process.pid, "ray::Hand")
    assert len(hands) == 2
    process.kill()
    process.wait()
    try:
        _gone(hands)
    finally:
        for pid in started:  # Ray's own agents of a node take a minute or more
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _gone(pids: list[int]) -> None:
    end = time.monotonic() + 60
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, [Path(f"/proc/{pid}/cmdline").read_text() for pid in alive]
        time.sleep(0.2)


def test_the_engine_ends_when_a_part_ends_every_process():
    """Counted by part, not by process: a machine may come and go as often as it likes."""
    engine = ray_engine.OnRay(None, None, None, "cpu")  # type: ignore[arg-type]
    engine._ray = None  # whose kill then does nothing
    asked: list[int] = []
    engine._begin_one = lambda: asked.append(1)  # type: ignore[method-assign]
    for number in (0, 1, 2, 3, 4, 5):
        engine._lost(ray_engine._Actor(None), number, RuntimeError("gone"))
    for _ in range(2):
        engine._lost(ray_engine._Actor(None), 5, RuntimeError("gone"))
    with pytest.raises(EmbedkitError, match=r"4 processes of the Ray cluster ended while it computed part 5"):
        engine._lost(ray_engine._Actor(None), 5, RuntimeError("gone"))
