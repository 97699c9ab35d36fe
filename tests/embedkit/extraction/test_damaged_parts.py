import hashlib
import json
import os
import shutil

import numpy as np
import pytest

from embedkit.datasets.folder import load_folder
from embedkit.errors import EmbedkitError
from embedkit.extraction import parts as parts_module
from embedkit.extraction.extract import extract
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import SEAL_BYTES, Parts

VIEWS = ExtractOptions(views="rot4")


@pytest.fixture
def unfinished(image_folder, tmp_path, monkeypatch):
    """Six parts of two images, stopped before they are joined; and what they become."""
    monkeypatch.setattr(parts_module, "PART_ROWS", 8)
    dataset = load_folder(str(image_folder(12)))
    whole = tmp_path / "whole.h5"
    extract(dataset, whole, backbone="pixels:4", options=VIEWS)
    output = tmp_path / "again.h5"
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract(dataset, output, backbone="pixels:4", options=VIEWS)
    return dataset, output, Parts(output, 12, 4), hashlib.sha256(whole.read_bytes()).hexdigest()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flip(path, parts):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path, parts):
    path.write_bytes(path.read_bytes()[:-5])


def empty(path, parts):
    path.write_bytes(b"")


def swap(path, parts):
    shutil.copy(parts.file(3), path)


def other_arrays(path, parts):
    with np.load(path) as found:
        arrays = dict(found)
    arrays["features"] = np.zeros_like(arrays["features"])
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def pipe(path, parts):
    path.unlink()
    os.mkfifo(path)


def folder(path, parts):
    path.unlink()
    path.mkdir()


def endless(path, parts):
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("damage", [flip, cut, empty, swap, other_arrays, pipe, folder, endless])
def test_a_damaged_part_is_computed_again_and_said(unfinished, damage, capsys):
    dataset, output, parts, expected = unfinished
    assert len(parts.finished()) == 6
    damage(parts.file(1), parts)
    extract(dataset, output, backbone="pixels:4", options=VIEWS)
    assert "part-000001.npz: damaged" in capsys.readouterr().err
    assert sha256(output) == expected
    assert not parts.folder.exists()


def test_a_part_of_another_run_is_computed_again(unfinished, tmp_path, monkeypatch):
    dataset, output, parts, expected = unfinished
    other = tmp_path / "other.h5"
    with monkeypatch.context() as patched:
        patched.setattr(Parts, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract(
                dataset, other, backbone="pixels:4", options=ExtractOptions(views="rot4", storage="float16")
            )
    shutil.copy(Parts(other, 12, 4).file(2), parts.file(2))
    extract(dataset, output, backbone="pixels:4", options=VIEWS)
    assert sha256(output) == expected


def test_every_byte_of_a_part_is_under_its_digest(unfinished):
    _, _, parts, _ = unfinished
    data = parts.file(0).read_bytes()
    for at in [*range(0, len(data), 97), *range(len(data) - SEAL_BYTES, len(data))]:
        changed = bytearray(data)
        changed[at] ^= 0x10
        parts.file(0).write_bytes(changed)
        with pytest.raises(parts_module.DamagedPartError):
            parts.read(0)


def edited(**changes):
    def edit(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        edited(precision={"used": "bf16"}),
        edited(asked=[]),
        edited(overwrite=None),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_text("{}"),
        as_pipe,
    ],
)
def test_a_damaged_manifest_is_refused_by_name_and_overwrite_begins_again(unfinished, damage):
    dataset, output, parts, expected = unfinished
    damage(parts.folder / "manifest.json")
    with pytest.raises(EmbedkitError, match=r"manifest.json.*Give --overwrite to begin again"):
        extract(dataset, output, backbone="pixels:4", options=VIEWS)
    extract(dataset, output, backbone="pixels:4", options=ExtractOptions(views="rot4", overwrite=True))
    assert sha256(output) == expected


def test_other_options_are_named(unfinished):
    dataset, output, _, _ = unfinished
    with pytest.raises(EmbedkitError, match=r"begun in another way \(views name: rot4 there, d4 asked for\)"):
        extract(dataset, output, backbone="pixels:4", options=ExtractOptions(views="d4"))
