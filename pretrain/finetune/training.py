"""The task of one phase of a recipe: which weights train, on which images, at which rates, until when."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from embedkit import console
from embedkit.backbones.answers import answers
from embedkit.backbones.network import Network
from embedkit.computing.peak import Peak
from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_text
from embedkit.images.preprocess import Preprocessing
from embedkit.scoring.splits import Split
from pretrain import ranks
from pretrain.adapters import key_masks
from pretrain.build import synchronised
from pretrain.elastic import Elastic
from pretrain.finetune.augmentation import preset
from pretrain.finetune.batches import LabelledBatches, Order, shuffled
from pretrain.finetune.loss_names import OF_COUNTS, VOLUNTEERS
from pretrain.finetune.losses import LossSettings, balanced_weights, loss_named
from pretrain.finetune.noise_scale import AT_START, EVERY, POWER, NoiseScale, PartGradients, compensation
from pretrain.finetune.options import FinetuneOptions
from pretrain.finetune.phases import Group, begin, parameter_groups
from pretrain.finetune.planned import check_sizes, phase_of, rows_of, steps_of
from pretrain.finetune.rates import is_over, rate
from pretrain.finetune.recipe import Recipe
from pretrain.finetune.sky_order import sizes_by_epoch, sky_ordered
from pretrain.finetune.supervised import Criterion, Supervised
from pretrain.finetune.truth import Truth
from pretrain.options import LoRA
from pretrain.task import Gradients, Log, Task
from pretrain.views import Frames

LOSS = "validation_loss"
BATCHES = "batches"  # in a checkpoint
EVALUATED = 64  # images at a time


@dataclass(frozen=True)
class Lesson:
    """What every phase of a recipe learns from.

    Parameters
    ----------
    backbone
        Its name, for messages.
    recipe, options
        How.
    frames
        All images of the dataset, uint8.
    preprocessing
        What a network's input needs.
    ids : (n,) str
        Of all images.
    truth
        What is learnt of them.
    split
        Which are trained on, which tell when to stop.
    confidence : (n,) float64, optional
        Of the labels, for phases that take rows by it.
    positions : (n, 2) float64, optional
        Right ascension and declination in degrees, for batches by the sky.
    device
        Where it is computed.
    asked
        What fixes the numbers: recipe, options, dataset, start.
    """

    backbone: str
    recipe: Recipe
    options: FinetuneOptions
    frames: Frames
    preprocessing: Preprocessing
    ids: NDArray[np.str_]
    truth: Truth
    split: Split
    device: torch.device
    asked: dict[str, Any]
    confidence: NDArray[np.float64] | None = None
    positions: NDArray[np.float64] | None = None

    @property
    def counted(self) -> bool:
        """Whether the loss takes how many people voted on each image as the dataset says it."""
        asked = self.truth.asked is not None and self.options.volunteers is None
        return asked and self.recipe.loss in OF_COUNTS

    def criterion(self) -> Criterion:
        """Return the loss of the recipe."""
        recipe, truth = self.recipe, self.truth
        weights = None
        if recipe.class_weight == "balanced":
            weights = balanced_weights(truth.y[self.split.train], len(truth.names))
        settings = LossSettings(
            output=recipe.head.output,
            tree=truth.tree,
            class_weight=weights,
            label_smoothing=recipe.label_smoothing,
            volunteers=self.options.volunteers or VOLUNTEERS,
        )
        return partial(loss_named(recipe.loss, settings), settings=settings)


class PhaseTask(Task):
    """One phase.

    Parameters
    ----------
    network
        On the device; what trains of it is set here.
    number
        Of the phase, from 0.
    folder
        For what is kept of a step that went wrong.
    """

    def __init__(self, network: Network, lesson: Lesson, number: int, folder: Path) -> None:
        recipe, options = lesson.recipe, lesson.options
        self.lesson, self.phase, self.folder = lesson, phase_of(recipe, options, number), folder
        self.seed = options.seed + 7919 * number  # each phase has draws of its own
        self.accumulate, self.clip_grad = options.accumulate, recipe.clip_grad
        self.advice = "Lower the rate (lr, head_lr) in the recipe."
        self.why_enough = f"{self.phase.stop_after} epochs without a lower validation loss"
        self.asked = {**lesson.asked, "phase": number}
        rows = rows_of(self.phase, lesson.split.train, lesson.confidence)
        sizes, self.ends = steps_of(recipe, options, self.phase, len(rows))
        share = (ranks.rank(), ranks.world())
        check_sizes(sizes, options)
        self.planned, self.n_rows = self.ends, len(rows)
        if options.elastic_batch is not None:
            self.elastic = Elastic(
                sizes[0],
                self.accumulate,
                largest=options.elastic_batch,
                memory=Peak(lesson.device),
                folder=folder,
                asked=self.asked,
            )
            sizes, self.ends = self.elastic.layout(len(rows), self.phase.epochs)
        if set(sizes) == {options.lr_by_noise}:
            console.note(f"Batches have the {sizes[0]} images of --lr-by-noise, so rates stay as they are.")
        self.power = POWER[recipe.optimiser]
        name = lesson.backbone
        begin(network, self.phase, name=name, seed=self.seed, lora=recipe.lora)
        network.backbone = synchronised(network.backbone, lesson.device, name)
        network.head = synchronised(network.head, lesson.device, f"the head of {name}")
        network.to(lesson.device).to(memory_format=torch.channels_last)
        self.fsdp = options.fsdp
        self.waits_within = self.fsdp or any(isinstance(one, nn.SyncBatchNorm) for one in network.modules())
        self.batches: LabelledBatches = LabelledBatches(
            lesson.frames,
            self._order(torch.from_numpy(rows), sizes),
            sizes=sizes,
            ends=self.ends,
            preset=preset(recipe.augmentation),
            preprocessing=lesson.preprocessing,
            seed=self.seed,
            device=lesson.device,
            share=share,
        )
        self.objective: Supervised = Supervised(
            network, lesson.truth.tensor(counted=lesson.counted), lesson.criterion(), lesson.device
        )
        if self.fsdp:
            self.objective.shard()
        groups = parameter_groups(network, self.phase, name=name, layer_decay=recipe.layer_decay)
        self.optimiser = _optimiser(recipe, groups)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        only_qv = self.phase.trained.kind == "lora" and (recipe.lora or LoRA()).lora_targets == "qv"
        self.keys = key_masks(network.backbone) if only_qv else []
        measures = options.noise_scale or options.lr_by_noise is not None
        self.noise: NoiseScale | None = NoiseScale() if measures else None
        self.seen: PartGradients = PartGradients(self.parameters, self.keys)

    def _order(self, rows: torch.Tensor, sizes: Sequence[int]) -> Order:
        cell, positions = self.lesson.options.sky_cell, self.lesson.positions
        if cell is None:
            return shuffled(rows, self.seed)
        assert positions is not None
        if self.elastic is None:
            size = sizes_by_epoch(sizes, self.ends)
        else:  # as far as is decided when the epoch begins
            size = lambda epoch: self.batches.sizes[self.ends[epoch] - 1]  # noqa: E731
        return sky_ordered(rows, positions, cell=cell, size=size, seed=self.seed)

    def as_today(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what an older checkpoint was asked; options that are younger had their default then."""
        return {**json.loads(json.dumps(FinetuneOptions().of_numbers())), **asked}

    def set_rates(self, step: int, log: Log) -> None:
        """Set the rate of each group by the phase's schedule."""
        lr = rate(self.phase, self._planned(step), self.planned, _losses(log))
        reference = self.lesson.options.lr_by_noise
        if self.elastic is not None:
            if step in (0, *self.ends):
                self.elastic.memory.begin()
            if reference is None:
                lr *= self.batches.sizes[step] / self.elastic.begun.size
        if reference is not None:  # what was known when the epoch began, so a function of step and log
            lr *= compensation(self.batches.sizes[step], reference, log[-1]["noise_scale"], power=self.power)
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * lr

    def _planned(self, step: int) -> float:
        """Return the step of the batch plan that shows as many images of the same epoch."""
        if self.elastic is None:
            return step
        epoch = bisect_right(self.ends, step)
        first, begun = (ends[epoch - 1] if epoch else 0 for ends in (self.ends, self.planned))
        share = (step - first) / (self.ends[epoch] - first)
        return begun + share * (self.planned[epoch] - begun)

    def end_epoch(self, step: int) -> None:
        """Decide how large batches are from here on, where memory decides it."""
        if self.elastic is None or step >= self.ends[-1]:
            return
        self.elastic.grow(step, n_rows=self.n_rows)
        self._lay_out()

    def _lay_out(self) -> None:
        assert self.elastic is not None
        sizes, self.ends = self.elastic.layout(self.n_rows, self.phase.epochs)
        self.batches.sizes, self.batches.ends = sizes, list(self.ends)

    def prepare(self, gradients: Gradients) -> None:
        """Measure the noise scale at the start, for the first epoch; nothing of the network is changed."""
        if self.noise is None:
            return
        network = self.objective.evaluated
        before = {name: value.clone() for name, value in network.named_buffers()}
        for number in range(min(AT_START, self.ends[0])):
            gradients(self.batches.make(number), number * EVERY)
        self.optimiser.zero_grad()
        for name, value in network.named_buffers():
            value.copy_(before[name])

    def parts(self, step: int) -> int:
        """Return how many parts a batch has here: two for a measurement, where there would be but one."""
        parts = self.accumulate if self.elastic is None else self.elastic.at(step).parts
        return 2 if parts * ranks.world() == 1 and self._measures(step) else parts

    def see_part(self, step: int) -> None:
        """Look at what a part of the batch added."""
        if self._measures(step):
            self.seen.see_part()

    def see_gradients(self, step: int, size: int) -> None:
        """Measure the noise scale."""
        if self.noise is not None and self._measures(step):
            self.seen.see_all(self.noise, size * ranks.world())

    def forget_parts(self) -> None:
        """Forget what the noise scale was to be measured by."""
        self.seen.forget()

    def measured(self) -> dict[str, Any]:
        """Return the noise scale so far, and what was decided by memory."""
        batches = {} if self.elastic is None else {BATCHES: [asdict(one) for one in self.elastic.held]}
        return batches | ({} if self.noise is None else self.noise.state())

    def measured_before(self, kept: dict[str, Any]) -> None:
        """Take up the noise scale, and what was decided by memory."""
        if self.elastic is not None:
            self.elastic.follow(kept[BATCHES])
            self._lay_out()
        if self.noise is not None:
            self.noise = NoiseScale.of_state({name: kept[name] for name in kept if name != BATCHES})

    def _measures(self, step: int) -> bool:
        return self.noise is not None and step % EVERY == 0

    def look(self, step: int) -> dict[str, float]:
        """Ask the network about the validation rows."""
        seen = self.judged(torch.from_numpy(self.lesson.split.validation))
        n_seen = sum(self.batches.sizes[:step])
        noise = {} if self.noise is None else {"noise_scale": self.noise.value}
        size = {} if self.elastic is None else {"batch_size": float(self.batches.sizes[max(0, step - 1)])}
        return {
            "images": float(n_seen),
            **size,
            **{f"validation_{name}": value for name, value in seen.items()},
            **noise,
        }

    @torch.no_grad()
    def _raw(self, rows: torch.Tensor) -> torch.Tensor:
        """Ask the network about some rows, as they are."""
        self.objective.evaluated.eval()  # the next step trains again
        return torch.cat(
            [self.objective.raw(self.batches.look(part)) for part in torch.split(rows, EVALUATED)]
        )

    def judged(self, rows: torch.Tensor) -> dict[str, float]:
        """Return loss, and accuracy or RMSE, of some rows."""
        truth = self.objective.truth[rows].to(self.lesson.device)
        raw = self._raw(rows)
        found = {"loss": float(self.objective.criterion(raw, truth))}
        said = answers(raw, self.lesson.recipe.head.output, tree=self.lesson.truth.tree)
        if truth.ndim == 1:
            found["accuracy"] = float((said.argmax(dim=1) == truth).float().mean())
        else:
            shares = truth[:, : said.shape[1]]
            found["rmse"] = float((said - shares).square().nanmean().sqrt())
        return found

    def best(self, log: Log) -> dict[str, float] | None:
        """Return the epoch of the lowest validation loss, the first of equals; the start counts too."""
        # Every row has both; one without is of no run of ours, and a KeyError to whoever takes it up.
        seen = [row for row in log if row["images"] >= 0 and np.isfinite(row[LOSS])]
        if self.lesson.recipe.keep == "last":
            return seen[-1] if seen else None
        return min(seen, key=lambda row: row[LOSS], default=None)

    def enough(self, log: Log) -> bool:
        """Whether the last epochs brought no lower validation loss."""
        return is_over(self.phase, _losses(log))

    def adjust_gradients(self) -> None:
        """Leave the keys as they are, where low-rank updates are of queries and values."""
        for parameter, mask in self.keys:
            parameter.grad *= mask  # type: ignore[operator]

    def check(self, log: Log) -> None:
        """Stop where the validation loss is no number, and name the images of which the network says none."""
        epoch, loss = int(log[-1]["epoch"]), log[-1][LOSS]
        if np.isfinite(loss):
            return
        rows = torch.from_numpy(self.lesson.split.validation)
        rows = rows[~torch.isfinite(self._raw(rows)).all(dim=1).cpu()]
        kept = self._named(rows, epoch=epoch) if len(rows) else ""
        raise EmbedkitError(f"the validation loss is {loss} after epoch {epoch}. {kept}{self.advice}")

    def replay(self, step: int) -> str:
        """Write down which images the step was given."""
        return self._named(self.batches.rows(step), step=step)

    def _named(self, rows: torch.Tensor, **when: int) -> str:
        """Write down the names of images with which something went wrong, and say where."""
        path = self.folder / "not-finite.json"
        record = {**when, "seed": self.seed, "ids": [str(self.lesson.ids[row]) for row in rows.tolist()]}
        if ranks.rank() == 0:
            write_text(path, json.dumps(record, indent=2) + "\n")
        return f"Its images are named in {path}. "


def _losses(log: Log) -> list[float]:
    """Return the validation loss of each epoch, the start left out."""
    return [row[LOSS] for row in log if row["epoch"] > 0]


def _optimiser(recipe: Recipe, groups: Sequence[Group]) -> torch.optim.Optimizer:
    made = [
        {
            "params": list(group.parameters),
            "scale": group.lr_scale,
            "weight_decay": recipe.weight_decay if group.decays else 0.0,
        }
        for group in groups
    ]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(made, lr=1e-3)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(made, lr=1e-3)
    return torch.optim.SGD(made, lr=1e-3, momentum=0.9)


def record_of(recipe: Recipe, options: FinetuneOptions) -> dict[str, Any]:
    """Return a recipe, with the batch plan that was asked for, as far as it changes numbers."""
    kept = asdict(recipe) | {"batch_plan": options.batch_plan or recipe.batch_plan}
    return {name: value for name, value in kept.items() if name not in ("about", "source", "published")}
