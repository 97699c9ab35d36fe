"""Answers from raw outputs, against a loop over rows and questions."""

import numpy as np
import pytest
import torch

from embedkit.backbones.answers import OUTPUTS, answers, log_within, tree_shares
from embedkit.errors import DataError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2, TREES, contradictions, gaps, tree_of


def naive(raw: np.ndarray, tree) -> np.ndarray:
    shares = np.zeros(raw.shape)
    for row in range(len(raw)):
        for branch in tree.branches:
            exps = {column: np.exp(raw[row, column]) for column in branch.columns}
            parent = 1.0 if branch.parent is None else shares[row, branch.parent]
            for column, one in exps.items():
                shares[row, column] = parent * one / sum(exps.values())
    return shares


@pytest.mark.parametrize("tree", TREES.values(), ids=lambda tree: tree.name)
def test_tree_shares_are_those_of_a_loop(tree) -> None:
    raw = np.random.default_rng(0).normal(0, 2, (7, len(tree.target_names)))
    found = answers(torch.tensor(raw), "tree", tree=tree)
    np.testing.assert_allclose(found.numpy(), naive(raw, tree), rtol=1e-12)


def test_columns_may_stand_in_any_order() -> None:
    order = np.random.default_rng(1).permutation(37)
    raw = np.random.default_rng(2).normal(0, 2, (5, 37))
    tree = tree_of([GALAXY_ZOO_2.target_names[i] for i in order])
    there = answers(torch.tensor(raw), "tree", tree=GALAXY_ZOO_2)
    here = answers(torch.tensor(raw[:, order]), "tree", tree=tree)
    np.testing.assert_allclose(here.numpy(), there.numpy()[:, order], rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [1, 30, 1000])
def test_no_row_contradicts_itself_however_large_the_outputs(dtype: torch.dtype, spread: float) -> None:
    raw = (torch.randn(2000, 37, generator=torch.manual_seed(0)) * spread).to(dtype)
    found = answers(raw, "tree", tree=GALAXY_ZOO_2)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert not contradictions(found.numpy(), GALAXY_ZOO_2, tolerance=1e-6).any()
    assert np.abs(gaps(found.numpy(), GALAXY_ZOO_2)).max() < 5e-7
    sigmoid = answers(raw, "sigmoid")
    assert contradictions(sigmoid.numpy(), GALAXY_ZOO_2).mean() > 0.99


def test_gradients_flow_through_the_tree() -> None:
    raw = torch.randn(3, 37, dtype=torch.float64, generator=torch.manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tree_shares(x, GALAXY_ZOO_2), (raw,))
    assert torch.autograd.gradcheck(lambda x: log_within(x, GALAXY_ZOO_2), (raw,))


def test_classes_and_single_targets() -> None:
    raw = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 10.0]])
    e = np.exp(raw.double().numpy())
    np.testing.assert_allclose(answers(raw, "classes").numpy(), e / e.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(answers(raw, "sigmoid").numpy(), e / (1 + e), rtol=1e-6)


def test_wrong_outputs_say_what_there_is() -> None:
    raw = torch.zeros(2, 5)
    with pytest.raises(UsageError, match=r"output 'sigmoids': unknown. Did you mean 'sigmoid'\?"):
        answers(raw, "sigmoids")
    with pytest.raises(DataError, match="needs targets that are the answers of a vote tree"):
        answers(raw, "tree")
    with pytest.raises(
        DataError, match=r"outputs of shape \(2, 5\) don't fit the 37 answers of Galaxy Zoo 2"
    ):
        answers(raw, "tree", tree=GALAXY_ZOO_2)
    assert set(OUTPUTS) == {"classes", "sigmoid", "tree"}
