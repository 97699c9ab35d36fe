"""What one training with labels does: a network for each split, scored on its test images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embedkit import console
from embedkit.backbones.load import Backbone
from embedkit.backbones.network import Network, build_network
from embedkit.backbones.saved_network import About, SavedNetwork, write_network
from embedkit.computing.device import choose_device
from embedkit.datasets.dataset import Dataset
from embedkit.errors import UsageError
from embedkit.extraction.answering import ask
from embedkit.files.lock import folder_locked
from embedkit.files.predictions import write_predictions
from embedkit.files.results import RESULTS_FILE, Result, append_result
from embedkit.files.training import TrainingRecord, write_record
from embedkit.scoring.calibration import fit_temperature
from embedkit.scoring.scored import score_classes, score_regression
from embedkit.scoring.splits import Split
from embedkit.versions import versions
from pretrain import ranks
from pretrain.cache import read_frames
from pretrain.contact_sheet import IMAGES, as_png, contact_sheet
from pretrain.finetune.ahead import check_ahead, confidence_for, divide, rows_of_phases
from pretrain.finetune.augmentation import preset
from pretrain.finetune.branches import measure
from pretrain.finetune.critical_batch import CriticalBatch
from pretrain.finetune.loss_names import OF_COUNTS, VOLUNTEERS
from pretrain.finetune.n_parameters import n_parameters
from pretrain.finetune.options import MODEL, FinetuneCall, FinetuneOptions
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.phases import merge
from pretrain.finetune.planned import first_size, rows_of
from pretrain.finetune.recipe import Recipe
from pretrain.finetune.report import (
    FinetuneReport,
    Log,
    TrainedNetwork,
    joined_logs,
    parameters_sentence,
    unfinished_sentence,
)
from pretrain.finetune.sky_order import check_positions, spread_sentence
from pretrain.finetune.training import Lesson, PhaseTask, record_of
from pretrain.finetune.truth import Truth, read_truth
from pretrain.journal import write_log
from pretrain.trainer import Run
from pretrain.views import Frames, Preset


@dataclass(frozen=True)
class Material:
    """Images decoded once, whatever seeds and splits are made of them.

    Parameters
    ----------
    images, backbone
        What is trained on, and what is trained.
    recipe, name
        How, and what that is called.
    frames
        Every image at the size that views need.
    truth
        What is learnt of each.
    command
        That trains it.
    """

    images: Dataset
    backbone: Backbone
    recipe: Recipe
    name: str
    frames: Frames
    truth: Truth
    command: str = ""

    @classmethod
    def read(
        cls, images: Dataset, backbone: Backbone, recipe: Recipe, name: str, options: FinetuneCall
    ) -> Material:
        """Check the labels, then decode all images.

        Raises
        ------
        DataError
            Labels or votes that can't be learnt; no positions where batches go by the sky.
        UsageError
            A backbone of other than three channels, or a recipe of other votes.
        """
        truth = read_truth(
            images.rows, votes=recipe.head.output != "classes", targets=options.targets, name=images.name
        )
        if options.targets is not None and truth.y.ndim == 1:
            raise UsageError(f"--targets names votes, and {name} learns classes. Leave it out.")
        if recipe.head.output == "tree" and truth.tree is None:
            raise UsageError(
                f"{images.name}: its targets are no vote tree that embedkit knows, so output = tree is not "
                "for it. Give a recipe with output = sigmoid."
            )
        if backbone.preprocessing.channels != 3:
            raise UsageError(
                f"{backbone.name} takes images of {backbone.preprocessing.channels} channels; training is "
                "for three. Give another --backbone."
            )
        if options.sky_cell is not None:
            check_positions(
                images.rows.coordinates, np.flatnonzero(truth.labels >= 0), images.rows.ids, images.name
            )
        check_ahead(images, backbone, recipe, truth, options)
        pixels = read_frames(images, backbone.preprocessing)
        none = torch.zeros(len(pixels), 3)  # no view of ours draws noise
        frames = Frames(pixels, backbone.preprocessing.image_size, none, none)
        return cls(images, backbone, recipe, name, frames, truth)

    def sheet(self, seed: int) -> bytes:
        """Return a PNG of images spread over the dataset, each with views that training draws."""
        rows = torch.linspace(0, len(self.frames.pixels) - 1, IMAGES).round().long()
        views = preset(self.recipe.augmentation) or Preset.none()
        return as_png(contact_sheet(self.frames.pixels[rows], views, self.frames.region, seed=seed))

    def splits(self, options: FinetuneOptions, notes: list[str]) -> tuple[Split, ...]:
        """Divide the images as asked.

        Raises
        ------
        DataError
            A split that can't be drawn, or from which a class can't be learnt.
        """
        return divide(self.images, self.truth, options, notes)

    def phase_rows(self, recipe: Recipe, splits: Sequence[Split]) -> list[int]:
        """Return how many images each phase of a recipe trains on, with the least of the splits."""
        return rows_of_phases(self.images, self.truth, recipe, splits)


def train(material: Material, options: FinetuneOptions, output: Path) -> FinetuneReport | None:
    """Train a network on each split, score it, and write everything into a folder.

    The same call again goes on from the last finished epoch.

    Returns
    -------
    FinetuneReport or None
        None in all but the first of several processes.

    Raises
    ------
    EmbedkitError
        A folder with a run of other options, a loss that is not finite, an image that can't be read.
    """
    notes: list[str] = []
    splits = material.splits(options, [])  # of which has been said what there is to say
    folders = [output] if len(splits) == 1 else [output / f"fold-{i}" for i in range(1, len(splits) + 1)]
    with nullcontext() if ranks.rank() else folder_locked(output, "training"):
        networks = []
        for number, (split, folder) in enumerate(zip(splits, folders, strict=True), start=1):
            if len(splits) > 1:
                console.note(f"Fold {number} of {len(splits)}.")
            networks.append(_train_one(material, options, split, folder))
            options = replace(options, critical_batch=None)  # which the first of the folds is for
        if ranks.rank():
            return None
        done = [network for network in networks if network is not None]
        if material.recipe.loss in OF_COUNTS:
            notes.append(_said_of_volunteers(material.truth, options))
        if options.sky_cell is not None:
            notes.append(_said_of_sky(material, options, splits[0]))
        return _report(material, options, splits, done, notes, output)


def _said_of_volunteers(truth: Truth, options: FinetuneOptions) -> str:
    """Say how many people each vote is taken to be of."""
    if options.volunteers is not None or truth.asked is None:
        return f"{options.volunteers or VOLUNTEERS} people are taken to have answered about each image."
    each = np.nanmax(truth.asked[truth.labels >= 0], axis=1)
    return (
        f"People are counted as the dataset says: {np.nanmin(each):,.0f} to {np.nanmax(each):,.0f} an image, "
        f"median {np.nanmedian(each):,.0f}, and fewer at questions down the tree."
    )


def _said_of_sky(material: Material, options: FinetuneOptions, split: Split) -> str:
    """Say what batches by the sky do to the first epoch's batches."""
    positions = material.images.rows.coordinates
    assert positions is not None
    assert options.sky_cell is not None
    return spread_sentence(
        material.frames.pixels,
        torch.from_numpy(np.sort(split.train)),
        positions,
        cell=options.sky_cell,
        size=first_size(material.recipe, options),
        seed=options.seed,
    )


