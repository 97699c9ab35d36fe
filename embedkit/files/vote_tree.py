"""Questions that volunteers are asked one after another, and shares of votes that follow them.

Shares are cumulative, as in the Kaggle challenge: of everybody who looked at the galaxy, how many gave this
answer. So the answers to a question sum to the share of the answer that leads to it, and to 1 where everybody
is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, listed

# Up to seven answers are summed, each rounded to three decimals at worst; a wrong column is off by far more.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Answer:
    """One answer to a question.

    Parameters
    ----------
    column
        What the published table calls it, such as ``Class1.1``.
    name
        Its descriptive name, such as ``t01_smooth_or_features_a01_smooth``.
    words
        The answer alone, for people: ``smooth``.
    """

    column: str
    name: str
    words: str


@dataclass(frozen=True)
class Question:
    """One question of a tree.

    Parameters
    ----------
    name
        Short name, such as ``t01_smooth_or_features``.
    text
        As the volunteers read it.
    answers
        Its answers, of which one is given.
    parent
        Descriptive name of the answer after which it is asked; None where everybody is asked.
    """

    name: str
    text: str
    answers: tuple[Answer, ...]
    parent: str | None = None


@dataclass(frozen=True)
class Branch:
    """Where a question stands among the targets: the columns of its answers, and that of its parent."""

    question: Question
    columns: tuple[int, ...]
    parent: int | None


@dataclass(frozen=True)
class VoteTree:
    """Questions and the t columns that hold the shares of their answers.

    Parameters
    ----------
    name
        Which survey asked.
    questions
        Parents stand before their children.
    target_names
        The t columns, by either name of each answer, in any order; the published ones where not given.
    """

    name: str
    questions: tuple[Question, ...]
    target_names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.target_names:
            object.__setattr__(self, "target_names", tuple(one.column for one in self._published))

    @property
    def _published(self) -> tuple[Answer, ...]:
        return tuple(answer for question in self.questions for answer in question.answers)

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """The answer in each of the t columns."""
        known = {one.column: one for one in self._published} | {one.name: one for one in self._published}
        return tuple(known[name] for name in self.target_names)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Where each question stands, parents before their children."""
        place = {answer.name: column for column, answer in enumerate(self.answers)}
        return tuple(
            Branch(
                question,
                tuple(place[answer.name] for answer in question.answers),
                None if question.parent is None else place[question.parent],
            )
            for question in self.questions
        )

    def question_of(self, column: int) -> Question:
        """Return the question whose answer stands in a column."""
        return self.branch_of(column).question

    def branch_of(self, column: int) -> Branch:
        """Return where the question stands whose answer a column holds."""
        return next(branch for branch in self.branches if column in branch.columns)

    def way(self, column: int) -> list[int]:
        """Return the columns of the answers that lead to this one, itself first."""
        found = [column]
        while (parent := self.branch_of(found[-1]).parent) is not None:
            found.append(parent)
        return found

    def title(self, column: int) -> str:
        """Return words for a column, such as ``disk edge on: yes``; no two columns share them."""
        question = self.question_of(column)
        name = question.name.partition("_")[2] if question.name.startswith("t") else question.name
        return f"{name.replace('_', ' ').replace('-', ' ')}: {self.answers[column].words}"


def tree_of(target_names: Sequence[str]) -> VoteTree | None:
    """Return the tree whose answers these targets are, in their order; None where they are no whole tree."""
    names = tuple(str(name) for name in target_names)
    for tree in TREES.values():
        known = {one.column: one for one in tree.answers} | {one.name: one for one in tree.answers}
        found = {known[name].name for name in names if name in known}
        if len(found) == len(names) == len(tree.answers):
            return replace(tree, target_names=names)
    return None


def each_by_itself(tree: VoteTree) -> VoteTree:
    """Return the tree without its branches: shares among those who were asked sum to 1 in each question."""
    return replace(tree, questions=tuple(replace(question, parent=None) for question in tree.questions))


def cumulative(within: NDArray[Any], tree: VoteTree) -> NDArray[Any]:
    """Return shares of everybody from (n, t) shares among those who were asked each question.

    A share is multiplied by its parent's. What nobody was asked, for nobody gave the parent's answer, is 0.
    """
    shares = np.array(within, dtype=np.result_type(within, np.float32))
    for branch in tree.branches:
        if branch.parent is not None:
            columns, parent = list(branch.columns), shares[:, [branch.parent]]
            shares[:, columns] = np.where(parent == 0, 0, shares[:, columns] * parent)
    return shares


