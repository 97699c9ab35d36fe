"""What a call writes, held against all that it reads, before it does anything."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from embedkit.errors import UsageError
from embedkit.files.endings import IMAGE_ENDINGS
from embedkit.files.kinds import EMPTY, FEATURE_SET, KINDS, TEXT, kind_of
from embedkit.files.lengths import too_long
from embedkit.files.regular import check_folder, other_kind, resolved
from embedkit.files.remote import Address, is_address
from embedkit.options import READS, RESULTS, Declared, Reads, Writes, declared

# Arguments that name images.
DATASETS = ("dataset", "datasets")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A path that a call names.

    Parameters
    ----------
    name
        The option, or what stands before the options.
    path
        As given.
    how
        Whether it is read, or what is written there.
    """

    name: str
    path: Path
    how: Reads | Writes

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


def guarded(places: type | None = None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a verb's function hold its outputs against its inputs before it does anything; see `check_places`.

    Every positional argument is read but `output`, which is declared in `places`; options say it themselves.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check_places(list(_of_arguments(bound.arguments, places)))
            return function(*args, **kwargs)

        call.__dict__["guarded"] = True
        return call

    return decorate


def _of_arguments(arguments: Mapping[str, Any], places: type | None) -> Iterator[Place]:
    for name, value in arguments.items():
        if is_dataclass(value) and declared(type(value)):
            yield from places_of(value)
        elif name == "output" and places is not None:
            yield from _places(declared(places)[name], value)
        else:
            yield from (Place(name, path, READS) for path in paths_in(value))


def places_of(*options: Any) -> Iterator[Place]:
    """Yield the places that options name."""
    for one in options:
        for name, option in declared(type(one)).items():
            yield from _places(option, getattr(one, name))


def of_command(given: Mapping[str, Any], classes: Iterable[type]) -> Iterator[Place]:
    """Yield the places of a parsed command: `given` by name, its options declared in `classes`."""
    options = {name: one for cls in classes for name, one in declared(cls).items()}
    for name, one in options.items():
        yield from _places(one, given.get(name, one.value))
    for name in given:
        if name not in options:
            yield from (Place(name, path, READS) for path in paths_in(given[name]))


def _places(one: Declared, value: Any) -> Iterator[Place]:
    if one.option.place is not None:
        flag = "-o" if one.name == "output" else one.flag
        yield from (Place(flag, path, one.option.place) for path in paths_in(value))


def paths_in(value: Any) -> Iterator[Path]:
    """Yield the paths that an argument names: itself, of an open file or dataset, or of several."""
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value).removeprefix("local-dir:")
        if text and "\0" not in text:
            yield Address(text) if is_address(text) else Path(text)
    elif isinstance(value, Mapping):
        for key in ("source", "path", "root", "weights", "adapter", "name"):
            yield from paths_in(value.get(key))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from paths_in(one)
    elif isinstance(getattr(value, "origin", None), Mapping):  # a dataset
        yield from paths_in(value.origin)
    elif isinstance(getattr(value, "path", None), Path):  # a feature file
        yield value.path


def check_places(places: Iterable[Place]) -> None:
    """Refuse an output that would destroy an input, another output, or a file of another kind.

    Files are the same by their resolved paths, and by device and inode: links of both kinds and another
    spelling on a file system that takes no notice of case are one file.

    Raises
    ------
    UsageError
        The message names both options.
    """
    every = list(places)
    inputs = list({place.path: place for place in every if isinstance(place.how, Reads)}.values())
    outputs = [one for place in every for one in _files(place)]
    for output in outputs:
        _check_way(output, every)
        for other in inputs:
            _check_input(output, other)
    for output in outputs:
        for other in inputs:
            _check_folders(output, other)
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            folders = [each.how for each in (one, other) if isinstance(each.how, Writes) and each.how.folder]
            if one.name != other.name and len(folders) < 2 and _same(one.path, other.path, fold=True):
                raise UsageError(f"{one} and {other}: one would replace the other. Name two files.")
    for output in outputs:
        _check_kind(output, inputs)


def check_outputs(name: str, outputs: Mapping[Path, Writes], *inputs: Any) -> None:
    """Hold outputs that a verb names itself against what it reads; see `check_places`.

    Parameters
    ----------
    name
        What the outputs follow from, such as ``-o``.
    outputs
        Each with what it is written as.
    inputs
        Paths, open files, datasets, or options that name some.
    """
    places = [Place(name, path, how) for path, how in outputs.items()]
    for one in inputs:
        found = places_of(one) if is_dataclass(one) and declared(type(one)) else ()
        places += [place for place in found if isinstance(place.how, Reads)]
        places += [Place("reading", path, READS) for path in paths_in(one)]
    check_places(places)


def _files(place: Place) -> Iterator[Place]:
    """Yield the files that are written, each as a place; of a folder those with names of their own."""
    how, path = place.how, place.path
    if isinstance(how, Reads):
        return
    if path.suffix in how.file_endings and not path.is_dir():
        yield Place(place.name, path, Writes(how.kinds))
    elif not how.folder and not (how.kinds == ("a saved clustering",) and path.is_dir()):
        yield place
    else:
        below = {name.partition("/")[0]: None for name in how.makes if "/" in name}
        own = (*below, *how.folders)
        yield Place(place.name, path, Writes(folder=True, folders=own, emptied=how.emptied))
        for name in how.makes:
            kinds = ("results", TEXT) if name in RESULTS else ()
            yield Place(place.name, path / name, Writes(kinds))


