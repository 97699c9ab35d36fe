"""How the ten Galaxy10 DECaLS kinds of galaxy are drawn, pixel by pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.galaxy10 import DECALS

CLASS_NAMES = DECALS.class_names

# Part of the fingerprint: raise it when the same (seed, row) gives other pixels.
DRAWING_VERSION = 1


_PATCHES = 40

_Image = NDArray[Any]  # (size, size) float32
Drawn = dict[str, float]  # what was drawn of a galaxy, by name


def draw(kind: int, *, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one galaxy.

    Lengths are in units of the image side, the galaxy at a random place near the centre. Light is drawn in
    two layers, old (yellow) and young (blue) stars, blurred by the seeing, given noise, and shown through
    the asinh stretch of survey images (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    kind
        Index into `CLASS_NAMES`.
    size
        Pixels a side.
    rng
        Where everything random comes from.

    Returns
    -------
    (size, size, 3) uint8
    """
    (old, young), _ = _galaxy(kind, size, rng)
    _add_neighbours(old, young, rng)
    blur = _blur(size, round(float(rng.uniform(0.0085, 0.013)) * size, 2))
    light = np.stack([old, young])
    light = blur @ light @ blur
    colours = np.array([[1.0, 0.78, 0.5], [0.7, 0.86, 1.0]], dtype=np.float32)
    rgb = np.einsum("lhw,lc->hwc", light * np.float32(rng.uniform(0.7, 1.3)), colours)
    noise = rng.standard_normal(rgb.shape, dtype=np.float32)
    rgb += noise * np.sqrt(np.float32(rng.uniform(0.012, 0.025) ** 2) + 0.0015 * np.abs(rgb))
    intensity = np.maximum(rgb.mean(axis=2, keepdims=True), 1e-4)
    stretch = np.arcsinh(intensity * 10) / np.float32(np.arcsinh(22.0)) / intensity
    pixels: NDArray[np.uint8] = (np.clip(rgb * stretch + 0.03, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels


def parameters(kind: int, rng: np.random.Generator) -> Drawn:
    """Return what `draw` would draw of a galaxy, by name, from the same `rng`.

    No draw of a galaxy itself depends on the size of the image, so the smallest will do.
    """
    return _galaxy(kind, 2, rng)[1]


def _galaxy(kind: int, size: int, rng: np.random.Generator) -> tuple[list[_Image], Drawn]:
    x, y = _grid(size)
    shift = rng.normal(0, 0.01, 2)
    x, y = x - np.float32(shift[0]), y - np.float32(shift[1])
    scale = rng.uniform(0.85, 1.25)
    x, y = x / np.float32(scale), y / np.float32(scale)
    drawn: Drawn = {}
    return _KINDS[kind](*_turned(x, y, rng.uniform(0, 2 * np.pi)), rng, drawn), drawn


def _grid(size: int) -> tuple[_Image, _Image]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(axis, axis)
    return x, y


@lru_cache(maxsize=64)
def _blur(size: int, sigma: float) -> _Image:
    # Gaussian seeing as a symmetric matrix for each side: at these sizes two products beat any filter.
    pixels = np.arange(size)
    matrix = np.exp(-((pixels[:, None] - pixels) ** 2) / (2 * max(sigma, 0.6) ** 2))
    blur: _Image = (matrix / matrix.sum(axis=1).max()).astype(np.float32)
    return blur


def _turned(x: _Image, y: _Image, angle: float) -> tuple[_Image, _Image]:
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _sersic(x: _Image, y: _Image, *, radius: float, index: float, axis_ratio: float) -> _Image:
    """Sersic profile of unit brightness at the effective radius (Ciotti & Bertin 1999 for b)."""
    b = 2 * index - 1 / 3 + 0.009876 / index
    r2 = (x * x + (y / np.float32(axis_ratio)) ** 2) / np.float32(radius**2)
    # The softening of 0.04 radii keeps the cusp of high indices finite.
    profile: _Image = np.exp(np.float32(-b) * ((r2 + np.float32(0.0016)) ** np.float32(0.5 / index) - 1))
    return profile


def _polar(x: _Image, y: _Image) -> tuple[_Image, _Image]:
    return np.sqrt(x * x + y * y), np.arctan2(y, x)


def _smooth(
    x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn, *, axis_ratio: tuple[float, float]
) -> list[_Image]:
    q = drawn["axis_ratio"] = rng.uniform(*axis_ratio)
    radius = rng.uniform(0.07, 0.1) / np.sqrt(q)
    old = 0.45 * _sersic(x, y, radius=radius, index=rng.uniform(2, 4.5), axis_ratio=q)
    return [old, 0.12 * old]


def _round(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _smooth(x, y, rng, drawn, axis_ratio=(0.88, 1.0))


def _between(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _smooth(x, y, rng, drawn, axis_ratio=(0.5, 0.75))


def _cigar(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    q = drawn["axis_ratio"] = rng.uniform(0.24, 0.36)
    old = 0.5 * _sersic(x, y, radius=rng.uniform(0.12, 0.16), index=rng.uniform(1.3, 2), axis_ratio=q)
    return [old, 0.15 * old]


def _spiral(
    x: _Image,
    y: _Image,
    rng: np.random.Generator,
    drawn: Drawn,
    *,
    pitch: tuple[float, float],
    barred: bool,
) -> list[_Image]:
    """Exponential disc with logarithmic arms of either handedness, clumps along them, bulge and bar."""
    tilt = drawn["axis_ratio"] = rng.uniform(0.62, 1.0)
    hand = rng.choice([-1.0, 1.0])
    n_arms = drawn["n_arms"] = int(rng.choice([2, 2, 2, 3]))
    degrees = drawn["pitch"] = rng.uniform(*pitch)
    tangent = np.tan(np.radians(degrees))
    length = rng.uniform(0.1, 0.125)
    r, angle = _polar(x, y / np.float32(tilt))
    start = rng.uniform(0.09, 0.12) if barred else 0.03
    disc = np.exp(-r / np.float32(length))
    # Small waves in the winding make arms that no compass has drawn.
    wave = 0.25 * np.sin(r * np.float32(rng.uniform(20, 45)) + np.float32(rng.uniform(0, 6.3)))
    winding = np.log((r + np.float32(0.004)) / np.float32(start)) / np.float32(tangent)
    phase = np.cos(np.float32(n_arms) * (angle - np.float32(hand) * winding) + wave)
    onset = 1 / (1 + np.exp((np.float32(start) - r) / np.float32(0.012)))
    fade = 1 / (1 + np.exp((r - np.float32(rng.uniform(0.3, 0.38))) / np.float32(0.03)))
    arms = (
        np.exp(np.float32(rng.uniform(1.8, 2.6)) * (phase - 1))
        * onset
        * fade
        * np.exp(-r / np.float32(1.8 * length))
    )
    clumps = np.exp(np.float32(0.45) * _patchy(x, rng))
    old = 0.6 * disc + 0.3 * arms
    young = 0.3 * disc + 1.5 * arms * clumps
    bulge = drawn["bulge"] = rng.uniform(0.5, 1.0)
    old += bulge * _sersic(x, y, radius=rng.uniform(0.022, 0.035), index=1.5, axis_ratio=0.95)
    if barred:
        across = rng.uniform(0.26, 0.34)
        # A boxy ellipse of even brightness with a soft end, along the line where the arms begin.
        m4 = np.minimum((x / np.float32(start)) ** 4 + (y / np.float32(across * start)) ** 4, 20)
        old += 1.5 / (1 + np.exp((m4 - 1) * np.float32(2.5)))
    return [old, young]


def _barred_spiral(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _spiral(x, y, rng, drawn, pitch=(16, 26), barred=True)


def _tight_spiral(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _spiral(x, y, rng, drawn, pitch=(8, 12), barred=False)


def _loose_spiral(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _spiral(x, y, rng, drawn, pitch=(20, 32), barred=False)


def _edge_on(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn, *, bulge: bool) -> list[_Image]:
    """Disc seen from its side: exponential along, sech^2 across, often with a lane of dust."""
    length, height = rng.uniform(0.12, 0.16), rng.uniform(0.011, 0.018)
    along = np.sqrt(x * x + np.float32(0.0004))
    z = y / np.float32(height)
    fade = 1 / (1 + np.exp((along - np.float32(rng.uniform(0.3, 0.38))) / np.float32(0.015)))
    disc = 1.6 * np.exp(-along / np.float32(length)) * fade / np.cosh(np.clip(z, -20, 20)) ** 2
    old, young = 0.7 * disc, 0.6 * disc * np.exp(0.3 * _patchy(x, rng))
    if bulge:
        size = rng.uniform(0.04, 0.055)
        old = old + 1.3 * _sersic(
            x, y, radius=size, index=rng.uniform(1.5, 2.5), axis_ratio=rng.uniform(0.65, 0.85)
        )
    drawn["dusty"] = dusty = rng.random() < 0.6
    if dusty:
        dust = np.exp(-0.5 * ((z - np.float32(rng.normal(0, 0.25))) / np.float32(0.35)) ** 2)
        dust *= np.exp(-along / np.float32(1.5 * length))
        old, young = old * (1 - 0.6 * dust), young * (1 - 0.8 * dust)
    return [old, young]


def _edge_on_flat(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _edge_on(x, y, rng, drawn, bulge=False)


def _edge_on_bulge(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    return _edge_on(x, y, rng, drawn, bulge=True)


def _disturbed(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    """One lopsided, clumpy galaxy in a warped frame, with a stream of stars around it."""
    for _ in range(3):  # bend the frame; the wavelengths are about the galaxy's own size
        kx, ky = rng.normal(0, 9, 2).astype(np.float32)
        bend = np.float32(rng.uniform(0.015, 0.03)) * np.sin(
            kx * x + ky * y + np.float32(rng.uniform(0, 6.3))
        )
        x, y = x + bend, y - np.float32(rng.choice([-1, 1])) * bend
    r, angle = _polar(x, y)
    lopsided = 1 + np.float32(0.75) * np.cos(angle) * np.minimum(r / np.float32(0.1), 1)
    q = drawn["axis_ratio"] = rng.uniform(0.5, 0.9)
    body = _sersic(x, y, radius=rng.uniform(0.09, 0.13), index=rng.uniform(0.8, 1.6), axis_ratio=q) * lopsided
    core = _sersic(x + np.float32(0.025), y, radius=0.03, index=1.5, axis_ratio=0.8)
    stream = _stream(x, y, rng)
    old = 0.45 * body + 0.7 * core + 0.3 * stream
    young = 0.45 * body * np.exp(0.9 * _patchy(x, rng)) + 0.25 * stream
    return [old, young]


def _merging(x: _Image, y: _Image, rng: np.random.Generator, drawn: Drawn) -> list[_Image]:
    """Two galaxies that nearly touch, each with a tidal tail, in a common halo."""
    apart = drawn["apart"] = rng.uniform(0.06, 0.14)
    ratio = rng.uniform(0.55, 1.0)
    old = 0.1 * _sersic(x, y, radius=0.2, index=1.0, axis_ratio=0.7)
    young = 0.5 * old
    hand = rng.choice([-1.0, 1.0])
    for side, part in ((1.0, 1.0), (-1.0, ratio)):
        px, py = x - np.float32(side * apart), y - np.float32(rng.normal(0, 0.02))
        tx, ty = _turned(px, py, rng.uniform(0, np.pi))
        body = _sersic(
            tx, ty, radius=0.055 * np.sqrt(part), index=rng.uniform(1, 3.5), axis_ratio=rng.uniform(0.5, 0.95)
        )
        blue = rng.uniform(0.1, 0.9)
        # The tail leaves on the far side and bends round in a parabola.
        out = np.float32(side) * px
        bent = py - np.float32(side * hand * rng.uniform(0.8, 4.0)) * np.maximum(out, 0) ** 2
        width, reach = np.float32(rng.uniform(0.012, 0.025)), np.float32(rng.uniform(0.05, 0.15))
        tail = np.exp(-0.5 * (bent / width) ** 2 - np.maximum(out, 0) / reach) * (out > 0)
        old += np.float32(part) * 0.7 * body + 0.2 * tail
        young += np.float32(blue) * 0.7 * body * np.exp(0.5 * _patchy(x, rng)) + 0.35 * tail
    return [old, young]


def _stream(x: _Image, y: _Image, rng: np.random.Generator) -> _Image:
    """Part of a thin shell around the galaxy."""
    r, angle = _polar(x - np.float32(rng.normal(0, 0.05)), y - np.float32(rng.normal(0, 0.05)))
    away = (angle - np.float32(rng.uniform(-3, 3)) + np.pi) % np.float32(2 * np.pi) - np.float32(np.pi)
    ring = ((r - np.float32(rng.uniform(0.2, 0.3))) / np.float32(0.018)) ** 2
    return np.exp(-0.5 * ring - 0.5 * (away / np.float32(0.7)) ** 2)


def _patchy(like: _Image, rng: np.random.Generator) -> _Image:
    """Smooth random patches of unit variance, about a fortieth of the image wide."""
    spread = _spread(like.shape[0])
    patches: _Image = spread @ rng.standard_normal((_PATCHES, _PATCHES), dtype=np.float32) @ spread.T
    return patches


@lru_cache(maxsize=8)
def _spread(size: int) -> _Image:
    # From a coarse grid of random numbers to pixels; each row has unit length, which keeps the variance.
    cells = (np.arange(_PATCHES) + 0.5) / _PATCHES
    pixels = (np.arange(size) + 0.5) / size
    matrix = np.exp(-0.5 * ((pixels[:, None] - cells) * _PATCHES / 0.7) ** 2)
    spread: _Image = (matrix / np.sqrt((matrix**2).sum(axis=1, keepdims=True))).astype(np.float32)
    return spread


def _add_neighbours(old: _Image, young: _Image, rng: np.random.Generator) -> None:
    """Add a few stars and small galaxies of the field, each as one bright pixel or blob, in place."""
    size = old.shape[0]
    for _ in range(rng.poisson(3)):
        row, column = rng.integers(0, size, 2)
        light = min(float(rng.pareto(1.6)) + 0.2, 6.0) * (size / 128)
        colour = rng.uniform(0.2, 0.8)
        reach = int(rng.integers(1, max(2, size // 64) + 1))
        place = (slice(max(row - reach, 0), row + reach), slice(max(column - reach, 0), column + reach))
        old[place] += np.float32(light * (1 - colour) / reach)
        young[place] += np.float32(light * colour / reach)


_KINDS = (
    _disturbed,
    _merging,
    _round,
    _between,
    _cigar,
    _barred_spiral,
    _tight_spiral,
    _loose_spiral,
    _edge_on_flat,
    _edge_on_bulge,
)
