"""One step of a preparation with what it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the variance in one direction, from where it is worth a word.
DOMINANT = 0.9


@dataclass(frozen=True)
class FittedStep:
    """One step with what it learned: L2 normalisation, or a shift and a matrix, or a shift and a radius.

    Parameters
    ----------
    settings
        The step's name and everything resolved in it.
    mean : (d,) float64, optional
        None for L2 normalisation.
    matrix : (d, m) float64, optional
        None where the step only centres or clips.
    """

    settings: Mapping[str, Any]
    mean: NDArray[np.float64] | None = None
    matrix: NDArray[np.float64] | None = None

    def apply(self, x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Transform rows (b, d) to (b, m), in float64.

        A direction that holds 10,000 times as much as the others would round them in float32 to three digits.
        """
        if self.mean is None:
            return unit_rows(x, dtype=np.float64)
        rows = x - self.mean
        if self.settings["step"] == "clip":
            return within_radius(rows, self.settings["radius"])
        return rows if self.matrix is None else rows @ self.matrix

    def sentence(self, *, scaled: bool = False) -> str:
        """Say what the step does; `scaled` where rows were of length 1 before, which is no advice then."""
        s = self.settings
        if s["step"] == "pca":
            kept = f"{s['n_components']} of {s['d']} dimensions keep {100 * s['kept_variance']:.1f} %"
            said = f"PCA: {kept} of the variance{', each scaled to unit variance' * s['whiten']}."
            first = s.get("first_variance", 0.0)
            if first >= DOMINANT and not s["whiten"] and s["d"] > 1:
                other = "" if scaled else ": try --prep l2+pca95, or auto on a file with views"
                said += (
                    f" The first of them alone holds {100 * first:.0f} %, so distances are little more "
                    f"than one number{other}."
                )
            return said
        if s["step"] == "view-whiten":
            return (
                f"View whitening: {s['n_directions']} of {s['d']} directions, in which images differ "
                f"{_short(s['lambda'][-1])} to {_short(s['lambda'][0])} times as much as the {s['n_views']} "
                f"views of one image; shrinkage {s['shrinkage']:g}, scaled by lambda^-{s['power']:g}."
            )
        if s["step"] == "neighbor-whiten":
            return (
                f"Neighbour whitening: {s['n_directions']} of {s['d']} directions, in which images differ "
                f"{_short(s['lambda'][-1])} to {_short(s['lambda'][0])} times as much as an image and its "
                f"{s['neighbors']} nearest; shrinkage {s['shrinkage']:g}, scaled by lambda^-{s['power']:g}."
            )
        if s["step"] == "clip":
            return (
                f"Clipped: the {100 - 100 * s['share']:g} % of the rows that lie farther than "
                f"{_short(s['radius'])} from the median are drawn in to that distance."
            )
        return "Centred." if s["step"] == "center" else "Rows scaled to length 1."


def unit_rows(x: NDArray[np.floating[Any]], *, dtype: Any = np.float32) -> NDArray[Any]:
    """Scale every row to length 1; a row of zeros stays one."""
    # In float64: the squares of float32 features overflow above 1e19 and vanish below 1e-19.
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    return (x / np.where(length > 0, length, 1)).astype(dtype, copy=False)


def within_radius(x: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Scale rows (n, d) that are longer than `radius` down to it."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x * np.minimum(1, radius / np.where(length > 0, length, 1)))


def _short(value: float) -> str:
    """Three digits, and those before the point: 2.63, 1,030, 1.2e+15."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
