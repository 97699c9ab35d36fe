"""Losses, schedules and monitors against a plain transcription of their papers' formulas."""

import math

import numpy as np
import pytest
import torch

from embedkit.errors import EmbedkitError, UsageError
from embedkit.scoring.label_free import rank_me
from pretrain.dino import DINOHead, DINOLoss, sinkhorn
from pretrain.koleo import koleo_loss
from pretrain.monitors import check_collapse, feature_monitors, rankme, teacher_monitors
from pretrain.schedules import cosine, initial_share, teacher_momentum
from pretrain.vicreg import vicreg_loss


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_dino_is_algorithm_1_of_the_paper():
    random = np.random.default_rng(0)
    student = [random.normal(size=(4, 6)) for _ in range(3)]
    teacher = [random.normal(size=(4, 6)) for _ in range(2)]
    loss = DINOLoss(6, student_temperature=0.1, center_momentum=0.9).double()
    center = np.zeros(6)
    for temperature in (0.04, 0.07):
        terms = []
        for i, t in enumerate(teacher):
            for j, s in enumerate(student):
                if i != j:
                    p = softmax((t - center) / temperature)
                    terms.append(-(p * np.log(softmax(s / 0.1))).sum(axis=1).mean())
        found = loss(
            [torch.tensor(s) for s in student], [torch.tensor(t) for t in teacher], temperature=temperature
        )
        assert float(found) == pytest.approx(np.mean(terms), rel=1e-9)
        center = 0.9 * center + 0.1 * np.concatenate(teacher).mean(axis=0)
        np.testing.assert_allclose(loss.center.numpy(), center, rtol=1e-9)


def test_sinkhorn_is_the_naive_alternation_of_swav():
    random = np.random.default_rng(2)
    logits, temperature = random.uniform(-1, 1, size=(12, 5)), 0.05
    q = np.exp(logits / temperature).T  # prototypes x images, as in the paper's listing
    q /= q.sum()
    k, n = q.shape
    for _ in range(3):
        q /= q.sum(axis=1, keepdims=True) * k
        q /= q.sum(axis=0, keepdims=True) * n
    expected = (q * n).T
    np.testing.assert_allclose(sinkhorn(torch.tensor(logits), temperature), expected, rtol=1e-9)
    # All views of the batch are balanced together, and no centre moves.
    loss = DINOLoss(5, centering="sinkhorn").double()
    parts = loss.targets([torch.tensor(logits[:6]), torch.tensor(logits[6:])], temperature=temperature)
    np.testing.assert_allclose(torch.cat(parts), expected, rtol=1e-9)
    assert loss.center.abs().max() == 0


def test_sinkhorn_gives_every_prototype_its_share_where_softmax_gives_one_all():
    logits = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[:, 3] += 0.9
    shares = sinkhorn(logits, 0.04, iterations=50).mean(dim=0)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), atol=2e-3, rtol=0)
    assert torch.softmax(logits / 0.04, dim=1).mean(dim=0)[3] > 0.99


def test_the_head_gives_cosines_with_prototypes():
    logits = DINOHead(5, 7)(torch.randn(11, 5))
    assert logits.shape == (11, 7)
    assert logits.abs().max() <= 1 + 1e-6


def test_vicreg_is_equation_6_of_the_paper():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 9, 4)) * 0.5
    expected = 25 * ((a - b) ** 2).mean()
    for z in (a, b):
        c = np.cov(z.T)
        expected += 25 / 2 * np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean()
        expected += ((c - np.diag(np.diag(c))) ** 2).sum() / 4
    assert float(vicreg_loss(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected, rel=1e-9)


def test_koleo_is_the_log_of_the_nearest_distance():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert float(koleo_loss(x)) == pytest.approx(-math.log(math.sqrt(2)), abs=1e-6)


def test_cosine_schedule():
    assert [cosine(step, 10, 1.0, 0.0, warmup=2) for step in (0, 1, 2, 6, 10)] == pytest.approx(
        [0.5, 1, 1, 0.5, 0]
    )
    # The paper's momentum: 0.996 rising to 1.
    assert cosine(5, 10, 0.996, 1.0) == pytest.approx(0.998)


def test_a_teacher_that_never_moves_is_refused():
    with pytest.raises(UsageError, match=r"--momentum 0.9995 leaves 95% of the teacher as it began"):
        teacher_momentum(0.9995, 200)
    assert teacher_momentum(0.996, 2000) == 0.996
    for steps in (3, 20, 200, 100_000):
        assert initial_share(teacher_momentum(None, steps), steps) < 0.3


def test_rankme_counts_equal_directions():
    assert rankme(torch.eye(8)) == pytest.approx(8, rel=1e-4)
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    assert rankme(x) == pytest.approx(rank_me(x.numpy()), rel=1e-12)
    assert rankme(torch.ones(8, 5)) == pytest.approx(1, rel=1e-3)


def test_the_kinds_of_collapse_are_named():
    good = feature_monitors(x := torch.randn(64, 16), x)
    check_collapse(good, good)
    assert good["knn_agreement"] == 1
    with pytest.raises(EmbedkitError, match="complete collapse: all images have one feature vector"):
        check_collapse(feature_monitors(torch.ones(64, 16), torch.ones(64, 16)), good)
    uniform = teacher_monitors(torch.full((64, 10), 0.1))
    with pytest.raises(EmbedkitError, match="collapse to uniform.*Lower --teacher-temperature"):
        check_collapse(good | uniform, good)
    one = teacher_monitors(torch.eye(10)[[3] * 64])
    with pytest.raises(EmbedkitError, match="collapse to one prototype.*Raise --teacher-temperature"):
        check_collapse(good | one, good)
    sharp = teacher_monitors(torch.eye(10).repeat(7, 1))
    check_collapse(good | sharp, good)
    with pytest.raises(EmbedkitError, match="NaN"):
        check_collapse(good | {"rankme": math.nan}, good)
    line = torch.randn(64, 2) @ torch.randn(2, 16)
    with pytest.raises(EmbedkitError, match="collapse to few dimensions: RankMe fell from"):
        check_collapse(feature_monitors(line, line), good)
