"""A recipe: how a network is trained with labels, as a short TOML file says it; imports nothing heavy."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from embedkit.backbones.head import HeadSpec, key
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import read_bytes
from embedkit.images.options import Overrides
from embedkit.options import check, declared, from_mapping, nearest, typed
from pretrain.finetune.augmentation import WORDS
from pretrain.finetune.batch_plan import BatchPlan, parse_batch_plan
from pretrain.finetune.loss_names import OUTPUTS_OF
from pretrain.finetune.phase_options import INFINITE, Phase
from pretrain.options import LoRA

__all__ = ["RECIPES", "HeadSpec", "Phase", "Published", "Recipe", "make_recipe", "read_recipe", "recipe_text"]

FOLDER = Path(__file__).parent / "recipes"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.toml"), key=lambda path: path.stem)}
MOST_BYTES = 2**20
T = TypeVar("T")

WEIGHTS = ("published", "random")
MEAN_STD = ("model", "half")
CLASS_WEIGHTS = ("none", "balanced")
KEEPS = ("best", "last")
OPTIMISERS = ("adamw", "adam", "sgd")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a report says that its recipe reaches.

    Parameters
    ----------
    accuracy, precision, roc_auc, rmse
        As shares, not percent.
    data
        On what.
    note
        What else it says.
    """

    accuracy: float | None = key(None, "of test images", "accuracy", least=0, most=1, unset="none")
    precision: float | None = key(None, "mean over the classes", "precision", least=0, most=1, unset="none")
    roc_auc: float | None = key(None, "mean over the classes", "roc_auc", least=0, most=1, unset="none")
    rmse: float | None = key(None, "of vote fractions", "rmse", least=0, most=1, unset="none")
    data: str = key("", "images, and how many", "data")
    note: str = key("", "what else is said", "note")

    def __post_init__(self) -> None:
        check(self)

    def sentence(self) -> str:
        """Say it in a line."""
        figures = {
            "accuracy": self.accuracy,
            "precision": self.precision,
            "ROC AUC": self.roc_auc,
            "RMSE": self.rmse,
        }
        said = [f"{name} {value:g}" for name, value in figures.items() if value is not None]
        return "; ".join(part for part in (", ".join(said), self.data, self.note) if part)


PHASE = "phase"
# Tables of a file, and what is made of each.
TABLES: dict[str, type[Any]] = {"published": Published, "head": HeadSpec, "lora": LoRA, PHASE: Phase}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained with labels.

    Parameters
    ----------
    about, source
        One sentence, and the report that it is of.
    backbone, weights
        A timm name, and whether its weights are the published ones or drawn at random.
    image_size, resize, center_crop, mean_std
        Preprocessing where it is not the backbone's own; see `overrides`.
    augmentation
        Of `pretrain.finetune.augmentation.WORDS`.
    loss, label_smoothing, class_weight
        What is made small.
    batch_plan
        See `parse_batch_plan`; of each phase.
    optimiser, weight_decay, clip_grad, layer_decay
        How. Layer decay multiplies the rate of each layer by itself once more the further it is from the
        head.
    published
        What the report reached.
    head, lora, phases
        The tables.

    Raises
    ------
    UsageError
        A value out of range, or two that exclude each other.
    """

    about: str = key("", "what it trains, in one sentence", "about")
    source: str = key("", "the report that it is of", "source")
    backbone: str = key("", "any timm name, embedkit_vgg, embedkit_cnn, ...", "backbone", metavar="NAME")
    weights: str = key("published", "where training starts from", "weights", choices=WEIGHTS)
    image_size: int | None = key(
        None, "side of the input", "image_size", least=1, metavar="PX", unset="the backbone's own"
    )
    resize: int | None = key(
        None,
        "shorter side before the central image_size square is taken",
        "resize",
        least=1,
        metavar="PX",
        unset="the backbone's own",
    )
    center_crop: int | None = key(
        None, "the central PX of the image's own pixels", "center_crop", least=1, metavar="PX", unset="none"
    )
    mean_std: str = key(
        "model", "pixels normalised as the backbone wants, or to [-1, 1] (half)", "mean_std", choices=MEAN_STD
    )
    augmentation: tuple[str, ...] = key(
        (), "of training images, drawn anew each epoch", "augmentation", choices=tuple(WORDS)
    )
    loss: str = key("cross-entropy", "what is made small", "loss", choices=tuple(OUTPUTS_OF))
    label_smoothing: float = key(
        0.0, "cross-entropy: share spread over all classes", "label_smoothing", least=0, below=1
    )
    class_weight: str = key(
        "none", "cross-entropy: balanced weighs rare classes more", "class_weight", choices=CLASS_WEIGHTS
    )
    batch_plan: str = key(
        "64", "images a batch, or sizes with epochs: 32x5, 32-64x10, 128, 64x4", "batch_plan", metavar="PLAN"
    )
    optimiser: str = key("adamw", "how weights are updated", "optimiser", choices=OPTIMISERS)
    weight_decay: float = key(0.01, "of the optimiser", "weight_decay", least=0, below=INFINITE)
    clip_grad: float | None = key(
        None, "largest norm of the gradient", "clip_grad", above=0, below=INFINITE, unset="no bound"
    )
    keep: str = key(
        "best", "weights of the epoch of the lowest validation loss, or of the last", "keep", choices=KEEPS
    )
    layer_decay: float = key(1.0, "rate of a layer over that of the next one", "layer_decay", above=0, most=1)
    published: Published | None = None
    head: HeadSpec = field(default_factory=HeadSpec)
    lora: LoRA | None = None
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        for name, what in (("backbone", "a timm name"), ("about", "what it trains, in one sentence")):
            if not getattr(self, name).strip():
                raise UsageError(f"no {name}: give {what}.")
        if not self.phases:
            raise UsageError("no [[phase]], so nothing would train. Give one or more.")
        self._check_loss()
        self._check_phases()
        self.overrides()

    def _check_loss(self) -> None:
        outputs, output = OUTPUTS_OF[self.loss], self.head.output
        if output not in outputs:
            losses = [loss for loss, fits in OUTPUTS_OF.items() if output in fits]
            raise UsageError(
                f"loss {self.loss} with output {output}. Give output = {' or '.join(outputs)} in [head], or "
                f"loss = {' or '.join(losses)}."
            )
        for name, default in (("label_smoothing", 0.0), ("class_weight", "none")):
            if self.loss != "cross-entropy" and getattr(self, name) != default:
                raise UsageError(f"{name} is of cross-entropy, and loss is {self.loss}. Leave it out.")

    def _check_phases(self) -> None:
        plan = self.plan
        names = [phase.name for phase in self.phases]
        for number, phase in enumerate(self.phases, start=1):
            if names.count(phase.name) > 1:
                raise UsageError(f"two phases named {phase.name!r}. Name each once.")
            try:
                plan.sizes(phase.epochs)
            except UsageError as error:
                raise UsageError(f"[[phase]] {number}: {error}") from error
        low_rank = any(phase.trained.kind == "lora" for phase in self.phases)
        if low_rank and self.weights == "random":
            raise UsageError(
                "train = lora with weights = random: low-rank updates of random weights learn nothing. Give "
                "weights = published, or train = all."
            )
        if self.lora is not None and not low_rank:
            raise UsageError(
                "[lora] without a phase with train = lora. Leave it out, or let a phase train it."
            )

    @property
    def plan(self) -> BatchPlan:
        """The batch plan of each phase."""
        return parse_batch_plan(self.batch_plan)

    def overrides(self) -> Overrides:
        """Return what it changes in the backbone's own preprocessing."""
        half = (0.5, 0.5, 0.5) if self.mean_std == "half" else None
        return Overrides(
            image_size=self.image_size, resize=self.resize, center_crop=self.center_crop, mean=half, std=half
        )


