"""Options as keywords of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from embedkit.options.declaring import declared, nearest, typed
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
        values = {name: typed(known[name], value) for name, value in given.items() if name in known}
        made = [cls(**{n: v for n, v in values.items() if n in declared(cls)}) for cls in classes]
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
    lines = [f"{one.name}\n    {help_text(one).replace('%%', '%')}" for one in known.values()]
    text = inspect.getdoc(function) or ""
    call.__doc__ = "\n".join([text, "", "Options", "-------", *lines])
    return call


def by_keywords(*classes: type) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorate a function with `keywords`."""
    return lambda function: keywords(function, *classes)
