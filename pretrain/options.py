"""What fixes a training run."""

from __future__ import annotations

from dataclasses import dataclass

from embedkit.errors import UsageError

METHODS = ("dino-lora", "vicreg-lora", "dino", "vicreg")
PRESETS = ("galaxy", "galaxy-strong", "natural")
CENTERINGS = ("mean", "sinkhorn")
LORA_TARGETS = ("qv", "qkv", "all")
NOISES = ("gaussian", "sky")


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates of the linear layers of a ViT.

    Parameters
    ----------
    rank, alpha
        The update is scaled by alpha / rank, which must be at least 1.
    blocks
        Adapt this many last blocks; None for all.
    targets
        ``qv`` (queries and values), ``qkv``, or ``all`` linear layers of a block.
    """

    rank: int = 16
    alpha: int = 32
    blocks: int | None = None
    targets: str = "qv"

    def __post_init__(self) -> None:
        if self.targets not in LORA_TARGETS:
            raise UsageError(f"--lora-targets {self.targets}: unknown. Known: {', '.join(LORA_TARGETS)}.")
        if self.rank < 1 or (self.blocks is not None and self.blocks < 1):
            raise UsageError("--lora-rank and --lora-blocks must be 1 or more.")
        if self.alpha < self.rank:
            raise UsageError(
                f"--lora-alpha {self.alpha} is below --lora-rank {self.rank}: the update would be scaled by "
                f"{self.alpha / self.rank:.3g} and hardly move the features. Give --lora-alpha {self.rank} "
                "or more."
            )


@dataclass(frozen=True)
class PretrainOptions:
    """How a backbone is trained without labels.

    Parameters
    ----------
    method
        The objective, ``dino`` or ``vicreg`` (which has no teacher), with ``-lora`` for low-rank updates
        instead of all weights.
    views
        ``galaxy``, ``galaxy-strong`` or ``natural``.
    noise
        ``gaussian``, as strong as the image's own background, or ``sky``, drawn from that background.
    epochs, batch_size
        Passes over the training rows, and images in one update.
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
    device, shard
        Where it is computed, and whether the weights are spread over the processes.
    """

    method: str = "dino-lora"
    views: str = "galaxy"
    noise: str = "gaussian"
    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    local_views: int = 2
    local_size: int = 64
    lr: float | None = None
    weight_decay: float = 0.04
    momentum: float | None = None
    prototypes: int = 1024
    centering: str = "mean"
    teacher_temperature: float = 0.07
    koleo: float = 0.0
    clip: float = 3.0
    held_out: int = 256
    monitor_every: int = 1
    patience: int | None = None
    train_norms: bool = False
    unfreeze_blocks: int | None = None
    seed: int = 0
    device: str = "auto"
    shard: bool = False
    lora: LoRA = LoRA()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--method", self.method, METHODS),
            ("--view-preset", self.views, PRESETS),
            ("--noise", self.noise, NOISES),
            ("--centering", self.centering, CENTERINGS),
        ):
            if value not in known:
                raise UsageError(f"{name} {value}: unknown. Known: {', '.join(known)}.")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
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
        if self.monitor_every < 1 or (self.patience is not None and self.patience < 1):
            raise UsageError("--monitor-every and --patience must be 1 or more.")
        if min(self.epochs, self.prototypes) < 1 or min(self.batch_size, self.held_out) < 2:
            raise UsageError(
                "--epochs and --prototypes must be 1 or more, --batch-size and --held-out 2 or more."
            )
        if not (self.peak_lr > 0 and self.weight_decay >= 0 and self.koleo >= 0 and self.clip > 0):
            raise UsageError("--lr and --clip must be positive, --weight-decay and --koleo not negative.")
        if self.unfreeze_blocks is not None and self.unfreeze_blocks < 1:
            raise UsageError("--unfreeze-blocks must be 1 or more.")
        if self.train_norms and not self.low_rank and self.unfreeze_blocks is None:
            raise UsageError(f"--train-norms: --method {self.method} trains all weights already.")
        if self.teacher_temperature <= 0:
            raise UsageError("--teacher-temperature must be positive.")
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise UsageError(f"--momentum {self.momentum:g} is not between 0 and 1.")

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
