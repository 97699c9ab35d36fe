"""Pictures as SVG: a frame with ticks, and lines, dots and words in it; they ask the network for nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

INK, GREY, PALE, BLUE, ORANGE = "#222222", "#808080", "#dddddd", "#1f6fb4", "#c8650a"
Point = tuple[float, float]
# Value and its words.
Tick = tuple[float, str]


@dataclass(frozen=True)
class Frame:
    """A rectangle of the picture, and the values that its sides stand for.

    Parameters
    ----------
    box
        Left, top, right and bottom, in pixels; y grows downwards.
    x_values, y_values
        Values at left and right, at bottom and top. Equal ones place everything in the middle.
    """

    box: tuple[float, float, float, float]
    x_values: tuple[float, float]
    y_values: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the pixel of a value."""
        left, _, right, _ = self.box
        return left + (right - left) * _share(value, self.x_values)

    def y(self, value: float) -> float:
        """Return the pixel of a value."""
        _, top, _, bottom = self.box
        return bottom - (bottom - top) * _share(value, self.y_values)

    def points(self, values: Iterable[Point]) -> list[Point]:
        """Return the pixels of (x, y) values."""
        return [(self.x(x), self.y(y)) for x, y in values]

    def axes(self, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick]) -> list[str]:
        """Draw the left and the lower side with ticks, and a pale line across at each tick of y."""
        left, top, right, bottom = self.box
        parts = []
        for value, words in y_ticks:
            y = self.y(value)
            parts += [line([(left, y), (right, y)], PALE, width=1)]
            parts += [text(left - 7, y + 4, words, anchor="end")]
        for value, words in x_ticks:
            x = self.x(value)
            parts += [line([(x, bottom), (x, bottom + 4)], GREY, width=1)]
            parts += [text(x, bottom + 17, words, anchor="middle")]
        return [*parts, line([(left, top), (left, bottom), (right, bottom)], GREY, width=1)]

    def across(self, value: float) -> str:
        """Draw a dashed line from side to side at a value of y."""
        left, _, right, _ = self.box
        return line([(left, self.y(value)), (right, self.y(value))], GREY, dashed=True)

    def upright(self, value: float) -> str:
        """Draw a dashed line from top to bottom at a value of x."""
        _, top, _, bottom = self.box
        return line([(self.x(value), top), (self.x(value), bottom)], GREY, dashed=True)


def _share(value: float, values: tuple[float, float]) -> float:
    low, high = values
    return (value - low) / (high - low) if high > low else 0.5


def short(value: float) -> str:
    """Write a number for an axis."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


_ROUND = (0.2, 0.5, 1, 2, 5, 10)


def steps(low: float, high: float, n: int = 5) -> list[Tick]:
    """Return about n ticks at round values within the limits."""
    if not high > low:
        return [(low, short(low))]
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    at = next(at for at, one in enumerate(_ROUND) if at >= 2 and raw <= one * power * 1.0000001)
    places: range = range(0)
    while len(places) < 2:  # one tick alone tells no scale; two steps finer always give two
        step = power * _ROUND[at]
        places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        at -= 1
    # Adding 0 makes of -0, which rounding up gives, a plain one.
    return [(place * step, short(round(place * step, 12) + 0.0)) for place in places]


def line(points: Iterable[Point], colour: str, *, dashed: bool = False, width: float = 1.5) -> str:
    """Draw a line through pixels."""
    place = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{place}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}/>'


def dot(place: Point, colour: str, words: str, *, radius: float = 3) -> str:
    """Draw a dot that tells its words to the mouse."""
    where = f'cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:.1f}"'
    return f'<circle {where} fill="{colour}" fill-opacity="0.8"><title>{escape(words)}</title></circle>'


def text(
    x: float, y: float, words: str, *, colour: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    """Write words; `anchor` is ``start``, ``middle`` or ``end``."""
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}"{weight}>{escape(words)}</text>'


def bar(
    box: tuple[float, float, float, float],
    colour: str,
    words: str = "",
    *,
    opacity: float = 1,
    outline: bool = False,
) -> str:
    """Draw a rectangle from left, top, right and bottom, which tells its words to the mouse."""
    left, top, right, bottom = box
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    paint = f'fill="none" stroke="{colour}"' if outline else f'fill="{colour}" fill-opacity="{opacity:.3g}"'
    return f"<rect {place} {paint}>{f'<title>{escape(words)}</title>' if words else ''}</rect>"


def image(box: tuple[float, float, float, float], data: str) -> str:
    """Draw a picture, from left, top, right and bottom; `data` is an address that holds it."""
    left, top, right, bottom = box
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<image {place} href="{escape(data)}"/>'


def shifted(parts: Iterable[str], x: float, y: float) -> str:
    """Move parts by x and y pixels, as one panel of several."""
    return f'<g transform="translate({x:g} {y:g})">{"".join(parts)}</g>'


def picture(width: float, height: float, parts: Iterable[str], *, font_size: float = 12) -> str:
    """Return a self-contained document on white."""
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="{font_size:g}">'
    )
    background = f'<rect width="{width:g}" height="{height:g}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"


def figure(width: float, height: float, parts: Iterable[str], *, words: str, font_size: float = 12) -> str:
    """Return a picture to stand in a page, which gives it its background, and in the dark other inks.

    Parameters
    ----------
    width, height
        Of the picture, in its own pixels; the page makes it narrower where it is.
    words
        What it shows, for those who can't see it.
    """
    size = f'viewBox="0 0 {width:g} {height:g}" style="width:{width:g}px"'
    head = f'<svg class="figure" role="img" aria-label="{escape(words)}" {size} font-size="{font_size:g}">'
    return "".join([head, *parts, "</svg>"])
