"""A network trained with labels, kept in a folder: safetensors and JSON, nothing that is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from embedkit.backbones.answers import answers
from embedkit.backbones.checkpoints.reading import read_tensors
from embedkit.backbones.head import HeadSpec
from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import Network, build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.saved_shapes import MOST_SIDE, check_shapes
from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.files.aside import folder_aside
from embedkit.files.regular import read_bytes
from embedkit.files.rows import is_text
from embedkit.files.store import file_sha256
from embedkit.files.vote_tree import VoteTree, tree_of
from embedkit.images.options import Overrides
from embedkit.images.preprocess import Preprocessing
from embedkit.strict_json import UndeclaredError, declared, of_shape, strict

ABOUT, WEIGHTS = "model.json", "model.safetensors"
FORMAT, VERSION = "embedkit-network", 1
FIX = "Give a folder that `embedkit finetune` wrote."
MOST_BYTES = 50_000_000


@dataclass(frozen=True)
class About:
    """What ``model.json`` says.

    Parameters
    ----------
    kind
        Name of the recipe.
    dataset
        That it was trained on.
    backbone
        A name that `load_backbone` takes.
    head
        Layers after the backbone, and what their outputs are.
    names
        Of the c classes or t targets, in the order of the outputs.
    baseline
        Share of each class, or mean of each target, among the training rows.
    preprocessing
        What the input needs.
    temperature
        That calibrates probabilities of classes, from validation rows; None where there is none.
    weights_sha256
        Of ``model.safetensors``.
    trained
        How it came about: recipe, split, versions. Nothing here is used to predict.
    """

    kind: str
    dataset: str
    backbone: str
    head: HeadSpec
    names: tuple[str, ...]
    baseline: tuple[float, ...]
    preprocessing: Preprocessing
    temperature: float | None
    weights_sha256: str = ""
    trained: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.baseline) or len(set(self.names)) < len(self.names):
            raise ValueError(f"{len(self.names)} names and {len(self.baseline)} baselines")
        if not all(map(is_text, self.names)):
            raise ValueError("a name that is no text")
        if max(self.preprocessing.image_size, self.preprocessing.resize) > MOST_SIDE:
            raise ValueError(f"images of more than {MOST_SIDE} pixels a side")
        # Shares of classes or of votes; tables round, so a little is let through.
        if not all(-1e-3 <= value <= 1 + 1e-3 for value in self.baseline):
            raise ValueError("a baseline that is no share between 0 and 1")
        # What is fitted lies between 0.01 and 100 (`embedkit.scoring.calibration`); an end may be rounded.
        if self.temperature is not None and not 0.009 < self.temperature < 110:
            raise ValueError(f"a temperature of {self.temperature}")

    @property
    def regression(self) -> bool:
        """Whether it predicts targets instead of classes."""
        return self.head.output != "classes"

    @property
    def tree(self) -> VoteTree | None:
        """The questions that its targets answer, if they do."""
        return tree_of(self.names) if self.regression else None


@dataclass(frozen=True)
class SavedNetwork:
    """A network and all that it takes to predict with it.

    Parameters
    ----------
    network
        In evaluation mode, float32.
    about
        What is known of it.
    """

    network: Network
    about: About

    def answers(self, raw: torch.Tensor) -> torch.Tensor:
        """Return probabilities of classes, or targets, of raw outputs (b, o); float64, not calibrated."""
        return answers(raw.double(), self.about.head.output, tree=self.about.tree)


def write_network(folder: Path, saved: SavedNetwork) -> Path:
    """Write a folder with ``model.safetensors`` and ``model.json``, whole or not at all."""
    state = {
        name: value.detach().cpu().contiguous().clone() for name, value in saved.network.state_dict().items()
    }
    with folder_aside(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(save(state))
        about = replace(saved.about, weights_sha256=file_sha256(temporary / WEIGHTS))
        record = {"format": FORMAT, "schema_version": VERSION, **asdict(about)}
        text = json.dumps(strict(record), indent=2, allow_nan=False) + "\n"
        (temporary / ABOUT).write_text(text, encoding="utf-8")
    return folder


def read_about(folder: Path) -> About:
    """Read what a folder says of its network.

    Raises
    ------
    EmbedkitError
        No such folder, another kind of folder, a later version, or one that is damaged.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        inside = [one for one in sorted(Path(folder).glob("*/")) if (one / ABOUT).is_file()]
        raise EmbedkitError(f"{folder}: no {ABOUT} there. {f'Give {inside[0]}.' if inside else FIX}")
    try:
        record = dict(declared(read_bytes(path, FIX, at_most=MOST_BYTES).decode(), dict[str, Any]))
        if record.pop("format", None) != FORMAT:
            raise EmbedkitError(f"{path}: says nothing of a trained network. {FIX}")
        version = record.pop("schema_version", None)
        if version != VERSION:
            raise EmbedkitError(
                f"{path}: schema version {version}, this embedkit reads {VERSION}. Update embedkit."
            )
        return of_shape(record, About)
    except (UndeclaredError, UnicodeDecodeError, UsageError) as error:
        raise EmbedkitError(f"{path}: damaged ({first_line(error)}). {FIX}") from error


def read_network(folder: Path) -> SavedNetwork:
    """Build a network again, with the weights of a folder; the hub is not asked.

    Raises
    ------
    EmbedkitError
        As `read_about`; or weights that are damaged, or of another network than the JSON says.
    """
    about = read_about(folder)
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise EmbedkitError(f"{path}: not there. {FIX}")
    if file_sha256(path) != about.weights_sha256:
        raise EmbedkitError(f"{path}: not the weights that {ABOUT} was written with. {FIX}")
    tensors = read_tensors(path)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        check_shapes(about.backbone, about.head, len(about.names), about.preprocessing.image_size, shapes)
    except UsageError as error:
        raise EmbedkitError(
            f"{path}: weights of another network than {ABOUT} says ({first_line(error)}). {FIX}"
        ) from error
    network = _untrained(about, Path(folder), seed=0)
    network.load_state_dict(tensors)
    return SavedNetwork(network.eval().requires_grad_(False), about)


def with_random_weights(folder: Path, *, seed: int) -> SavedNetwork:
    """Build the network of a folder with weights as they are before any training.

    Raises
    ------
    EmbedkitError
        As `read_about`.
    """
    about = read_about(folder)
    network = _untrained(about, Path(folder), seed=seed)
    return SavedNetwork(network.eval().requires_grad_(False), about)


def _untrained(about: About, folder: Path, *, seed: int) -> Network:
    """Return the architecture at its size, with random weights."""
    overrides = Overrides(image_size=about.preprocessing.image_size)
    try:
        backbone = load_backbone(BackboneSpec(about.backbone, random_init=seed, preprocessing=overrides))
    except UsageError as error:
        raise EmbedkitError(f"{folder / ABOUT}: {error} {FIX}") from error
    return build_network(backbone, len(about.names), about.head, seed=seed)
