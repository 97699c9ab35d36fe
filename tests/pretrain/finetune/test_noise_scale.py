"""The gradient noise scale against problems where it is known, and the rates that follow it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.finetune.noise_scale import NoiseScale, PartGradients, compensation

D = 200


def quadratic(seed):
    """Loss |w - x|^2 / 2 of images x ~ N(mean, diag(s^2)): G = w - mean and S = diag(s^2), exactly."""
    generator = torch.Generator().manual_seed(seed)
    s = torch.rand(D, generator=generator) * 2
    start = torch.randn(D, generator=generator) * 0.5
    mean = torch.randn(D, generator=generator) * 0.5
    exact = float(s.square().sum() / (start - mean).square().sum())
    return torch.nn.Parameter(start), mean, s, exact, generator


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_within_a_tenth_of_what_a_quadratic_problem_has(seed, parts):
    w, mean, s, exact, generator = quadratic(seed)
    scale, seen = NoiseScale(), PartGradients([w])
    for _ in range(200):
        x = mean + s * torch.randn(32, D, generator=generator)
        w.grad = None
        for part in x.chunk(parts):
            ((w - part).square().sum(dim=1).mean() / 2 / parts).backward()
            seen.see_part()
        seen.see_all(scale, 32)
    assert scale.value == pytest.approx(exact, rel=0.1)
    assert scale.variance == pytest.approx(float(s.square().sum()), rel=0.1)
    assert scale.gradient_square == pytest.approx(float((w - mean).square().sum().detach()), rel=0.1)


def test_squares_are_those_of_gradients_computed_apart():
    w, mean, s, _, generator = quadratic(3)
    x = mean + s * torch.randn(12, D, generator=generator)
    apart = [float((w.detach() - part.mean(dim=0)).square().sum()) for part in x.chunk(3)]
    whole = float((w.detach() - x.mean(dim=0)).square().sum())
    mask = torch.ones(D)
    seen, scale = PartGradients([w], [(w, mask)]), NoiseScale()
    for part in x.chunk(3):
        ((w - part).square().sum(dim=1).mean() / 2 / 3).backward()
        seen.see_part()
    seen.see_all(scale, 12)
    expected = NoiseScale()
    expected.add(np.mean(apart), whole, n_small=4, n_large=12)
    assert scale.value == pytest.approx(expected.value, rel=1e-4)


def test_the_mean_of_numerator_and_denominator_is_without_the_weight_of_its_start():
    scale = NoiseScale()
    assert math.isnan(scale.value)
    for _ in range(3):  # |G|^2 = 2 and tr(S) = 24, exactly
        scale.add(2 + 24 / 4, 2 + 24 / 8, n_small=4, n_large=8)
        assert (scale.gradient_square, scale.variance, scale.value) == pytest.approx((2, 24, 12))
    again = NoiseScale.of_state(scale.state())
    assert again == scale


def test_noise_that_hides_the_gradient_is_infinite_and_no_noise_is_none():
    scale = NoiseScale()
    scale.add(4.0, 1.0, n_small=4, n_large=8)
    assert scale.value == math.inf
    scale = NoiseScale()
    scale.add(1.0, 1.1, n_small=4, n_large=8)
    assert scale.value == 0


@given(st.integers(1, 512), st.integers(1, 512), st.floats(0, 1e6), st.sampled_from([0.5, 1.0]))
def test_rates_follow_equation_2_6(size, reference, scale, power):
    best = [1 / (1 + scale / b) for b in (size, reference)]
    found = compensation(size, reference, scale, power=power)
    assert found == pytest.approx((best[0] / best[1]) ** power)
    assert compensation(reference, reference, scale, power=power) == pytest.approx(1)
    low, high = sorted((1.0, (size / reference) ** power))
    assert low * (1 - 1e-12) <= found <= high * (1 + 1e-12)


def test_rates_at_the_limits():
    assert compensation(128, 32, math.inf, power=1.0) == 4
    assert compensation(128, 32, math.inf, power=0.5) == 2
    assert compensation(128, 32, 0.0, power=1.0) == 1
    assert compensation(128, 32, math.nan, power=1.0) == 1