def gaps(shares: NDArray[Any], tree: VoteTree) -> NDArray[np.float64]:
    """Return, for each of n rows and q questions, what its answers sum to over their parent's share.

    Returns
    -------
    (n, q) float64
        0 where they agree, NaN where an answer or the parent is missing.
    """
    values = np.asarray(shares, dtype=np.float64)
    found = [
        values[:, list(branch.columns)].sum(axis=1)
        - (1.0 if branch.parent is None else values[:, branch.parent])
        for branch in tree.branches
    ]
    return np.stack(found, axis=1)


def contradictions(shares: NDArray[Any], tree: VoteTree, *, tolerance: float = 1e-4) -> NDArray[np.bool_]:
    """Return which of the (n, t) rows contradict themselves: answers that don't sum to their parent's share.

    Parameters
    ----------
    shares : (n, t)
        Cumulative shares; questions with a missing one contradict nothing.
    tolerance
        How far a sum may be off. The default is above the rounding of float32, and of tables with 5 decimals.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(gaps(shares, tree)) > tolerance).any(axis=1), dtype=np.bool_)


def check_votes(
    shares: NDArray[Any],
    tree: VoteTree,
    ids: Sequence[str] | NDArray[np.str_],
    where: str,
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Refuse shares outside [0, 1], and rows whose answers don't sum to their parent's share.

    A question whose answers are all 0 was answered by nobody, which is no contradiction; NaN is missing.

    Raises
    ------
    EmbedkitError
        The message names `where`, the row's id, the question, the sum and what to do.
    """
    values = np.asarray(shares, dtype=np.float64)
    _check_range(values, tree, ids, where)
    found = gaps(values, tree)
    asked = np.stack([(values[:, list(one.columns)] != 0).any(axis=1) for one in tree.branches], axis=1)
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(found) > tolerance) & asked
    if not wrong.any():
        return
    row = int(np.flatnonzero(wrong.any(axis=1))[0])
    branch = tree.branches[int(np.flatnonzero(wrong[row])[0])]
    total = float(values[row, list(branch.columns)].sum())
    names = listed([tree.target_names[column] for column in branch.columns])
    due, hint = "have to sum to 1", ""
    if branch.parent is not None:
        due = (
            f"{tree.target_names[branch.parent]}, after which it is asked, has {values[row, branch.parent]:g}"
        )
        if abs(total - 1) <= tolerance:
            hint = " Shares among those who were asked have to be multiplied by the parent's share."
    n = int(wrong.any(axis=1).sum())
    others = f" ({n:,} such rows)" if n > 1 else ""
    raise EmbedkitError(
        f"{where}: {str(ids[row])!r}: the answers to {branch.question.name} ({names}) sum to {total:.4g}, "
        f"but {due}{others}.{hint} Correct the row, or remove it."
    )


def _check_range(
    values: NDArray[np.float64], tree: VoteTree, ids: Sequence[str] | NDArray[np.str_], where: str
) -> None:
    with np.errstate(invalid="ignore"):
        outside = (values < -1e-6) | (values > 1 + 1e-6)
    if outside.any():
        row, column = (int(one) for one in np.argwhere(outside)[0])
        n = int(outside.any(axis=1).sum())
        raise EmbedkitError(
            f"{where}: {str(ids[row])!r}: {tree.target_names[column]} ({tree.answers[column].name}) is "
            f"{values[row, column]:g}, but a share of votes lies in 0 to 1"
            f"{f' ({n:,} such rows)' if n > 1 else ''}. Divide counts by their total and per cent by 100, or "
            "correct the row."
        )


def _galaxy_zoo_2() -> VoteTree:
    questions = []
    for task, (name, parent, text, answers) in enumerate(_GALAXY_ZOO_2, start=1):
        questions.append(
            Question(
                name,
                text,
                tuple(
                    Answer(
                        f"Class{task}.{number}",
                        f"{name}_{answer}",
                        answer[4:].replace("_", " ").replace("cant", "can't"),
                    )
                    for number, answer in enumerate(answers.split(), start=1)
                ),
                parent or None,
            )
        )
    return VoteTree("Galaxy Zoo 2", tuple(questions))


