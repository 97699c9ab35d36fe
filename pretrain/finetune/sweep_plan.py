"""What a sweep trains: a recipe several times, with one key at several values; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import declared, nearest, typed
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.recipe import HeadSpec, Recipe

BATCH_SIZE = "batch_size"
# Keys that leave the images, their labels and the start as they are; those of phases change every phase.
OF_RECIPE = (
    "optimiser",
    "weight_decay",
    "clip_grad",
    "layer_decay",
    "label_smoothing",
    "class_weight",
    "keep",
)
OF_HEAD = ("dropout",)
OF_PHASES = ("lr", "head_lr", "end_lr", "warmup_epochs", "epochs", "stop_after")
KEYS = (BATCH_SIZE, *OF_RECIPE, *OF_HEAD, *OF_PHASES)
FIX = f"Give a key and two values or more, such as {BATCH_SIZE}=16,32,64,128."


@dataclass(frozen=True)
class Sweep:
    """One key, and its values as they were written.

    Parameters
    ----------
    key
        One of `KEYS`.
    values
        Two or more, each once.
    """

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read ``batch_size=16,32``; raises ``ValueError`` with what to give."""
        key, equals, values = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(FIX.rstrip("."))
        if key not in KEYS:
            raise ValueError(f"no key {key[:40]!r} to sweep.{nearest(key, KEYS)} Known: {', '.join(KEYS)}")
        found = tuple(value.strip() for value in values.split(","))
        if len(found) < 2 or not all(found):
            raise ValueError(FIX.rstrip("."))
        made = cls(key, found)
        read = [made._value(value) for value in found]
        twice = next((value for i, value in enumerate(found) if read[i] in read[:i]), None)
        if twice is not None:
            raise ValueError(f"{twice} stands there twice. Give each value once")
        return made

    def recipe(self, recipe: Recipe, value: str) -> Recipe:
        """Return a recipe with the key at a value; raises `UsageError`, which names both."""
        given: dict[str, Any] = {self.key: self._value(value)}
        try:
            if self.key == BATCH_SIZE:
                return replace(recipe, batch_plan=str(given[self.key]))
            if self.key in OF_HEAD:
                return replace(recipe, head=replace(recipe.head, **given))
            if self.key in OF_PHASES:
                return replace(recipe, phases=tuple(replace(phase, **given) for phase in recipe.phases))
            return replace(recipe, **given)
        except UsageError as error:
            raise UsageError(f"--sweep, {self.key} = {value}: {error}") from error

    def _value(self, text: str) -> Any:
        if self.key == BATCH_SIZE:
            if not (text.isascii() and text.isdigit() and 0 < int(text[:12]) <= 10**6):
                raise ValueError(f"{text[:40]!r} is no number of images. {FIX.rstrip('.')}")
            return int(text)
        home = HeadSpec if self.key in OF_HEAD else Phase if self.key in OF_PHASES else Recipe
        try:
            return typed(declared(home)[self.key], text)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from error
