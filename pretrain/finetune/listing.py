"""Which recipes there are, and what one of them says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedkit.files.showing import Parts, Shown, data_frame
from pretrain.finetune.recipe import RECIPES, Recipe, read_recipe, recipe_text

FIX = "A copy to change: embedkit recipes NAME > mine.toml."


@dataclass(frozen=True)
class ListedRecipe:
    """One recipe in short.

    Parameters
    ----------
    name
        As it was asked for: a name, or a file.
    about
        What it trains, in one sentence.
    backbone
        The network.
    trains
        What of it, phase by phase.
    published
        What the report reached; empty where there is none.
    source
        The report.
    toml
        The whole text, comments and all.
    """

    name: str
    about: str
    backbone: str
    trains: str
    published: str
    source: str
    toml: str


@dataclass(frozen=True, repr=False)
class Recipes(Shown):
    """What `recipes` lists.

    Parameters
    ----------
    listed
        Each recipe in short, with its text.
    """

    listed: tuple[ListedRecipe, ...]

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[ListedRecipe]:
        return iter(self.listed)

    def __getitem__(self, index: int) -> ListedRecipe:
        return self.listed[index]

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each recipe."""
        return data_frame([asdict(one) for one in self.listed])

    def rows(self) -> list[dict[str, str]]:
        """Return what the table of the command shows."""
        return [
            {
                "recipe": one.name,
                "backbone": one.backbone,
                "trains": one.trains,
                "published": one.published,
            }
            for one in self.listed
        ]

    def _shown(self) -> Parts:
        return "embedkit recipes", self.rows(), (FIX,)


def recipes(name: str | Path | None = None) -> Recipes:
    """List the recipes of training with labels, or read one of them.

    Parameters
    ----------
    name
        A recipe, or a TOML file of one's own, which is read and checked. By default all that come with
        embedkit.

    Raises
    ------
    UsageError
        No such recipe, or a file with something in it that is none of a recipe's.
    """
    return Recipes(tuple(_listed(str(one)) for one in (RECIPES if name is None else (name,))))


def _listed(name: str) -> ListedRecipe:
    recipe = read_recipe(name)
    published = recipe.published.sentence() if recipe.published else ""
    return ListedRecipe(
        name, recipe.about, recipe.backbone, _trains(recipe), published, recipe.source, recipe_text(name)
    )


def _trains(recipe: Recipe) -> str:
    """Say what trains in each phase; of several phases that train the same, once."""
    parts = dict.fromkeys(phase.train for phase in recipe.phases)
    start = "random weights: " if recipe.weights == "random" else ""
    again = f" ({len(recipe.phases)} phases)" if len(parts) < len(recipe.phases) else ""
    return start + ", then ".join(parts) + again
