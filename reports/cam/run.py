"""What one call of `embedkit cam` does: a network and images in, one page and its tables out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.network import Network
from embedkit.backbones.saved_network import About, SavedNetwork, read_network, with_random_weights
from embedkit.computing.device import choose_device
from embedkit.datasets.dataset import Dataset, spread
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError, UsageError
from embedkit.extraction.answering import ask
from embedkit.files.aside import write_text
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.showing import page_link
from embedkit.files.tables import APPLIED_CLASSES, CLASS_PREDICTIONS, read_table
from embedkit.images.decode import decode
from embedkit.options import Writes, as_words
from embedkit.scoring.calibration import scale
from reports.cam.answers import I64, Said, confidence_of
from reports.cam.layer import Layer, target_layer
from reports.cam.maps import F32, U8, attention, check_installed, grad_cam, probabilities
from reports.cam.options import PAGE, CamOptions, CamPlaces
from reports.cam.page import Shown, Study, sections
from reports.cam.sanity import OWN, UNTRAINED, examine
from reports.cam.verdict import verdict
from reports.sections import render

TABLES = ("confidence", "sanity", "pictures")
MOST_CLASSES = 30


@dataclass(frozen=True)
class CamPage:
    """What was written, and whether to believe it.

    Parameters
    ----------
    path
        The page.
    tables
        Beside it, by section.
    n
        Labelled images that the network was asked about.
    n_right
        Of these, how many it is right about.
    median_right, median_wrong
        Confidence of right and of wrong predictions; None without any.
    layer
        That the maps are of.
    follows
        Whether the maps follow the network; None where that is not settled.
    sentence
        The same in words.
    deletion_area
        Mean over images by what goes first: ``own`` maps, ``random`` (these, moved), those of the
        ``untrained`` network, the ``centre``, or ``scattered`` squares.
    gain_over_random, gain_over_untrained
        How much lower the area of the network's own maps is, with its 95 % interval.
    turned
        Mean rank correlation of a map with that of the image turned by 90 degrees, turned back.
    notes
        What a reader must know.
    """

    path: Path
    tables: dict[str, Path]
    n: int
    n_right: int
    median_right: float | None
    median_wrong: float | None
    layer: str
    follows: bool | None
    sentence: str
    deletion_area: dict[str, float]
    gain_over_random: tuple[float, float, float]
    gain_over_untrained: tuple[float, float, float]
    turned: float
    notes: tuple[str, ...]

    @property
    def facts(self) -> str:
        """What it found, on one line."""
        medians = [
            f"median confidence {value:.2f} where it is {word}"
            for word, value in (("right", self.median_right), ("wrong", self.median_wrong))
            if value is not None
        ]
        return f"Right about {self.n_right:,} of {self.n:,} images; {', '.join(medians)}."

    def __repr__(self) -> str:
        return f"{self.path}: {self.facts} {self.sentence}"

    def _repr_html_(self) -> str:
        return page_link(self.path, f"{self.facts} {self.sentence}")


@guarded()
def cam(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset,
    data: DatasetOptions = DatasetOptions(),
    options: CamOptions = CamOptions(),
    places: CamPlaces = CamPlaces(),
) -> CamPage:
    """Show what a network trained with labels looks at, and whether to believe it, on one page.

    Parameters
    ----------
    model
        The folder ``model`` that ``embedkit finetune`` left; a network of classes.
    dataset
        Labelled images: a folder, a .csv, .npy, .npz or .h5 file, a name that ``embedkit datasets`` lists, or
        a `Dataset`.
    data
        Options of the dataset's source.
    options
        Which images, and how closely the maps are examined.
    places
        Where the page goes.

    Raises
    ------
    UsageError
        A network of votes, or one that has no layer to look at.
    EmbedkitError
        No grad-cam; a model that is missing or damaged; images without labels that the network knows, or that
        can't be read.
    """
    check_installed()
    tables = {name: places.output.with_name(f"{places.output.stem}-{name}.csv") for name in TABLES}
    written = {places.output: PAGE} | {path: Writes(("a text",)) for path in tables.values()}
    check_outputs("-o", written, model, dataset, data, options)
    saved = read_network(Path(model))
    if saved.about.regression:
        raise UsageError(
            f"{model}: {saved.about.kind} predicts {len(saved.about.names)} numbers such as "
            f"{saved.about.names[0]}, and a map here is of a class. Give a network that finetune trained on "
            "classes."
        )
    images = open_dataset(dataset, data)
    notes: list[str] = []
    said = _said(saved, images, options, notes)
    _trained_here(saved.about, Path(model), images, options, notes)
    command = _command(model, dataset, data, options, places)
    study = _study(saved, Path(model), images, said, options, notes)
    return _written(study, command, tables, places, notes)


def _said(saved: SavedNetwork, images: Dataset, options: CamOptions, notes: list[str]) -> Said:
    """Ask the network about the labelled images."""
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
    chosen = chosen[spread(len(chosen), options.limit)]
    found = ask(
        saved,
        images,
        chosen,
        device=choose_device(options.device),
        batch_size=options.batch_size,
        skip=options.on_error == "skip",
    )
    if not found.ok.all():
        notes.append(f"Left out {int((~found.ok).sum()):,} images that could not be read.")
    chosen = chosen[found.ok]
    if not len(chosen):
        raise EmbedkitError(f"{images.name}: none of its labelled images could be read.")
    p = found.outputs[found.ok]
    if about.temperature is not None:
        p = scale(p, about.temperature)
    return Said(chosen, rows.ids[chosen], about.names, known[chosen], p)


def _in_table(images: Dataset, options: CamOptions) -> NDArray[np.bool_]:
    """(n,) whether the table of predictions names an image, among its test images where it has some."""
    ids = images.rows.ids
    if options.predictions is None:
        return np.ones(len(ids), bool)
    table = read_table(options.predictions, CLASS_PREDICTIONS, APPLIED_CLASSES)
    if "split" in table:
        table = table.take(table["split"] == "test")
    found = np.isin(ids, table["id"])
    if not found.any():
        raise EmbedkitError(
            f"{options.predictions}: none of its {len(table):,} test images is in {images.name}. Give the "
            "table of predictions of this dataset."
        )
    return np.asarray(found)


def _trained_here(about: About, model: Path, images: Dataset, options: CamOptions, notes: list[str]) -> None:
    """Say that the network has seen these very images, and how to look at the others alone."""
    if about.trained.get("fingerprint") != images.fingerprint or options.predictions is not None:
        return
    table = model.parent / f"predictions-{about.kind}.csv"
    way = f" Give --predictions {table} for its test images alone." if table.is_file() else ""
    notes.append(
        "It was trained on images of this very dataset: it is surer and more often right here than on new "
        f"images.{way}"
    )


def _study(
    saved: SavedNetwork,
    model: Path,
    images: Dataset,
    said: Said,
    options: CamOptions,
    notes: list[str],
) -> Study:
    """Map what is shown, and examine maps of images drawn at random."""
    about, pre = saved.about, saved.about.preprocessing
    device = choose_device(options.device)
    saved.network.to(device)
    untrained = with_random_weights(model, seed=options.seed).network.to(device)
    layer = target_layer(saved.network, about.backbone, pre.image_size, pre.channels)
    sizes = np.bincount(said.true, minlength=len(about.names))
    classes = sorted(np.argsort(-sizes, kind="stable")[:MOST_CLASSES].tolist())
    classes = [j for j in classes if sizes[j]]
    if len(classes) < int((sizes > 0).sum()):
        notes.append(f"Pictures are of the {MOST_CLASSES} largest of {int((sizes > 0).sum())} classes.")
    places = [
        said.most_confident(j, right=right, most=options.per_class)
        for j in classes
        for right in (True, False)
    ]
    shown = _shown(saved, layer, images, said, np.concatenate(places), options)
    random = np.random.default_rng(options.seed)
    n = min(options.n_sanity, len(said.rows))
    examined = np.sort(random.choice(len(said.rows), n, replace=False)).astype(np.int64)

    def mapped(network: Network) -> Callable[[U8, I64], F32]:
        return lambda pixels, of: grad_cam(
            network, layer, pixels, of, preprocessing=pre, batch_size=options.batch_size
        )

    sanity = examine(
        mapped(saved.network),
        mapped(untrained),
        lambda pixels: probabilities(saved, pixels, batch_size=options.batch_size),
        _pixels(saved, images, said.rows[examined]),
        said.predicted[examined],
        seed=options.seed,
    )
    return Study(
        about,
        images.name,
        said,
        layer,
        sanity,
        examined,
        shown,
        options.per_class,
        tuple(classes),
        options.seed,
    )


def _shown(
    saved: SavedNetwork, layer: Layer, images: Dataset, said: Said, places: I64, options: CamOptions
) -> Shown:
    pixels = _pixels(saved, images, said.rows[places])
    maps = grad_cam(
        saved.network,
        layer,
        pixels,
        said.predicted[places],
        preprocessing=saved.about.preprocessing,
        batch_size=options.batch_size,
    )
    return Shown(places, pixels, maps, attention(saved, pixels))


def _pixels(saved: SavedNetwork, images: Dataset, rows: I64) -> U8:
    """(n, s, s, 3): images as the network's preprocessing gives them."""
    pre = saved.about.preprocessing
    found = []
    for row in rows.tolist():
        where = images.where(row)
        found.append(pre(decode(images.read(row), where, channels=pre.channels), where))
    return np.stack(found)


