"""The pictures of the page: maps over images, histograms of confidence, curves of removal."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import THUMBNAIL_TYPE, thumbnail
from embedkit.pages.sections import number
from embedkit.pages.svg import BLUE, GREY, ORANGE, Frame, bar, figure, line, text
from reports.attention import coloured, top_of
from reports.cam.study import Shown, Study
from reports.drawing import CHART, CHART_HEIGHT, steps

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
SIDE = 160  # pixels
HEAT = 0.55  # share of the map in a picture of both
N_BINS = 20


def picture(pixels: U8, words: str) -> str:
    """Return an image element of pixels (h, w, 3), which the page holds itself; `words` is escaped HTML."""
    data = base64.b64encode(thumbnail(pixels, SIDE)).decode()
    return f'<img alt="{words}" loading="lazy" src="data:{THUMBNAIL_TYPE};base64,{data}">'


def shown(pixels: U8) -> U8:
    """Return pixels (s, s, 3) at the side of a picture."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def overlay(pixels: U8, heat: F32) -> U8:
    """Lay a map from 0 to 1 over the grey image, both (s, s) -> (SIDE, SIDE, 3): black is nothing."""
    grey = np.asarray(Image.fromarray(shown(pixels)).convert("L"), np.float32)[..., None]
    at_side = np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    mixed = (1 - HEAT) * grey + HEAT * coloured(at_side)
    return mixed.clip(0, 255).astype(np.uint8)


def attended(pixels: U8, attention: F32) -> U8:
    """Lay the attention (rows, columns) of patches over the image."""
    return overlay(pixels, np.minimum(attention / np.float32(top_of(attention)), 1).astype(np.float32))


def histograms(right: F64, wrong: F64) -> str:
    """Draw how sure right and wrong predictions are, each side by its own number, with its median."""
    frame = Frame((54, 30, CHART - 14, CHART_HEIGHT - 42), (0, 1), (0, 1))
    edges = np.linspace(0, 1, N_BINS + 1)
    sides = [(right, BLUE, "right"), (wrong, ORANGE, "wrong")]
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values, *_ in sides]
    top = max(float(np.max(shares)), 1e-9)
    place = Frame(frame.box, (0, 1), (0, top))
    ticks = [(value, f"{100 * value + 0.0:.3g} %") for value, _ in steps(0, top, 4)]
    parts = place.axes(steps(0, 1), ticks)
    bottom = frame.box[3]
    for share, (values, colour, name) in zip(shares, sides, strict=True):
        if not len(values):
            continue
        for j in np.flatnonzero(share).tolist():
            words = f"{name}, {edges[j]:.2f} to {edges[j + 1]:.2f}: {100 * share[j]:.1f} %"
            box = (place.x(edges[j]) + 0.5, place.y(share[j]), place.x(edges[j + 1]) - 0.5, bottom)
            parts.append(bar(box, colour, words, opacity=0.5))
    for i, (values, colour, name) in enumerate(sides):
        if len(values):
            median = float(np.median(values))
            x = place.x(median)
            parts.append(line([(x, frame.box[1]), (x, bottom)], colour, dashed=True))
            anchor = "end" if median > 0.5 else "start"
            words = f"median of {name} ones {number(median, 2)}"
            parts.append(text(x + (-5 if median > 0.5 else 5), 12 + 13 * i, words, anchor=anchor))
    parts.append(text(CHART - 14, CHART_HEIGHT - 6, "probability of the predicted class", anchor="end"))
    return figure(
        CHART, CHART_HEIGHT, parts, words="Confidence of right and of wrong predictions", font_size=12
    )


def curves(lines: Sequence[tuple[str, F64, str, bool]], *, what: str) -> str:
    """Draw means (steps + 1,) of what while more and more is removed; name, values, colour, dashed."""
    frame = Frame((54, 24, CHART - 26, CHART_HEIGHT - 42), (0, 1), (0, 1))
    parts = frame.axes([(v, f"{100 * v + 0.0:.0f} %") for v, _ in steps(0, 1)], steps(0, 1))
    parts += [text(8, 13, what)]
    parts += [text(CHART - 14, CHART_HEIGHT - 6, "share of the image removed", anchor="end")]
    for _, values, colour, dashed in lines:
        across = np.linspace(0, 1, len(values)).tolist()
        points = frame.points(zip(across, values.tolist(), strict=True))
        parts.append(line(points, colour, dashed=dashed, width=2))
    words = f"{what} while pixels are removed: " + ", ".join(name for name, *_ in lines)
    return figure(CHART, CHART_HEIGHT, parts, words=words, font_size=12)


def maps_sentence(study: Study) -> str:
    """Say what stands beside each image, without the last full stop."""
    attention = ", then the attention of the last block, mean over its heads"
    also = "" if study.shown.attention is None else attention
    return (
        f"The image as the network sees it, then Grad-CAM of {study.explained} over the grey image: yellow "
        f"is where most speaks for it{also}. Each map is drawn to its own maximum"
    )


def card(maps: Shown, i: int, name: str, label: str, caption: str) -> str:
    """Return the i-th image with its maps; `caption` is HTML, in which all text is escaped."""
    pixels, heat, label = maps.pixels[i], maps.maps[i], escape(label, quote=True)
    tiles = [picture(shown(pixels), label), picture(overlay(pixels, heat), f"Grad-CAM of {label}")]
    if maps.attention is not None:
        tiles.append(picture(attended(pixels, maps.attention[i]), f"attention of {label}"))
    empty = '<span class="hint">nothing speaks for it here</span>' if not heat.any() else ""
    return (
        f'<figure title="{escape(name, quote=True)}"><div class="tiles">{"".join(tiles)}</div><figcaption>'
        f'{caption}<span class="hint">{escape(name)}</span>{empty}</figcaption></figure>'
    )


__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "attended",
    "card",
    "curves",
    "histograms",
    "overlay",
    "picture",
    "shown",
    "maps_sentence",
]