def read_recipe(name: str | Path) -> Recipe:
    """Read a shipped recipe by its name, or a file.

    Raises
    ------
    UsageError
        An unknown name or key, a value out of range; the message says where, and what was meant.
    EmbedkitError
        A file that can't be read, or is no TOML.
    """
    path = recipe_file(name)
    try:
        document = tomllib.loads(recipe_text(name))
    except (ValueError, RecursionError) as error:
        raise EmbedkitError(f"{path}: not a TOML file ({error}).") from error
    return make_recipe(document, str(path))


def recipe_file(name: str | Path) -> Path:
    """Return the file of a shipped recipe's name, or the file that is named.

    Raises
    ------
    UsageError
        Neither of the two is there.
    """
    text = str(name)
    if text in RECIPES:
        return RECIPES[text]
    path = Path(name)
    if path.exists() or path.suffix == ".toml" or path.parent != Path():
        return path
    raise UsageError(
        f"unknown recipe {text!r}.{nearest(text, RECIPES)} Give a TOML file, or one of {', '.join(RECIPES)}."
    )


def recipe_text(name: str | Path) -> str:
    """Return the TOML of a recipe as it is written, comments and all.

    Raises
    ------
    EmbedkitError
        No such file, or one that is not text.
    """
    path, fix = recipe_file(name), "Name a TOML file, or a recipe of `embedkit recipes`."
    try:
        return read_bytes(path, fix, at_most=MOST_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise EmbedkitError(f"{path}: no such file. {fix}") from None
    except UnicodeDecodeError as error:
        raise EmbedkitError(f"{path}: not a TOML file ({error}). {fix}") from error


def make_recipe(document: Mapping[str, Any], where: str) -> Recipe:
    """Turn a TOML document into a recipe; raises `UsageError`, which names `where` and the key."""
    given = dict(document)
    tables = {name: given.pop(name, None) for name in TABLES if name != PHASE}
    phases = given.pop(PHASE, [])
    if not isinstance(phases, list):
        raise UsageError(f"{where}: phase = {str(phases)[:60]}: give tables, each under [[phase]].")
    made: dict[str, Any] = {
        name: _made(TABLES[name], value, f"{where}: [{name}]")
        for name, value in tables.items()
        if value is not None
    }
    made["phases"] = tuple(
        _made(Phase, one, f"{where}: [[phase]] {number}", name=f"phase-{number}")
        for number, one in enumerate(phases, start=1)
    )
    options = declared(Recipe)
    _check_keys(given, {**options, **TABLES}, where, Recipe)
    try:
        return Recipe(**made, **{name: typed(options[name], value) for name, value in given.items()})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _made(cls: type[T], table: Any, where: str, **defaults: Any) -> T:
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: {str(table)[:60]!r} is no table.")
    _check_keys(table, declared(cls), where, cls)
    return from_mapping(cls, {**defaults, **table}, where)


def _check_keys(given: Mapping[str, Any], known: Mapping[str, Any], where: str, cls: type) -> None:
    """Refuse an unknown key; the message names the table where it belongs, or the nearest key."""
    for name in given:
        if name in known:
            continue
        others: dict[str, type] = {
            "the top": Recipe,
            **{f"[[{k}]]" if k == PHASE else f"[{k}]": v for k, v in TABLES.items()},
        }
        homes = [place for place, one in others.items() if one is not cls and name in declared(one)]
        hint = f" It belongs in {homes[0]}." if homes else nearest(name, known)
        raise UsageError(f"{where} knows no {name[:60]!r}.{hint} Known: {', '.join(known)}.")
