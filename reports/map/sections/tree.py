"""HDBSCAN's condensed tree: how the images part into ever denser groups, and which groups became clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.map.content import Page
from reports.map.evidence import Clustering
from reports.map.packing import pack, pack_rows
from reports.map.section import Section
from reports.map.trees import DensityTree

# Densities travel in steps of one in so many of the largest: the drawing needs no finer ones.
STEPS = 2**16 - 1


def section(page: Page) -> Section | None:
    """Return the tree of each clustering that has one."""
    trees = [_tree(one, one.tree) for one in page.clusterings if one.tree is not None]
    return Section("tree", "Density tree", "Tree", trees) if trees else None


def _tree(clustering: Clustering, tree: DensityTree) -> dict[str, Any]:
    inside = np.flatnonzero(tree.node >= 0)
    # The densest first, so that a list of any group begins with its core.
    rows = inside[np.argsort(-tree.density[inside], kind="stable")]
    top = float(max(tree.density[rows].max(initial=0.0), tree.death.max())) or 1.0
    names = {
        int(number): clustering.name(int(number)) for number in np.unique(tree.cluster[tree.cluster >= 0])
    }
    return {
        "title": clustering.title,
        "parent": tree.parent.tolist(),
        "birth": _rounded(tree.birth),
        "death": _rounded(tree.death),
        "size": tree.size.tolist(),
        "stability": _rounded(tree.stability),
        "name": [names.get(int(number), "") for number in tree.cluster],
        "rows": pack_rows(rows, len(tree.node)),
        "node": pack_rows(tree.node[rows], len(tree.parent)),
        "density": pack(np.round(STEPS * tree.density[rows] / top).astype(np.uint16)),
        "top": top,
    }


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
