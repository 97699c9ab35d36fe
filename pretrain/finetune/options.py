"""What `embedkit finetune` can be asked for, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import (
    READS,
    RESULTS,
    Writes,
    check,
    check_seeds,
    check_split,
    device_option,
    option,
    output_option,
    seed_option,
    seeds_option,
    split_option,
)
from pretrain.finetune.batch_plan import LARGEST, parse_batch_plan
from pretrain.finetune.loss_names import VOLUNTEERS
from pretrain.finetune.sweep_plan import BATCH_SIZE, Sweep

MODEL = "model"
# What a run may leave in its folder, besides a folder for each phase, fold and seed.
MAKES = (
    *RESULTS,
    f"{MODEL}/model.json",
    f"{MODEL}/model.safetensors",
    "frozen.h5",
    "recipe.toml",
    "report.html",
    "curves.svg",
    "log.csv",
    "training.json",
    "variants.csv",
    "variant-pairs.csv",
)

# Folders of single runs, each written anew.
FOLDERS = ("seed-*", "fold-*", "phase-*", "branches", "normal", "curriculum", "*=*")
PLACE = Writes(folder=True, makes=MAKES, folders=FOLDERS)


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How a network is trained with labels; what is not given, the recipe says.

    Parameters
    ----------
    recipe
        Name of a recipe that `embedkit recipes` lists, or a TOML file.
    phase_epochs
        Epochs of each phase.
    batch_plan
        Images a batch, or sizes with epochs.
    accumulate
        Equal parts in which a batch goes through the network, for less memory.
    split, fractions, seed
        How the images are divided, as `embedkit probe` does; the seed is that of the training as well.
    targets
        Of votes: which of the dataset's targets; all by default.
    volunteers
        Of vote losses: how many people looked at an image; what the dataset counts where it is not given.
    noise_scale
        Measure the gradient noise scale, for the log.
    lr_by_noise
        Batch size that the recipe's rates are for; those of other sizes follow the measured noise scale.
    elastic_batch
        Images that a batch may grow to, where memory has room; None leaves batches as planned.
    critical_batch
        Batch sizes of short branches, by which the critical batch size is measured.
    sky_cell
        Side in degrees of the cells of sky that a batch is drawn from; None draws from everywhere.
    device, fsdp
        Where it is computed.

    Raises
    ------
    UsageError
        A value out of range.
    """

    recipe: str = option(
        "dino-vits16-finetune",
        "name of a recipe (`embedkit recipes` lists them), or a TOML file",
        metavar="NAME|FILE.toml",
        place=READS,
    )
    phase_epochs: tuple[int, ...] | None = option(
        None,
        "epochs of each phase, instead of the recipe's",
        least=1,
        separator=",",
        metavar="N,N,...",
        unset="the recipe's",
    )
    batch_plan: str | None = option(
        None, "images a batch (64), or sizes with epochs (32x5, 64)", metavar="PLAN", unset="the recipe's"
    )
    accumulate: int = option(1, "parts of a batch, to save memory", least=1, metavar="N")
    split: str = split_option()
    fractions: tuple[float, float, float] | None = option(
        None,
        "of the rows; with a given test set, the first two divide the rest",
        metavar="TRAIN VALIDATION TEST",
        unset="0.7 0.15 0.15",
    )
    seed: int = seed_option()
    targets: tuple[str, ...] | None = option(
        None, "which of the file's numbers to predict", metavar="A,B,...", separator=",", unset="all of them"
    )
    volunteers: int | None = option(
        None,
        "how many people answered about each image",
        least=2,
        metavar="N",
        unset=f"as the dataset counts them, else {VOLUNTEERS}",
    )
    noise_scale: bool = option(False, "measure the gradient noise scale, each epoch in log.csv")
    lr_by_noise: int | None = option(
        None,
        "the recipe's rates are for batches of N; at other sizes they follow the gradient noise scale",
        least=1,
        metavar="N",
        unset="rates as they are",
    )
    elastic_batch: int | None = option(
        None,
        "batches double up to N images while memory has room, and go in parts where it runs out",
        least=1,
        most=LARGEST,
        metavar="N",
        unset="as planned",
    )
    critical_batch: tuple[int, ...] | None = option(
        None,
        "measure the critical batch size by short branches at these sizes",
        least=1,
        most=LARGEST,
        separator=",",
        metavar="N,N,...",
        unset="not measured",
    )
    sky_cell: float | None = option(
        None,
        "batches of images that are close on the sky, from cells of DEG degrees",
        above=0,
        most=180,
        metavar="DEG",
        unset="from everywhere",
    )
    device: str = device_option()
    fsdp: bool = option(False, "torchrun: spread the weights over the processes")

    def __post_init__(self) -> None:
        check(self)
        check_split(self.split)
        if self.batch_plan is not None:
            parse_batch_plan(self.batch_plan)
        sizes = self.critical_batch
        if sizes is not None and (len(sizes) < 2 or len({*sizes}) < len(sizes)):
            raise UsageError(
                f"--critical-batch {','.join(map(str, sizes))}: give two sizes or more, each once, such as "
                "16,64,256."
            )
        measures = "--noise-scale" if self.noise_scale else "--lr-by-noise"
        if self.fsdp and (self.noise_scale or self.lr_by_noise is not None):
            raise UsageError(
                f"{measures} with --fsdp: the noise scale is measured by the gradients of each process, and "
                "of spread weights there are only means. Leave out one of them."
            )
        if self.fractions is not None and self.split.endswith(".json"):
            raise UsageError("--fractions says nothing about a saved split. Leave it out.")

    def of_numbers(self) -> dict[str, Any]:
        """Return what fixes the numbers of a run, without what the recipe says."""
        named = {one.name: getattr(self, one.name) for one in fields(FinetuneOptions)}
        aside = ("recipe", "device", "fsdp", "batch_plan", "critical_batch")
        return {name: value for name, value in named.items() if name not in aside}


