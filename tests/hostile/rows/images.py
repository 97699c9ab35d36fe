"""Image files, and arrays of images."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.case import Case
from tests.hostile.mutations import Random, no_file, odd_bytes, odd_text, spoil
from tests.hostile.pictures import KINDS, lie
from tests.hostile.rows.models import Canary, leave_module

EXTRACT = ["extract", "--backbone", "pixels:4", "-o", "x.h5"]


def pictures(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a folder of images, two of them damaged or with headers that lie."""
    place = folder / "pictures"
    place.mkdir()
    number = random.randrange(len(KINDS))
    ending, make = KINDS[number]
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 24, 3), dtype=np.uint8)
        (place / f"{i}.{ending}").write_bytes(make(pixels))
    what = []
    for path in random.sample(sorted(place.iterdir()), 2):
        if random.random() < 0.5:
            what.append(spoil(random, path))
        else:
            path.write_bytes(lie(random, ending, path.read_bytes()))
            what.append(f"{path.name}: a header that lies")
    if random.random() < 0.1:  # by its name something else
        path = random.choice(sorted(place.iterdir()))
        path.rename(path.with_name(f"other.{random.choice(KINDS)[0]}"))
    skip = ["--on-error", "skip"]
    calls = random.choice(
        (
            [[*EXTRACT, "pictures"]],
            [[*EXTRACT, *skip, "pictures"], ["verify", "x.h5"]],
            [[*EXTRACT, *skip, "--views", "rot4", "pictures"], ["extract", *skip, "pictures", *EXTRACT[1:]]],
        )
    )
    return Case(calls, f"{ending} (kind {number}): {what}")


def arrays(random: Random, folder: Path, sound: Path) -> Case:
    """Draw an array file that is damaged, or holds something else."""
    leave_module(folder)
    name = random.choice(("plain.npy", "plain.npz", "packed.npz", "source.h5", "chunked.h5"))
    path = folder / name
    shutil.copy(sound / name, path)
    kind = random.randrange(4)
    if kind == 0 or name.endswith(".h5"):
        what = spoil(random, path) if kind < 2 else _odd_h5(random, path, folder)
    elif name.endswith(".npz"):
        what = _odd_npz(random, path)
    else:
        what = _odd_npy(random, path)
    return Case([[*EXTRACT, name], ["datasets", name]], f"{name}: {what}")


def _odd_array(random: Random) -> Any:
    return random.choice(
        (
            np.zeros((3, 8, 8, 3)),
            np.zeros((12, 8, 8), "c8"),
            np.zeros((12,)),
            np.zeros(()),
            np.zeros((0, 8, 8, 3), np.uint8),
            np.zeros((12, 8, 8, 2), np.uint8),
            np.zeros((12, 0, 0, 3), np.uint8),
            np.full((12, 8, 8, 3), np.nan),
            np.array(["a"] * 12),
            np.array([b"\xff"] * 12),
            np.zeros(12, "M8[s]"),
            np.zeros(12, "V4"),
            np.zeros(12, [("a", "i4")]),
            np.full((12, 8, 8), 1e300),
            np.array([odd_text(random)] * 12),
        )
    )


def _npy(value: Any, *, pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=pickle)
    return stream.getvalue()


def _odd_npy(random: Random, path: Path) -> str:
    kind = random.randrange(3)
    if kind == 0:
        path.write_bytes(_npy(np.array([Canary()] * 12, dtype=object), pickle=True))
        return "a pickle"
    if kind == 1:
        data = path.read_bytes()
        header = random.choice(
            (b"'shape': (999999999, 8, 8, 3)", b"'shape': (12, -8, 8, 3)", b"'shape': (1e9,)")
        )
        path.write_bytes(data.replace(b"'shape': (12, 8, 8, 3)", header))
        return header.decode()
    path.write_bytes(_npy(_odd_array(random)))
    return "another array"


def _odd_npz(random: Random, path: Path) -> str:
    members = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    name = random.choice(sorted(members))
    kind = random.randrange(7)
    if kind == 0:
        members[name] = _npy(_odd_array(random))
    elif kind == 1:
        members[name] = _npy(np.array([Canary()] * 12, dtype=object), pickle=True)
    elif kind == 2:
        members[name] = odd_bytes(random, members[name])
    elif kind == 3:
        del members[name]
    elif kind == 4:
        members[odd_text(random).replace("\0", "") or "x"] = members[name]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member.encode("utf-8", "replace").decode(), data)
        if kind == 5:
            about = b"\x93NUMPY\x01\0\x76\0{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000,), }"
            header = about.ljust(127) + b"\n"
            with archive.open("labels.npy", "w", force_zip64=True) as out:
                out.write(header)
                for _ in range(64):
                    out.write(b"\0" * 2**20)
    whole = bytearray(path.read_bytes())
    if kind == 6:  # flags and method of the first member: encrypted, or packed in a way that nobody knows
        for mark, shift in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = whole.find(mark)
            whole[at + shift + 2 * (random.random() < 0.5)] = random.choice((1, 8, 12, 14, 99))
        path.write_bytes(whole)
    return f"{name}, way {kind}"


def _odd_h5(random: Random, path: Path, folder: Path) -> str:
    kind = random.randrange(6)
    with h5py.File(path, "r+") as file:
        name = random.choice(list(file))
        if kind == 0:
            del file[name]
            file[name] = h5py.ExternalLink("/etc/passwd", "x")
        elif kind == 1:
            del file[name]
            file[name] = h5py.SoftLink(f"/{name}")
        elif kind == 2:
            del file[name]
            file[name] = np.zeros(
                random.choice(((12, 8, 8, 3), (3, 8, 8), (12,), ())), random.choice(("f8", "i8", "c8", "S4"))
            )
        elif kind == 3:
            shape = (12, 8, 8, 3)
            del file["images"]
            file.create_dataset("images", shape=shape, dtype="u1", chunks=(4, 8, 8, 3))
        elif kind == 4:
            del file["images"]
            file.create_dataset("images", shape=(2**40, 8, 8, 3), dtype="u1", chunks=(1, 8, 8, 3))
        else:
            file.create_dataset("ids", data=np.array([b"\xff\xfe%d" % i for i in range(12)], dtype="S8"))
    if random.random() < 0.1:
        no_file(random, path)
    return f"{name}, way {kind}"
