"""What a feature file says of how it was made, of a declared shape.

The record may be any JSON object: another program's too. What is not of the shape is not recorded; nothing
else than this reads into the record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from embedkit.strict_json import UndeclaredError, of_shape

T = TypeVar("T")

# In the record. Views are not among them: their mean is a better measurement of the same thing.
MADE_BY = ("backbone.name", "backbone.weights_sha256", "backbone.adapter_sha256", "pooling", "preprocessing")
# Objects and lists in one another.
MOST_LEVELS = 64


@dataclass(frozen=True)
class BackboneOrigin:
    """Where weights and adapter lay, and the seed of random weights."""

    weights: str | None = None
    adapter: str | None = None
    random_init: int | None = None


@dataclass(frozen=True)
class BackboneRecord:
    """A backbone by name, the digest of its weights, and where they came from."""

    name: str
    weights_sha256: str
    origin: BackboneOrigin


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset by its fingerprint, and what opens it again."""

    fingerprint: str
    origin: dict[str, Any]


@dataclass(frozen=True)
class PoolingRecord:
    """Which tokens, of which blocks."""

    pool: str
    layers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ViewsRecord:
    """Which views, the seed of random ones, and the kind of their noise."""

    name: str
    seed: int | None = None
    noise: str | None = None


@dataclass(frozen=True)
class PrecisionRecord:
    """The precision that was computed in, and whether torch drew the views."""

    used: str
    views: str = "pillow"


@dataclass(frozen=True)
class ExtractionRecord:
    """All that it takes to extract the same features again, as `embedkit extract` writes it."""

    dataset: DatasetRecord
    backbone: BackboneRecord
    preprocessing: dict[str, Any]
    pooling: PoolingRecord
    views: ViewsRecord
    precision_used: PrecisionRecord


@dataclass(frozen=True)
class Provenance:
    """A record, and what is found in it.

    Parameters
    ----------
    record
        As it stands in the file, to be shown and kept.
    """

    record: Mapping[str, Any]

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset; a dataset that is text is its name."""
        return self._at("dataset.name", str) or self._at("dataset", str) or None

    @property
    def features_name(self) -> str | None:
        """Short name of the feature set."""
        return self._at("features_name", str) or None

    @property
    def origin(self) -> dict[str, Any]:
        """What opens the dataset again; empty where nothing is recorded."""
        return dict(self._at("dataset.origin", dict[str, Any]) or {})

    @property
    def fingerprint(self) -> str | None:
        """Of the dataset: what its names, sizes and labels were."""
        return self._at("dataset.fingerprint", str) or None

    @property
    def backbone_origin(self) -> BackboneOrigin | None:
        """Where the weights and the adapter lay; None where that is not recorded."""
        found: BackboneOrigin | None = self._at("backbone.origin", BackboneOrigin)
        return found

    @property
    def imported(self) -> bool:
        """Whether the vectors are somebody's own, and no backbone's."""
        return "backbone" not in self.record and isinstance(self.record.get("imported"), Mapping)

    @property
    def imported_from(self) -> str:
        """The file of somebody's own vectors."""
        return self._at("imported.file", str) or "a file"

    @property
    def center_crop(self) -> int | None:
        """Side of the central square that the backbone was shown, in pixels of the source."""
        found = self._at("preprocessing.center_crop", int)
        return found if found is not None and found > 0 else None

    @property
    def precision(self) -> str | None:
        """The precision that was computed in."""
        found: str | None = self._at("precision_used.used", str)
        return found

    @property
    def made_by(self) -> dict[str, Any]:
        """The values of `MADE_BY`; empty where no backbone is recorded."""
        if "backbone" not in self.record:
            return {}
        return {name: self._at(name, Any) for name in MADE_BY}

    @property
    def extraction(self) -> ExtractionRecord | None:
        """What extracts the same features again; None where it is not all there."""
        try:
            return of_shape(self.record, ExtractionRecord)
        except UndeclaredError:
            return None

    def _at(self, place: str, shape: Any) -> Any:
        """The value at a place, keys joined by points; None where there is none, or of another shape."""
        value: Any = self.record
        for key in place.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        try:
            return of_shape(value, shape)
        except UndeclaredError:
            return None


def read_provenance(text: Any) -> Provenance:
    """Read the attribute of a feature file.

    Raises
    ------
    UndeclaredError
        No text, no JSON object, or one nested too deep.
    """
    if not isinstance(text, (str, bytes)):
        raise UndeclaredError("no text")
    try:
        record = json.loads(text)  # Python writes NaN and infinity, and has done so here
        if not isinstance(record, dict):
            raise UndeclaredError(f"a {type(record).__name__}")
        record = _with_whole_letters(record)
    except (ValueError, RecursionError) as error:
        raise UndeclaredError(f"{error}") from error
    level: list[Any] = [record]
    for _ in range(MOST_LEVELS):
        level = [item for value in level for item in _inside(value)]
        if not level:
            return Provenance(record)
    raise UndeclaredError(f"nested in more than {MOST_LEVELS} levels")


def _with_whole_letters(record: dict[str, Any]) -> dict[str, Any]:
    """Put a question mark for half of a surrogate pair, which no file can hold."""
    text = json.dumps(record, ensure_ascii=False)
    whole = text.encode("utf-8", "replace").decode()
    return record if whole == text else dict(json.loads(whole))


def _inside(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]
