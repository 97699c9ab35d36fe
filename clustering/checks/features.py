"""Are the features collapsed?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clustering.checks.findings import Finding
from clustering.checks.sample import WEAK, Sample
from embedkit.scoring.label_free import effective_rank, rank_me

# Features are collapsed where one or two components hold nearly all variance of at least MIN_DIMENSIONS, ...
NEARLY_ALL, FEW, MIN_DIMENSIONS = 0.95, 2, 5
# ... or rows differ by less than this part of their length, or are mostly copies of each other.
ALIKE, DISTINCT = 1e-3, 0.1


def check_features(sample: Sample, nuisance: Finding) -> Finding:
    """Look at rank, constant columns and copies; `nuisance` may say what the first component follows."""
    x, values = sample.x, sample.values
    m, d = x.shape
    total = float(values.sum())
    shares = values / total if total > 0 else np.ones(1)
    needed = int(np.searchsorted(np.cumsum(shares), NEARLY_ALL) + 1)
    n_constant = int((np.ptp(x, axis=0) == 0).sum())
    n_distinct = len(np.unique(x, axis=0))
    length = float(np.linalg.norm(x.mean(axis=0)))
    spread = float(np.sqrt(total)) / length if length > 0 else np.inf
    evidence: dict[str, Any] = {
        "rank_me": rank_me(x),
        "rank_me_definition": "exp of the entropy of singular values / their sum, not centred",
        "effective_rank": effective_rank(values),
        "n": m,
        "d": d,
        "n_components_95": needed,
        "first_component_share": float(shares[0]),
        "n_constant_columns": n_constant,
        "n_distinct_rows": n_distinct,
        "relative_spread": spread,
        "neighbor_agreement": sample.agreement,
        "whitened_agreement": sample.whitened_agreement,
    }
    ranks = (
        f"RankMe {evidence['rank_me']:.1f} (exp of the entropy of the singular values, not centred) and "
        f"effective rank of the covariance {evidence['effective_rank']:.1f}, of {d} dimensions, "
        f"on n = {m:,} rows"
    )
    facts = []
    if total <= 0:
        facts.append("all rows are equal")
    elif n_distinct < DISTINCT * m:
        facts.append(f"only {n_distinct:,} of {m:,} rows are distinct")
    if total > 0 and d >= MIN_DIMENSIONS and needed <= FEW:
        many = "one component holds" if needed == 1 else f"{needed} components hold"
        facts.append(f"{many} {100 * shares[:needed].sum():.1f} % of the variance")
    if 0 < spread < ALIKE:
        facts.append(f"rows differ by {100 * spread:.2g} % of their length")
    if n_constant > d / 2:
        facts.append(f"{n_constant} of {d} columns are constant")
    if not facts:
        constant = f" {n_constant} columns are constant." if n_constant else ""
        return Finding("features", "fine", evidence, f"The features are not collapsed: {ranks}.{constant}")
    said = f"{'; '.join(facts)}".capitalize()
    if sample.agreement is not None and sample.agreement >= 2 * WEAK:
        text = f"{said}, but neighbours share their class far above chance, so that is where the classes are."
        return Finding("features", "note", evidence, f"{text} {ranks}.")
    followed = nuisance.evidence.get("first_component", {})
    name = max(followed, key=lambda key: float(followed[key]), default=None)
    if name is not None and followed[name] >= 0.5 and nuisance.verdict == "cause":
        text = f"{said}, and the first follows the images' {name} (R^2 {followed[name]:.2f}). {ranks}."
        return Finding("features", "note", evidence, text)
    hidden = sample.whitened_agreement
    if hidden is not None and sample.agreement is not None and hidden > max(WEAK, 2 * sample.agreement):
        # No collapse: what the classes differ by is there, behind what they don't differ by.
        text = (
            f"{said}, and the classes are in the others: with all components scaled to one variance, "
            f"agreement between neighbours rises from {sample.agreement:.2f} to {hidden:.2f}. Take "
            f"`--prep whiten30` ({ranks})."
        )
        return Finding("features", "cause", evidence, text)
    advice = (
        "The backbone collapsed, or was given blank images: look at the images, the weights and the "
        "precision, or take another backbone or layer."
    )
    return Finding(
        "features",
        "cause",
        evidence,
        f"The features are collapsed: {facts[0]}"
        f"{''.join('; ' + fact for fact in facts[1:])} ({ranks}). {advice}",
    )