@dataclass(frozen=True, kw_only=True)
class FinetuneCall(FinetuneOptions):
    """One call of ``finetune``.

    Parameters
    ----------
    seeds
        Train with so many seeds in a row, `seed` the first of them: a result each.
    probe
        Measure a frozen linear probe of the same backbone on the same split first, and look for copies of
        images across it.
    sweep
        A key of the recipe, and values at each of which it is trained with all seeds.
    beside_normal
        Of a curriculum: normal training beside it, with as many images seen.
    """

    seeds: int = seeds_option()
    probe: bool = option(
        True, "leave out the frozen linear probe and the search for copies", flag="--no-probe"
    )
    sweep: str | None = option(
        None,
        "train with a key of the recipe at each value, and test the differences: batch_size=16,32,64,128",
        metavar="KEY=V,V,...",
        unset="none",
    )

    beside_normal: bool = option(
        False, "of a curriculum: train on all rows at once too, and say which is faster to the same loss"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seeds(self.seed, self.seeds)
        sweep = self.swept
        if sweep is not None and self.beside_normal:
            raise UsageError("--sweep with --beside-normal: give one of them at a time.")
        variants = "--beside-normal" if self.beside_normal else "--sweep"
        if self.critical_batch is not None and (self.beside_normal or sweep is not None):
            raise UsageError(f"--critical-batch with {variants}: give one of them at a time.")
        if self.elastic_batch is not None and sweep is not None and sweep.key == BATCH_SIZE:
            raise UsageError(f"--elastic-batch with --sweep {BATCH_SIZE}=...: batches would not keep a size.")
        if sweep is None:
            return
        taken = {
            BATCH_SIZE: ("--batch-plan", self.batch_plan),
            "epochs": ("--phase-epochs", self.phase_epochs),
        }
        flag, given = taken.get(sweep.key, ("", None))
        if given is not None:
            raise UsageError(f"{flag} with --sweep {sweep.key}=...: both say the same. Leave out one.")

    @property
    def swept(self) -> Sweep | None:
        """What is swept, if anything is; raises `UsageError`."""
        if self.sweep is None:
            return None
        try:
            return Sweep.parse(self.sweep)
        except ValueError as error:
            raise UsageError(f"--sweep {self.sweep!r}: {error}.") from error

    @property
    def key(self) -> str:
        """What variants differ in."""
        return "training" if self.swept is None else self.swept.key

    def each(self) -> list[FinetuneOptions]:
        """Return the options of each seed."""
        named = {one.name: getattr(self, one.name) for one in fields(FinetuneOptions)}
        return [FinetuneOptions(**(named | {"seed": self.seed + i})) for i in range(self.seeds)]


@dataclass(frozen=True, kw_only=True)
class FinetunePlaces:
    """Where training writes.

    Parameters
    ----------
    output
        The folder to make.
    """

    output: Path | None = output_option(
        None,
        "folder to make",
        unset="runs/RECIPE",
        writes=PLACE,
    )
