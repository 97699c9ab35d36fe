"""What `embedkit votes` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import READS, Writes, check, option, output_option, seed_option

OUTPUT = Path("runs/votes.html")
PAGE = Writes(("an HTML page",))
VOLUNTEERS = 40  # of the Kaggle challenge: 40 to 50
MODELS = "models"
MERGERS = "mergers"


def named_file(text: str) -> tuple[str, Path]:
    """Return name and file of ``NAME=FILE``; of a file alone, the name is empty."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return "", Path(text)
    return name, Path(path)


def _named(text: str) -> str:
    name, path = named_file(text)
    if not str(text).strip() or path == Path() or (not name and text.startswith("=")):
        raise ValueError("give FILE or NAME=FILE")
    return text


@dataclass(frozen=True, kw_only=True)
class VotesOptions:
    """What is said of the votes, and which models beside them.

    Parameters
    ----------
    seed
        Of the split, and of nothing else.
    validation
        Share of the rows on the validation side.
    volunteers
        How many people answered about each image; what the data say where it is not given.
    reduction
        How many times fewer pixels the images have after it.
    predictions
        Tables of predicted targets, each of one model, named by ``NAME=``, else by its file.
    log
        Tables with the losses of trainings, as ``NAME=FILE``.
    merger_of
        Targets predicted for images without votes, by the first of the models.
    merger_share
        From which share of votes on a galaxy is counted as a merger.
    """

    seed: int = seed_option()
    validation: float = option(
        0.2, "share of the rows on the validation side", above=0, below=1, metavar="SHARE"
    )
    volunteers: int | None = option(
        None,
        "how many people answered about each image",
        least=2,
        metavar="N",
        unset=f"as the dataset counts them, else {VOLUNTEERS}",
    )
    reduction: float = option(
        30, "images with so many times fewer pixels, beside the original", least=1, metavar="TIMES"
    )
    predictions: tuple[str, ...] = option(
        (),
        "tables of predicted targets, as probe --kind ridge writes; each is a model",
        metavar="[NAME=]FILE",
        read=_named,
        unset="none",
        group=MODELS,
    )
    log: tuple[str, ...] = option(
        (),
        "tables of losses: epoch, images, loss, validation_loss",
        metavar="[NAME=]FILE",
        read=_named,
        unset="none",
        group=MODELS,
    )
    merger_of: Path | None = option(
        None,
        "targets predicted for images without votes, by the first model: their merger fraction",
        metavar="FILE.csv",
        place=READS,
        unset="none",
        group=MERGERS,
    )
    merger_share: float = option(
        0.4,
        "a galaxy is counted as a merger from this share of votes on",
        above=0,
        below=1,
        metavar="SHARE",
        group=MERGERS,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.merger_of is not None and not self.predictions:
            raise UsageError(
                f"--merger-of {self.merger_of}: the confusion of its model is measured on images with votes. "
                "Give that model's --predictions too."
            )


@dataclass(frozen=True, kw_only=True)
class VotesPlaces:
    """Where the page goes, and the submission.

    Parameters
    ----------
    output
        The HTML file; tables of its numbers stand beside it, named after it.
    kaggle
        Predictions as the Kaggle challenge takes them: those of ``merger_of``, else of the one model.
    """

    output: Path = output_option(OUTPUT, "the page", metavar="FILE", writes=PAGE)
    kaggle: Path | None = option(
        None,
        "write predictions as the Kaggle challenge takes them: of --merger-of, else of the one model",
        metavar="FILE.csv",
        unset="none",
        place=Writes(("a text",)),
        group=MODELS,
    )

    def __post_init__(self) -> None:
        check(self)