def _written(
    study: Study, command: str, tables: dict[str, Path], places: CamPlaces, notes: list[str]
) -> CamPage:
    said, found, about = study.said, study.sanity, study.about
    shown = sections(study)
    title = f"What {about.kind} looks at"
    facts = f"{about.backbone} trained on {about.dataset}; {len(said.ids):,} images of {study.dataset}"
    text = render(
        title,
        facts,
        shown,
        command=command,
        tables={name: path.name for name, path in tables.items()},
        notes=notes,
    )
    for one in shown:
        assert one.numbers is not None
        write_text(tables[one.name], one.numbers.csv())
    write_text(places.output, text)
    gains = [found.gain(OWN), found.gain(OWN, UNTRAINED)]
    over_random, over_untrained = ((one.value, one.low, one.high) for one in gains)
    return CamPage(
        places.output,
        tables,
        len(said.ids),
        int(said.right.sum()),
        confidence_of(said.confidence[said.right]).median,
        confidence_of(said.confidence[~said.right]).median,
        study.layer.name,
        found.follows,
        verdict(found),
        {name: float(found.areas(name).mean()) for name in found.curves},
        over_random,
        over_untrained,
        float(found.turned[OWN].mean()),
        tuple(notes),
    )


def _command(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset,
    data: DatasetOptions,
    options: CamOptions,
    places: CamPlaces,
) -> str:
    source = dataset.name if isinstance(dataset, Dataset) else os.fspath(dataset)
    return shlex.join(["embedkit", "cam", os.fspath(model), source, *as_words(data, options, places)])