def _train_one(
    material: Material, options: FinetuneOptions, split: Split, folder: Path
) -> TrainedNetwork | None:
    """Run all phases on one split; returns None in all but the first process."""
    recipe, truth = material.recipe, material.truth
    device = choose_device(options.device)
    lesson = Lesson(
        material.backbone.name,
        recipe,
        options,
        material.frames,
        material.backbone.preprocessing,
        material.images.rows.ids,
        truth,
        split,
        device,
        asked=_asked(material, options, split),
        confidence=confidence_for(material.images, truth, recipe),
        positions=material.images.rows.coordinates,
    )
    network = build_network(material.backbone, len(truth.names), recipe.head, seed=options.seed)
    logs: list[Log] = []
    kept = []
    critical = None
    for number, phase in enumerate(recipe.phases):
        if options.critical_batch is not None and number == len(recipe.phases) - 1:
            critical = measure(network, lesson, folder)
        if len(recipe.phases) > 1:
            console.note(
                f"Phase {number + 1} of {len(recipe.phases)}, {phase.name}: {_said_of(phase, lesson)}."
            )
        place = folder / f"phase-{number + 1}"
        task = PhaseTask(network, lesson, number, place)
        trained = Run(task, place).train()
        best = task.best(trained.log)
        assert best is not None  # `PhaseTask.check` ends a run whose validation loss is no number
        kept.append(int(best["epoch"]))
        if not kept[-1]:
            console.note(
                f"{phase.name}: no epoch had a lower validation loss than its start, which is kept. "
                f"{task.advice}"
            )
        logs.append(trained.log)
        network = trained.load("chosen")
    if ranks.rank():
        return None
    merge(network)
    return _keep(material, options, split, folder, _Trained(network, tuple(logs), tuple(kept), critical))


def _said_of(phase: Phase, lesson: Lesson) -> str:
    """Say what trains in a phase, and on which images where it is not all of them."""
    said = f"trains {phase.train}"
    if phase.rows == "all":
        return said
    rows = rows_of(phase, lesson.split.train, lesson.confidence)
    n, n_all = len(rows), len(lesson.split.train)
    return f"{said}, on the {n:,} of {n_all:,} images with a label confidence of {phase.rows}"


@dataclass(frozen=True)
class _Trained:
    network: Network
    logs: tuple[Log, ...]
    kept: tuple[int, ...]
    critical: CriticalBatch | None


def _asked(material: Material, options: FinetuneOptions, split: Split) -> dict[str, Any]:
    """Return what fixes the numbers of a run on one split."""
    parts = [getattr(split, part).tolist() for part in ("train", "validation", "test")]
    settled = json.loads(json.dumps({**record_of(material.recipe, options), **options.of_numbers()}))
    asked = material.truth.asked
    counts = {} if asked is None else {"counts": hashlib.sha256(np.ascontiguousarray(asked).data).hexdigest()}
    return {
        **settled,
        **counts,
        "dataset": material.images.fingerprint,
        "start": material.backbone.weights_sha256,
        "preprocessing": material.backbone.preprocessing.record(),
        "rows": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
    }


