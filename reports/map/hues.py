"""Which hue a name has: a class keeps its own over all columns of a page."""

from __future__ import annotations

from collections.abc import Iterable

from reports.map.columns import Category

# Okabe & Ito's six that show on white and on black, a brown, a violet, a purple and a sage. Under simulated
# deuteranopia, protanopia and tritanopia any two differ by at least 0.07 in OKLab, and from the greys of what
# has no category.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#953714", "#9B4DFF"),
    *("#780C9C", "#9CB484"),
)
# Of what has no category or number, on white.
MISSING = "#c6cbd3"
# How near the hues of the second and third round are to black and to white.
_SHARE = 0.42
# Viridis, which keeps its order in grey and for every colour vision (van der Walt & Smith 2015).
RAMP = (
    (0.0, "#440154"),
    (0.125, "#472c7a"),
    (0.25, "#3b518b"),
    (0.375, "#2c718e"),
    (0.5, "#21908d"),
    (0.625, "#27ad81"),
    (0.75, "#5cc863"),
    (0.875, "#aadc32"),
    (1.0, "#fde725"),
)
# Of what goes round, as an angle: blue, green, orange, purple, and blue again.
CYCLE = ((0.0, "#0072B2"), (0.25, "#009E73"), (0.5, "#E69F00"), (0.75, "#CC79A7"), (1.0, "#0072B2"))


def hues(columns: Iterable[Category]) -> dict[str, tuple[int, ...]]:
    """Number the hues of every column's categories.

    Categories of one name have one hue in every column, and what a category stands for (`Category.alike`)
    counts as its name. Clusters that stand for nothing take the hues that their column leaves free: cluster 3
    of one clustering is not cluster 3 of another.

    Parameters
    ----------
    columns
        The labels first: their classes take the first hues, in order.

    Returns
    -------
    dict
        Key of a column to the numbers of its categories' hues.
    """
    known: dict[str, int] = {}
    found: dict[str, tuple[int, ...]] = {}
    for column in columns:
        names = [alike or name for alike, name in zip(column.alike, column.names, strict=True)]
        own = [bool(alike) for alike in column.alike]
        numbers: list[int | None] = [known.get(name) for name in names]
        if column.section == "Clusterings":
            numbers = [number if mine else None for number, mine in zip(numbers, own, strict=True)]
        used = {number for number in numbers if number is not None}
        free = (number for number in range(len(known) + 2 * len(names) + 1) if number not in used)
        settled = tuple(next(free) if number is None else number for number in numbers)
        if column.section != "Clusterings":
            known |= dict(zip(names, settled, strict=True))
        found[column.key] = settled
    return found


def colour(number: int) -> str:
    """Return a hue on white: ten, then the same darker, then paler ones, as the page has them."""
    base = PALETTE[number % len(PALETTE)]
    around = number // len(PALETTE) % 3
    if not around:
        return base
    other = 0 if around == 1 else 255
    parts = (int(base[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{int(part * (1 - _SHARE) + other * _SHARE + 0.5):02x}" for part in parts)
