"""How people voted on these images, where the file's targets are the answers of a known tree of questions."""

from __future__ import annotations

import numpy as np

from embedkit.files.vote_tree import tree_of
from embedkit.pages.sections import folded, made, prose
from reports.map.content import Page
from reports.map.section import Section
from reports.votes.answers import Votes
from reports.votes.sections.data import answer_cards

SHOWN = 2
SAYS = "How the share of votes of every answer is distributed over the images; heights are square roots."


def section(page: Page) -> Section | None:
    """Return the distribution of every answer, and links to the pages about votes among the results."""
    rows, pages = page.rows, page.beside.of("votes")
    tree = tree_of(rows.target_names) if rows.target_names else None
    mine = [one for one in pages if one[1].fingerprint in page.beside.fingerprints]
    if tree is None and not mine:
        return None
    body = page.links(pages, "Votes")
    shares = np.empty((0, 0)) if rows.targets is None else np.asarray(rows.targets, np.float64)
    if tree is not None and np.isfinite(shares).any(axis=0).all() and len(shares):
        votes = Votes(page.title, rows.ids, shares, tuple(rows.target_names), tree)
        blocks, _ = answer_cards(votes)
        told = made(f"{tree.name}, {len(rows):,} images, {page.file_stem}.h5")
        says = SAYS if mine else f"{SAYS} `embedkit votes` studies them, and models that predict them."
        body += (
            f'<p class="hint">{prose(says)}</p>{told}<div class="questions">{"".join(blocks[:SHOWN])}</div>'
        )
        if len(blocks) > SHOWN:
            rest = f'<div class="questions">{"".join(blocks[SHOWN:])}</div>'
            body += folded(f"{len(blocks) - SHOWN} more questions", rest)
    return Section("votes", "Votes", "Votes", None, body) if body else None
