"""What one call of `embedkit cam` does: a network and images in, one page and its tables out."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedkit.backbones.network import Network
from embedkit.backbones.saved_network import About, SavedNetwork, read_network, with_random_weights
from embedkit.computing.device import choose_device
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.files.aside import write_bytes, write_text
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.showing import page_link
from embedkit.files.vote_tree import VoteTree
from embedkit.images.decode import decode
from embedkit.options import Writes, as_words
from reports.cam.answers import I64, Said, SaidVotes, confidence_of, find_target
from reports.cam.asking import said_of
from reports.cam.layer import Layer, target_layer
from reports.cam.maps import F32, U8, attention, check_installed, grad_cam, probabilities
from reports.cam.options import PAGE, CamOptions, CamPlaces
from reports.cam.page import sections
from reports.cam.sanity import OWN, UNTRAINED, examine
from reports.cam.sheet import sheet
from reports.cam.study import Shown, Study
from reports.cam.verdict import verdict
from reports.picture_records import png_of
from reports.sections import Made, render

TABLES = ("confidence", "scores", "sanity", "pictures")
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
    picture
        Beside it: the maps of up to 24 images, a row each.
    n
        Images that the network was asked about.
    target
        The class or answer that the maps speak of; None where it is that of each prediction.
    n_right
        Of these images, how many it is right about; None of a network of votes.
    median_right, median_wrong
        Confidence of right and of wrong predictions; None without any.
    rmse
        Of the answer of votes; None of classes, and where the dataset has no votes.
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
    picture: Path
    n: int
    target: str | None
    n_right: int | None
    median_right: float | None
    median_wrong: float | None
    rmse: float | None
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
        if self.n_right is None:
            error = "" if self.rmse is None else f", with an RMSE of {self.rmse:.4f} to the votes"
            return f"Predicts {self.target} for {self.n:,} images{error}."
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
        The folder ``model`` that ``embedkit finetune`` left.
    dataset
        Images, with labels for a network of classes: a folder, a .csv, .npy, .npz or .h5 file, a name that
        ``embedkit datasets`` lists, or a `Dataset`.
    data
        Options of the dataset's source.
    options
        Which images, and how closely the maps are examined.
    places
        Where the page goes.

    Raises
    ------
    UsageError
        No such class or answer; none given of a network of votes; a network that has no layer to look at.
    EmbedkitError
        No grad-cam; a model that is missing or damaged; images without labels that the network knows, or that
        can't be read.
    """
    check_installed()
    tables = {name: places.output.with_name(f"{places.output.stem}-{name}.csv") for name in TABLES}
    picture = places.output.with_name(f"{places.output.stem}-maps.png")
    written = {places.output: PAGE, picture: Writes(("a picture",))}
    written |= {path: Writes(("a text",)) for path in tables.values()}
    check_outputs("-o", written, model, dataset, data, options)
    saved = read_network(Path(model))
    target = find_target(saved.about, options.target, model)
    images = open_dataset(dataset, data)
    notes: list[str] = []
    said = said_of(saved, images, options, target, notes)
    _trained_here(saved.about, Path(model), images, options, notes)
    made = Made(_command(model, dataset, data, options, places), "cam", images.fingerprint)
    study = _study(saved, Path(model), images, said, options, notes)
    return _written(study, made, tables, picture, places, notes)


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
    said: Said | SaidVotes,
    options: CamOptions,
    notes: list[str],
) -> Study:
    """Map what is shown, and examine maps of images drawn at random."""
    about, pre = saved.about, saved.about.preprocessing
    device = choose_device(options.device)
    saved.network.to(device)
    untrained = with_random_weights(model, seed=options.seed).network.to(device)
    layer = target_layer(saved.network, about.backbone, pre.image_size, pre.channels)
    if isinstance(said, SaidVotes):
        classes: list[int] = []
        groups = said.groups(options.per_class)
        among = said.said_most
    else:
        classes = _classes_shown(said, notes)
        groups = said.groups(options.per_class, classes)
        among = np.arange(len(said.rows))
    shown = _shown(saved, layer, images, said, _once([places for _, places in groups]), options)
    random = np.random.default_rng(options.seed)
    n = min(options.n_sanity, len(among))
    examined = among[np.sort(random.choice(len(among), n, replace=False))].astype(np.int64)

    def mapped(network: Network) -> Callable[[U8, I64], F32]:
        return lambda pixels, of: grad_cam(
            network,
            layer,
            pixels,
            of,
            preprocessing=pre,
            tree=_tree(about),
            batch_size=options.batch_size,
        )

    sanity = examine(
        mapped(saved.network),
        mapped(untrained),
        lambda pixels: probabilities(saved, pixels, batch_size=options.batch_size),
        _pixels(saved, images, said.rows[examined]),
        said.explained[examined],
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


def _tree(about: About) -> VoteTree | None:
    """Return the questions whose answers share out their parent's votes, where the head is of such."""
    return about.tree if about.head.output == "tree" else None


def _once(groups: list[I64]) -> I64:
    """Return each place that is in any of the groups."""
    return np.array(list(dict.fromkeys(np.concatenate(groups).tolist())), np.int64)


def _classes_shown(said: Said, notes: list[str]) -> list[int]:
    sizes = np.bincount(said.true, minlength=len(said.class_names))
    classes = sorted(np.argsort(-sizes, kind="stable")[:MOST_CLASSES].tolist())
    classes = [j for j in classes if sizes[j]]
    if len(classes) < int((sizes > 0).sum()):
        notes.append(f"Pictures are of the {MOST_CLASSES} largest of {int((sizes > 0).sum())} classes.")
    return classes


def _shown(
    saved: SavedNetwork,
    layer: Layer,
    images: Dataset,
    said: Said | SaidVotes,
    places: I64,
    options: CamOptions,
) -> Shown:
    pixels = _pixels(saved, images, said.rows[places])
    maps = grad_cam(
        saved.network,
        layer,
        pixels,
        said.explained[places],
        preprocessing=saved.about.preprocessing,
        tree=_tree(saved.about),
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
    study: Study,
    made: Made,
    tables: dict[str, Path],
    picture: Path,
    places: CamPlaces,
    notes: list[str],
) -> CamPage:
    said, found, about = study.said, study.sanity, study.about
    shown = sections(study)
    title = f"What {about.kind} looks at"
    facts = f"{about.backbone} trained on {about.dataset}; {len(said.ids):,} images of {study.dataset}"
    text = render(
        title,
        facts,
        shown,
        made=replace(made, says=verdict(found, study.what)),
        tables={one.name: tables[one.name].name for one in shown},
        notes=notes,
    )
    tables = {one.name: tables[one.name] for one in shown}
    for one in shown:
        assert one.numbers is not None
        write_text(tables[one.name], one.numbers.csv())
    write_bytes(picture, png_of(*sheet(study, made)))
    write_text(places.output, text)
    gains = [found.gain(OWN), found.gain(OWN, UNTRAINED)]
    over_random, over_untrained = ((one.value, one.low, one.high) for one in gains)
    return CamPage(
        places.output,
        tables,
        picture,
        len(said.ids),
        None if said.target is None else about.names[said.target],
        None if isinstance(said, SaidVotes) else int(said.right.sum()),
        None if isinstance(said, SaidVotes) else confidence_of(said.confidence[said.right]).median,
        None if isinstance(said, SaidVotes) else confidence_of(said.confidence[~said.right]).median,
        said.rmse if isinstance(said, SaidVotes) else None,
        study.layer.name,
        found.follows,
        verdict(found, study.what),
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
