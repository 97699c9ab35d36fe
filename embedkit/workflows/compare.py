"""Is one feature file better than another, on the same images and splits?"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedkit import console
from embedkit.errors import EmbedkitError
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

SIDES = ("A", "B")


@dataclass(frozen=True, repr=False)
class ComparedFiles(Shown):
    """Two feature files, compared.

    Parameters
    ----------
    files
        A and B.
    preps
        What was done to each first; None where every measure took its own.
    names
        What they are called in the sentences.
    measures
        What they were scored by.
    """

    files: tuple[Path, Path]
    preps: tuple[str | None, str | None]
    names: tuple[str, str]
    measures: tuple[Compared, ...]

    @property
    def title(self) -> str:
        """What is A, what is B, and how many images they share."""
        a, b = self.names
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
        sides = zip(SIDES, self.files, self.preps, strict=True)
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
                {"accuracy": one.name, "a": one.a, "b": one.b, "p_holm": one.p_holm}
                | {name: getattr(one.difference, name) for name in numbers}
                for one in self.measures
            ]
        )

    def _shown(self) -> Parts:
        return self.title, table_rows(self.measures), [self.verdict]


@guarded()
def compare(
    a: str | os.PathLike[str], b: str | os.PathLike[str], options: CompareOptions, places: ComparePlaces
) -> ComparedFiles:
    """Score two feature files of the same images on the same splits, and test the differences.

    Parameters
    ----------
    a, b
        Feature files with labels, of the same images in whatever order.
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
    EmbedkitError
        Other images, no labels, or a file that can't be read.
    """
    _check_outputs(Path(a), Path(b), options, places.output)
    locked = folder_locked(places.output, "comparing")
    with locked, _same_images(Path(a), Path(b), places.output, options) as files:
        _check_classes(*files)
        found = list(_scores(files, options, places.output))
    for name, (of_a, of_b) in found:
        if of_a.rows != of_b.rows:
            raise EmbedkitError(
                f"{a} and {b}: their {name} results are not of the same rows and classes. Extract both from "
                "the same dataset and labels."
            )
    compared = compare_measures({name: [pair] for name, pair in found}, seed=options.seed)
    names = (_name(Path(a), options.preps[0]), _name(Path(b), options.preps[1]))
    names = names if names[0] != names[1] else SIDES
    return ComparedFiles((Path(a), Path(b)), options.preps, names, compared)


def _check_classes(a: FeatureFile, b: FeatureFile) -> None:
    """Refuse files that name no classes, or others for the same images, before anything is computed."""
    named = []
    for file in (a, b):
        labels = file.rows.labels
        if labels is None or (labels[file.ok] < 0).all():
            raise EmbedkitError(
                f"{file.path}: no labels stored, so there is nothing to compare by. Name a table of "
                "them with --labels, extract again from a labelled dataset, or compare by `embedkit quality`."
            )
        names = np.array([*file.rows.class_names, ""], dtype=np.str_)  # -1 is the last
        named.append(names[labels[file.ok]])
    differ = named[0] != named[1]
    if differ.any():
        first = int(np.argmax(differ))
        shown = " and ".join(repr(str(names[first])) if names[first] else "no class" for names in named)
        raise EmbedkitError(
            f"{a.path} and {b.path}: {int(differ.sum()):,} of {len(differ):,} images are of another class in "
            f"the other file, such as {str(a.rows.ids[a.ok][first])!r}: {shown}. Extract both from the same "
            "dataset and labels."
        )


def _check_outputs(a: Path, b: Path, options: CompareOptions, output: Path) -> None:
    """Hold the copies, the split and the results against the files that are read."""
    copies = {output / side / path.name: Writes() for side, path in zip(SIDES, (a, b), strict=True)}
    results = {output / side: FOLDER for side in SIDES}
    check_outputs("-o", {**copies, **results, output / "split.json": Writes(("a split",))}, a, b, options)


def _scores(
    files: Sequence[FeatureFile], options: CompareOptions, output: Path
) -> Iterator[tuple[str, tuple[Outcomes, Outcomes]]]:
    """Yield the outcomes of both files by each measure."""
    given = options.split.endswith(".json")
    split = Path(options.split) if given else output / "split.json"
    # Drawn once and kept by id. Few labels need one set of test rows where folds were asked for.
    kept: dict[str, Any] = {"split": options.split} | ({} if given else {"save_split": split})
    few = {"split": "stratified" if options.split.startswith("kfold") else str(split)}
    for name, (verb, *words) in measures(options).items():
        scored = []
        for side, file, prep in zip(SIDES, files, options.preps, strict=True):
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
        yield name, (scored[0], scored[1])


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
def _same_images(
    a: Path, b: Path, output: Path, options: CompareOptions
) -> Iterator[tuple[FeatureFile, FeatureFile]]:
    """Yield two files of the same images in A's order: those given, or copies of their common rows."""
    with contextlib.ExitStack() as opened:
        first, second = (opened.enter_context(selected(path, options)) for path in (a, b))
        for remark in first.remarks:
            console.note(remark)
        ids = first.rows.ids[first.ok], second.rows.ids[second.ok]
        both = np.intersect1d(*ids)
        if len(both) == len(ids[0]) == len(ids[1]):
            if np.array_equal(*ids):
                yield first, second
                return
            # In A's order, so that the few labels that are drawn are of the same images.
            console.note(f"{b}: the same images as {a}, in another order; it is read in that of {a.name}.")
            copy = _rows_of(second, ids[0], output / "B" / b.name, second.dataset_name)
            yield first, opened.enter_context(FeatureFile(copy))
            return
        if not options.common or not len(both):
            fix = "Take those with --common." if len(both) else "Give two files of the same images."
            raise EmbedkitError(
                f"{a} and {b}: {len(both):,} ids agree, of {len(ids[0]):,} and {len(ids[1]):,}. {fix}"
            )
        console.note(f"{len(both):,} images are in both files, of {len(ids[0]):,} and {len(ids[1]):,}.")
        # Results of some rows are of another dataset, never ranked beside those of all.
        digest = hashlib.sha256("\n".join(both.tolist()).encode()).hexdigest()[:8]
        some = f"{first.dataset_name} [{len(both)} images of both files {digest}]"
        whole = (file.dataset_name for file in (first, second) if file.ok.sum() == len(both))
        name = next(whole, some)
        copies = (
            _rows_of(file, both, output / side / path.name, name)
            for side, file, path in (("A", first, a), ("B", second, b))
        )
        of_a, of_b = (opened.enter_context(FeatureFile(copy)) for copy in copies)
        yield of_a, of_b


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