def _check_way(output: Place, every: Iterable[Place]) -> None:
    """Refuse an output that no file or folder can be made at."""
    path, how = output.path, output.how
    assert isinstance(how, Writes)
    if not isinstance(path, Address) and (said := too_long(path)) is not None:
        raise UsageError(f"{output}: {said}")
    kind = other_kind(path)
    if how.folder:
        if _exists(path) and kind != "a folder":
            of_input = [one for one in every if one.how is READS and _same(path, one.path)]
            read = f" but the file that is read ({of_input[0]})" if of_input else ""
            raise UsageError(f"{output} is no folder{read}. Name a folder for what is written.")
    elif kind == "a folder":
        if FEATURE_SET in how.kinds and _is_feature_set(path):
            return
        raise UsageError(f"{output}: is a folder. Name a file, such as one in it.")
    elif kind is not None:
        raise UsageError(f"{output}: {kind} is there, which no output replaces. Name a file.")
    for folder in resolved(path).parents:
        if _exists(folder):
            if not folder.is_dir():
                raise UsageError(f"{output}: {folder} is a file, not a folder. Name another place.")
            break
    # A feature file that is there already may be all that is asked for.
    if not isinstance(path, Address) and not _is_feature_file(how):
        check_folder(path if how.folder else resolved(path).parent)


def _check_input(output: Place, other: Place) -> None:
    how = output.how
    assert isinstance(how, Writes)
    if how.emptied and (_same(output.path, other.path) or _holds(output.path, other.path)):
        raise UsageError(f"{output} is emptied in the end, and read ({other}). Give another {output.name}.")
    if how.folder and other.name in DATASETS and other.path.is_dir() and _same(output.path, other.path):
        raise UsageError(
            f"{output} is the folder of the images that are read: what is written would stand among them, "
            "and be read as some of them the next time. Name another folder."
        )
    if not how.folder and _same(output.path, other.path):
        raise UsageError(
            f"{output} is the file that is read ({other}), which would be lost. Name another file."
        )
    if _holds(other.path, output.path) and _among_pictures(output.path, other.path):
        raise UsageError(
            f"{output} would be one of the images that are read ({other}). Name a file elsewhere."
        )


def _check_folders(output: Place, other: Place) -> None:
    assert isinstance(output.how, Writes)
    if inside := _inside(output.path, output.how.folders, other.path):
        raise UsageError(
            f"{output} writes {inside}, where what is read ({other}) would be lost. Name another folder."
        )


def _inside(folder: Path, patterns: Iterable[str], path: Path) -> Path | None:
    """Return which of the folders in a folder, by their patterns, is a path or holds it; None for none."""
    patterns = tuple(patterns)
    if not patterns or not _exists(path) or not _holds(folder, path):
        return None
    first = resolved(path).relative_to(resolved(folder)).parts[0]
    return folder / first if any(fnmatchcase(first, one) for one in patterns) else None


def _among_pictures(path: Path, read: Path) -> bool:
    """Whether it is a picture by its name, in the folder that is read or beside one in a folder below."""
    if path.suffix.lower() not in IMAGE_ENDINGS:
        return False
    folder = path.parent
    if _same(folder, read):
        return True
    beside = folder.iterdir() if folder.is_dir() else ()
    return any(one.suffix.lower() in IMAGE_ENDINGS for one in beside)


def _check_kind(output: Place, inputs: Iterable[Place]) -> None:
    """Refuse to replace what embedkit can't have written there."""
    how = output.how
    if not isinstance(how, Writes) or how.folder or not how.kinds or not _exists(output.path):
        return
    try:
        found = kind_of(output.path)
    except OSError:  # whoever writes there says what is wrong
        return
    if found in (*how.kinds, EMPTY):
        return
    read = next((f", in {one}, which is read" for one in inputs if _holds(one.path, output.path)), "")
    article = "" if found in KINDS else "a table of "
    raise UsageError(
        f"{output}: {article}{found} is there{read}, and would be replaced by {how.kinds[0]}. Name another "
        "file, or delete it first."
    )


def _is_feature_file(how: Writes) -> bool:
    return FEATURE_SET in how.kinds or "a feature file" in how.kinds


def _is_feature_set(folder: Path) -> bool:
    from embedkit.files.feature_set import is_nothing_else  # waits for HDF5

    return is_nothing_else(folder)


def _holds(folder: Path, path: Path) -> bool:
    return folder.is_dir() and resolved(folder) in resolved(path).parents


def _same(a: Path, b: Path, *, fold: bool = False) -> bool:
    """Whether two paths are one file; with `fold`, also where only the case of letters differs."""
    of_a, of_b = resolved(a), resolved(b)
    if of_a == of_b or (fold and str(of_a).casefold() == str(of_b).casefold()):
        return True
    try:
        return a.samefile(b)
    except OSError:  # one of them is not there
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False
