"""What fixes a training run; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.options import (
    Writes,
    batch_size_option,
    check,
    check_seeds,
    device_option,
    option,
    output_option,
    seed_option,
    seeds_option,
)

METHODS = ("dino-lora", "vicreg-lora", "dino", "vicreg")
PRESETS = ("galaxy", "galaxy-strong", "natural")
CENTERINGS = ("mean", "sinkhorn")
LORA_TARGETS = ("qv", "qkv", "all")
NOISES = ("gaussian", "sky")
EPOCHS, BATCH_SIZE = 10, 64
OUTPUT = Path("runs/pretrain")
# What a run may leave in its folder.
MAKES = (
    "checkpoint.pt",
    "schedule.json",
    "log.csv",
    "curves.svg",
    "views.png",
    "chosen.json",
    "training.json",
    "report.html",
    *(f"model{which}.safetensors" for which in ("", "-last")),
    *(
        f"adapter{which}/{name}"
        for which in ("", "-last")
        for name in ("adapter_model.safetensors", "adapter_config.json", "base.json", "README.md")
    ),
)


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Low-rank updates of the linear layers of a ViT.

    Parameters
    ----------
    lora_rank, lora_alpha
        The update is scaled by alpha / rank, which must be at least 1.
    lora_blocks
        Adapt this many last blocks; None for all.
    lora_targets
        ``qv`` (queries and values), ``qkv``, or ``all`` linear layers of a block.
    """

    lora_rank: int = option(16, "LoRA: rank of the update", least=1, metavar="N", group="LoRA")
    lora_alpha: int = option(
        32, "LoRA: the update is scaled by this over the rank; at least the rank", metavar="N", group="LoRA"
    )
    lora_blocks: int | None = option(
        None, "LoRA: adapt the last N blocks only", least=1, metavar="N", unset="all", group="LoRA"
    )
    lora_targets: str = option(
        "qv", "LoRA: which linear layers of a block", choices=LORA_TARGETS, group="LoRA"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.lora_alpha < self.lora_rank:
            raise UsageError(
                f"--lora-alpha {self.lora_alpha} is below --lora-rank {self.lora_rank}: the update would be "
                f"scaled by {self.lora_alpha / self.lora_rank:.3g} and hardly move the features. Give "
                f"--lora-alpha {self.lora_rank} or more."
            )


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(LoRA):
    """How a backbone is trained without labels.

    Parameters
    ----------
    method
        The objective, ``dino`` or ``vicreg`` (which has no teacher), with ``-lora`` for low-rank updates
        instead of all weights.
    view_preset
        ``galaxy``, ``galaxy-strong`` or ``natural``.
    noise
        ``gaussian``, as strong as the image's own background, or ``sky``, drawn from that background.
    epochs, batch_size
        Passes over the training rows, and images in one update.
    minutes
        How long to train, in place of epochs; a batch and a rate that are not given follow from it too.
    accumulate
        Equal parts in which an update's batch goes through the student, for less memory.
    local_views, local_size
        DINO's small crops an image and their side in pixels; 0 for none.
    lr, weight_decay
        Peak rate and decay of AdamW. A rate of None is 1e-3 for LoRA and 5e-4 else.
    momentum
        Of the teacher at the start, rising to 1; None takes one that forgets the start in the given steps.
    prototypes
        Outputs of DINO's projection head.
    centering
        How DINO's prototypes are kept in use: ``mean`` or ``sinkhorn``.
    teacher_temperature
        Of DINO's teacher after the first third of the steps; it begins at 0.04.
    koleo
        Weight of the KoLeo regulariser.
    clip_grad
        Largest norm of the gradient.
    held_out
        Images that are not trained on, for the monitors.
    monitor_every
        Epochs between two looks at them; the last epoch is always looked at.
    patience
        Stop after this many looks without a better one; None to train to the end.
    train_norms
        Normalisations train too, beside LoRA or last blocks.
    unfreeze_blocks
        With LoRA: this many last blocks train in full instead. Else: only they train, with what follows
        them. None for no such choice.
    seed
        Of everything random.
    device, fsdp
        Where it is computed, and whether the weights are spread over the processes.
    """

    method: str = option("dino-lora", "what trains, and by which objective", choices=METHODS)
    view_preset: str = option("galaxy", "which random views", choices=PRESETS)
    noise: str = option("gaussian", "of galaxy views", choices=NOISES)
    # Filled in below; only a budget of minutes leaves them open, which `budget.Schedule.settled` ends.
    epochs: int | None = option(None, "passes over the images", least=1, metavar="N", unset=f"{EPOCHS}")
    batch_size: int | None = batch_size_option(
        None, least=2, unset=f"{BATCH_SIZE}; fits the budget of --minutes"
    )
    minutes: float | None = option(
        None,
        "train for so long: epochs, batch and rate follow from how fast that goes here",
        above=0,
        most=100_000,
        metavar="M",
        unset="as --epochs says",
    )
    accumulate: int = option(1, "parts of a batch, to save memory", least=1, metavar="N")
    local_views: int = option(2, "DINO: small crops", least=0, metavar="N")
    local_size: int = option(64, "DINO: side of the small crops", least=1, metavar="PX")
    lr: float | None = option(None, "peak learning rate", above=0, unset="1e-3 with LoRA, else 5e-4")
    weight_decay: float = option(0.04, "of AdamW", least=0)
    momentum: float | None = option(
        None, "DINO: of the teacher", least=0, most=1, unset="fits the number of steps"
    )
    prototypes: int = option(1024, "DINO: outputs of the head", least=1, metavar="N")
    centering: str = option("mean", "DINO: how prototypes are kept in use", choices=CENTERINGS)
    teacher_temperature: float = option(0.07, "DINO: the final one", above=0)
    koleo: float = option(0.0, "weight of KoLeo", least=0)
    clip_grad: float = option(3.0, "largest norm of the gradient", above=0)
    held_out: int = option(256, "images for the monitors", least=2, metavar="N")
    monitor_every: int = option(1, "epochs between looks", least=1, metavar="N")
    patience: int | None = option(None, "stop after N looks without a better epoch", least=1, metavar="N")
    train_norms: bool = option(False, "normalisations too, beside LoRA or last blocks")
    unfreeze_blocks: int | None = option(
        None, "train the last N blocks in full (alone, or beside LoRA)", least=1, metavar="N"
    )
    seed: int = seed_option()
    device: str = device_option()
    fsdp: bool = option(False, "torchrun: spread the weights over the processes")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minutes is None:
            for name, value in (("epochs", EPOCHS), ("batch_size", BATCH_SIZE)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        elif self.epochs is not None:
            raise UsageError(
                f"--minutes {self.minutes:g} with --epochs {self.epochs}: both say how long to train. Leave "
                "one of them out."
            )
        if self.batch_size is not None and self.batch_size % self.accumulate:
            raise UsageError(
                f"--accumulate {self.accumulate} does not divide --batch-size {self.batch_size} into "
                "equal parts."
            )
        if self.accumulate > 1 and (not self.distils or self.koleo):
            which = "--koleo" if self.distils else "vicreg"
            raise UsageError(
                f"--accumulate with {which}: it compares the images of a whole batch, so parts would train "
                "something else. Leave one of them out."
            )
        if self.train_norms and not self.low_rank and self.unfreeze_blocks is None:
            raise UsageError(f"--train-norms: --method {self.method} trains all weights already.")

    @property
    def passes(self) -> int:
        """The epochs of options without a budget."""
        assert self.epochs is not None
        return self.epochs

    @property
    def at_a_time(self) -> int:
        """The images of an update, of options without a budget."""
        assert self.batch_size is not None
        return self.batch_size

    @property
    def low_rank(self) -> bool:
        """Whether LoRA trains instead of the weights themselves."""
        return self.method.endswith("-lora")

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the run."""
        if self.lr is not None:
            return self.lr
        return 1e-3 if self.low_rank else 5e-4

    @property
    def distils(self) -> bool:
        """Whether there is a teacher."""
        return self.method.startswith("dino")


@dataclass(frozen=True, kw_only=True)
class PretrainCall(PretrainOptions):
    """One call of ``pretrain``: the options of the run, and what is written of it.

    Parameters
    ----------
    merge
        Write a plain checkpoint too where low-rank updates trained.
    show_views
        Write ``views.png`` and train nothing.
    seeds
        Train with so many seeds in a row, `seed` the first of them, each in a folder of its own.
    """

    merge: bool = option(False, "low-rank methods: write a plain checkpoint too")
    show_views: bool = option(False, "write views.png and train nothing")
    seeds: int = seeds_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seeds(self.seed, self.seeds)
        if self.show_views and self.seeds > 1:
            raise UsageError("--show-views with --seeds: it trains nothing. Leave one of them out.")

    def of_seeds(self) -> list[PretrainCall]:
        """Return the options of each training."""
        return [replace(self, seed=self.seed + i, seeds=1) for i in range(self.seeds)]

    def check(self, spec: BackboneSpec) -> None:
        """Refuse a backbone that these options can't train; raises `UsageError`."""
        if self.low_rank and spec.random_init is not None:
            raise UsageError(
                f"--random-init with {self.method}: low-rank updates of random weights learn nothing. Give "
                "trained weights, or --method dino or vicreg to train them all."
            )
        if self.merge and not self.low_rank:
            raise UsageError("--merge is for low-rank methods; others write a plain checkpoint already.")
        if spec.adapter is not None:
            raise UsageError("--adapter: merge it first, and give the merged file with --weights.")


@dataclass(frozen=True, kw_only=True)
class PretrainPlaces:
    """Where training writes.

    Parameters
    ----------
    output
        The folder to make.
    """

    output: Path = output_option(
        OUTPUT, "folder to make", writes=Writes(folder=True, makes=MAKES, folders=("seed-*",))
    )
