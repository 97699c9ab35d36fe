"""Small sound files of every kind, made once by embedkit itself; a case damages copies of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TINY = [
    "--backbone",
    "test_vit",
    "--weights",
    "local/model.safetensors",
    "--image-size",
    "32",
    "--resize",
    "32",
]
PARTED = ["extract", "images", "-o", "parted.h5", "--backbone", "pixels:4", "--views", "rot4"]
PRETRAIN = [
    *("pretrain", "images", "-o", "pre", "--backbone", "test_vit", "--weights", "local/model.safetensors"),
    *("--image-size", "32", "--resize", "32", "--epochs", "2", "--batch-size", "8", "--held-out", "4"),
    *("--local-size", "16", "--prototypes", "16", "--lora-rank", "2", "--lora-alpha", "2"),
    *("--teacher-temperature", "0.3"),  # of the default the few steps may end in a collapse
]
FINETUNE = [
    *("finetune", "images", "-o", "fine", "--recipe", "dino-vits16-finetune", *TINY, "--no-probe"),
    *("--phase-epochs", "2", "--batch-plan", "8", "--split", "stratified"),
]
ROWS_A_PART = 8
# What a case may write is not given to it as a link into the world.
READY = "ready.json"


def build(world: Path) -> None:
    """Make the files. Not in a process that will fork: a network that has trained has threads."""
    small_parts()
    shutil.rmtree(world / "sound", ignore_errors=True)
    sound = world / "sound"
    sound.mkdir(parents=True)
    here = Path.cwd()
    os.chdir(sound)
    try:
        _images()
        _models()
        _features()
        _unfinished()
        _arrays()
        _words()
    finally:
        os.chdir(here)
    (world / READY).write_text(json.dumps({"parted": _digest(sound / "parted.h5")}), encoding="utf-8")


def small_parts() -> None:
    """Have parts of few rows."""
    import embedkit.extraction.parts as parts

    parts.PART_ROWS = 4 * ROWS_A_PART  # four views an image


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(*argv: str) -> None:
    from embedkit.cli import main

    if code := main(argv):
        raise RuntimeError(f"{argv} ended with {code}")


def _images() -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(24):
        name = "ab"[i % 2]
        folder = Path("images") / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 200, (12, 12, 3), dtype=np.uint8) + np.uint8(50 * (i % 2))
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


def _features() -> None:
    _run("extract", "images", "-o", "features.h5", "--backbone", "pixels:4")
    _run("extract", "images", "-o", "views.h5", "--backbone", "pixels:4", "--views", "rot4")
    _run("extract", "images", "-o", "vit.h5", *TINY)
    _run("cluster", "features.h5", "--method", "kmeans", "-k", "2", "-o", "runs")
    _run("probe", "features.h5", "--kind", "nearest-centroid", "-o", "runs", "--save-model", "probe.model.h5")
    _run("probe", "features.h5", "--kind", "linear", "-o", "linear", "--save-model", "linear.model.h5")
    _run("leaks", "features.h5", "--save-split", "split.json", "--pairs", "pairs.csv")
    _run("cluster", "features.h5", "--method", "gmm", "-k", "2", "-o", "gmm")
    _run("cluster", "features.h5", "--method", "hdbscan", "-o", "hdbscan")
    for path in (*Path("gmm").glob("*.model.h5"), *Path("hdbscan").glob("*.model.h5")):
        shutil.copy(path, f"{path.parent.name}.model.h5")
    shutil.copy(next(Path("runs").glob("*.model.h5")), "kmeans.model.h5")
    _run("report", "features.h5", "-o", "map.html", "--runs", "runs", "--max-points", "4")
    _run("leaderboard", "runs")


@contextlib.contextmanager
def _stopped_at(owner: object, name: str) -> Iterator[None]:
    """Have a call of this name be the moment of a Ctrl-C."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = getattr(owner, name)
    setattr(owner, name, stop)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _unfinished() -> None:
    from embedkit.cli import main
    from embedkit.extraction.parts import Parts
    from pretrain.trainer import Run

    with _stopped_at(Parts, "join"):
        main(PARTED)
    shutil.copytree("parted.h5.parts", "kept.parts")
    _run(*PARTED)
    end = Run._end_epoch

    def once(self: Run, loss: float, seconds: float) -> None:
        end(self, loss, seconds)
        raise KeyboardInterrupt

    for command, folder, kept in ((PRETRAIN, "pre", "unfinished"), (FINETUNE, "fine", "half-trained")):
        Run._end_epoch = once  # type: ignore[method-assign]
        try:
            main(command)
        finally:
            Run._end_epoch = end  # type: ignore[method-assign]
        shutil.copytree(folder, kept)
        _run(*command)
    shutil.copytree("pre/adapter", "adapter")
    shutil.copytree("fine/model", "network")


def _models() -> None:
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0, img_size=32)
    save_for_hf(model, "local", model_config={"num_classes": 0, "img_size": 32}, safe_serialization=True)


def _arrays() -> None:
    import h5py

    random = np.random.default_rng(1)
    images = random.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    labels = np.array(["x", "y", "z"] * 4)
    ids = np.array([f"n{i}" for i in range(12)])
    np.save("plain.npy", images)
    np.savez("plain.npz", images=images, labels=labels, ids=ids)
    np.savez_compressed("packed.npz", images=images, labels=labels)
    with h5py.File("source.h5", "w") as file:
        file["images"] = images
        file["labels"] = labels.astype(object)
    with h5py.File("chunked.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(4, 8, 8, 3), compression="gzip")
        file["ans"] = np.arange(12) % 3


BENCH = """dataset = "images"
probes = ["nearest-centroid"]
clusterings = ["kmeans -k 2"]
preps = ["none"]
seeds = 1
controls = false
reports = false

[[backbones]]
name = "pixels:4"
views = "rot4"
"""


def _words() -> None:
    lines = [f"images/{'ab'[i % 2]}/{i:02d}.png,{'ab'[i % 2]},{i % 3},train" for i in range(24)]
    Path("labels.csv").write_text("\n".join(["file,label,group,split", *lines, ""]), encoding="utf-8")
    ids, classes = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(24)], ["xy"[i // 2 % 2] for i in range(24)]
    lines = [f"{one},{name},{i}" for i, (one, name) in enumerate(zip(ids, classes, strict=True))]
    Path("by_id.csv").write_text("\n".join(["file,label,other", *lines, ""]), encoding="utf-8")
    np.savez_compressed("by_id.npz", ids=ids, labels=classes)
    Path("bench.toml").write_text(BENCH, encoding="utf-8")
    _run("bench", "bench.toml", "-o", "bench")


if __name__ == "__main__":
    import sys

    build(Path(sys.argv[1]))
