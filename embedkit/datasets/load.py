"""From what a user names (a folder, a file or a registered name) to a dataset."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedkit.console import note
from embedkit.datasets.csv_file import load_csv
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.download import Published
from embedkit.datasets.first_radio import load_first_radio
from embedkit.datasets.folder import load_folder
from embedkit.datasets.galaxies import load_galaxies
from embedkit.datasets.galaxy10 import DECALS, SDSS, load_galaxy10_decals, load_galaxy10_sdss
from embedkit.datasets.galaxy_zoo_2 import load_galaxy_zoo_2
from embedkit.datasets.galaxy_zoo_2_hart16 import load_galaxy_zoo_2_hart16
from embedkit.datasets.galaxy_zoo_decals import load_galaxy_zoo_decals
from embedkit.datasets.hdf5 import load_h5
from embedkit.datasets.label_file import read_labels_by_id
from embedkit.datasets.npz import load_npy, load_npz
from embedkit.datasets.options import DatasetOptions
from embedkit.datasets.parquet_images import load_parquet
from embedkit.datasets.pixels import read_as
from embedkit.datasets.remote_source import remote_source
from embedkit.datasets.shards import PARQUET, TAR, Shards, find_shards
from embedkit.datasets.simulated import load_simulated
from embedkit.datasets.tar_shards import load_tar
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.cache import cache_folder
from embedkit.files.regular import check_input, resolved
from embedkit.files.remote import address_of
from embedkit.files.store import file_sha256
from embedkit.images.reading import FIELDS
from embedkit.options import asked, by_keywords, declared, nearest
from embedkit.versions import GET_SAMPLE


@dataclass(frozen=True)
class Source:
    """A registered dataset.

    Parameters
    ----------
    summary
        What it is, in one line.
    images, labels
        How many images of what size, and which labels.
    load
        Its loader; the keyword arguments are the options that apply to it.
    origin
        Where the images come from.
    citation, licence
        What to cite, and the terms of the images and labels.
    published
        The file on the web that `load` downloads, if it does.
    """

    summary: str
    images: str
    labels: str
    load: Callable[..., Dataset]
    origin: str
    citation: str
    licence: str
    published: Published | None = None


_GALAXY_ZOO = "Lintott et al. 2008, MNRAS 389, 1179; Willett et al. 2013, MNRAS 435, 2835"

DATASETS = {
    "first-radio": Source(
        summary="radio galaxies of the VLA FIRST survey, with the published split",
        images="2,158, 300 x 300, grey",
        labels="FRI, FRII, Compact, Bent",
        load=load_first_radio,
        origin=f"the package firstgalaxydata: {GET_SAMPLE}",
        citation="Griese et al. 2023, Data in Brief 47, 108974; Becker et al. 1995, ApJ 450, 559",
        licence="MIT (package); images: scholarly, educational and private non-commercial use",
    ),
    "galaxies": Source(
        summary="galaxies of the Sloan Digital Sky Survey that come with embedkit",
        images="600, 128 x 128, colour",
        labels="elliptical, edge_on, spiral, merger: the votes of Galaxy Zoo 1",
        load=load_galaxies,
        origin="the package; embedkit-galaxy was trained on these images, without their labels",
        citation="Lintott et al. 2008, MNRAS 389, 1179; Abazajian et al. 2009, ApJS 182, 543",
        licence="public SDSS data; see its image use policy",
    ),
    "galaxy10-decals": Source(
        summary="galaxies of the DESI Legacy Surveys in ten kinds",
        images="17,736, 256 x 256, colour",
        labels="ten kinds; redshift and pixel scale as targets; positions",
        load=load_galaxy10_decals,
        origin="downloaded once (2.5 GB), or --path",
        citation=f"Leung & Bovy 2019, MNRAS 483, 3255; Walmsley et al. 2022, MNRAS 509, 3966; {_GALAXY_ZOO}",
        licence="MIT (Galaxy10); see the Legacy Surveys' acknowledgment",
        published=DECALS.file,
    ),
    "galaxy10-sdss": Source(
        summary="galaxies of the Sloan Digital Sky Survey in ten kinds",
        images="21,785, 69 x 69, colour",
        labels="ten kinds; redshift and pixel scale as targets; positions",
        load=load_galaxy10_sdss,
        origin="downloaded once, or --path",
        citation=f"Leung & Bovy 2019, MNRAS 483, 3255; {_GALAXY_ZOO}",
        licence="MIT (Galaxy10); see the SDSS image use policy",
        published=SDSS.file,
    ),
    "galaxy-zoo-2": Source(
        summary="the Kaggle challenge's SDSS galaxies with vote fractions",
        images="61,578 and 79,975 test images, 424 x 424, colour",
        labels="37 vote fractions as targets; smooth, featured with --threshold",
        load=load_galaxy_zoo_2,
        origin="unpacked files of the Kaggle challenge: --path",
        citation=_GALAXY_ZOO,
        licence="the challenge's rules",
    ),
    "galaxy-zoo-2-hart16": Source(
        summary="SDSS galaxies with the votes of Galaxy Zoo 2, as their authors publish them",
        images="about 239,500, 424 x 424, colour",
        labels="37 vote fractions as targets, with counts; smooth, featured with --threshold; positions",
        load=load_galaxy_zoo_2_hart16,
        origin="gz2_hart16.csv, and images of https://doi.org/10.5281/zenodo.3565489: --path",
        citation=f"Hart et al. 2016, MNRAS 461, 3663; {_GALAXY_ZOO}",
        licence="see the release; images are public SDSS data",
    ),
    "galaxy-zoo-decals": Source(
        summary="galaxies of the Dark Energy Camera Legacy Survey with vote fractions",
        images="about 314,000, 424 x 424, colour",
        labels="34 vote fractions as targets; smooth, featured with --threshold; positions",
        load=load_galaxy_zoo_decals,
        origin="unpacked files of the release, https://doi.org/10.5281/zenodo.4573248: --path",
        citation=f"Walmsley et al. 2022, MNRAS 509, 3966; {_GALAXY_ZOO}",
        licence="CC BY 4.0",
    ),
    "simulated": Source(
        summary="small galaxies of the ten Galaxy10 DECaLS kinds, drawn from a seed",
        images="--n (1,000), --size (128 x 128), colour",
        labels="ten kinds; 37 vote fractions as targets with --votes",
        load=load_simulated,
        origin="drawn when read",
        citation="none",
        licence="Apache-2.0, as this package",
    ),
}


# The seed of a source is not that of a verb which draws at random itself.
_SEED, _ITS_SEED = {"seed": "dataset_seed"}, {"dataset_seed": "seed"}

_BY_ENDING: dict[str, Callable[..., Dataset]] = {
    ".csv": load_csv,
    ".tsv": load_csv,
    ".npy": load_npy,
    ".npz": load_npz,
    ".h5": load_h5,
    ".hdf5": load_h5,
}


def open_dataset(source: str | os.PathLike[str] | Dataset, options: DatasetOptions) -> Dataset:
    """Open a dataset that options describe; see `load_dataset`."""
    given = {name: getattr(options, name) for name in asked(options)}
    if isinstance(source, Dataset):
        if given:
            raise UsageError(f"{_flag(next(iter(given)))} does not apply to a dataset that is open already.")
        return source
    # How numbers become pixels is one thing for all sources; the rest is each one's own.
    own = {name: value for name, value in given.items() if name not in (*FIELDS, "labels")}
    dataset = read_as(_open(os.fspath(source), own), options.reading())
    return dataset if options.labels is None else _labelled(dataset, options.labels)


def _labelled(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with the labels of a table; its name, fingerprint and origin tell of which."""
    found = read_labels_by_id(path, dataset.rows.ids, dataset.name)
    for remark in found.remarks:
        note(remark)
    rows = replace(dataset.rows, labels=found.labels, class_names=found.class_names)
    return replace(
        dataset,
        name=f"{dataset.name} [labels of {path.name} {file_sha256(path)[:8]}]",
        rows=rows,
        fingerprint=fingerprint(rows, {"dataset": dataset.fingerprint}),
        origin=dict(dataset.origin) | {"labels": str(resolved(path))},
    )


