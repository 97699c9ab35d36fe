"""The trainings that features came from, and those that lie among results: their logs, and what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import EmbedkitError
from embedkit.files.regular import resolved
from embedkit.files.store import FeatureFile
from embedkit.files.training import LOG, TrainingRecord, read_log, read_record

# Of weights: the folder of an adapter or a network, and that of its training.
ABOVE = 2


@dataclass(frozen=True)
class Training:
    """One training.

    Parameters
    ----------
    folder
        Where its log lies.
    log
        A row an epoch; of several folds those of the first.
    record
        What it was; None where no record lies there.
    made
        Names of the feature files whose weights it trained.
    same_images
        Whether it saw the images of one of the feature files.
    """

    folder: Path
    log: Sequence[Mapping[str, float]]
    record: TrainingRecord | None
    made: tuple[str, ...]
    same_images: bool


def find_trainings(
    files: Sequence[FeatureFile], runs: Path, say: Callable[[str], None]
) -> tuple[Training, ...]:
    """Return those that made the files first, then those of the same images, then others.

    Parameters
    ----------
    files
        Open.
    runs
        A folder, which may be missing.
    say
        Is told what can't be read.
    """
    sources = {one.path.name: _source(one) for one in files}
    there = [folder for folder in sources.values() if folder is not None]
    if runs.is_dir():
        there += [path.parent for path in sorted(runs.rglob(LOG))]
    fingerprints = {one.made.fingerprint for one in files} - {None}
    found: list[Training] = []
    for folder in _outermost(there):
        try:
            log, record = _first_fold(read_log(folder / LOG)), read_record(folder)
        except (EmbedkitError, OSError) as error:
            say(f"A training is not shown. {error}")
            continue
        if record is not None and any((one.record, one.log) == (record, log) for one in found):
            continue  # a copy of the folder
        made = tuple(name for name, source in sources.items() if source == resolved(folder))
        same = record is not None and record.fingerprint in fingerprints
        found.append(Training(folder, log, record, made, same))
    return tuple(sorted(found, key=lambda one: (not one.made, not one.same_images)))


def _source(file: FeatureFile) -> Path | None:
    """Return the folder of the training whose weights or adapter a file names; None of no training."""
    recorded = file.made.backbone_origin
    place = None if recorded is None else recorded.adapter or recorded.weights
    if place is None:
        return None
    above = list(resolved(Path(place)).parents)[:ABOVE]
    return next((folder for folder in above if (folder / LOG).is_file()), None)


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """Leave out folders inside others, such as those of phases and folds."""
    kept: dict[Path, Path] = {}
    for folder in folders:
        kept.setdefault(resolved(folder), folder)
    return [folder for place, folder in kept.items() if kept.keys().isdisjoint(place.parents)]


def _first_fold(log: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    return [row for row in log if row.get("fold") == log[0].get("fold")]