# Willett et al. 2013, MNRAS 435, 2835, table 2, as their catalogue spells the answers (a35 was never used).
# The challenge's own are the numbers, and that everybody is asked of odd features: question 6 sums to 1.
_DISC = "t02_edgeon_a05_no"
_ARMS = "t04_spiral_a08_spiral"
_GALAXY_ZOO_2 = (
    (
        "t01_smooth_or_features",
        "",
        "Is the galaxy simply smooth and rounded, with no sign of a disk?",
        "a01_smooth a02_features_or_disk a03_star_or_artifact",
    ),
    (
        "t02_edgeon",
        "t01_smooth_or_features_a02_features_or_disk",
        "Could this be a disk viewed edge-on?",
        "a04_yes a05_no",
    ),
    (
        "t03_bar",
        _DISC,
        "Is there a sign of a bar feature through the centre of the galaxy?",
        "a06_bar a07_no_bar",
    ),
    ("t04_spiral", _DISC, "Is there any sign of a spiral arm pattern?", "a08_spiral a09_no_spiral"),
    (
        "t05_bulge_prominence",
        _DISC,
        "How prominent is the central bulge, compared to the rest of the galaxy?",
        "a10_no_bulge a11_just_noticeable a12_obvious a13_dominant",
    ),
    ("t06_odd", "", "Is there anything odd?", "a14_yes a15_no"),
    (
        "t07_rounded",
        "t01_smooth_or_features_a01_smooth",
        "How rounded is it?",
        "a16_completely_round a17_in_between a18_cigar_shaped",
    ),
    (
        "t08_odd_feature",
        "t06_odd_a14_yes",
        "Is the odd feature a ring, or is the galaxy disturbed or irregular?",
        "a19_ring a20_lens_or_arc a21_disturbed a22_irregular a23_other a24_merger a38_dust_lane",
    ),
    (
        "t09_bulge_shape",
        "t02_edgeon_a04_yes",
        "Does the galaxy have a bulge at its centre? If so, what shape?",
        "a25_rounded a26_boxy a27_no_bulge",
    ),
    (
        "t10_arms_winding",
        _ARMS,
        "How tightly wound do the spiral arms appear?",
        "a28_tight a29_medium a30_loose",
    ),
    (
        "t11_arms_number",
        _ARMS,
        "How many spiral arms are there?",
        "a31_1 a32_2 a33_3 a34_4 a36_more_than_4 a37_cant_tell",
    ),
)


def _decals(name: str, changed: dict[str, str]) -> VoteTree:
    return VoteTree(
        name,
        tuple(
            Question(
                question,
                text,
                tuple(
                    Answer(
                        f"{question}_{answer}",
                        f"{question}_{answer}",
                        answer.replace("-", " ").replace("cant", "can't").replace("in between", "in-between"),
                    )
                    for answer in changed.get(question, answers).split()
                ),
                parent or None,
            )
            for question, parent, text, answers in _DECALS
        ),
    )


# Walmsley et al. 2022, MNRAS 509, 3966: GZD-5, and what GZD-1 and 2 asked in another way. Everybody but those
# who saw an artifact is asked of merging; that is two parents, so it is taken as asked of everybody.
_FACE_ON = "disk-edge-on_no"
_DECALS = (
    (
        "smooth-or-featured",
        "",
        "Is the galaxy simply smooth and rounded, with no sign of a disk?",
        "smooth featured-or-disk artifact",
    ),
    (
        "disk-edge-on",
        "smooth-or-featured_featured-or-disk",
        "Could this be a disk viewed edge-on?",
        "yes no",
    ),
    ("has-spiral-arms", _FACE_ON, "Is there any sign of a spiral arm pattern?", "yes no"),
    ("bar", _FACE_ON, "Is there a bar feature through the centre of the galaxy?", "strong weak no"),
    ("bulge-size", _FACE_ON, "How large is the central bulge?", "dominant large moderate small none"),
    (
        "how-rounded",
        "smooth-or-featured_smooth",
        "How rounded is it?",
        "round in-between cigar-shaped",
    ),
    ("edge-on-bulge", "disk-edge-on_yes", "Does the galaxy have a bulge? What shape?", "boxy none rounded"),
    ("spiral-winding", "has-spiral-arms_yes", "How tightly wound are the arms?", "tight medium loose"),
    (
        "spiral-arm-count",
        "has-spiral-arms_yes",
        "How many spiral arms are there?",
        "1 2 3 4 more-than-4 cant-tell",
    ),
    (
        "merging",
        "",
        "Is the galaxy merging or disturbed?",
        "none minor-disturbance major-disturbance merger",
    ),
)
_DECALS_1_AND_2 = {
    "bar": "yes no",
    "bulge-size": "dominant obvious none",
    "how-rounded": "completely in-between cigar-shaped",
    "spiral-arm-count": "1 2 3 4 more-than-4",
    "merging": "neither tidal-debris both merger",
}

GALAXY_ZOO_2 = _galaxy_zoo_2()
GALAXY_ZOO_DECALS_5 = _decals("Galaxy Zoo DECaLS 5", {})
GALAXY_ZOO_DECALS_1_AND_2 = _decals("Galaxy Zoo DECaLS 1 and 2", _DECALS_1_AND_2)

TREES = {tree.name: tree for tree in (GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5, GALAXY_ZOO_DECALS_1_AND_2)}