def _open(source: str, given: Mapping[str, Any]) -> Dataset:
    address = None if source in DATASETS else address_of(source)
    load, what, place = _loader(source) if address is None else _remote_loader(address)
    applies = [
        _SEED.get(name, name) for name in list(inspect.signature(load).parameters)[place is not None :]
    ]
    for name in given:
        if name not in applies:
            known = ", ".join(map(_flag, [*applies, *FIELDS, "labels"]))
            raise UsageError(f"{_flag(name)} does not apply to {what}. Its options are {known}.")
    words = {_ITS_SEED.get(name, name): value for name, value in given.items()}
    return load(**words) if place is None else load(place, **words)


def check_there(source: str) -> None:
    """Refuse what is neither a path, nor a name, nor an address; nothing is read.

    Raises
    ------
    UsageError
        Nothing of that name.
    """
    if source not in DATASETS and address_of(source) is None:
        _loader(source)


@by_keywords(DatasetOptions)
def load_dataset(source: str | os.PathLike[str] | Dataset, options: DatasetOptions) -> Dataset:
    """Open a dataset; images are read later, one at a time.

    Parameters
    ----------
    source
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, or a name in `DATASETS`. A folder
        that bears such a name is meant with ``./name``. A `Dataset` is returned as it is.
    options
        What applies to the source, as ``embedkit extract --help`` lists it (``root``, ``label_column``, ...).

    Raises
    ------
    UsageError
        Nothing of that name, or an option that does not apply to it.
    EmbedkitError
        Its files are missing or damaged; the message says which and what to do.
    """
    return open_dataset(source, options)


