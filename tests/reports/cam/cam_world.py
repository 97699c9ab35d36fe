"""Images whose class is the colour of one square in noise, and a small network that learns it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from embedkit.backbones.head import HeadSpec
from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.saved_network import About, SavedNetwork, write_network
from embedkit.images.options import Overrides

SIDE, SQUARE = 48, 12
NAMES = ("cyan", "orange")
COLOURS = np.array([(40, 200, 220), (220, 120, 30)], np.uint8)
HEAD = HeadSpec()


def planted(n, seed):
    """Return pixels (n, s, s, 3), classes (n,) and the upper left corners (n, 2) of the squares."""
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 180, (n, SIDE, SIDE, 3), dtype=np.uint8)
    classes = random.integers(2, size=n)
    corners = random.integers(0, SIDE - SQUARE, (n, 2))
    for i, (y, x) in enumerate(corners):
        pixels[i, y : y + SQUARE, x : x + SQUARE] = COLOURS[classes[i]]
    return pixels, classes, corners


def inside(corners):
    """Return masks (n, s, s) of the squares."""
    y, x = np.mgrid[:SIDE, :SIDE]
    top, left = corners[:, 0, None, None], corners[:, 1, None, None]
    return (y >= top) & (y < top + SQUARE) & (x >= left) & (x < left + SQUARE)


def untrained(seed, head=HEAD, backbone="embedkit_votes_cnn", n_outputs=2):
    overrides = Overrides(image_size=SIDE, resize=SIDE)
    loaded = load_backbone(BackboneSpec(backbone, random_init=seed, preprocessing=overrides))
    return loaded, build_network(loaded, n_outputs, head, seed=seed)


def about(loaded, head=HEAD, names=NAMES, **more):
    given = {"kind": "planted", "dataset": "squares", "temperature": 1.5, **more}
    return About(
        backbone=loaded.name,
        head=head,
        names=names,
        baseline=(1 / len(names),) * len(names),
        preprocessing=loaded.preprocessing,
        **given,
    )


def trained():
    """Return a network that tells the colours of the squares."""
    loaded, network = untrained(0)
    pre = loaded.preprocessing
    network.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for step in range(24):
        pixels, classes, _ = planted(32, 1000 + step)
        raw = network(pre.normalize(torch.from_numpy(pixels)))
        loss = torch.nn.functional.cross_entropy(raw, torch.from_numpy(classes))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return SavedNetwork(network.eval().requires_grad_(False), about(loaded))


@dataclass(frozen=True)
class Squares:
    """A network in a folder, and images in another, some of them with the other class's label."""

    saved: SavedNetwork
    model: Path
    images: Path
    wrong: tuple[str, ...]


def write_squares(folder):
    saved = trained()
    pixels, classes, _ = planted(60, 7)
    for name in NAMES:
        (folder / "images" / name).mkdir(parents=True)
    wrong = []
    for i, one in enumerate(pixels):
        label = NAMES[classes[i] if i % 12 else 1 - classes[i]]
        path = folder / "images" / label / f"{i:02}.png"
        Image.fromarray(one).save(path)
        wrong += [] if i % 12 else [f"{label}/{i:02}.png"]
    write_network(folder / "model", saved)
    return Squares(saved, folder / "model", folder / "images", tuple(wrong))
