"""Downloads, from a server on this machine."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from embedkit.datasets import download as module
from embedkit.datasets.download import Published, download
from embedkit.datasets.galaxy10 import DECALS, SDSS
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError
from embedkit.files.cache import cache_folder

DATA = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """What the server on this machine does, and the ranges that it was asked for."""

    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    data: bytes = DATA
    stop_after: int | None = None
    knows_ranges: bool = True
    status: int = 200


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.knows_ranges else 0
            if start >= len(state.data):
                self.send_error(416)
                return
            body = state.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.stop_after])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/file.h5"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def published(server: Server, sha256: str = SHA256) -> Published:
    return Published(url=server.url, name="file.h5", sha256=sha256)


def test_download_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = download(published(server), tmp_path / "new" / "folder")
    assert path.read_bytes() == DATA
    assert "3 MB to" in capsys.readouterr().err
    assert download(published(server), tmp_path / "new" / "folder") == path
    assert server.ranges == [None]
    assert [p.name for p in path.parent.glob("*.part")] == []


def test_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.stop_after = 1_200_000
    with pytest.raises(
        EmbedkitError, match=r"connection broke.* 1 MB are kept, and the same command goes on"
    ):
        download(published(server), tmp_path)
    assert not (tmp_path / "file.h5").exists()
    server.stop_after = None
    assert download(published(server), tmp_path).read_bytes() == DATA
    assert server.ranges == [None, "bytes=1200000-"]


def test_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.h5.part").write_bytes(DATA[:1_000_000])
    server.knows_ranges = False
    assert download(published(server), tmp_path).read_bytes() == DATA


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.h5.part").write_bytes(DATA)
    assert download(published(server), tmp_path).read_bytes() == DATA


def test_wrong_checksum_removes_the_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.h5.part").write_bytes(b"\0" * 1_000_000)  # of another file
    with pytest.raises(EmbedkitError, match=rf"SHA-256 is [0-9a-f]{{64}}, published is {SHA256}.*--path"):
        download(published(server), tmp_path)
    assert not (tmp_path / "file.h5").exists()
    assert download(published(server), tmp_path).read_bytes() == DATA


def test_a_server_that_refuses(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(EmbedkitError, match=r"the server answered 404 Not Found.*give it with --path"):
        download(published(server), tmp_path)


def test_an_unreachable_host(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.h5"
        with pytest.raises(EmbedkitError, match=r"can't be reached \(.*refused.*Try later.*--path"):
            download(Published(url, "file.h5", SHA256), tmp_path)


def test_a_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.TIMEOUT_S <= 15
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.h5"
        with pytest.raises(EmbedkitError, match="timed out"):
            download(Published(url, "file.h5", SHA256), tmp_path)


def test_many_processes_fetch_a_file_once(server: Server, tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(download(published(server), tmp_path).read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 4
    assert server.ranges == [None]


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("EMBEDKIT_DATA")
    assert cache_folder() == tmp_path / "cache" / "embedkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "embedkit"
    for name in ("XDG_CACHE_HOME", "EMBEDKIT_DATA"):
        monkeypatch.setenv(name, "~nobody-of-that-name/x")
        with pytest.raises(EmbedkitError, match=f"the home folder is not known. Set {name}"):
            cache_folder()


def test_galaxy10_is_downloaded_into_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import h5py

    with h5py.File(tmp_path / "made.h5", "w") as file:
        file["images"] = np.zeros((2, 256, 256, 3), np.uint8)
        file["ans"] = np.array([3, 4])
    server.data = (tmp_path / "made.h5").read_bytes()
    sha256 = hashlib.sha256(server.data).hexdigest()
    monkeypatch.setattr(
        "embedkit.datasets.galaxy10.DECALS",
        dataclasses.replace(DECALS, file=Published(server.url, "Galaxy10_DECals.h5", sha256)),
    )
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / "cache"))
    dataset = load_dataset("galaxy10-decals")
    assert dataset.origin == {
        "source": "galaxy10-decals",
        "path": str(tmp_path / "cache" / "Galaxy10_DECals.h5"),
    }
    assert dataset.rows.labels.tolist() == [3, 4]


def test_published_addresses_are_whole() -> None:
    for which in (DECALS, SDSS):
        assert which.file.url.startswith("https://zenodo.org/records/")
        assert which.file.url.endswith("/" + which.file.name)
        assert len(bytes.fromhex(which.file.sha256)) == 32
        assert len(which.class_names) == 10
