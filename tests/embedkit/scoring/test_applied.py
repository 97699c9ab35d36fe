"""What is said of a kept model's answers: how many rows contradict the tree of votes."""

import numpy as np
import pytest

from embedkit.files.rows import Rows
from embedkit.files.vote_tree import GALAXY_ZOO_2, TREES
from embedkit.scoring.applied import Known, judge


def known(names, *, regression=True):
    return Known(tuple(names), regression, np.full(len(names), 0.5), "network", "network trained on x")


def by_hand(rows, tree):
    """Rows in which some question's answers miss what its parent says by more than 0.01."""
    place = {answer.name: i for i, answer in enumerate(tree.answers)}
    found = 0
    for row in rows:
        found += any(
            abs(
                sum(row[place[answer.name]] for answer in question.answers)
                - (1 if question.parent is None else row[place[question.parent]])
            )
            > 0.01
            for question in tree.questions
        )
    return found


def whole(n, tree):
    """Shares that no row contradicts itself in."""
    random, shares = np.random.default_rng(0), np.zeros((n, len(tree.answers)))
    for branch in tree.branches:
        parent = 1.0 if branch.parent is None else shares[:, [branch.parent]]
        shares[:, branch.columns] = parent * random.dirichlet(np.ones(len(branch.columns)), n)
    return shares


@pytest.mark.parametrize("tree", TREES.values(), ids=lambda tree: tree.name)
def test_rows_that_contradict_the_tree_are_counted(tree):
    shares = whole(50, tree)
    rows = Rows(ids=np.array([f"{i}" for i in range(50)]))
    said = judge(known(tree.target_names), rows, shares, [])
    assert (said.contradictory, said.document("m")["contradictory"]) == (0, 0)
    assert any(note.startswith("0 of 50 rows contradict the tree of votes") for note in said.notes)
    shares[:20] += np.random.default_rng(1).uniform(-0.004, 0.004, shares[:20].shape)
    shares[30] = 0.5
    said = judge(known(tree.target_names), rows, shares, ["first"])
    assert said.contradictory == by_hand(shares, tree) > 0
    assert said.notes[0] == "first"
    assert f"{said.contradictory} of 50 rows contradict the tree of votes" in said.notes[-1]


def test_what_is_no_whole_tree_contradicts_nothing():
    rows = Rows(ids=np.array(["a", "b"]))
    names = GALAXY_ZOO_2.target_names
    for of in (known(names[:3]), known(("x", "y", "z")), known(names, regression=False)):
        said = judge(of, rows, np.full((2, len(of.names)), 0.9), [])
        assert said.contradictory is None
        assert "contradictory" not in said.document("m")
        assert not any("contradict" in note for note in said.notes)
