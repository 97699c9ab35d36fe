"""What an option says of itself, and values held against it."""

from __future__ import annotations

import difflib
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from embedkit.errors import UsageError
from embedkit.options.places import Reads, Writes

_KEY = "option"
T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """What a field of an options dataclass says of itself.

    Parameters
    ----------
    help
        One line: the meaning, which is the same for every verb that has the flag.
    flag
        On the command line; by default the field's name after two dashes.
    metavar
        What its value is called in ``--help``.
    choices
        Words that it takes, if it takes only some.
    least, most
        Bounds of a number, themselves allowed.
    above, below
        Bounds of a number, themselves not allowed.
    words
        Words that a number may be replaced by, such as ``auto``.
    read
        Text of the command line to value, where the type does not say enough; raises ``ValueError`` with
        what to give instead.
    separator
        What stands between several values where the command line takes them as one word.
    unset
        What None stands for, in words.
    tables
        Whether a value may be a table of names to values, from Python and TOML.
    group
        Heading in ``--help``.
    place
        Whether it names a place that is read, or what is written there; every ``Path`` says so.
    """

    help: str
    flag: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    separator: str = ""
    unset: str | None = None
    tables: bool = False
    group: str = ""
    place: Reads | Writes | None = None


@dataclass(frozen=True)
class Declared:
    """One option of a dataclass, resolved.

    Parameters
    ----------
    name
        Of the field, the Python keyword and the TOML key.
    option
        What it says of itself.
    type
        ``int``, ``float``, ``str``, ``bool`` or ``Path``, of one value.
    many
        None for one value, ``+`` for one or more, a number for that many.
    value
        The default.
    optional
        Whether None is a value.
    """

    name: str
    option: Option
    type: type
    many: str | int | None
    value: Any
    optional: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return self.option.flag or flag_of(self.name)

    @property
    def off(self) -> bool:
        """Whether its flag turns something off that is on by default."""
        return self.type is bool and self.value is True


def option(value: Any, help: str, **how: Any) -> Any:
    """Declare a field of an options dataclass: its default, its help, and what else `Option` knows."""
    made: Any = field(default=value, metadata={_KEY: Option(help, **how)})
    return made


def as_in(cls: type, name: str, value: Any) -> Any:
    """Declare a field as another dataclass has it, with another default."""
    made: Any = field(default=value, metadata={_KEY: declared(cls)[name].option})
    return made


