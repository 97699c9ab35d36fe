"""How features are computed and kept, as asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.backbones.options import POOLS, parse_layers
from embedkit.errors import UsageError
from embedkit.images.options import ViewSet
from embedkit.options import (
    Writes,
    batch_size_option,
    check,
    device_option,
    dry_run_option,
    limit_option,
    option,
    output_option,
    seed_option,
)

# What `embedkit.computing.device.PRECISIONS` has, and one that chooses.
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
STORAGES = ("float32", "float16")
ON_ERROR = ("fail", "skip")
COMPILE = ("auto", "on", "off")
PREPARE_WITH = ("auto", "pillow", "torch")
ENGINES = ("local", "torchrun", "ray")
FEATURES, COMPUTING, SPREADING = "features", "computing", "more than one process"
# A damaged feature file is replaced too, with --overwrite.
FEATURE_FILE = Writes(("a feature file", "a file of no known kind"))
FEATURES_PLACE = Writes((*FEATURE_FILE.kinds, "a folder of feature files"))


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Which features are taken of an image.

    Parameters
    ----------
    pool, layers
        See `embedkit.backbones.pooling.Pooling.choose`.
    views
        ``1``, ``rot4``, ``d4`` or ``galaxy:N``; the features of the views are averaged.
    seed
        Seed of random views.
    """

    layers: str | None = option(
        None,
        "4: the last four blocks; b5-b8 or b3,b11: blocks counted from 0",
        unset="4 for cls, else 1",
        group=FEATURES,
    )
    pool: str = option("auto", "how tokens become one vector", choices=("auto", *POOLS), group=FEATURES)
    views: str = option(
        "1",
        "1, rot4, d4 or galaxy:N; features are averaged over them",
        metavar="1|rot4|d4|galaxy:N",
        group=FEATURES,
    )
    seed: int = seed_option()

    def __post_init__(self) -> None:
        check(self)
        ViewSet.parse(self.views)
        if self.layers is not None:
            parse_layers(self.layers)
        if self.pool == "model" and self.layers not in (None, "1"):
            raise UsageError("--pool model is the last layer's: leave out --layers.")


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How they are computed and kept.

    Parameters
    ----------
    storage
        ``float32`` or ``float16`` on disk.
    precision
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    batch_size
        Model inputs at a time; an image with v views counts v times.
    workers
        Threads that read and decode; by default one a core, at most 16.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    compile
        ``on``: the network is compiled first, and the last batch padded. ``auto`` does on a GPU where so much
        is to be computed that it pays.
    prepare_with
        ``pillow``, in the threads, or ``torch`` on the device, which resizes images that are one array of
        uint8, and draws the views of ``galaxy:N``. ``auto`` is the latter on a GPU.
    limit
        Take this many images, spread evenly over the dataset.
    on_error
        ``fail`` at an unreadable image, or ``skip`` it: its row stays, marked, with the reason.
    """

    storage: str = option("float32", "number format on disk", choices=STORAGES, group=FEATURES)
    precision: str = option("auto", "what it computes in", choices=PRECISIONS, group=COMPUTING)
    batch_size: int = batch_size_option(32, group=COMPUTING)
    workers: int | None = option(
        None,
        "threads that read and decode",
        least=1,
        metavar="N",
        unset="one a core, at most 16",
        group=COMPUTING,
    )
    device: str = device_option()
    compile: str = option(
        "auto",
        "compile the network first, for a minute or so; auto does on a GPU where it pays",
        choices=COMPILE,
        group=COMPUTING,
    )
    prepare_with: str = option(
        "auto",
        "pillow, or torch on the device: resizes arrays, draws galaxy views; auto does on a GPU",
        choices=PREPARE_WITH,
        group=COMPUTING,
    )
    limit: int | None = limit_option()
    on_error: str = option(
        "fail",
        "fail at what can't be read, or skip it and mark its row",
        choices=ON_ERROR,
        group=COMPUTING,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(FeatureOptions, ComputeOptions):
    """How features are computed and kept, and how much of it by one process.

    Parameters
    ----------
    overwrite
        Replace a file that was made in another way.
    shard
        (i, n): compute only the i-th of n shares (from 0) of the parts, for independent cluster tasks.
    engine
        Who computes the parts: ``local`` this process, ``torchrun`` several on this machine, ``ray`` those
        of a Ray cluster.
    address
        Of the Ray cluster's head, ``HOST:PORT``; ``auto`` for the cluster that this machine belongs to.
    processes
        How many processes ``torchrun`` and ``ray`` compute with.
    parts
        Leave a folder of feature files, which every verb reads as one, instead of joining one file.
    """

    overwrite: bool = option(False, "replace a file that was made in another way", group=COMPUTING)
    shard: tuple[int, int] | None = option(
        None,
        "compute the I-th of N shares, counted from 0",
        metavar="I/N",
        separator="/",
        least=0,
        group=SPREADING,
    )
    engine: str = option(
        "local",
        "who computes: this process, several of this machine, or a Ray cluster's",
        choices=ENGINES,
        group=SPREADING,
    )
    address: str | None = option(
        None,
        "ray: the cluster's head, or auto for the one that this machine belongs to",
        metavar="HOST:PORT",
        unset="RAY_ADDRESS, else a cluster on this machine for this one job",
        group=SPREADING,
    )
    processes: int | None = option(
        None,
        "torchrun, ray: how many processes",
        least=1,
        metavar="N",
        unset="one a card; without cards one a core",
        group=SPREADING,
    )

    parts: bool = option(
        False,
        "leave a folder of feature files, which is read as one, instead of one file",
        group=COMPUTING,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_engine()
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise UsageError(
                f"--shard {self.shard[0]}/{self.shard[1]}: give I/N, such as 0/8 for the first of eight; the "
                "first number counts from 0."
            )
        if self.shard is not None and self.overwrite:
            raise UsageError(
                "--overwrite with --shard would let one task delete another's parts. "
                "Delete the old file first."
            )

    def _check_engine(self) -> None:
        if self.address is not None and self.engine != "ray":
            raise UsageError(f"--address is of a Ray cluster. Give --engine ray, not {self.engine}.")
        if self.engine == "local":
            if self.processes is not None:
                raise UsageError("--processes needs --engine torchrun or ray: local is this process alone.")
            return
        if self.shard is not None:
            raise UsageError(
                f"--shard is for independent tasks; --engine {self.engine} deals out the parts itself."
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {self.device} with --engine {self.engine}: give auto, cpu or cuda. Each process "
                "takes a card of its own; CUDA_VISIBLE_DEVICES says which there are."
            )


@dataclass(frozen=True, kw_only=True)
class ExtractCall(ExtractOptions):
    """One call of ``extract``.

    Parameters
    ----------
    dry_run
        Show what would be done, and stop.
    plan
        The same, and what it would take, as some 200 images tell.
    """

    dry_run: bool = dry_run_option()
    plan: bool = option(False, "try some 200 images, say what all of them will take, and stop")


@dataclass(frozen=True, kw_only=True)
class ExtractPlaces:
    """Where an extraction writes.

    Parameters
    ----------
    output
        The feature file to make, or with `parts` the folder.
    """

    output: Path | None = output_option(
        None,
        "feature file to make, or with --parts the folder",
        metavar="FILE",
        unset="runs/DATASET.h5; runs/DATASET with --parts",
        writes=FEATURES_PLACE,
    )
