"""Options as flags of a command: a parser's, what was given, and the words that say the same."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from embedkit.options.declaring import Declared, declared, flag_of, read_value, read_values

T = TypeVar("T")
_OUTPUT = ("-o", "--output")


def add_flags(
    parser: argparse.ArgumentParser, *classes: type, without: Iterable[str] = (), title: str = ""
) -> None:
    """Give a parser the flags of options dataclasses.

    What is not given leaves no trace in the parsed arguments, so that it is known what was given.

    Parameters
    ----------
    parser
        Of the verb.
    classes
        Dataclasses of options; one that several have is added once.
    without
        Names of options to leave out.
    title
        Heading of those that name no group.
    """
    groups: dict[str, Any] = {"": parser.add_argument_group(title) if title else parser}
    seen = set(without)
    for cls in classes:
        for name, one in declared(cls).items():
            if name in seen:
                continue
            seen.add(name)
            heading = one.option.group
            if heading not in groups:
                groups[heading] = parser.add_argument_group(heading)
            _add_flag(groups[heading], one)


def _add_flag(group: Any, one: Declared) -> None:
    how: dict[str, Any] = {"dest": one.name, "default": argparse.SUPPRESS, "help": help_text(one)}
    if one.off:
        group.add_argument(flag_of(f"no_{one.name}"), action="store_false", **how)
    elif one.type is bool:
        group.add_argument(one.flag, action="store_true", **how)
    else:
        metavar = one.option.metavar
        if metavar is not None and isinstance(one.many, int) and " " in metavar:
            how["metavar"] = tuple(metavar.split())
        elif metavar is not None or one.option.choices is None:
            how["metavar"] = metavar
        # The type's own name stands in argparse's message for a value that it can't read.
        flags = _OUTPUT if one.name == "output" else (one.flag,)
        nargs = None if one.option.separator else one.many
        # Given twice, both count: argparse would forget what the first time named.
        how["action"] = "extend" if nargs == "+" else "store"
        group.add_argument(*flags, nargs=nargs, type=_reader(one), choices=one.option.choices, **how)


def _reader(one: Declared) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return read_values(one, text) if one.option.separator else read_value(one, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return read


def help_text(one: Declared) -> str:
    """Return the line of ``--help``: meaning and default."""
    default = one.option.unset
    if default is None and one.value is not None and one.type is not bool and one.value != ():
        default = _shown(one.value)
    text = one.option.help.replace("%", "%%")
    return f"{text} (default: {default.replace('%', '%%')})" if default else text


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return f"{value}".removesuffix(".0") if isinstance(value, float) else f"{value}"


def from_flags(cls: type[T], args: argparse.Namespace) -> T:
    """Make the dataclass of what was given on the command line."""
    found = {name: getattr(args, name) for name in declared(cls) if hasattr(args, name)}
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in found.items()})


def as_words(*options: Any) -> list[str]:
    """Return the flags of the options that differ from their defaults, as words of a command."""
    words: list[str] = []
    for one, value in ((one, getattr(o, one.name)) for o in options for one in declared(type(o)).values()):
        if value == one.value:
            continue
        if one.type is bool:
            words.append(flag_of(f"no_{one.name}") if one.off else one.flag)
        else:
            texts = [_shown(item) for item in (value if isinstance(value, tuple) else (value,))]
            texts = [one.option.separator.join(texts)] if one.option.separator else texts
            words += _flagged(_OUTPUT[0] if one.name == "output" else one.flag, texts)
    return words


def _flagged(flag: str, texts: list[str]) -> list[str]:
    if len(texts) == 1 and texts[0].startswith("-"):  # argparse takes it for another flag
        return [f"{flag}={texts[0]}" if flag.startswith("--") else f"{flag}{texts[0]}"]
    return [flag, *texts]


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which every verb that finds something has."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