def load_again(
    origin: Mapping[str, Any], ids: Sequence[str] = (), *, named: str | os.PathLike[str] | None = None
) -> Dataset:
    """Open the dataset that an ``origin`` describes, as `Dataset.origin` or a feature file has it.

    Nothing is downloaded, and no store is asked, for nobody named it.

    Parameters
    ----------
    origin
        ``source``, and options of it.
    ids
        Of images that are looked for: a folder that has none of the first is not listed.
    named
        What of the origin the user has named, which may be an address.

    Raises
    ------
    EmbedkitError
        As `load_dataset`; or it is not here, or is recorded in another way.
    """
    words = {_SEED.get(name, name): value for name, value in origin.items()}
    source = words.get("source")
    strange = [name for name in words if name != "source" and name not in declared(DatasetOptions)]
    if not isinstance(source, str) or strange:
        raise EmbedkitError(
            f"its dataset is recorded in another way ({strange[0] if strange else 'source'!r})."
        )
    asked_for = None if named is None else address_of(named)
    far = next((str(value) for value in words.values() if _is_address(value)), None)
    if far is not None and address_of(far) != asked_for:
        raise EmbedkitError(
            f"{far}: the images lie in a store, which is asked only where it is named, as with --path {far}"
        )
    published = DATASETS[source].published if source in DATASETS else None
    if published is not None and words.get("path") is None:
        place = cache_folder() / published.name
        if not place.is_file():
            raise EmbedkitError(
                f"{place}: {source} is not there, and is downloaded only where it is named, as by "
                f"`embedkit datasets {source}`."
            )
        words["path"] = str(place)
    if ids and source not in DATASETS and Path(source).is_dir() and find_shards(source) is None:
        some = ids[:: -(-len(ids) // 100)]
        if not any((Path(source) / name).is_file() for name in some):
            fix = "" if named is None else " Name the folder in which ids such as this one are paths."
            raise EmbedkitError(f"{source}: none of the images is there, such as {some[0]}.{fix}")
    return load_dataset(**words)


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and address_of(value) is not None
    except UsageError:  # of a scheme that isn't known
        return True


def _flag(name: str) -> str:
    return declared(DatasetOptions)[name].flag


def _remote_loader(address: str) -> tuple[Callable[..., Dataset], str, str | Shards]:
    found = remote_source(address)
    if isinstance(found, Shards):
        return _of_shards(found), f"the shards {address}", found
    return (lambda source: found), f"the folder {address}", address  # noqa: ARG005


def _of_shards(shards: Shards) -> Callable[..., Dataset]:
    return load_parquet if shards.places[0].lower().endswith(PARQUET) else load_tar


def _loader(source: str) -> tuple[Callable[..., Dataset], str, str | Shards | None]:
    """Return what loads a source, what it is, and the first argument of the loader."""
    if source in DATASETS:
        return DATASETS[source].load, source, None
    place = Path(source)
    shards = find_shards(source)
    if shards is not None:
        return _of_shards(shards), f"the shards {source}", shards
    if place.is_dir():
        return load_folder, f"the folder {source}", source
    if place.exists():
        check_input(place, "Name a folder, or a file.")
        by_ending = _BY_ENDING.get(place.suffix.lower())
        if by_ending is None:
            raise UsageError(
                f"{source}: not a dataset by its ending. Give a folder, a file that ends in "
                f"{' '.join((*_BY_ENDING, *TAR, *PARQUET))}, or a name that `embedkit datasets` lists."
            )
        return by_ending, f"the file {source}", source
    raise UsageError(
        f"{source}: no such file or folder, and no dataset of that name.{nearest(source, DATASETS)} Known by "
        f"name: {', '.join(DATASETS)}."
    )
