"""Feature files: odd provenance, other bytes, another structure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.case import Case
from tests.hostile.mutations import Random, no_file, odd_bytes, odd_json, odd_text, odd_value

FILE = "f.h5"


def commands(random: Random, *, few: int = 2) -> list[list[str]]:
    """Return some of the commands that read a feature file."""
    every = [
        ["verify", FILE],
        ["verify", FILE, "--rows", "0", "--json"],
        ["report", FILE, "-o", "map.html", "--max-points", "4"],
        ["leaks", FILE],
        ["leaks", FILE, "--pairs", "pairs.csv", "--save-split", "s.json", "--json"],
        ["attention", FILE, "-o", "attention.png", "--n-images", "2"],
        ["cluster", FILE, "--method", "kmeans", "-k", "2", "-o", "runs"],
        ["cluster", FILE, "--method", "kmeans", "-k", "2", "-o", "runs", "--explain"],
        ["probe", FILE, "--kind", "nearest-centroid", "-o", "runs"],
        ["probe", FILE, "--kind", "nearest-centroid", "--dedupe", "drop", "-o", "runs", "--json"],
        ["probe", FILE, "--apply", "probe.model.h5"],
        ["cluster", FILE, "--apply", "kmeans.model.h5", "-o", "runs"],
        ["quality", FILE, "-o", "runs"],
        ["compare", FILE, "g.h5", "-o", "compare"],
        ["extract", "images", "-o", FILE, "--backbone", "pixels:4"],
        ["bench", "--feature-files", FILE, "--probes", "nearest-centroid", "-o", "bench", "--no-reports"],
    ]
    weights = [4, 1, 2, 2, 1, 2, 2, 2, 2, 1, 1, 1, 2, 0.3, 1, 0.3]
    return random.choices(every, weights=weights, k=few)


def bring(folder: Path, sound: Path, *names: str) -> None:
    """Copy sound files, or folders, into a case's folder."""
    for name in names:
        copy = shutil.copytree if (sound / name).is_dir() else shutil.copy
        copy(sound / name, folder / name)


def _start(random: Random, folder: Path, sound: Path) -> Path:
    source = random.choice(("features.h5", "features.h5", "views.h5", "vit.h5"))
    shutil.copy(sound / source, folder / FILE)
    bring(folder, sound, "probe.model.h5", "kmeans.model.h5")
    (folder / "images").symlink_to(sound / "images")
    shutil.copy(sound / "features.h5", folder / "g.h5")
    return folder / FILE


