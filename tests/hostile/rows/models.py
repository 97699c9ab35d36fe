"""Adapter folders, model folders, weights, and saved clusterings and probes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.case import EXECUTED, Case
from tests.hostile.mutations import Random, odd_json, odd_text, odd_value, spoil, spoil_json
from tests.hostile.rows.features import _external_link, bring
from tests.hostile.world import TINY

SMALL = ["--limit", "4"]


class Canary:
    """What leaves a mark when it is unpickled by something that executes."""

    def __reduce__(self) -> Any:
        return (exec, (f"open({EXECUTED!r}, 'w').close()",))


def leave_module(folder: Path) -> None:
    """Put a module there that leaves a mark when it is imported."""
    text = f"open({str(folder / EXECUTED)!r}, 'w').close()\n"
    for name in ("executed_module", "canary"):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def _pictures(folder: Path, sound: Path) -> None:
    (folder / "images").symlink_to(sound / "images")


def adapter(random: Random, folder: Path, sound: Path) -> Case:
    """Draw an adapter folder that is otherwise."""
    _pictures(folder, sound)
    bring(folder, sound, "adapter", "local")
    leave_module(folder)
    place = folder / "adapter"
    files = [path for path in sorted(place.iterdir()) if path.is_file()]
    kind = random.randrange(6)
    if kind in (0, 1):
        what = spoil_json(random, random.choice([path for path in files if path.suffix == ".json"]))
    elif kind == 2:
        config = json.loads((place / "adapter_config.json").read_bytes())
        config[random.choice(_CONFIG)] = random.choice(
            (
                "executed_module",
                "(a+)+$",
                "(x+x+)+y" * 5,
                {"executed_module": "canary"},
                ["executed_module"],
                {"base_model_class": "canary", "parent_library": "executed_module"},
                odd_value(random),
            )
        )
        (place / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        what = json.dumps(config)
    elif kind == 3:
        import torch

        (place / "adapter_model.safetensors").unlink()
        torch.save({"a": Canary()}, place / "adapter_model.bin")
        what = "a pickle for the weights"
    elif kind == 4:
        what = odd_tensors(random, place / "adapter_model.safetensors")
    else:
        what = spoil(random, random.choice(files))
    call = ["extract", "images", "-o", "x.h5", *TINY, *SMALL, "--adapter", "adapter"]
    return Case([call], what)


_CONFIG = (
    *(
        "auto_mapping",
        "target_modules",
        "peft_type",
        "task_type",
        "base_model_name_or_path",
        "r",
        "lora_alpha",
    ),
    *(
        "modules_to_save",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "init_lora_weights",
        "layers_to_transform",
    ),
    *("bias", "fan_in_fan_out", "use_dora", "runtime_config", "revision", "exclude_modules", "megatron_core"),
)


def odd_tensors(random: Random, path: Path) -> str:
    """Change names, shapes, types or values of a safetensors file."""
    from safetensors.numpy import load_file, save_file

    tensors = dict(load_file(path))
    name = random.choice(sorted(tensors))
    kind = random.randrange(6)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[odd_text(random).encode("utf-8", "replace").decode()] = tensors.pop(name)
    elif kind == 2:
        tensors[name] = np.zeros(random.choice(((0,), (1,), (3, 3), (), (2, 2, 2, 2))), np.float32)
    elif kind == 3:
        tensors[name] = tensors[name].astype(random.choice((np.int64, np.float64, np.bool_, np.float16)))
    elif kind == 4:
        tensors[name] = np.full_like(tensors[name], random.choice((np.nan, np.inf, 0, 1e30)))
    else:
        tensors[f"module.{name}"] = tensors[name].copy()
    save_file(tensors, path)
    return f"{name}, way {kind}"


def weights(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a model folder or a checkpoint that is otherwise."""
    _pictures(folder, sound)
    bring(folder, sound, "local")
    leave_module(folder)
    place = folder / "local"
    file = place / "model.safetensors"
    call = ["extract", "images", "-o", "x.h5", *SMALL]
    as_folder = [*call, "--backbone", "local-dir:local"]
    as_weights = [
        *call,
        "--backbone",
        "test_vit",
        "--image-size",
        "32",
        "--weights",
        "local/model.safetensors",
    ]
    kind = random.randrange(6)
    if kind in (0, 1):
        return Case([as_folder], spoil_json(random, place / "config.json"))
    if kind == 2:
        what = odd_tensors(random, file)
        return Case([random.choice((as_folder, as_weights))], what)
    if kind == 3:
        what = spoil(random, file)
        return Case([random.choice((as_folder, as_weights))], what)
    if kind == 4:
        config = json.loads((place / "config.json").read_bytes())
        config["architecture"] = random.choice(
            ("resnet18", "os", "executed_module", "hf-hub:x/y", odd_text(random))
        )
        config["pretrained_cfg"] |= {
            random.choice(
                ("hf_hub_id", "url", "file", "input_size", "mean", "std", "custom_load", "source")
            ): odd_value(random)
        }
        (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return Case([as_folder], json.dumps(config))
    import torch
    from safetensors.torch import load_file

    state: Any = load_file(file)
    state = random.choice(
        (Canary(), {"state_dict": Canary()}, [state], {"model": state}, {1: 2}, {"x": {"y": state}}, None, 3)
    )
    torch.save(state, folder / "w.pth")
    if random.random() < 0.5:
        spoil(random, folder / "w.pth")
    return Case([[*as_weights[:-1], "w.pth"]], "a checkpoint")


def network(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a network trained with labels whose JSON or weights are otherwise."""
    _pictures(folder, sound)
    bring(folder, sound, "network", "features.h5")
    leave_module(folder)
    place = folder / "network"
    file, about = place / "model.safetensors", place / "model.json"
    kind = random.randrange(6)
    if kind in (0, 1):
        what = spoil_json(random, about)
    elif kind == 2:
        what = _other_network(random, about)
    elif kind == 3:
        what = spoil(random, random.choice((file, about)))
    else:
        what = odd_tensors(random, file)
        record = json.loads(about.read_bytes())  # as one would who wants to be believed
        record["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        about.write_text(json.dumps(record), encoding="utf-8")
    return Case([["predict", "network", "images", "-o", "said.csv", *SMALL]], what)


def _other_network(random: Random, path: Path) -> str:
    """Have the JSON ask for what is too large, elsewhere, or of another kind."""
    record = json.loads(path.read_bytes())
    name, value = random.choice(
        (
            *(("backbone", name) for name in _BACKBONES),
            *(("head.widths", widths) for widths in ([10**9], [65536] * 3, [1] * 10**5, [0], [-1], [2**63])),
            ("head.output", random.choice(("tree", "sigmoid", "x"))),
            ("head.dropout", random.choice((1.0, -1, 2))),
            *(("preprocessing." + key, side) for key in ("image_size", "resize") for side in _SIDES),
            ("preprocessing.mean", [1e38, 0.0, 1e-38]),
            ("preprocessing.channels", random.choice((0, 1, 4, 10**6))),
            ("names", random.choice((["x" * 10_000, "y"], [""] * 2, ["a", "a"], ["a\0", "\x1b[31m"]))),
            ("baseline", random.choice(([-1, 2], [1e308, 1e308], [0, 0]))),
            ("temperature", random.choice((1e-308, 1e308, 5e-324))),
            ("trained", {"fingerprint": ["x"] * 1000}),
        )
    )
    table, _, key = name.rpartition(".")
    (record[table] if table else record)[key] = value
    path.write_text(json.dumps(record), encoding="utf-8")
    return f"{name} = {str(value)[:200]}"


_SIDES = (0, 1, 31, 100_000, 10**9, 2**63 - 1)
_BACKBONES = (
    *(
        "hf-hub:nobody/nothing",
        "hf_hub:nobody/nothing",
        "local-dir:/etc",
        "local-dir:.",
        "resnet18",
        "x" * 10_000,
    ),
    *("test_vit.r160_in1k", "pixels:32", "pixels:100000", "embedkit-galaxy", "vit_giant_patch14_dinov2", ""),
)


def saved(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a saved clustering or probe that is otherwise."""
    name = random.choice(("kmeans", "gmm", "hdbscan", "probe", "linear"))
    bring(folder, sound, "features.h5")
    path = folder / "m.h5"
    shutil.copy(sound / f"{name}.model.h5", path)
    verb = "probe" if name in ("probe", "linear") else "cluster"
    calls = [[verb, "features.h5", "--apply", "m.h5", *(["-o", "runs"] if verb == "cluster" else [])]]
    kind = random.randrange(6)
    if kind == 0:
        return Case(calls, spoil(random, path))
    with h5py.File(path, "r+") as file:
        what = _odd_model(random, file, kind, folder)
    return Case(calls, f"{name}: {what}")


def _odd_model(random: Random, file: h5py.File, kind: int, folder: Path) -> str:
    if kind in (1, 2):
        about = odd_json(random, json.loads(file.attrs["about"]))
        text = json.dumps(about)
        if random.random() < 0.1:
            text = random.choice((text[:-2], "[]", "3", "null", "{" * 5000, text.replace("1", "NaN")))
        del file.attrs["about"]
        file.attrs["about"] = text
        return text[:3000]
    if kind == 3 and random.random() < 0.3:
        os.link(folder / "features.h5", folder / "g.h5")
        _external_link(random, file, folder)
        return "external link"
    names: list[str] = []
    file.visit(names.append)
    arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
    name = random.choice(arrays)
    value = file[name][()]
    del file[name]
    if kind == 3:
        return f"{name} is gone"
    shape = np.shape(value)
    way = random.randrange(8)
    changed: Any = (
        np.zeros((2, 2)),
        np.full(shape, np.nan),
        np.full(shape, 1e30),
        np.zeros((*shape, 2)),
        np.zeros(0),
        b"text",
        np.full(shape, -1),
        np.asarray(value).reshape(-1)[:1],
    )[way]
    file[name] = changed
    return f"{name}, way {way}"
