"""What a network says of the images that `embedkit cam` is to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.saved_network import SavedNetwork
from embedkit.computing.device import choose_device
from embedkit.console import counted
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.errors import EmbedkitError
from embedkit.extraction.answering import ask
from embedkit.files.tables import (
    APPLIED_CLASSES,
    APPLIED_TARGETS,
    CLASS_PREDICTIONS,
    TARGET_PREDICTIONS,
    read_table,
)
from embedkit.scoring.calibration import scale
from reports.cam.answers import F64, I64, Said, SaidVotes
from reports.cam.options import CamOptions


def said_of(
    saved: SavedNetwork, images: Dataset, options: CamOptions, target: int | None, notes: list[str]
) -> Said | SaidVotes:
    """Ask the network about the labelled images; of votes, about all.

    Raises
    ------
    EmbedkitError
        No image that it can be asked about.
    """
    if saved.about.regression:
        assert target is not None
        return _of_votes(saved, images, options, target, notes)
    return _of_classes(saved, images, options, target, notes)


def _of_classes(
    saved: SavedNetwork, images: Dataset, options: CamOptions, target: int | None, notes: list[str]
) -> Said:
    about, rows = saved.about, images.rows
    if rows.labels is None or (rows.labels < 0).all():
        raise EmbedkitError(
            f"{images.name}: no labels, so right and wrong are not known. Give --labels FILE."
        )
    of_class = {name: j for j, name in enumerate(about.names)}
    known = np.array([of_class.get(name, -1) for name in rows.class_names] + [-1], np.int64)[rows.labels]
    strange = sorted({rows.class_names[j] for j in rows.labels[(known < 0) & (rows.labels >= 0)].tolist()})
    chosen = np.flatnonzero((known >= 0) & _in_table(images, options))
    if not len(chosen):
        raise EmbedkitError(
            f"{images.name}: no image of the classes that {about.kind} knows: {', '.join(about.names)}. Give "
            "images of these."
        )
    if (rows.labels < 0).any():
        notes.append(f"Left out {int((rows.labels < 0).sum()):,} images without a label.")
    if strange:
        notes.append(f"Left out images of classes that the network doesn't know: {', '.join(strange)}.")
    chosen, p = _asked(saved, images, chosen, options, notes)
    if about.temperature is not None:
        p = scale(p, about.temperature)
    return Said(chosen, rows.ids[chosen], about.names, known[chosen], p, target)


def _of_votes(
    saved: SavedNetwork, images: Dataset, options: CamOptions, target: int, notes: list[str]
) -> SaidVotes:
    about, rows = saved.about, images.rows
    chosen, shares = _asked(
        saved, images, np.flatnonzero(_in_table(images, options, votes=True)), options, notes
    )
    name = about.names[target] if about.tree is None else about.tree.title(target)
    names = {about.names[target]}
    if about.tree is not None:
        names |= {about.tree.answers[target].column, about.tree.answers[target].name}
    column = next((j for j, one in enumerate(rows.target_names) if one in names), None)
    true = np.full(len(chosen), np.nan)
    if rows.targets is not None and column is not None:
        true = np.asarray(rows.targets[chosen, column], np.float64)
    return SaidVotes(chosen, rows.ids[chosen], target, name, shares[:, target], true)


def _asked(
    saved: SavedNetwork, images: Dataset, chosen: I64, options: CamOptions, notes: list[str]
) -> tuple[I64, F64]:
    """Return which of the chosen rows could be read, and what the network says of them."""
    chosen = chosen[spread_rows(len(chosen), options.limit)]
    found = ask(
        saved,
        images,
        chosen,
        device=choose_device(options.device),
        batch_size=options.batch_size,
        skip=options.on_error == "skip",
    )
    if not found.ok.all():
        notes.append(f"Left out {counted(int((~found.ok).sum()), 'image')} that could not be read.")
    chosen = chosen[found.ok]
    if not len(chosen):
        raise EmbedkitError(f"{images.name}: none of its images could be read.")
    return chosen, found.outputs[found.ok]


def _in_table(images: Dataset, options: CamOptions, *, votes: bool = False) -> NDArray[np.bool_]:
    """(n,) whether the table of predictions names an image, among its test images where it has some."""
    ids = images.rows.ids
    if options.predictions is None:
        return np.ones(len(ids), bool)
    shapes = (TARGET_PREDICTIONS, APPLIED_TARGETS) if votes else (CLASS_PREDICTIONS, APPLIED_CLASSES)
    table = read_table(options.predictions, *shapes)
    if "split" in table:
        table = table.take(table["split"] == "test")
    found = np.isin(ids, table["id"])
    if not found.any():
        raise EmbedkitError(
            f"{options.predictions}: none of its {len(table):,} test images is in {images.name}. Give the "
            "table of predictions of this dataset."
        )
    return np.asarray(found)
