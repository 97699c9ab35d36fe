"""What an interrupted run left: parts and manifest, a checkpoint, a journal."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.case import Case
from tests.hostile.mutations import (
    Random,
    no_file,
    odd_bytes,
    odd_json,
    odd_text,
    odd_value,
    spoil,
    spoil_json,
)
from tests.hostile.rows.features import bring
from tests.hostile.rows.models import Canary, leave_module
from tests.hostile.world import FINETUNE, PARTED, PRETRAIN, READY

BENCH = ["bench", "bench.toml", "-o", "bench"]


def parts(random: Random, folder: Path, sound: Path) -> Case:
    """Draw an unfinished extraction in which a part or the manifest is otherwise."""
    (folder / "images").symlink_to(sound / "images")
    place = folder / "parted.h5.parts"
    shutil.copytree(sound / "kept.parts", place)
    files = sorted(place.glob("part-*.npz"))
    kind = random.randrange(6)
    if kind == 0:
        what = spoil_json(random, place / "manifest.json")
    elif kind == 1:
        what = spoil(random, random.choice(files))
    elif kind == 2:
        one, other = random.sample(files, 2)
        shutil.copy(one, other)
        what = f"{other.name} is {one.name}"
    elif kind == 3:
        what = no_file(random, random.choice(sorted(place.iterdir())))
    else:
        what = _odd_part(random, random.choice(files))
    flags = random.choice(([], [], [], ["--overwrite"]))
    whole = json.loads((sound.parent / READY).read_bytes())["parted"]
    return Case([[*PARTED, *flags]], what, {"parted.h5": whole})


def _odd_part(random: Random, path: Path) -> str:
    with np.load(path) as opened:
        arrays = {name: opened[name] for name in opened.files}
    name = random.choice(sorted(arrays))
    value = arrays[name]
    kind = random.randrange(7)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[odd_text(random).replace("\0", "").encode("utf-8", "replace").decode() or "x"] = value
    elif kind == 2:
        arrays[name] = value[:-1]
    elif kind == 3:
        arrays[name] = value[::-1]
    elif kind == 4:
        arrays[name] = value.astype(np.str_)
    elif kind == 5:
        arrays[name] = np.zeros_like(value)
    else:
        arrays[name] = np.array([Canary()] * len(value), dtype=object)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, **arrays)
    path.write_bytes(stream.getvalue())
    return f"{path.name}: {name}, way {kind}"


def checkpoint(random: Random, folder: Path, sound: Path) -> Case:
    """Draw an unfinished pretraining whose checkpoint is otherwise."""
    shutil.copytree(sound / "unfinished", folder / "pre")
    return _checkpoint(random, folder, sound, PRETRAIN, folder / "pre" / "checkpoint.pt")


def labelled(random: Random, folder: Path, sound: Path) -> Case:
    """Draw an unfinished training with labels, in whose folder something is otherwise."""
    shutil.copytree(sound / "half-trained", folder / "fine")
    return _checkpoint(random, folder, sound, FINETUNE, folder / "fine" / "phase-1" / "checkpoint.pt")


def _checkpoint(random: Random, folder: Path, sound: Path, command: list[str], path: Path) -> Case:
    import torch

    (folder / "images").symlink_to(sound / "images")
    leave_module(folder)
    (folder / "local").symlink_to(sound / "local")
    kind = random.randrange(6)
    if kind == 0:
        return Case([command], spoil(random, path))
    if kind == 1:
        other = random.choice([one for one in sorted(path.parent.parent.rglob("*")) if one.is_file()])
        return Case([command], f"{other.name}: {no_file(random, other)}")
    state = torch.load(path, weights_only=True)
    what = _odd_state(random, state)
    if kind == 2:
        state = random.choice((Canary(), [], {}, None, 3, {"step": 1}, {**state, "x": Canary()}))
        what = "another object"
    torch.save(state, path)
    epochs = ["--phase-epochs", "3"] if "finetune" in command else ["--epochs", "3"]
    options = random.choice(([], [], [], [], ["--seed", "1"], epochs))
    return Case([[*command, *options]], what)


def _odd_state(random: Random, state: dict[str, Any]) -> str:
    import torch

    name = random.choice(sorted(state))
    kind = random.randrange(6)
    value = state[name]
    if kind == 0:
        del state[name]
    elif kind == 1:
        state[name] = random.choice((None, 1, "x", [], {}, torch.zeros(2), -1, 10**30, True))
    elif kind in (2, 3) and isinstance(value, dict) and value:
        key = random.choice(list(value))
        value[key] = random.choice(
            (None, 1, "x", [], {}, torch.zeros(2), torch.zeros(3, 3).bool(), odd_value(random))
        )
        name = f"{name}.{key}"
    elif isinstance(value, list) and value:
        value[0] = odd_json(random, value[0])
    elif kind == 4 and isinstance(value, dict):
        value[odd_text(random)] = torch.zeros(1)
    else:
        state["asked"] = odd_json(
            random, json.loads(json.dumps(state["asked"])) if "asked" in state else {"a": 1}
        )
        name = "asked"
    return f"{name}, way {kind}"


def journal(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a bench to go on with, in which something of its folder is otherwise."""
    (folder / "images").symlink_to(sound / "images")
    bring(folder, sound, "bench.toml", "bench")
    files = [path for path in sorted((folder / "bench").rglob("*")) if path.is_file()]
    if random.random() < 0.6:
        return Case([BENCH], spoil_json(random, folder / "bench" / "bench.json"))
    path = random.choice(files)
    if random.random() < 0.5:
        path.write_bytes(odd_bytes(random, path.read_bytes()))
        return Case([BENCH], f"{path.name}: other bytes")
    return Case([BENCH], f"{path.name}: {no_file(random, path)}")
