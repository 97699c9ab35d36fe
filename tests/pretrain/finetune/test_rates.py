import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from pretrain.finetune.batch_plan import parse_batch_plan
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.rates import cuts, is_over, rate, since_better

PER_EPOCH = 7


def ends(epochs, per_epoch=PER_EPOCH):
    return tuple(per_epoch * (epoch + 1) for epoch in range(epochs))


def ours(phase, losses=()):
    found = ends(phase.epochs)
    return [rate(phase, step, found, losses) for step in range(found[-1])]


def of_torch(lr, n, make, *, every=1):
    """Rates of a scheduler of torch's that is stepped each `every` steps."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, found = make(optimiser), []
    with warnings.catch_warnings():
        # SequentialLR passes an epoch to its parts, which warn of it.
        warnings.simplefilter("ignore", UserWarning)
        for step in range(n):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            if (step + 1) % every == 0:
                scheduler.step()
    return found


def test_cosine_is_its_formula_and_torchs_at_every_step():
    phase = Phase(epochs=100, lr=5e-4, schedule="cosine", end_lr=1e-6)
    n = 100 * PER_EPOCH
    formula = [1e-6 + (5e-4 - 1e-6) * (1 + math.cos(math.pi * s / n)) / 2 for s in range(n)]
    np.testing.assert_allclose(ours(phase), formula, rtol=1e-12)
    theirs = of_torch(5e-4, n, lambda o: torchs.CosineAnnealingLR(o, T_max=n, eta_min=1e-6))
    np.testing.assert_allclose(ours(phase), theirs, rtol=1e-9)


def test_steps_of_0_3_each_three_epochs():
    phase = Phase(epochs=11, lr=1e-3, schedule="step", factor=0.3, every=3)
    n = 11 * PER_EPOCH
    np.testing.assert_allclose(
        ours(phase), [1e-3 * 0.3 ** (s // PER_EPOCH // 3) for s in range(n)], rtol=1e-12
    )
    theirs = of_torch(1e-3, n, lambda o: torchs.StepLR(o, step_size=3, gamma=0.3), every=PER_EPOCH)
    np.testing.assert_allclose(ours(phase), theirs, rtol=1e-9)


def test_constant_and_warm_up():
    assert set(ours(Phase(epochs=3, lr=0.1, schedule="constant"))) == {0.1}
    phase = Phase(epochs=5, lr=1e-3, schedule="cosine", warmup_epochs=2)
    warm, n = 2 * PER_EPOCH, 5 * PER_EPOCH

    def make(optimiser):
        rise = torchs.LinearLR(optimiser, start_factor=1 / warm, total_iters=warm - 1)
        fall = torchs.CosineAnnealingLR(optimiser, T_max=n - warm)
        return torchs.SequentialLR(optimiser, [rise, fall], milestones=[warm])

    np.testing.assert_allclose(ours(phase), of_torch(1e-3, n, make), rtol=1e-9)
    assert ours(phase)[warm - 1] == ours(phase)[warm] == 1e-3


def test_warm_up_comes_before_steps():
    phase = Phase(epochs=6, lr=1.0, schedule="step", factor=0.5, every=2, warmup_epochs=1)
    firsts = [ours(phase)[PER_EPOCH * epoch] for epoch in range(1, 6)]
    assert firsts == [1.0, 1.0, 0.5, 0.5, 0.25]


@given(
    st.lists(st.integers(0, 9) | st.just(float("nan")), min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.05]),
)
def test_plateau_is_torchs_with_one_epoch_less_of_patience(losses, every, end):
    phase = Phase(epochs=len(losses), lr=1.0, schedule="plateau", factor=0.5, every=every, end_lr=end)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torchs.ReduceLROnPlateau(
        optimiser, factor=0.5, patience=every - 1, threshold=0, threshold_mode="abs", min_lr=end, eps=0
    )
    expected = []
    for loss in losses:
        expected += [optimiser.param_groups[0]["lr"]] * PER_EPOCH
        theirs.step(loss)
    assert ours(phase, losses) == pytest.approx(expected, rel=1e-12)


def test_plateau_looks_at_no_epoch_that_is_not_over():
    phase = Phase(epochs=4, lr=1.0, schedule="plateau", factor=0.1, every=1)
    whole = ours(phase, [1, 1, 1, 1])
    found = ends(4)
    for step in range(found[-1]):
        assert rate(phase, step, found, [1, 1, 1, 1][: step // PER_EPOCH]) == whole[step]
    assert cuts([3, 2, 2, 2, 1, 1, 1], 2) == 2


def test_epochs_of_other_lengths():
    found = parse_batch_plan("10x1, 20x1, 50x1").ends(100, 3)
    assert found == (10, 15, 17)
    phase = Phase(epochs=3, lr=1.0, schedule="step", factor=0.5, every=1)
    assert [rate(phase, step, found) for step in range(17)] == [1.0] * 10 + [0.5] * 5 + [0.25] * 2
    smooth = Phase(epochs=3, lr=1.0, schedule="cosine")
    assert rate(smooth, 16, found) == pytest.approx((1 + math.cos(math.pi * 16 / 17)) / 2)


def test_early_stopping():
    phase = Phase(epochs=20, stop_after=3)
    losses = [1.0, 0.5, 0.6, 0.5, float("nan")]
    assert [since_better(losses[:n]) for n in range(6)] == [0, 0, 0, 1, 2, 3]
    assert [is_over(phase, losses[:n]) for n in range(6)] == [False] * 5 + [True]
    assert not is_over(Phase(), losses)
    assert since_better([float("nan")] * 2) == 2
