"""Is one feature file better than another, on the same images and splits?"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedkit import console
from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.lock import folder_locked
from embedkit.files.results import ROWS_OF
from embedkit.files.selected_file import SelectedFile
from embedkit.files.showing import Parts, Shown, data_frame
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.options import FOLDER, Writes
from embedkit.scoring.outcomes import Outcomes, TrueClasses, read_outcomes
from embedkit.scoring.selected import selected
from embedkit.workflows.compare_options import CompareOptions, ComparePlaces
from embedkit.workflows.measures import measures
from embedkit.workflows.step import Step
from embedkit.workflows.verdict import Compared, compare_measures, sentence, table_rows, verdict


def sides_of(n: int) -> list[str]:
    """Return what n files are called: A, B and, where there are more trainings of B, B2, B3 and on."""
    return ["A", "B", *(f"B{number}" for number in range(2, n))][:n]


@dataclass(frozen=True, repr=False)
class ComparedFiles(Shown):
    """Two feature files, compared; or one with several of a kind, such as trainings of several seeds.

    Parameters
    ----------
    files
        A, and B or every file that B is the mean of.
    preps
        What was done to each first; None where every measure took its own.
    names
        What they are called in the sentences.
    measures
        What they were scored by.
    """

    files: tuple[Path, ...]
    preps: tuple[str | None, str | None]
    names: tuple[str, str]
    measures: tuple[Compared, ...]

    @property
    def title(self) -> str:
        """What is A, what is B, and how many images they share."""
        a, b = self.names
        if len(self.files) > 2:
            b = f"the mean of {listed([path.stem for path in self.files[1:]])}"
        return f"A = {a}, B = {b}: {self.measures[0].difference.n:,} images"

    @property
    def sentences(self) -> tuple[str, ...]:
        """One a measure."""
        return tuple(sentence(one, *self.names) for one in self.measures)

    @property
    def verdict(self) -> str:
        """All of them in one."""
        return verdict(self.measures, *self.names)

    def document(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        preps = [self.preps[0], *[self.preps[1]] * (len(self.files) - 1)]
        sides = zip(sides_of(len(self.files)), self.files, preps, strict=True)
        files: dict[str, Any] = {side: {"file": str(path), "prep": prep} for side, path, prep in sides}
        lines = zip(self.measures, self.sentences, strict=True)
        return files | {
            "measures": [asdict(one) | {"sentence": words} for one, words in lines],
            "verdict": self.verdict,
        }

    def to_pandas(self) -> Any:
        """Return a data frame with a row a measure."""
        numbers = ("value", "low", "high", "test", "n")
        return data_frame(
            [
                {"accuracy": one.name, "a": one.a, "b": one.b, "each_b": one.each_b, "p_holm": one.p_holm}
                | {name: getattr(one.difference, name) for name in numbers}
                for one in self.measures
            ]
        )

    def _shown(self) -> Parts:
        return self.title, table_rows(self.measures), [self.verdict]


@guarded()
def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: CompareOptions,
    places: ComparePlaces,
) -> ComparedFiles:
    """Score two feature files of the same images on the same splits, and test the differences.

    Parameters
    ----------
    a, b
        Feature files with labels, of the same images in whatever order. Several as `b` are of one kind, such
        as trainings of several seeds: their mean is compared, and how they differ widens the intervals.
    options
        What is done to them first, splits, few labels.
    places
        Folder for the results of both.

    Returns
    -------
    ComparedFiles
        Each measure of both with the test of their difference, and the verdict in words.

    Raises
    ------
    UsageError
        No second file, or one of several twice.
    EmbedkitError
        Other images, no labels, features of several kinds for `b`, or a file that can't be read.
    """
    others = [b] if isinstance(b, (str, os.PathLike)) else list(b)
    paths = [Path(one) for one in (a, *others)]
    _check_several(paths)
    _check_outputs(paths, options, places.output)
    locked = folder_locked(places.output, "comparing")
    with locked, _same_images(paths, places.output, options) as files:
        _check_classes(files)
        _check_kind(files[1:])
        found = list(_scores(files, options, places.output))
    _check_rows(paths, found)
    pairs = {name: [(of_a, one) for one in of_b] for name, (of_a, *of_b) in found}
    compared = compare_measures(pairs, seed=options.seed, trainings=True)
    names = (_name(paths[0], options.preps[0]), _name(paths[1], options.preps[1]))
    if len(paths) > 2:
        names = (names[0], "B")
    elif names[0] == names[1]:
        names = ("A", "B")
    return ComparedFiles(tuple(paths), options.preps, names, compared)


def _check_rows(paths: Sequence[Path], found: Sequence[tuple[str, list[Outcomes]]]) -> None:
    for name, (of_a, *of_b) in found:
        for path, one in zip(paths[1:], of_b, strict=True):
            if of_a.rows != one.rows:
                raise EmbedkitError(
                    f"{paths[0]} and {path}: their {name} results are not of the same rows and classes. "
                    "Extract both from the same dataset and labels."
                )


def _check_several(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise UsageError("compare: one file is given, and two are compared. Give a second one.")
    twice = [path for i, path in enumerate(paths[1:], 1) if path in paths[1:i]]
    if twice:
        raise UsageError(f"{twice[0]} is given twice among the files of B. Give each training once.")


def _check_kind(files: Sequence[FeatureFile]) -> None:
    """Refuse files of several kinds where their mean is asked for."""
    if len({file.d for file in files}) > 1:
        shown = ", ".join(f"{file.path} ({file.d})" for file in files)
        raise EmbedkitError(
            f"{shown}: features of different dimension are no trainings of one kind, whose mean would say "
            "something. Compare two files at a time, or `embedkit bench` them all."
        )


def _check_classes(files: Sequence[FeatureFile]) -> None:
    """Refuse files that name no classes, or others for the same images, before anything is computed."""
    named = []
    for file in files:
        labels = file.rows.labels
        if labels is None or (labels[file.ok] < 0).all():
            raise EmbedkitError(
                f"{file.path}: no labels stored, so there is nothing to compare by. Name a table of "
                "them with --labels, extract again from a labelled dataset, or compare by `embedkit quality`."
            )
        names = np.array([*file.rows.class_names, ""], dtype=np.str_)  # -1 is the last
        named.append(names[labels[file.ok]])
    a = files[0]
    for b, of_b in zip(files[1:], named[1:], strict=True):
        differ = named[0] != of_b
        if not differ.any():
            continue
        first = int(np.argmax(differ))
        both = (named[0], of_b)
        shown = " and ".join(repr(str(names[first])) if names[first] else "no class" for names in both)
        raise EmbedkitError(
            f"{a.path} and {b.path}: {int(differ.sum()):,} of {len(differ):,} images are of another class in "
            f"the other file, such as {str(a.rows.ids[a.ok][first])!r}: {shown}. Extract both from the same "
            "dataset and labels."
        )


def _check_outputs(paths: Sequence[Path], options: CompareOptions, output: Path) -> None:
    """Hold the copies, the split and the results against the files that are read."""
    sides = sides_of(len(paths))
    copies = {output / side / path.name: Writes() for side, path in zip(sides, paths, strict=True)}
    results = {output / side: FOLDER for side in sides}
    check_outputs("-o", {**copies, **results, output / "split.json": Writes(("a split",))}, *paths, options)


def _scores(
    files: Sequence[FeatureFile], options: CompareOptions, output: Path
) -> Iterator[tuple[str, list[Outcomes]]]:
    """Yield the outcomes of all files by each measure."""
    preps = [options.preps[0], *[options.preps[1]] * (len(files) - 1)]
    given = options.split.endswith(".json")
    split = Path(options.split) if given else output / "split.json"
    # Drawn once and kept by id. Few labels need one set of test rows where folds were asked for.
    kept: dict[str, Any] = {"split": options.split} | ({} if given else {"save_split": split})
    few = {"split": "stratified" if options.split.startswith("kfold") else str(split)}
    for name, (verb, *words) in measures(options).items():
        scored = []
        for side, file, prep in zip(sides_of(len(files)), files, preps, strict=True):
            step = Step.parse(verb, [file.path], words)
            step = step.given(seed=options.seed, output=output / side)
            step = step.given(prep=prep) if prep else step
            if isinstance(file, SelectedFile):  # a copy holds no other rows, and may lack classes
                step = step.given(**options.selected)
            if "--budget" in words:
                step = step.given(**few)
            elif verb == "probe":
                step = step.given(**kept)
                kept = {"split": str(split)}
            scored.append(_score(step, file, output / side))
        yield name, scored


def _score(step: Step, file: FeatureFile, folder: Path) -> Outcomes:
    """Do a step and read which images its result got right."""
    console.note(f"\n$ {step}")
    (result,) = step.call(file).results
    try:
        return read_outcomes(result, folder, TrueClasses([file]))
    except EmbedkitError as error:
        raise EmbedkitError(f"{file.path}: no accuracy to compare, because {error}.") from error


def _name(path: Path, prep: str | None) -> str:
    return f"{path.stem} ({prep})" if prep else path.stem


@contextlib.contextmanager
def _same_images(paths: Sequence[Path], output: Path, options: CompareOptions) -> Iterator[list[FeatureFile]]:
    """Yield files of the same images in A's order: those given, or copies of their common rows."""
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(selected(path, options)) for path in paths]
        for remark in files[0].remarks:
            console.note(remark)
        ids = [file.rows.ids[file.ok] for file in files]
        common = functools.reduce(np.intersect1d, ids)
        for path, own in zip(paths[1:], ids[1:], strict=True):
            agree = len(np.intersect1d(ids[0], own))
            if agree == len(ids[0]) == len(own):
                continue
            if not options.common or not len(common):
                fix = "Take those with --common." if len(common) else "Give files of the same images."
                raise EmbedkitError(
                    f"{paths[0]} and {path}: {agree:,} ids agree, of {len(ids[0]):,} and {len(own):,}. {fix}"
                )
        kept, name = ids[0], None
        if any(len(own) != len(common) for own in ids):
            kept = common
            counts = ", ".join(f"{len(own):,}" for own in ids)
            which = "both" if len(paths) == 2 else f"all {len(paths)}"
            console.note(f"{len(common):,} images are in {which} files, of {counts}.")
            # Results of some rows are of another dataset, never ranked beside those of all.
            digest = hashlib.sha256("\n".join(common.tolist()).encode()).hexdigest()[:8]
            some = f"{files[0].dataset_name} [{len(common)} images of {which} files {digest}]"
            whole = (file.dataset_name for file in files if file.ok.sum() == len(common))
            name = next(whole, some)
        for number, (side, path) in enumerate(zip(sides_of(len(paths)), paths, strict=True)):
            if np.array_equal(ids[number], kept):
                continue
            if len(ids[number]) == len(kept):
                # In A's order, so that the few labels that are drawn are of the same images.
                console.note(
                    f"{path}: the same images as {paths[0]}, in another order; it is read in that of "
                    f"{paths[0].name}."
                )
            copy = _rows_of(
                files[number], kept, output / side / path.name, name or files[number].dataset_name
            )
            files[number] = opened.enter_context(FeatureFile(copy))
        yield files


def _rows_of(file: FeatureFile, ids: Any, path: Path, name: str) -> Path:
    row_of = {name: row for row, name in enumerate(file.rows.ids) if file.ok[row]}
    index = np.array([row_of[name] for name in ids])
    views = file.views
    if views is not None:
        views = Views(views.mean[index], views.within_covariance, views.n_views)
    provenance = file.provenance
    dataset = provenance.get("dataset")
    if isinstance(dataset, Mapping) or name != file.dataset_name:
        dataset = {**(dataset if isinstance(dataset, Mapping) else {}), "name": name}
        provenance = {**provenance, "dataset": dataset}
    # So that what is computed on these rows is found again by who has the file.
    provenance = {**provenance, ROWS_OF: {"sha256": file.sha256}}
    return write_features(path, file.read(index), file.rows.take(index), provenance=provenance, views=views)
