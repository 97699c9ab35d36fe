"""What one call of `embedkit pretrain` does: a backbone adapted or trained on images without labels."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from embedkit import console
from embedkit.backbones.checkpoints.digest import sizeless_sha256
from embedkit.backbones.load import Backbone, load_backbone
from embedkit.backbones.options import DEFAULT_BACKBONE, BackboneSpec
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import UsageError
from embedkit.files.aside import write_bytes, write_text
from embedkit.files.guard import guarded
from embedkit.files.lock import folder_locked
from embedkit.files.regular import check_folder, resolved
from embedkit.files.showing import data_frame, html_table, named_cells
from embedkit.files.training import TrainingRecord, write_record
from embedkit.images.options import Overrides
from embedkit.options import as_words
from embedkit.pages.curves import draw_curves
from pretrain import budget, over_seeds, ranks
from pretrain.artefact import merge, save_adapter, save_checkpoint
from pretrain.budget import HELPED_STEPS, scheduled, sentences
from pretrain.cache import read_frames
from pretrain.choice import sentence, verdict
from pretrain.contact_sheet import as_png, contact_sheet
from pretrain.journal import CHECKPOINT, describe
from pretrain.options import OUTPUT, PretrainCall, PretrainOptions, PretrainPlaces
from pretrain.page import Asked, draw_page
from pretrain.trainer import Run, Trained
from pretrain.views import preset_of
from pretrain.without_labels import WithoutLabels


@dataclass(frozen=True)
class Pretrained:
    """What `pretrain` made; None for what it didn't.

    Parameters
    ----------
    path
        The folder of all that it made.
    log
        A row for each epoch: loss, seconds, and what the monitors saw.
    chosen
        Which epoch was kept and why, as ``chosen.json`` holds it.
    adapter, model
        The chosen weights: a PEFT folder, and a checkpoint file.
    page
        Curves, views and options.
    sheet
        The picture of ``show_views``.
    runs
        Of several seeds, the training of each.
    """

    path: Path
    log: tuple[dict[str, float], ...] = ()
    chosen: dict[str, Any] | None = None
    adapter: Path | None = None
    model: Path | None = None
    page: Path | None = None
    sheet: Path | None = None
    runs: tuple[Pretrained, ...] = ()

    def to_pandas(self) -> Any:
        """Return the log as a DataFrame: a row for each epoch, of several seeds with the run's folder."""
        if self.runs:
            return data_frame([{"run": one.path.name, **row} for one in self.runs for row in one.log])
        return data_frame(list(self.log))

    def _repr_html_(self) -> str:
        if self.runs:
            return "".join(one._repr_html_() for one in self.runs)
        made = {"adapter": self.adapter, "model": self.model, "page": self.page, "sheet": self.sheet}
        cells = named_cells({what: place for what, place in made.items() if place is not None})
        if self.chosen is None:
            return html_table(str(self.path), cells)
        curves = draw_curves(self.log, kept=self.chosen["epoch"])
        return html_table(str(self.path), cells, [sentence(self.chosen)]) + curves


FEW_STEPS = 100


@dataclass(frozen=True)
class _Began:
    """How the call began: what was named, and when."""

    source: str
    data: DatasetOptions
    spec: BackboneSpec
    clock: float

    def words(self, options: PretrainCall) -> Asked:
        """Return what was asked, as words of a command."""
        start = ("weights", "random_init", "adapter")
        begun = {name: getattr(self.spec, name) for name in start}
        return Asked(
            source=(self.source, *as_words(self.data)),
            backbone=("--backbone", self.spec.backbone, *as_words(self.spec.preprocessing)),
            start=tuple(as_words(BackboneSpec(backbone=DEFAULT_BACKBONE, **begun))),
            training=tuple(as_words(options)),
        )


@dataclass(frozen=True)
class _Page:
    """Where the page goes, and what it shows beside the log."""

    folder: Path
    asked: Asked
    sheet: Image.Image
    images: Dataset


@guarded(PretrainPlaces)
def pretrain(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] = OUTPUT,
    data: DatasetOptions = DatasetOptions(),
    backbone: BackboneSpec = BackboneSpec(),
    preprocessing: Overrides = Overrides(),
    options: PretrainCall = PretrainCall(),
) -> Pretrained:
    """Adapt a backbone to images, or train one on them, without labels.

    The same call again goes on from the last finished epoch.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The folder to make.
    data
        Options of the dataset's source.
    backbone, preprocessing
        What is trained, and what its input is.
    options
        How it is trained, and what is kept.

    Returns
    -------
    Pretrained
        Where everything is. Under torchrun, all but the first process return the folder alone.

    Raises
    ------
    UsageError
        Options that exclude each other, or that the backbone or the dataset can't do.
    EmbedkitError
        Weights that can't be had, a collapse, or a folder with a run of other options.
    """
    options.check(backbone)
    if options.show_views and ranks.launched() > 1:
        raise UsageError("--show-views trains nothing. Start it without torchrun.")
    folder, started = Path(output), budget.clock()
    check_folder(folder)
    over_seeds.check_alone(folder, options.seeds, (CHECKPOINT, "chosen.json"))
    with ranks.joined():
        images = open_dataset(dataset, data)
        if not options.show_views and options.minutes is None and not ranks.rank():
            say_steps(len(images), options)
        spec = replace(backbone, preprocessing=preprocessing)
        source = dataset.name if isinstance(dataset, Dataset) else os.fspath(dataset)
        began = _Began(source, data, spec, started)
        loaded = load_backbone(spec)
        if loaded.preprocessing.channels != 3:
            raise UsageError(
                f"{loaded.name} takes images of {loaded.preprocessing.channels} channels; pretraining is for "
                "three. Give another --backbone."
            )
        frames = read_frames(images, loaded.preprocessing)
        if options.show_views:
            write_bytes(folder / "views.png", as_png(_sheet(frames, loaded, options)))
            return Pretrained(folder, sheet=folder / "views.png")
        if options.seeds == 1:
            return _train(images, frames, loaded, options, folder, began)
        runs: list[Pretrained] = []
        for one in options.of_seeds():
            place = folder / f"seed-{one.seed}"
            if not ranks.rank():
                console.note(f"\n{place}:")
            if runs:  # a training changes what it is given
                loaded = load_backbone(spec)
            runs.append(_train(images, frames, loaded, one, place, began))
            began = replace(began, clock=budget.clock())
        made = Pretrained(folder, runs=tuple(runs))
        return made if ranks.rank() else _kept_together(made, options)


