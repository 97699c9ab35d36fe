"""Files appear whole or not at all, and only regular files are read and replaced."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.aside import aside, write_text
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
