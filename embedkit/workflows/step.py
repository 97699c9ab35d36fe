"""One call of a verb: its options as dataclasses, the command that it stands for, and the call itself."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import as_words, declared, from_flags, instances, nearest
from embedkit.verbs import VERBS, target


@dataclass(frozen=True)
class Step:
    """One call of a verb.

    Parameters
    ----------
    verb
        Its name.
    inputs
        What stands before the options: a dataset, a feature file.
    options
        One instance of each of the verb's dataclasses, in their order.
    output
        The file to make, of a verb whose function takes it by position.
    """

    verb: str
    inputs: tuple[str, ...]
    options: tuple[Any, ...]
    output: str = ""

    @classmethod
    def make(cls, verb: str, *inputs: str | Path, where: str = "", **given: Any) -> Step:
        """Make a step of options by name, as a TOML table gives them; None is not given.

        Raises
        ------
        UsageError
            A name that the verb has not, or a value that it does not take; the message begins with `where`.
        """
        classes = _classes(verb)
        known = [name for c in classes for name in declared(c)]
        for name in given:
            if name not in known:
                listed = ", ".join(dict.fromkeys(known))
                raise UsageError(f"{where or verb} knows no {name!r}.{nearest(name, known)} Known: {listed}.")
        try:
            made = instances(classes, {name: value for name, value in given.items() if value is not None})
        except UsageError as error:
            raise UsageError(f"{where}: {error}" if where else f"{error}") from error
        return cls(verb, tuple(map(str, inputs)), tuple(made))

    @classmethod
    def parse(cls, verb: str, inputs: Sequence[str | Path], words: Sequence[str]) -> Step:
        """Make a step of the words of a command.

        Raises
        ------
        UsageError
            Words that the verb does not take.
        """
        parser = argparse.ArgumentParser(
            prog=f"embedkit {verb}", add_help=False, allow_abbrev=False, exit_on_error=False
        )
        target(VERBS[verb].command)(parser)
        texts = tuple(map(str, inputs))
        try:
            args, unknown = parser.parse_known_args([*texts, *words])
        except argparse.ArgumentError as error:
            raise UsageError(f"embedkit {verb} {shlex.join(words)}: {error}") from error
        if unknown:
            raise UsageError(f"embedkit {verb} has no option {unknown[0]!r}.")
        return cls(verb, texts, tuple(from_flags(c, args) for c in _classes(verb)))

    def given(self, **changes: Any) -> Step:
        """Return the step with some options set; raises `UsageError` for a value that it does not take."""
        made = []
        for options in self.options:
            mine = {n: v for n, v in changes.items() if n in declared(type(options))}
            made.append(replace(options, **mine) if mine else options)
        return replace(self, options=tuple(made))

    @property
    def command(self) -> tuple[str, ...]:
        """The words after ``embedkit``."""
        output = ("-o", self.output) if self.output else ()
        return (self.verb, *self.inputs, *as_words(*self.options), *output)

    def __str__(self) -> str:
        return f"embedkit {shlex.join(self.command)}"

    def call(self, *inputs: Any, **extra: Any) -> Any:
        """Do it; returns what the verb does.

        Parameters
        ----------
        inputs
            In place of those in words: an open feature file, say.
        extra
            What the verb's function takes beside its options.
        """
        place = (self.output,) if self.output else ()
        function = target(VERBS[self.verb].function)
        return function(*(inputs or self.inputs), *place, *self.options, **extra)


def _classes(verb: str) -> list[type]:
    return [target(name) for name in VERBS[verb].options]
