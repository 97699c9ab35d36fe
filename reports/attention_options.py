"""What `embedkit attention` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.options import READS, Writes, check, option, output_option

OUTPUT = Path("runs/attention.png")
PICTURE = "picture"


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """Of which images, and beside which other weights.

    Parameters
    ----------
    n_images
        Images, spread evenly over the dataset.
    before
        Weights to compare those of the backbone with; an adapter is compared with what it adapts anyway.
    """

    n_images: int = option(
        6, "draw this many images, spread evenly over the dataset", least=1, metavar="N", group=PICTURE
    )
    before: Path | None = option(
        None, "weights to compare --weights with", metavar="FILE", group=PICTURE, place=READS
    )

    def __post_init__(self) -> None:
        check(self)

    def check(self, spec: BackboneSpec) -> None:
        """Refuse what can't be compared; raises `UsageError`."""
        if self.before is not None and (spec.adapter is not None or spec.weights is None):
            raise UsageError(
                "--before is compared with --weights. An --adapter is compared with what it adapts."
            )


@dataclass(frozen=True, kw_only=True)
class AttentionPlaces:
    """Where the picture goes.

    Parameters
    ----------
    output
        A file that ends as Pillow writes it.
    """

    output: Path = output_option(OUTPUT, "the picture", metavar="FILE", writes=Writes(("a picture",)))
