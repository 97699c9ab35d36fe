"""What `embedkit symmetries` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass

from embedkit.extraction.options import ComputeOptions, FeatureOptions
from embedkit.options import as_in, check, device_option, option, seed_option

# With fewer, an interval reaches over half of what an AUC can be.
LEAST_IMAGES = 40


@dataclass(frozen=True, kw_only=True)
class SymmetriesOptions:
    """Of how many images, and by which features.

    Parameters
    ----------
    limit
        Take this many images, spread evenly over the dataset.
    pool, layers
        See `embedkit.backbones.pooling.Pooling.choose`.
    seed
        Of the halves, of what is random in a transformation, and of the folds.
    workers
        Threads that read, decode and transform; by default one a core, at most 16.
    device, precision
        As of `embedkit.extraction.options.ComputeOptions`.
    """

    limit: int = option(
        400,
        "take this many images, spread evenly over the dataset",
        least=LEAST_IMAGES,
        metavar="N",
    )
    layers: str | None = as_in(FeatureOptions, "layers", None)
    pool: str = as_in(FeatureOptions, "pool", "auto")
    seed: int = seed_option()
    workers: int | None = as_in(ComputeOptions, "workers", None)
    device: str = device_option()
    precision: str = as_in(ComputeOptions, "precision", "auto")

    def __post_init__(self) -> None:
        check(self)
        FeatureOptions(layers=self.layers, pool=self.pool)
