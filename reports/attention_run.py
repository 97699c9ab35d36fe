"""What one call of `embedkit attention` does: maps of one or two networks, and their picture."""

from __future__ import annotations

import io
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.backbones.load import Backbone, load_backbone, resolved
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.aside import write_bytes
from embedkit.files.guard import guarded
from embedkit.images.decode import decode
from embedkit.images.options import Overrides
from embedkit.options import as_words
from reports.attention import attention_entropy, attention_maps, attention_sheet
from reports.attention_options import AttentionOptions, AttentionPlaces
from reports.picture_records import AttentionRecord, png_of


@dataclass(frozen=True)
class Attention:
    """Where one or two networks look.

    Parameters
    ----------
    image
        The picture: a row of heads for each image and network.
    maps : network to (n, heads, rows, columns) float32
        ``before`` and ``after`` where two are compared; else one without a name.
    entropy : network to (heads,) float64
        Mean over the images, over its largest value; 1 is alike everywhere.
    path
        Where the picture was written, if anywhere.
    """

    image: Image.Image
    maps: dict[str, NDArray[np.float32]]
    entropy: dict[str, NDArray[np.float64]]
    path: Path | None = None

    def _repr_png_(self) -> Any:
        """Return the picture, for a notebook."""
        return self.image._repr_png_()


@guarded(AttentionPlaces)
def attention(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    data: DatasetOptions = DatasetOptions(),
    backbone: BackboneSpec = BackboneSpec(),
    preprocessing: Overrides = Overrides(),
    options: AttentionOptions = AttentionOptions(),
) -> Attention:
    """Draw what the class token of a vision transformer looks at, head by head.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        Where the picture goes; from Python, None writes nothing.
    data
        Options of the dataset's source.
    backbone, preprocessing
        The network, and what its input is. With an adapter, the network without it is drawn too.
    options
        Of which images, and beside which other weights.

    Raises
    ------
    UsageError
        The backbone has no class token or no attention of timm's kind, or there is nothing to compare.
    EmbedkitError
        Images or weights that can't be read.
    """
    options.check(backbone)
    spec = replace(backbone, preprocessing=preprocessing)
    specs = {"": spec}
    if spec.adapter is not None:
        spec = resolved(spec)
        specs = {"before": replace(spec, adapter=None), "after": spec}
    elif options.before is not None:
        specs = {"before": replace(spec, weights=options.before), "after": spec}
    images = open_dataset(dataset, data)
    if not len(images):
        raise EmbedkitError(f"{images.name}: no images. Check the path.")
    if output is not None:
        _format(Path(output))
        _check_images(Path(output), images)
    maps, pixels = {}, np.empty(0, dtype=np.uint8)
    for name, one in specs.items():
        network = load_backbone(one)
        pixels = _pixels(images, network, options.n_images)
        maps[name] = attention_maps(network, pixels)
    sheet = attention_sheet(pixels, list(maps.values()), list(maps))
    path = None if output is None else Path(output)
    entropy = {name: attention_entropy(found) for name, found in maps.items()}
    if path is not None:
        source = dataset.name if isinstance(dataset, Dataset) else os.fspath(dataset)
        words = as_words(data, replace(backbone, preprocessing=Overrides()), preprocessing, options)
        shown = AttentionRecord(
            command=shlex.join(["embedkit", "attention", source, *words, "-o", str(path)]),
            dataset=images.name,
            fingerprint=images.fingerprint,
            network=spec.backbone,
            entropy={name: [round(float(one), 4) for one in found] for name, found in entropy.items()},
        )
        _write(path, sheet, shown)
    return Attention(sheet, maps, entropy, path)


def _check_images(path: Path, images: Dataset) -> None:
    """Refuse to replace one of the images, which a table may name wherever it is."""
    if path.exists() and any(_same(path, Path(images.where(row))) for row in range(len(images))):
        raise UsageError(f"-o {path} is one of the images that are read. Name another file.")


def _same(path: Path, image: Path) -> bool:
    try:
        return path.samefile(image)
    except OSError:  # no file of its own, such as a row of an array
        return False


def _write(path: Path, sheet: Image.Image, record: AttentionRecord) -> None:
    """Write the picture; a PNG also says in its text what it shows."""
    kind = _format(path)
    if kind == "PNG":
        write_bytes(path, png_of(sheet, record))
        return
    stream = io.BytesIO()
    sheet.save(stream, kind)
    write_bytes(path, stream.getvalue())


def _format(path: Path) -> str:
    """Return Pillow's name of the format that a file's ending says."""
    found = Image.registered_extensions().get(path.suffix.lower())
    if found not in Image.SAVE:
        raise UsageError(f"-o {path}: no picture by its ending. Give a name that ends in .png.")
    return found


def _pixels(images: Dataset, backbone: Backbone, n: int) -> NDArray[np.uint8]:
    """(n, s, s, 3): images spread evenly over the dataset, as the backbone's preprocessing gives them."""
    rows = spread_rows(len(images), n)
    shown = []
    for row in map(int, rows):
        where = images.where(row)
        pixels = decode(images.read(row), where, channels=backbone.preprocessing.channels)
        shown.append(backbone.preprocessing(pixels, where))
    return np.stack(shown)