def provenance(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a feature file whose provenance is any JSON value."""
    path = _start(random, folder, sound)
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["provenance"])
        kind = random.randrange(8)
        if kind == 0:
            record = {random.choice(list(record)): odd_value(random)}
        elif kind == 1:
            record["dataset"] = random.choice(("text", odd_value(random)))
        elif kind in (2, 3):
            record["dataset"]["origin"] = _origin(random, folder, record["dataset"]["origin"])
        elif kind == 4:
            record["backbone"] |= {"name": random.choice(_BACKBONES)}
            record["backbone"]["origin"] = odd_json(random, record["backbone"]["origin"])
        else:
            record = odd_json(random, record)
        text = json.dumps(record)
        if random.random() < 0.05:
            text = random.choice(
                (text[:-3], "[]", "3", '"text"', "null", text.replace("4", "NaN"), "{" * 5000)
            )
        del file.attrs["provenance"]
        file.attrs["provenance"] = text
    return Case(commands(random), f"provenance {text[:2000]}")


_BACKBONES = (
    *("resnet18", "vit_small_patch16_224.dino", "hf-hub:timm/resnet18.a1_in1k", "hf_hub:x/y", "local-dir:."),
    *("local-dir:/dev", "pixels:0", "pixels:99999", "pixels:-1", "pixels:x", "pixels:", "", "test_vit", "os"),
)


def _origin(random: Random, folder: Path, origin: Any) -> Any:
    kind = random.randrange(5)
    if kind == 0:
        return {"source": random.choice(("galaxy10-sdss", "galaxy10-decals", "first-radio", "galaxy-zoo-2"))}
    if kind == 1:
        name = random.choice(("pipe.csv", "pipe.npy", "pipe.npz", "pipe.h5", "pipe.tsv", "pipe"))
        no_file(random, folder / name)
        return {"source": str(folder / name)}
    if kind == 2:
        return {
            "source": random.choice(("/dev/zero", "/dev", "/proc", "/dev/stdin", "/proc/self/mem", "x\0y"))
        }
    if kind == 3:
        pictures = folder / "pictures"
        shutil.copytree(
            origin["source"] if Path(origin["source"]).is_absolute() else folder / "images", pictures
        )
        for path in random.sample(sorted(pictures.rglob("*.png")), 4):
            no_file(random, path)
        return origin | {"source": str(pictures)}
    return odd_json(random, origin)


def other_bytes(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a feature file with flipped, zeroed, missing or doubled bytes."""
    path = _start(random, folder, sound)
    data = path.read_bytes()
    kind = random.randrange(3)
    if kind == 0:  # aligned, as a disk loses them
        start = random.randrange(max(1, len(data) // 128)) * 128
        size = random.choice((128, 512, 4096))
        data = data[:start] + b"\0" * len(data[start : start + size]) + data[start + size :]
        what = f"{size} zeros at {start}"
    elif kind == 1 and (at := data.find(b"GCOL")) >= 0:
        start = at + random.randrange(4096)
        data = data[:start] + random.choice((b"\0", b"\xff")) * 16 + data[start + 16 :]
        what = f"a heap, at {start}"
    else:
        data = odd_bytes(random, data)
        what = "other bytes"
    path.write_bytes(data)
    return Case(commands(random), what)


def structure(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a feature file whose arrays are others than the schema's, or lie elsewhere."""
    path = _start(random, folder, sound)
    with h5py.File(path, "r+") as file:
        what = random.choice(tuple(_STRUCTURES))
        try:
            _STRUCTURES[what](random, file, folder)
        except (KeyError, ValueError, TypeError, OSError) as error:
            what += f" ({error})"
    return Case(commands(random), what)


def _replace(file: h5py.File, name: str, data: Any, **how: Any) -> None:
    attributes = dict(file[name].attrs) if name in file else {}
    file.pop(name, None) if name in file else None
    made = file.create_dataset(name, data=data, **how)
    for key, value in attributes.items():
        made.attrs[key] = value


def _external_link(random: Random, file: h5py.File, folder: Path) -> None:
    name = random.choice(("features", "ids", "labels"))
    if name in file:
        del file[name]
    file[name] = h5py.ExternalLink(str(folder / "g.h5"), name)


def _virtual(random: Random, file: h5py.File, folder: Path) -> None:
    shape = file["features"].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(
        str(folder / random.choice(("g.h5", "gone.h5"))), "features", shape=shape
    )
    del file["features"]
    file.create_virtual_dataset("features", layout)


def _raw_elsewhere(random: Random, file: h5py.File, folder: Path) -> None:
    shape = file["features"].shape
    other = random.choice((str(folder / "g.h5"), "/etc/passwd", "/dev/zero", "gone"))
    del file["features"]
    file.create_dataset("features", shape=shape, dtype="f4", external=[(other, 0, int(np.prod(shape)) * 4)])


def _loop(random: Random, file: h5py.File, folder: Path) -> None:
    name = random.choice(("features", "ids", "labels"))
    if name in file:
        del file[name]
    file[name] = h5py.SoftLink(random.choice((f"/{name}", "/", "/gone")))


def _long_id(random: Random, file: h5py.File, folder: Path) -> None:
    ids = file["ids"].asstr()[...]
    ids[random.randrange(len(ids))] = "x" * random.choice((4096, 4097, 10**6, 5 * 10**7))
    _replace(file, "ids", ids.astype(object), dtype=h5py.string_dtype())


def _ids(random: Random, file: h5py.File, folder: Path) -> None:
    ids = file["ids"].asstr()[...]
    kind = random.randrange(5)
    if kind == 0:
        _replace(file, "ids", np.array([f"é{i}".encode("latin-1") for i in range(len(ids))], dtype="S8"))
    elif kind == 1:
        _replace(
            file,
            "ids",
            np.array([b"\xff\xfe%d" % i for i in range(len(ids))], dtype=object),
            dtype=h5py.string_dtype(),
        )
    elif kind == 2:
        _replace(file, "ids", np.arange(len(ids)))
    elif kind == 3:
        _replace(file, "ids", np.array([[name] for name in ids], dtype=object), dtype=h5py.string_dtype())
    else:
        _replace(file, "ids", np.array([ids[0]] * len(ids), dtype=object), dtype=h5py.string_dtype())


def _attributes(random: Random, file: h5py.File, folder: Path) -> None:
    where, name = random.choice(
        (("/", "format"), ("/", "schema_version"), ("labels", "class_names"), ("/", "provenance"))
    )
    if where not in file:
        where, name = "/", "provenance"
    value = random.choice(
        (
            1,
            2**63 - 1,
            -1,
            1.5,
            np.nan,
            "x",
            b"\xff",
            np.zeros(3),
            [1, 2],
            json.dumps(odd_value(random)),
            h5py.Empty("f4"),
            json.dumps([1, 2]),
            json.dumps(["a", "a"]),
            json.dumps(["", None]),
            file["features"].ref,
        )
    )
    file[where].attrs[name] = value


def _types(random: Random, file: h5py.File, folder: Path) -> None:
    name = random.choice(list(file))
    if not isinstance(file.get(name), h5py.Dataset):
        return
    shape = file[name].shape
    kind = random.randrange(6)
    data: Any = (
        np.zeros(shape, "i8"),
        np.zeros(shape, "c8"),
        np.full(shape, 1e300),
        np.full(shape, np.nan),
        np.zeros((*shape, 1), "f4"),
        np.zeros((0, *shape[1:]), "f4"),
    )[kind]
    _replace(file, name, data)


def _huge(random: Random, file: h5py.File, folder: Path) -> None:
    n = random.choice((2**40, 10**9, 2**31))
    name = random.choice(("features", "ids", "labels", "view_mean"))
    if name in file:
        del file[name]
    shape = (n, 4) if name in ("features", "view_mean") else (n,)
    dtype: Any = h5py.string_dtype() if name == "ids" else "i8" if name == "labels" else "f4"
    file.create_dataset(name, shape=shape, dtype=dtype, chunks=tuple(min(1024, s) for s in shape))


def _sparse(random: Random, file: h5py.File, folder: Path) -> None:
    shape = file["features"].shape
    del file["features"]
    file.create_dataset("features", shape=shape, dtype="f4", chunks=(4, shape[1]))


def _gone(random: Random, file: h5py.File, folder: Path) -> None:
    name = random.choice(list(file))
    del file[name]
    if random.random() < 0.5:
        file.create_group(name)


def _labels(random: Random, file: h5py.File, folder: Path) -> None:
    if "labels" not in file:
        return
    file["labels"][...] = random.choice((-1, -2, 0, 5, 2**62))
    file["labels"].attrs["class_names"] = json.dumps(random.choice(([], ["a"], [odd_text(random), "b"])))


_STRUCTURES = {
    "external link": _external_link,
    "virtual source": _virtual,
    "raw storage elsewhere": _raw_elsewhere,
    "soft link": _loop,
    "long id": _long_id,
    "ids": _ids,
    "attributes": _attributes,
    "types": _types,
    "huge": _huge,
    "chunks never written": _sparse,
    "gone": _gone,
    "labels": _labels,
}


def place_of_feature_file(random: Random, folder: Path) -> str:
    """Put no file where the feature file was."""
    return no_file(random, folder / FILE)