def _train(
    images: Dataset,
    frames: torch.Tensor,
    loaded: Backbone,
    options: PretrainCall,
    folder: Path,
    began: _Began,
) -> Pretrained:
    """Train once, in a folder of its own."""

    def begin(how: PretrainOptions) -> WithoutLabels:
        return WithoutLabels(loaded, frames, how, labels=images.rows.labels)

    words = began.words(options)
    with locked(folder):
        if options.minutes is not None:
            asked = {
                "dataset": images.fingerprint,
                "start": loaded.weights_sha256,
                "preprocessing": loaded.preprocessing.record(),
            }
            n_rows = len(images) - options.held_out
            found = scheduled(begin, n_rows, options, folder, asked=asked, started=began.clock)
            if not ranks.rank():
                for line in sentences(found, n_rows, options):
                    console.note(line)
            options = found.settled(options)
        trained = Run(begin(options), folder).train()
        if ranks.rank():
            return Pretrained(folder)
        return _keep(trained, loaded, options, _Page(folder, words, _sheet(frames, loaded, options), images))


def _sheet(frames: torch.Tensor, loaded: Backbone, options: PretrainOptions) -> Image.Image:
    return contact_sheet(frames, preset_of(options), loaded.preprocessing.image_size, seed=options.seed)


def _kept_together(made: Pretrained, options: PretrainCall) -> Pretrained:
    """Write down and say what the trainings of several seeds came to."""
    seeds = [one.seed for one in options.of_seeds()]
    found = over_seeds.summary(seeds, [one.chosen or {} for one in made.runs])
    write_text(made.path / over_seeds.RECORD, json.dumps(found, indent=2) + "\n")
    console.note("")
    for line in over_seeds.sentences(found, made.path):
        console.note(line)
    return made


def say_steps(n_images: int, options: PretrainCall) -> None:
    """Say how many steps a run has, where they are far fewer than what has helped."""
    of_epoch = (n_images - options.held_out) // options.at_a_time
    steps = of_epoch * options.passes
    if of_epoch < 1 or steps >= FEW_STEPS:
        return
    console.note(
        f"{steps:,} steps of {options.at_a_time} images are few: {HELPED_STEPS} of 32 have helped, 55 of 64 "
        f"have not. About as many: --epochs {-(-HELPED_STEPS // of_epoch)}, fewer with small batches."
    )


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder of a run; under torchrun the first process does so, which alone writes there."""
    return nullcontext() if ranks.rank() else folder_locked(folder, "training")


def _base(backbone: Backbone) -> dict[str, Any]:
    """What an adapter's folder says it was trained on, from which `extract --adapter` starts again."""
    spec = backbone.spec
    return backbone.record() | {
        "sizeless_sha256": sizeless_sha256(backbone.model.state_dict()),
        "weights": str(resolved(spec.weights)) if spec and spec.weights else None,
        "random_init": spec.random_init if spec else None,
        "preprocessing": backbone.preprocessing.record(),
    }


def _keep(trained: Trained, backbone: Backbone, options: PretrainCall, page: _Page) -> Pretrained:
    """Write the weights, why they were kept, and the page."""
    folder, base = page.folder, _base(backbone)
    plain = not options.low_rank or options.merge
    for which, ending in (("last", "-last"), ("chosen", "")):
        network = trained.load(which)
        if options.low_rank:
            save_adapter(network, folder / f"adapter{ending}", base=base)
        if plain:
            write = merge if options.merge else save_checkpoint
            write(network, folder / f"model{ending}.safetensors")
    record = verdict(trained.log)
    write_text(folder / "chosen.json", json.dumps(record, indent=2) + "\n")
    console.note(sentence(record))
    made = Pretrained(
        folder,
        log=tuple(trained.log),
        chosen=record,
        adapter=folder / "adapter" if options.low_rank else None,
        model=folder / "model.safetensors" if plain else None,
        page=folder / "report.html",
    )
    write_record(
        folder,
        TrainingRecord(
            kind="pretraining",
            method=options.method,
            backbone=base["name"],
            dataset=page.images.name,
            fingerprint=page.images.fingerprint,
            seed=options.seed,
            command=page.asked.command(folder),
            kept=record["epoch"],
            says=sentence(record),
        ),
    )
    after = ("--weights", str(made.model)) if made.adapter is None else ("--adapter", str(made.adapter))
    text = draw_page(
        trained.log,
        record,
        sheet=page.sheet,
        record={"backbone": base, **describe(options)},
        command=page.asked.command(folder),
        judging=page.asked.judging(folder, after, adapter=made.adapter is not None),
    )
    write_text(folder / "report.html", text)
    return made
