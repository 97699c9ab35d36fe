"""Only what a user names is fetched: no verb asks the network for what a file's record names."""

import json
import socket

import h5py
import pytest

from embedkit.cli import main

VERBS = [
    "verify F",
    "report F -o map.html --max-points 4",
    "leaks F",
    "cluster F --method kmeans -k 2 -o runs --explain",
    "probe F --kind nearest-centroid --dedupe drop -o runs",
    "quality F -o runs",
    "bench --feature-files F --probes nearest-centroid --no-reports -o bench",
]
ORIGINS = [{"source": name} for name in ("galaxy10-sdss", "galaxy10-decals", "first-radio", "galaxy-zoo-2")]
BACKBONES = ["resnet18", "vit_small_patch16_224.dino", "hf-hub:nobody/nothing", "hf-hub:", "hf-hub:a b"]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Every address that is asked for, none of which answers; caches are empty."""
    seen = []

    def refuse(*args, **_):
        seen.append(args)
        raise OSError(101, "Network is unreachable")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return seen


@pytest.fixture
def file(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", str(image_folder(24, classes=2)), "--backbone", "pixels:4", "-o", "f.h5"]) == 0
    return tmp_path / "f.h5"


def record(path, change):
    with h5py.File(path, "r+") as opened:
        found = json.loads(opened.attrs["provenance"])
        change(found)
        opened.attrs["provenance"] = json.dumps(found)


@pytest.mark.parametrize("line", VERBS)
def test_a_dataset_that_a_file_names_is_not_downloaded(file, asked, line):
    for origin in ORIGINS:
        record(file, lambda found, origin=origin: found["dataset"].update(origin=origin))
        assert main(line.replace("F", file.name).split()) in (0, 1)
    assert not asked


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_that_a_file_names_is_not_fetched(file, asked, name, capsys):
    record(file, lambda found: found["backbone"].update(name=name))
    main(["verify", file.name])
    assert not asked
    said = " ".join(capsys.readouterr())
    assert f"--backbone {name}" in said or "published" in said or "unknown" in said


def test_what_is_in_the_cache_is_used_and_else_the_command_is_named(file, asked, capsys):
    record(file, lambda found: found["dataset"].update(origin={"source": "galaxy10-sdss"}))
    main(["verify", file.name])
    assert "`embedkit datasets galaxy10-sdss`" in "".join(capsys.readouterr())
    cache = file.parent / "data"
    cache.mkdir()
    (cache / "Galaxy10.h5").write_bytes(b"no HDF5")
    main(["verify", file.name])
    assert "Galaxy10.h5: not an HDF5 file" in "".join(capsys.readouterr())


@pytest.mark.parametrize("value", ["text", None, 3, [], {"name": 5}, {"name": "x", "origin": "y"}])
@pytest.mark.parametrize("line", VERBS[:-1])
def test_any_value_is_a_record_that_says_nothing(file, line, value):
    record(file, lambda found: found.update(dataset=value, backbone=value, preprocessing=value))
    assert main(line.replace("F", file.name).split()) in (0, 1)
