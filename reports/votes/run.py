"""What one call of `embedkit votes` does: files in, one page and its tables out."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.datasets.simulated_votes import votes_behind
from embedkit.errors import UsageError
from embedkit.files.aside import write_text
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.showing import page_link
from embedkit.files.tables import APPLIED_TARGETS, TARGET_PREDICTIONS, read_table
from embedkit.files.vote_tree import GALAXY_ZOO_2
from embedkit.options import Writes, as_words
from reports.map.thumbnails import read_thumbnails
from reports.sections import Made
from reports.votes.answers import F64, SEVEN, Votes, votes_of
from reports.votes.kaggle import submission
from reports.votes.losses import read_losses
from reports.votes.mergers import MergerFraction, merger_fraction
from reports.votes.models import Model, predicted_of, read_models
from reports.votes.numbers import divided, mean_baseline, rmse
from reports.votes.options import PAGE, VotesOptions, VotesPlaces, named_file
from reports.votes.page import render, sections
from reports.votes.reduced import reduced
from reports.votes.sections.data import prototypes_of
from reports.votes.sections.models import extreme_rows
from reports.votes.study import Study

PICTURE = 128  # pixels a side
TABLES = (
    "distributions",
    "prototypes",
    "correlations",
    "split",
    "baseline",
    "models",
    "reliability",
    "extremes",
    "threshold",
    "losses",
    "mergers",
)


@dataclass(frozen=True)
class VotesPage:
    """What was written, and the figures that all others are read against.

    Parameters
    ----------
    path
        The page.
    tables
        Beside it, by section.
    n, n_targets
        Images, and targets of each.
    tree
        Whose answers the targets are; empty where they are no whole set.
    mean_rmse_train, mean_rmse_validation
        Of always answering the train means, on both sides of the split.
    floor
        RMSE that the volunteers' sampling leaves; None of targets that are no shares.
    rmse
        Of each model.
    merger_fraction
        Corrected by the model's confusion; None where none was asked for, or it can't be corrected.
    kaggle
        The submission, if one was written.
    notes
        What a reader must know: values that are no shares, images that are missing.
    """

    path: Path
    tables: dict[str, Path]
    n: int
    n_targets: int
    tree: str
    mean_rmse_train: float
    mean_rmse_validation: float
    floor: float | None
    rmse: dict[str, float]
    merger_fraction: float | None = None
    kaggle: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> str:
        """What it found, on one line."""
        said = [
            f"{self.n:,} images, {self.n_targets} {'target' if self.n_targets == 1 else 'targets'}; "
            "always answering the mean has an RMSE of "
            f"{self.mean_rmse_validation:.4f} on validation"
        ]
        said += [f"{name} {value:.4f}" for name, value in self.rmse.items()]
        if self.floor is not None:
            said.append(f"the floor is {self.floor:.4f}")
        return ", ".join(said) + "."

    def __repr__(self) -> str:
        return f"{self.path}: {self.facts}"

    def _repr_html_(self) -> str:
        return page_link(self.path, self.facts)


@guarded()
def votes(
    dataset: str | os.PathLike[str] | Dataset,
    data: DatasetOptions = DatasetOptions(),
    options: VotesOptions = VotesOptions(),
    places: VotesPlaces = VotesPlaces(),
) -> VotesPage:
    """Study shares of votes, and models that predict them, on one page that needs no network.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    data
        Options of the dataset's source.
    options
        What is said of the votes, and which models beside them.
    places
        Where the page goes.

    Raises
    ------
    EmbedkitError
        No targets, votes that contradict their tree, or predictions of other images or targets.
    UsageError
        What was asked for can't be had of these targets.
    """
    tables = {name: places.output.with_name(f"{places.output.stem}-{name}.csv") for name in TABLES}
    read = [named_file(text)[1] for text in (*options.predictions, *options.log)]
    written = {places.output: PAGE} | {path: Writes(("a text",)) for path in tables.values()}
    check_outputs("-o", written, dataset, data, options, *read)
    if places.kaggle is not None:
        check_outputs("--kaggle", {places.kaggle: Writes(("a text",))}, dataset, data, options, *read)
    images = open_dataset(dataset, data)
    found = votes_of(images)
    models, losses = read_models(options.predictions, found), read_losses(options.log)
    unlabelled = None if options.merger_of is None else _unlabelled(options.merger_of, found)
    mergers = None if unlabelled is None else _mergers(found, models[0], unlabelled[1], options)
    kaggle = _kaggle(places, options, found, models, unlabelled)
    behind = votes_behind(images.origin)
    division = divided(found.shares, validation=options.validation, seed=options.seed)
    wanted = {*prototypes_of(found.shares), *extreme_rows(models, [column for _, column in found.looked_at])}
    study = Study(
        found,
        options,
        Made(_command(dataset, data, options, places), "votes", images.fingerprint),
        division,
        None if behind is None else behind.noise_floor(),
        reduced(images, options.reduction),
        read_thumbnails(images, [str(one) for one in found.ids], sorted(wanted), size=PICTURE),
        models,
        losses,
        mergers,
    )
    return _written(study, tables, places, kaggle)


def _written(study: Study, tables: dict[str, Path], places: VotesPlaces, kaggle: str | None) -> VotesPage:
    found = study.votes
    notes = (*found.notes, *study.pictures.notes, *study.reduced.notes)
    shown = sections(study)
    kept = {one.name: tables[one.name] for one in shown if one.numbers is not None}
    text = render(
        study,
        shown,
        {name: path.name for name, path in kept.items()},
        notes,
    )
    for one in shown:
        if one.numbers is not None:
            write_text(kept[one.name], one.numbers.csv())
    if places.kaggle is not None and kaggle is not None:
        write_text(places.kaggle, kaggle)
    write_text(places.output, text)
    means = mean_baseline(found.shares, study.division)
    return VotesPage(
        places.output,
        kept,
        len(found.ids),
        len(found.target_names),
        "" if found.tree is None else found.tree.name,
        means.train,
        means.validation,
        study.floor() if found.are_shares else None,
        {one.name: rmse(one.true, one.predicted) for one in study.models},
        None if study.mergers is None else study.mergers.corrected.value,
        places.kaggle,
        notes,
    )


def _unlabelled(path: Path, found: Votes) -> tuple[list[str], F64]:
    """Return the ids of images without votes, and what was predicted for them."""
    table = read_table(path, APPLIED_TARGETS, TARGET_PREDICTIONS)
    if not len(table):
        raise UsageError(f"--merger-of {path}: no rows. Predict for the images without votes.")
    return [str(one) for one in table["id"]], predicted_of(path, table, found)


def _mergers(found: Votes, model: Model, predicted: F64, options: VotesOptions) -> MergerFraction:
    column = found.column(*dict(SEVEN)["merger"])
    if column is None:
        raise UsageError(
            f"--merger-of: {found.name} has no answer that says merger, such as "
            f"{GALAXY_ZOO_2.answers[23].name}. Take a dataset with all answers of a Galaxy Zoo, or leave "
            "--merger-of out."
        )
    return merger_fraction(
        model.true[:, column], model.predicted[:, column], predicted[:, column], share=options.merger_share
    )


def _kaggle(
    places: VotesPlaces,
    options: VotesOptions,
    found: Votes,
    models: tuple[Model, ...],
    unlabelled: tuple[list[str], F64] | None,
) -> str | None:
    """Return the submission that was asked for."""
    if places.kaggle is None:
        return None
    if unlabelled is not None:
        return submission(*unlabelled, found, str(options.merger_of))
    if len(models) != 1:
        raise UsageError(
            f"--kaggle {places.kaggle}: a submission is of one model, but --predictions gives "
            f"{len(models)}. Give one, or predictions for the challenge's test images with --merger-of."
        )
    model = models[0]
    return submission(found.ids[model.rows], model.predicted, found, str(model.path))


def _command(
    dataset: str | os.PathLike[str] | Dataset,
    data: DatasetOptions,
    options: VotesOptions,
    places: VotesPlaces,
) -> str:
    source = dataset.name if isinstance(dataset, Dataset) else os.fspath(dataset)
    return shlex.join(["embedkit", "votes", source, *as_words(data, options, places)])
