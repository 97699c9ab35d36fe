"""Files appear whole or not at all, and only regular files are read and replaced."""

import errno
import fcntl
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.aside import aside, filling, folder_aside, write_text
from embedkit.files.lock import folder_locked
from embedkit.files.regular import check_input, read_bytes


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(RuntimeError), aside(path) as temporary:  # noqa: PT012 (the block is what is tested)
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_kept_and_its_file_replaced(tmp_path):
    (tmp_path / "real.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "after")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "after"


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError) as caught, aside(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere.tmp")
    assert caught.value.filename == str(path)


def test_no_device_pipe_socket_or_folder_is_replaced_or_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for place, kind in (
            (tmp_path / "pipe", "named pipe"),
            (tmp_path / "folder", "folder"),
            (tmp_path / "socket", "socket"),
            ("/dev/null", "device"),
        ):
            with pytest.raises(EmbedkitError, match=f"{kind} is there"):
                write_text(place, "x")
            with pytest.raises(EmbedkitError, match=f"{kind}, not a regular file. Give one."):
                read_bytes(place, "Give one.", at_most=10)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_what_is_read_has_a_bounded_size(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(EmbedkitError, match="over 10 bytes"):
        read_bytes(tmp_path / "a", "Give one.", at_most=10)
    assert read_bytes(tmp_path / "a", "Give one.", at_most=11) == b"x" * 11
    check_input(tmp_path / "missing", "Give one.")  # whoever opens it says so
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing", "Give one.", at_most=11)


def in_a_child(job):
    """Run a job in a forked child that is then killed; returns once it has said that it is ready."""
    ready, say = os.pipe()
    child = os.fork()
    if not child:
        job(lambda: os.write(say, b"x") and time.sleep(60))
        os._exit(0)
    os.read(ready, 1)
    return child


def killed(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_killed_process_left_is_deleted_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "a.txt"

    def write(wait):
        with aside(path) as temporary:
            temporary.write_text("half")
            wait()

    dead, living = in_a_child(write), in_a_child(write)
    killed(dead)
    assert len(list(tmp_path.glob(".a.txt.*.tmp"))) == 2
    write_text(path, "whole")
    assert [file.name.split("-")[0] for file in tmp_path.glob(".*.tmp")] == [f".a.txt.{living}"]
    killed(living)
    write_text(tmp_path / "b.txt", "another")
    assert len(list(tmp_path.glob(".a.txt.*.tmp"))) == 1  # of another file
    write_text(path, "whole")
    assert {file.name for file in tmp_path.iterdir()} == {"a.txt", "b.txt"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "adapter"
    for text in ("before", "after"):
        with folder_aside(path) as new:
            (new / "config.json").write_text(text)
        assert [file.name for file in path.iterdir()] == ["config.json"]
    with pytest.raises(RuntimeError), folder_aside(path) as new:  # noqa: PT012
        (new / "config.json").write_text("half")
        raise RuntimeError
    assert (path / "config.json").read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_learns_of_a_full_disk_when_it_is_done(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, filling(Path("/dev/full")) as stream:  # noqa: PT012
        assert stream.write(b"x" * 10) == 10
        assert stream.write(memoryview(bytes(20))) == 20
    assert caught.value.errno == errno.ENOSPC
    with filling(tmp_path / "a") as stream:
        stream.write(b"some")
    assert (tmp_path / "a").read_bytes() == b"some"


def test_one_process_at_a_time_works_in_a_folder_and_a_killed_one_frees_it(tmp_path):
    folder = tmp_path / "run"

    def work(wait):
        with folder_locked(folder, "training"):
            wait()

    child = in_a_child(work)
    with pytest.raises(EmbedkitError, match=f"{folder}: another process is training there"):
        work(lambda: None)
    killed(child)
    work(lambda: None)
    assert list(folder.iterdir()) == []
    with (
        folder_locked(folder, "training"),
        pytest.raises(EmbedkitError),
    ):  # another thread would be refused too
        work(lambda: None)


def test_a_file_system_without_locks_says_so(tmp_path, monkeypatch, capsys):
    def no_lock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_lock)
    with folder_locked(tmp_path, "benching"):
        pass
    assert "has no locks" in capsys.readouterr().err
