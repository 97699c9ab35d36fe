"""The pictures of the page: maps over images, histograms of confidence, curves of removal."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import THUMBNAIL_TYPE, thumbnail
from embedkit.pages.svg import Frame, figure, line, steps, text
from reports.attention import coloured, top_of
from reports.cam.study import Shown, Study
from reports.drawing import CHART, CHART_HEIGHT

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
SIDE = 160  # pixels
HEAT = 0.55  # share of the map in a picture of both


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


def tiles(maps: Shown, i: int) -> list[tuple[str, U8]]:
    """Return the i-th image, its map, and its attention if there is any, each (SIDE, SIDE, 3), by name."""
    pixels = maps.pixels[i]
    found = [("image", shown(pixels)), ("Grad-CAM", overlay(pixels, maps.maps[i]))]
    if maps.attention is not None:
        found.append(("attention", attended(pixels, maps.attention[i])))
    return found


def card(maps: Shown, i: int, name: str, label: str, caption: str) -> str:
    """Return the i-th image with its maps; `caption` is HTML, in which all text is escaped."""
    label = escape(label, quote=True)
    (_, image), *more = tiles(maps, i)
    drawn = [picture(image, label)] + [picture(tile, f"{words} of {label}") for words, tile in more]
    empty = "" if maps.maps[i].any() else '<span class="hint">nothing speaks for it here</span>'
    return (
        f'<figure title="{escape(name, quote=True)}"><div class="tiles">{"".join(drawn)}</div><figcaption>'
        f'{caption}<span class="hint">{escape(name)}</span>{empty}</figcaption></figure>'
    )
