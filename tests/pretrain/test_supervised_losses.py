"""Supervised losses against torch, scikit-learn and scipy; parts of a batch make the whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.special import expit, softmax
from scipy.stats import dirichlet_multinomial
from scipy.stats import multinomial as scipy_multinomial
from sklearn.utils.class_weight import compute_class_weight

from embedkit.backbones.answers import answers
from embedkit.errors import DataError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5, cumulative
from pretrain.finetune.losses import (
    LOSSES,
    MOST_CONCENTRATION,
    OUTPUTS_OF,
    LossSettings,
    balanced_weights,
    concentrations,
    loss_named,
)

TREE = LossSettings(output="tree", tree=GALAXY_ZOO_2)


def votes(n: int, tree=GALAXY_ZOO_2, people: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of votes for each answer, and their shares of all volunteers."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((n, len(tree.target_names)), dtype=np.int64)
    for row in range(n):
        for branch in tree.branches:
            asked = people if branch.parent is None else counts[row, branch.parent]
            p = rng.dirichlet(np.full(len(branch.columns), 0.7))
            counts[row, list(branch.columns)] = rng.multinomial(asked, p)
    return counts, counts / people


def outputs(n: int, t: int = 37, seed: int = 1, spread: float = 1.5) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(0, spread, (n, t)))


# --- cross-entropy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, (1.0, 0.2, 3.0, 1.0)])
def test_cross_entropy_is_torchs(smoothing: float, weight: tuple[float, ...] | None) -> None:
    raw, labels = outputs(12, 4), torch.arange(12) % 4
    settings = LossSettings(class_weight=weight, label_smoothing=smoothing)
    torchs = F.cross_entropy(
        raw,
        labels,
        weight=None if weight is None else torch.tensor(weight, dtype=torch.float64),
        label_smoothing=smoothing,
        reduction="sum",
    )
    found = LOSSES["cross-entropy"](raw, labels, settings=settings)
    assert float(found) == pytest.approx(float(torchs) / 12, rel=1e-12)


def test_cross_entropy_by_hand() -> None:
    raw, labels = outputs(6, 3), np.array([0, 1, 2, 2, -1, 1])
    p = softmax(raw.numpy(), axis=1)
    smooth = [
        -(np.log(p[row]) * (0.8 * (np.arange(3) == label) + 0.2 / 3)).sum()
        for row, label in enumerate(labels)
        if label >= 0
    ]
    found = LOSSES["cross-entropy"](raw, torch.tensor(labels), settings=LossSettings(label_smoothing=0.2))
    assert float(found) == pytest.approx(sum(smooth) / 6, rel=1e-12)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 7 + [1] * 2 + [2] * 11)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 3), theirs, rtol=1e-12)
    assert np.mean([balanced_weights(labels, 3)[label] for label in labels]) == pytest.approx(1)
    with_gaps = np.concatenate([labels, [-1, -1]])
    assert balanced_weights(with_gaps, 4) == (*balanced_weights(labels, 3), 1.0)
    with pytest.raises(DataError, match="no row has a label"):
        balanced_weights(np.array([-1, -1]), 2)


# --- shares ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["sigmoid", "tree"])
def test_rmse_is_the_square_of_the_challenges_score(output: str) -> None:
    raw, (_, shares) = outputs(9), votes(9)
    settings = LossSettings(output=output, tree=GALAXY_ZOO_2)
    found = LOSSES["rmse"](raw, torch.tensor(shares), settings=settings)
    score = np.sqrt(((answers(raw, output, tree=GALAXY_ZOO_2).numpy() - shares) ** 2).mean())
    assert float(found) == pytest.approx(score**2, rel=1e-12)


def test_bce_is_its_formula() -> None:
    raw, (_, shares) = outputs(9), votes(9)
    p = expit(raw.numpy())
    each = -(shares * np.log(p) + (1 - shares) * np.log(1 - p))
    found = LOSSES["bce"](raw, torch.tensor(shares), settings=LossSettings(output="sigmoid"))
    assert float(found) == pytest.approx(each.mean(), rel=1e-12)


# --- votes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5], ids=lambda tree: tree.name)
@pytest.mark.parametrize("people", [1, 40])
def test_multinomial_is_scipys(tree, people: int) -> None:
    counts, shares = votes(6, tree, people)
    raw = outputs(6, len(tree.target_names))
    settings = LossSettings(output="tree", tree=tree, volunteers=people)
    expected = 0.0
    for row in range(6):
        for branch in tree.branches:
            n = counts[row, list(branch.columns)]
            p = softmax(raw[row, list(branch.columns)].numpy())
            expected -= scipy_multinomial.logpmf(n, n.sum(), p)
    found = LOSSES["multinomial"](raw, torch.tensor(shares), settings=settings)
    assert float(found) == pytest.approx(expected / 6, rel=1e-10)


@pytest.mark.parametrize("loss", ["multinomial", "dirichlet"])
def test_votes_that_are_counted_row_by_row_are_those_of_each_row_alone(loss: str) -> None:
    tree, raw, people = GALAXY_ZOO_DECALS_5, outputs(5, 34), (1, 3, 40, 7, 52)
    drawn = [votes(5, tree, n) for n in people]
    counts = np.stack([drawn[i][0][i] for i in range(5)])
    shares = np.stack([drawn[i][1][i] for i in range(5)])
    asked = np.zeros_like(shares)
    for branch in tree.branches:
        columns = list(branch.columns)
        asked[:, columns] = counts[:, columns].sum(axis=1, keepdims=True)
    truth = torch.tensor(np.concatenate([shares, asked], axis=1))
    settings = LossSettings(output="tree", tree=tree, volunteers=1000)  # which the counts overrule
    found = LOSSES[loss](raw, truth, settings=settings)
    alone = [
        LOSSES[loss](
            raw[i : i + 1],
            torch.tensor(shares[i : i + 1]),
            settings=LossSettings(output="tree", tree=tree, volunteers=people[i]),
        )
        for i in range(5)
    ]
    assert float(found) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-10)


@pytest.mark.parametrize("tree", [GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5], ids=lambda tree: tree.name)
@pytest.mark.parametrize("spread", [1.5, 6])
def test_dirichlet_is_scipys(tree, spread: float) -> None:
    counts, shares = votes(6, tree)
    raw = outputs(6, len(tree.target_names), spread=spread)
    settings = LossSettings(output="tree", tree=tree)
    expected = 0.0
    for row in range(6):
        for branch in tree.branches:
            n = counts[row, list(branch.columns)]
            alpha = np.exp(raw[row, list(branch.columns)].numpy())
            alpha /= 1 + alpha.sum() / MOST_CONCENTRATION
            expected -= dirichlet_multinomial.logpmf(n, alpha, n.sum())
    found = LOSSES["dirichlet"](raw, torch.tensor(shares), settings=settings)
    assert float(found) == pytest.approx(expected / 6, rel=1e-9)


def test_concentrations_have_the_mean_of_the_softmax_and_a_bounded_sum() -> None:
    raw = outputs(50, 6, spread=20)
    alpha = concentrations(raw).numpy()
    np.testing.assert_allclose(
        alpha / alpha.sum(axis=1, keepdims=True), softmax(raw.numpy(), axis=1), atol=1e-12
    )
    assert alpha.sum(axis=1).max() <= MOST_CONCENTRATION * (1 + 1e-12)
    near = concentrations(torch.zeros(1, 3, dtype=torch.float64))
    np.testing.assert_allclose(near.numpy(), 1 / (1 + 3 / MOST_CONCENTRATION), rtol=1e-12)


def test_a_sure_dirichlet_is_a_multinomial() -> None:
    _, shares = votes(4)
    raw = outputs(4, spread=0.3) + 40  # the sums reach their bound
    many = float(LOSSES["dirichlet"](raw, torch.tensor(shares), settings=TREE))
    plain = float(LOSSES["multinomial"](raw, torch.tensor(shares), settings=TREE))
    assert many == pytest.approx(plain, rel=0.1)
    assert many != plain


@pytest.mark.parametrize("name", ["rmse", "multinomial", "dirichlet"])
def test_the_truth_is_where_the_loss_is_least(name: str) -> None:
    rng = np.random.default_rng(0)
    within = np.concatenate(
        [rng.dirichlet(np.full(len(branch.columns), 5.0), 4) for branch in GALAXY_ZOO_2.branches], axis=1
    )
    truth = torch.tensor(cumulative(within, GALAXY_ZOO_2))
    # Sure of it: the Dirichlet-multinomial of exact shares has no overdispersion to say.
    best = torch.tensor(np.log(within) + (8 if name == "dirichlet" else 0))
    settings = LossSettings(output="tree", tree=GALAXY_ZOO_2, volunteers=1000)
    least = float(LOSSES[name](best, truth, settings=settings))
    for seed in range(20):
        other = best + 0.3 * outputs(4, seed=seed)
        assert float(LOSSES[name](other, truth, settings=settings)) > least


# --- for all of them -------------------------------------------------------------------------------------


def case(name: str, n: int = 12) -> tuple[torch.Tensor, torch.Tensor, LossSettings]:
    if name == "cross-entropy":
        settings = LossSettings(class_weight=(1.0, 0.2, 3.0, 1.0), label_smoothing=0.1)
        return outputs(n, 4), torch.tensor([0, 1, 2, 3, -1, 2] * (n // 6)), settings
    truth = torch.tensor(votes(n)[1])
    truth[1, 5:9] = torch.nan
    truth[2] = torch.nan
    return outputs(n), truth, LossSettings(output=OUTPUTS_OF[name][-1], tree=GALAXY_ZOO_2)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_mean_over_equal_parts_is_the_loss_of_the_whole(name: str, parts: int) -> None:
    raw, truth, settings = case(name)
    whole = float(LOSSES[name](raw, truth, settings=settings))
    each = [
        float(LOSSES[name](a, b, settings=settings))
        for a, b in zip(raw.chunk(parts), truth.chunk(parts), strict=True)
    ]
    assert np.mean(each) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right_and_missing_answers_have_none(name: str) -> None:
    raw, truth, settings = case(name, 6)
    raw.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, truth, settings=settings), (raw,))
    LOSSES[name](raw, truth, settings=settings).backward()
    assert torch.isfinite(raw.grad).all()
    missing = 4 if name == "cross-entropy" else 2
    assert (raw.grad[missing] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_outputs_in_half_precision_stay_finite(name: str, dtype: torch.dtype) -> None:
    raw, truth, settings = case(name)
    raw = (raw * 60).to(dtype).requires_grad_()
    loss = LOSSES[name](raw, truth.float() if truth.is_floating_point() else truth, settings=settings)
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    assert torch.isfinite(raw.grad).all()


def test_a_missing_answer_is_left_out_of_its_row() -> None:
    raw, (_, shares) = outputs(2), votes(2)
    truth = shares.copy()
    truth[0, 10:] = np.nan
    error = (expit(raw.numpy()) - shares) ** 2
    found = LOSSES["rmse"](raw, torch.tensor(truth), settings=LossSettings(output="sigmoid"))
    assert float(found) == pytest.approx((error[0, :10].mean() + error[1].mean()) / 2, rel=1e-12)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UsageError, match=r"loss 'dirichlett': unknown. Did you mean 'dirichlet'\?"):
        loss_named("dirichlett", TREE)
    with pytest.raises(
        UsageError, match=r"loss 'bce' is of the output sigmoid, not tree.*rmse or multinomial"
    ):
        loss_named("bce", TREE)
    with pytest.raises(UsageError, match="needs targets that are the answers of a vote tree"):
        loss_named("rmse", LossSettings(output="tree"))
    with pytest.raises(UsageError, match=r"label_smoothing 1 is outside 0 to 1"):
        loss_named("cross-entropy", LossSettings(label_smoothing=1.0))
    for wrong in (0.0, float("nan")):
        with pytest.raises(UsageError, match="is not above 0. Give how many looked"):
            loss_named("multinomial", LossSettings(output="tree", tree=GALAXY_ZOO_2, volunteers=wrong))
    assert loss_named("rmse", LossSettings(output="sigmoid")) is LOSSES["rmse"]
