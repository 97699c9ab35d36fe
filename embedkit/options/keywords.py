"""Options as keywords of a function."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from embedkit.options.declaring import Declared, declared, instances, nearest
from embedkit.options.flags import help_text

T = TypeVar("T")


def keywords(function: Callable[..., T], *classes: type) -> Callable[..., T]:
    """Make of ``function(*positional, one of each class)`` a function that takes their fields as keywords.

    Its signature and docstring list every option, so that ``help`` and a notebook's completion show them.

    Parameters
    ----------
    function
        Takes its positional arguments, then an instance of each class; keywords of its own stay.
    classes
        Dataclasses of options; of a name that two have, both get the value.

    Raises
    ------
    TypeError
        On a call with a keyword that none of them has; the message names the nearest.
    UsageError
        On a call with a value that its option does not take.
    """
    known = {name: one for cls in classes for name, one in declared(cls).items()}
    every = inspect.signature(function).parameters.values()
    positional = [one for one in every if one.kind in (one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)]
    if positional and positional[-1].kind is not inspect.Parameter.VAR_POSITIONAL:
        positional = positional[: len(positional) - len(classes)]
    extra = [one for one in every if one.kind is one.KEYWORD_ONLY]
    names = {one.name for one in (*positional, *extra)}

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> T:
        for name in given:
            if name not in known and name not in names:
                close = nearest(name, known)
                raise TypeError(f"{function.__name__}() has no option {name!r}.{close}")
        made = instances(classes, {name: value for name, value in given.items() if name in known})
        own = {name: value for name, value in given.items() if name in names}
        bound = inspect.Signature([*positional, *extra]).bind(*args, **own)
        bound.apply_defaults()
        return function(*bound.args, *made, **bound.kwargs)

    parameters = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.value)
        for one in known.values()
    ]
    made: Any = call
    made.__signature__ = inspect.Signature([*positional, *extra, *parameters])
    made.__options__ = classes
    lines = [f"{one.name}\n    {_meaning(one)}" for one in known.values()]
    replaced = {one.name for one in every} - names
    text = _without(inspect.getdoc(function) or "", replaced)
    call.__doc__ = "\n".join([text, "", "Options", "-------", *lines])
    return call


def _meaning(one: Declared) -> str:
    """Return what a keyword means: an option that is on by default has the help of the flag against it."""
    text = help_text(one).replace("%%", "%")
    return f"False: {text}" if one.off else text


def _without(text: str, names: Collection[str]) -> str:
    """Leave those parameters out of a docstring that keywords stand for."""
    head, rule, rest = text.partition("Parameters\n----------\n")
    body, blank, after = rest.partition("\n\n")
    entries = re.split(r"\n(?=\S)", body)
    kept = [one for one in entries if one.partition("\n")[0].split(" :")[0].split(", ")[0] not in names]
    kept_text = "\n".join(kept)
    return head + (rule + kept_text + blank if kept else "") + after


def by_keywords(*classes: type) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorate a function with `keywords`."""
    return lambda function: keywords(function, *classes)