def _keep(
    material: Material, options: FinetuneOptions, split: Split, folder: Path, done: _Trained
) -> TrainedNetwork:
    """Ask the finished network about validation and test images, calibrate it, and write it down."""
    truth, recipe = material.truth, material.recipe
    about = About(
        kind=material.name,
        dataset=material.images.name,
        backbone=material.backbone.name,
        head=recipe.head,
        names=truth.names,
        baseline=tuple(float(value) for value in truth.baseline(split.train)),
        preprocessing=material.backbone.preprocessing,
        temperature=None,
        trained={
            "fingerprint": material.images.fingerprint,
            "recipe": record_of(recipe, options),
            "options": options.of_numbers(),
            "start": material.backbone.record(),
            "split": {"name": split.name, **split.counts},
            "kept": list(done.kept),
            "versions": versions(),
        },
    )
    saved = SavedNetwork(done.network.cpu().eval().requires_grad_(False), about)
    device = choose_device(options.device)
    outputs = {
        part: ask(saved, material.images, getattr(split, part), device=device).outputs
        for part in ("validation", "test")
    }
    if not about.regression:
        known = fit_temperature(outputs["validation"], truth.y[split.validation])
        saved = replace(saved, about=replace(about, temperature=known))
    saved.network.cpu()
    write_network(folder / MODEL, saved)
    seconds = sum(row.get("seconds", 0.0) for log in done.logs for row in log)
    return TrainedNetwork(
        folder / MODEL, outputs, saved.about.temperature, done.logs, done.kept, seconds, done.critical
    )


def _report(
    material: Material,
    options: FinetuneOptions,
    splits: tuple[Split, ...],
    networks: Sequence[TrainedNetwork],
    notes: list[str],
    output: Path,
) -> FinetuneReport:
    images, truth, recipe = material.images, material.truth, material.recipe
    left_out = truth.left_out["unlabelled"]
    if left_out:
        notes.append(f"Left out {left_out:,} images without a label.")
    rows = images.rows
    if truth.y.ndim == 1:
        assert rows.labels is not None
        scored = score_classes(rows, rows.labels, splits, networks)
    else:
        rows = replace(rows, targets=truth.y, target_names=truth.names, asked=truth.asked)
        scored = score_regression(rows, np.asarray(truth.y, np.float64), splits, networks)
    log = joined_logs(networks)
    outcomes = {
        **scored.outcomes,
        **n_parameters(material.backbone, recipe, len(truth.names)),
        "epochs": [len(one.log) - 1 for one in networks],
        "kept": [list(one.kept) for one in networks],
        "images_seen": [one.log[-1]["images"] for one in networks],
        "division": [{"name": s.name, **s.counts} for s in splits],
        "left_out": truth.left_out,
    }
    critical = networks[0].critical
    if critical is not None:
        outcomes["critical_batch"] = critical.record()
        notes.append(critical.sentence())
    side, channels = material.backbone.preprocessing.image_size, material.backbone.preprocessing.channels
    notes.append(parameters_sentence(outcomes, side * side * channels * len(splits[0].train)))
    if unfinished := unfinished_sentence(networks):
        notes.append(unfinished)
    path = output / f"predictions-{material.name}.csv"
    write_predictions(path, scored.predictions, rows)
    write_log(output, log, kept=None)
    write_record(output, _record(material, options.seed, networks))
    device = choose_device(options.device)
    result = Result(
        task="finetune",
        dataset=images.name,
        features=material.backbone.title,
        method=material.name,
        params={
            "recipe": record_of(recipe, options),
            **{n: v for n, v in options.of_numbers().items() if n not in ("seed", "split") and v},
            "start": material.backbone.source,
        },
        outcomes=outcomes,
        split=splits[0].name.partition(" fold ")[0],
        seed=options.seed,
        metrics=scored.metrics,
        n=scored.scores.n,
        seconds=sum(one.seconds for one in networks),
        backend=f"torch-{device.type}",
        provenance={
            "predictions": path.name,
            "dataset": {"name": images.name, "fingerprint": images.fingerprint},
            "backbone": material.backbone.record(),
            "model": str(networks[0].folder),
            "versions": versions(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    result = append_result(output / RESULTS_FILE, result)
    notes += scored.notes
    return FinetuneReport(
        result, scored.scores, scored.predictions, splits, tuple(networks), tuple(notes), path
    )


def _record(material: Material, seed: int, networks: Sequence[TrainedNetwork]) -> TrainingRecord:
    kept = networks[0].kept
    return TrainingRecord(
        kind="training with labels",
        method=material.name,
        backbone=material.backbone.title,
        dataset=material.images.name,
        fingerprint=material.images.fingerprint,
        seed=seed,
        command=material.command,
        kept=kept[0] if len(networks) == len(kept) == 1 else None,
    )