def flag_of(name: str) -> str:
    """Return the flag that a field has unless it names another: ``-k``, ``--n-init``."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


_DECLARED: dict[type, dict[str, Declared]] = {}


def declared(cls: type) -> dict[str, Declared]:
    """Return the options of a dataclass by name; fields that were not made by `option` are none."""
    if cls not in _DECLARED:
        _DECLARED[cls] = _declare(cls)
    return _DECLARED[cls]


def _declare(cls: Any) -> dict[str, Declared]:
    hints = typing.get_type_hints(cls)
    return {one.name: _resolve(one, hints[one.name]) for one in fields(cls) if _KEY in one.metadata}


def _resolve(one: Field[Any], hint: Any) -> Declared:
    found: Option = one.metadata[_KEY]
    every = _alternatives(hint)
    kinds = [kind for kind in every if kind is not type(None)]
    many: str | int | None = None
    for kind in kinds:
        if typing.get_origin(kind) is tuple:
            inside = typing.get_args(kind)
            many = "+" if inside[-1] is ... else len(inside)
            kinds = [inside[0]]
            break
    # `int | str` is a number that some words may stand for.
    kind = next((kind for kind in (bool, int, float, Path, str) if kind in kinds), str)
    value = None if one.default is MISSING else one.default
    return Declared(one.name, found, kind, many, value, type(None) in every)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def from_mapping(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """Make the dataclass of the keys of a table, as TOML gives them.

    Raises
    ------
    UsageError
        A key that no option has, or a value of the wrong type; the message names `where` and the nearest.
    """
    known = declared(cls)
    for key in given:
        if key not in known:
            raise UsageError(f"{where} knows no {key!r}.{nearest(key, known)} Known: {', '.join(known)}.")
    try:
        return cls(**{key: typed(known[key], value) for key, value in given.items()})
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def instances(classes: Sequence[type], given: Mapping[str, Any]) -> list[Any]:
    """Make one instance of each class of options by name; of a name that two have, both get the value.

    Raises
    ------
    UsageError
        A value that its option does not take.
    """
    known = {name: one for cls in classes for name, one in declared(cls).items()}
    values = {name: typed(known[name], value) for name, value in given.items()}
    return [cls(**{n: v for n, v in values.items() if n in declared(cls)}) for cls in classes]


def typed(one: Declared, value: Any) -> Any:
    """Return a value of a table or a keyword as its option's type.

    Raises
    ------
    UsageError
        It has another one, or is None where the option has no such value.
    """
    if value is None and one.optional:
        return None
    if isinstance(value, (list, tuple)):
        if one.many is None:
            raise UsageError(f"{one.name} = {value!r}: {_wanted(one)}, not a list.")
        if one.many not in ("+", len(value)):
            raise UsageError(f"{one.name} = {value!r}: give {one.many} values.")
        return tuple(_typed(one, item) for item in value)
    if one.option.separator and isinstance(value, str):
        try:
            return read_values(one, value)
        except ValueError as error:
            raise UsageError(f"{one.name} = {value!r}: {error}.") from None
    if isinstance(one.many, int):
        raise UsageError(f"{one.name} = {value!r}: give {one.many} values.")
    return (_typed(one, value),) if one.many == "+" else _typed(one, value)


def _typed(one: Declared, value: Any) -> Any:
    if one.option.tables and isinstance(value, Mapping):
        return value
    # A file's reader, a number read as text: what the command line would make of the same word.
    if one.option.read is None and isinstance(value, one.type) and not _is_bool(value, one):
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, (int, float)):  # numpy's, as of a loop
        value = value.item() if hasattr(value, "item") else float(value)
    if one.type is not bool and isinstance(value, (str, int, float, Path)) and not isinstance(value, bool):
        try:
            return read_value(one, str(value))
        except ValueError as error:
            raise UsageError(f"{one.name} = {value!r}: {error}.") from None
    raise UsageError(f"{one.name} = {value!r}: {_wanted(one)}.")


def _is_bool(value: Any, one: Declared) -> bool:
    return isinstance(value, bool) and one.type is not bool


def read_value(one: Declared, text: str) -> Any:
    """Return the value that a word of the command line stands for; raises ``ValueError``."""
    if one.option.read is not None:
        return one.option.read(text)
    if text in one.option.words:
        return text
    if one.type in (int, float):
        try:
            return one.type(text)
        except ValueError:
            raise ValueError(_wanted(one)) from None
    return one.type(text)


def read_values(one: Declared, text: str) -> tuple[Any, ...]:
    """Return the values that one word stands for, between separators; raises ``ValueError``."""
    words = [word.strip() for word in text.split(one.option.separator)]
    if "" in words or one.many not in ("+", len(words)):
        raise ValueError(_wanted(one))
    return tuple(read_value(one, word) for word in words)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'k'?`` for the known word that is nearest, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check(options: Any) -> None:
    """Hold every option of a dataclass against its choices and bounds; for its ``__post_init__``.

    Raises
    ------
    UsageError
        One that is out of them; the message names its flag.
    """
    for name, one in declared(type(options)).items():
        value = getattr(options, name)
        for item in value if isinstance(value, tuple) else (value,):
            if item is not None and one.type is not bool:
                _check(one, item)


def _check(one: Declared, value: Any) -> None:
    how = one.option
    if how.choices is not None and value not in how.choices:
        close = nearest(str(value), how.choices)
        raise UsageError(f"{one.flag} {value}: unknown.{close} Give one of {', '.join(how.choices)}.")
    if how.read is not None and isinstance(value, str):
        try:
            how.read(value)
        except ValueError as error:
            raise UsageError(f"{one.flag} {value}: {error}.") from None
    if one.type not in (int, float) or value in how.words:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or (one.type is int and value != int(value)) or not _within(how, value):
        shown = f"{value:g}" if isinstance(value, float) else value
        raise UsageError(f"{one.flag} {shown}: {_wanted(one)}.")


def _within(how: Option, value: float) -> bool:
    return (
        (how.least is None or value >= how.least)
        and (how.most is None or value <= how.most)
        and (how.above is None or value > how.above)
        and (how.below is None or value < how.below)
    )


def _wanted(one: Declared) -> str:
    """Say what to give: ``give an integer of at least 1, or auto``."""
    how = one.option
    if one.type is bool:
        return "give true or false"
    if how.separator:
        return f"give {how.metavar}"
    kind = {int: "an integer", float: "a number", Path: "a path"}.get(one.type, "a word")
    bounds = [
        f"{words} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for words, bound in (
            ("of at least", how.least),
            ("above", how.above),
            ("of at most", how.most),
            ("below", how.below),
        )
        if bound is not None
    ]
    text = " ".join([f"give {kind}", " and ".join(bounds)] if bounds else [f"give {kind}"])
    return ", or ".join([text, *how.words])


def asked(*options: Any) -> list[str]:
    """Return the names of the options that differ from their defaults."""
    return [name for o in options for name, one in declared(type(o)).items() if getattr(o, name) != one.value]
