import numpy as np
import pytest
import torch
from planted import blobs
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from clustering.heads import Heads, head_loss, move_towards, pair_loss
from clustering.temi import TEMI, default_epochs, seconds_each_pass
from embedkit.errors import DataError, UsageError

QUICK = {"n_heads": 2, "epochs": 12, "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread():
    # Products this small wait for each other longer than they compute.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@parametrize_with_checks([TEMI(3, n_heads=1, epochs=60, momentum=0.95, device="cpu")])
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def distributions(n_heads, n, k, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), size=(n_heads, n))
    return p, torch.from_numpy(np.log(p).transpose(0, 2, 1).copy())


def test_the_loss_is_the_papers_formula():
    n_heads, n, k, beta = 3, 7, 4, 0.6
    (s1, log_s1), (s2, log_s2), (t1, log_t1), (t2, log_t2) = (
        distributions(n_heads, n, k, seed) for seed in range(4)
    )
    prior = np.random.default_rng(9).dirichlet(np.ones(k), size=n_heads)
    expected = np.zeros(n_heads)
    for i in range(n):
        weight = np.mean([sum(t1[j, i, c] * t2[j, i, c] for c in range(k)) for j in range(n_heads)])
        for h in range(n_heads):
            there = np.log(sum((s1[h, i, c] * t2[h, i, c]) ** beta / prior[h, c] for c in range(k)))
            back = np.log(sum((s2[h, i, c] * t1[h, i, c]) ** beta / prior[h, c] for c in range(k)))
            expected[h] -= weight * (there + back) / 2 / n
    log_prior = torch.from_numpy(np.log(prior))[:, :, None]
    loss = pair_loss((log_s1, log_s2), (log_t1, log_t2), log_prior, beta=beta)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_no_gradient_reaches_the_teachers():
    s, t = (distributions(2, 5, 3, seed)[1].requires_grad_() for seed in range(2))
    pair_loss((s, s), (t, t), torch.zeros(2, 3, 1), beta=0.6).sum().backward()
    assert s.grad.abs().sum() > 0
    assert t.grad is None


def test_the_loss_over_all_pairs_is_that_of_single_pairs():
    (p, log_p), k = distributions(1, 9, 3, 0), 3
    neighbours = np.random.default_rng(1).integers(9, size=(9, 4))
    weight = np.random.default_rng(2).random((9, 4))
    prior = torch.log(torch.from_numpy(p[0].mean(0)))[None, :, None]
    expected = 0.0
    for i in range(9):
        for j, other in enumerate(neighbours[i]):
            joint = sum((p[0, i, c] * p[0, other, c]) ** 0.6 / prior[0, c, 0].exp().item() for c in range(k))
            expected -= weight[i, j] * np.log(joint) / neighbours.size
    loss = head_loss(torch.from_numpy(p[0]), torch.from_numpy(neighbours), torch.from_numpy(weight), beta=0.6)
    assert loss == pytest.approx(expected, rel=1e-12)
    assert log_p.shape == (1, k, 9)


def test_heads_are_the_perceptrons_that_they_say():
    heads = Heads.random(2, 5, 3, torch.Generator().manual_seed(0)).mapped(lambda t: t.double())
    heads = Heads(*heads.tensors()[:5], heads.length * 1.7)
    x = torch.randn(4, 5, dtype=torch.float64)
    for h in range(2):
        z = heads.w2[h] @ torch.nn.functional.gelu(heads.w1[h] @ x.T + heads.b1[h]) + heads.b2[h]
        cosine = torch.nn.functional.cosine_similarity(heads.direction[h][:, None], z.T[None], dim=2)
        expected = torch.log_softmax(1.7 * cosine / 0.1, dim=0)
        torch.testing.assert_close(heads.log_probabilities(x)[h], expected)


def test_the_teacher_is_a_moving_average():
    teacher, student = (Heads.random(2, 4, 3, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    expected = [0.9 * t + 0.1 * s for t, s in zip(teacher.tensors(), student.tensors(), strict=True)]
    move_towards(teacher, student, 0.9)
    for got, wanted in zip(teacher.tensors(), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_finds_planted_groups_and_orders_them_by_size():
    x, y = blobs(n=600, k=4, d=16, spread=0.8)
    keep = np.r_[0:400, np.flatnonzero(y == 2)[100:], np.flatnonzero(y == 0)[100:130]]
    model = TEMI(4, n_heads=4, epochs=100, momentum=0.97, device="cpu").fit(x[keep])
    assert adjusted_rand_score(y[keep], model.labels_) > 0.95
    assert np.bincount(model.labels_).tolist() == sorted(np.bincount(y[keep]), reverse=True)
    np.testing.assert_array_equal(model.predict(x[keep]), model.labels_)
    p = model.predict_proba(x[keep])
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(p.argmax(1), model.labels_)
    assert adjusted_rand_score(model.head_labels_[model.best_head_], model.labels_) == 1
    assert model.loss_curve_.shape == (100, 4)
    assert (model.loss_curve_[-1] < model.loss_curve_[0]).all()


def test_over_clustering_splits_groups_but_does_not_mix_them():
    x, y = blobs(n=300, k=3, d=8, spread=0.5)
    labels = TEMI(6, n_heads=4, epochs=80, momentum=0.96, device="cpu").fit_predict(x)
    table = np.zeros((6, 3))
    np.add.at(table, (labels, y), 1)
    assert table.max(axis=1).sum() / len(y) > 0.98
    assert (table.sum(axis=1) > 0).sum() > 3


def test_the_loss_ranks_the_heads():
    # Stopped early, where some heads still have groups mixed up.
    x, y = blobs(n=500, k=8, d=16, spread=0.6)
    model = TEMI(8, n_heads=12, epochs=60, momentum=0.98, device="cpu").fit(x)
    truth = np.array([adjusted_rand_score(y, labels) for labels in model.head_labels_])
    assert np.ptp(truth) > 0.02
    assert spearmanr(model.head_losses_, truth).statistic < -0.6
    assert truth[model.best_head_] > truth.mean()
    assert model.best_head_ == model.head_losses_.argmin()


def test_the_seed_decides_everything():
    x, _ = blobs(n=200, spread=2)
    one, same, other = (TEMI(3, **QUICK, random_state=seed).fit(x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.loss_curve_, same.loss_curve_)
    np.testing.assert_array_equal(one.predict_proba(x), same.predict_proba(x))
    assert (one.loss_curve_ != other.loss_curve_).all()


def test_the_unit_of_the_features_does_not_matter():
    x, _ = blobs(n=120)
    one, other = (TEMI(3, **QUICK).fit(scale * x.astype(np.float64)) for scale in (1, 1024))
    np.testing.assert_array_equal(one.labels_, other.labels_)
    np.testing.assert_allclose(one.head_losses_, other.head_losses_, rtol=1e-5)


def test_a_saved_state_predicts_the_same(tmp_path):
    x, _ = blobs(n=200, spread=2)
    model = TEMI(3, **QUICK).fit(x)
    np.savez(tmp_path / "model.npz", **model.state())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        loaded = TEMI.from_state(file, device="cpu")
        arrays = dict(file)
    new = x + np.float32(0.1)
    np.testing.assert_array_equal(loaded.predict_proba(new), model.predict_proba(new))
    np.testing.assert_array_equal(loaded.head_losses_, model.head_losses_)
    assert (loaded.n_clusters, loaded.best_head_) == (3, model.best_head_)
    with pytest.raises(DataError, match="4 features, but TEMI is expecting 6"):
        loaded.predict(new[:, :4])
    del arrays["w2"]
    with pytest.raises(DataError, match="lacks w2"):
        TEMI.from_state(arrays)
    with pytest.raises(DataError, match="do not belong together"):
        TEMI.from_state(model.state() | {"b1": np.zeros((1, 7, 1))})


def test_pairs_stay_within_half_a_mean_cluster():
    x, _ = blobs(n=120)
    assert TEMI(3, **QUICK).fit(x).n_neighbors_ == 20
    assert TEMI(3, n_neighbors=7, **QUICK).fit(x).n_neighbors_ == 7
    assert TEMI(100, **QUICK).fit(x).n_neighbors_ == 1


def test_few_rows_get_more_epochs(monkeypatch):
    monkeypatch.setattr("clustering.temi.MIN_STEPS", 100)
    monkeypatch.setattr("clustering.temi.EPOCHS", 20)
    x, _ = blobs(n=600)
    calls = []
    model = TEMI(2, n_heads=1, device="cpu").fit(x, on_epoch=lambda: calls.append(1))
    assert (model.n_steps_, len(calls)) == (102, 34)
    assert TEMI(2, n_heads=1, device="cpu").fit(np.tile(x, (3, 1))[:1500]).n_steps_ == 20 * 6


@pytest.mark.parametrize(
    ("n", "steps"),
    [(3, 600), (6, 600), (51, 600), (128, 1500), (255, 2988), (256, 3000), (257, 3000), (2370, 3000)],
)
def test_passes_fit_the_number_of_rows(n, steps):
    """A sixth of the time at six rows; nothing changes from one whole batch on."""
    assert steps <= default_epochs(n) * -(-n // 256) < steps + -(-n // 256)


def test_a_pass_is_timed_on_one_batch(monkeypatch):
    seen = []
    fit = TEMI.fit
    monkeypatch.setattr(TEMI, "fit", lambda self, x, **on: (seen.append(x.shape), fit(self, x, **on))[1])
    assert seconds_each_pass(100_000, 7, 3, n_heads=1) > 0
    assert seconds_each_pass(4, 7, 5) > 0
    assert seen == [(256, 7), (4, 7)]


def test_a_row_of_zeros_is_clustered_too():
    x, _ = blobs(n=60)
    x[7] = 0
    assert len(TEMI(3, **QUICK).fit_predict(x)) == 60


def test_one_cluster_is_all_rows():
    x, _ = blobs(n=30)
    model = TEMI(1, **QUICK).fit(x)
    assert not model.labels_.any()
    np.testing.assert_allclose(model.head_losses_, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:1], "1 sample"),
        (lambda x: x[:2], "2 rows can't make 3 clusters"),
        (lambda x: np.ones_like(x), "all 60 rows are equal"),
        (lambda x: x[np.arange(60) % 2], "only 2 distinct directions, for n_clusters=3"),
        (lambda x: np.outer(2.0 ** np.arange(-30, 30), x[0]), "only 1 distinct directions"),
        (lambda x: np.where(np.arange(60)[:, None] == 3, np.nan, x), "1 of 60 rows hold NaN or infinity"),
        (lambda x: x[:, :0], "0 feature"),
    ],
)
def test_what_it_cannot_cluster_is_said(change, message):
    x, _ = blobs(n=60)
    with pytest.raises(DataError, match=message):
        TEMI(3, **QUICK).fit(change(x))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_clusters", 0),
        ("n_heads", 1.5),
        ("n_neighbors", True),
        ("epochs", 0),
        ("beta", 0),
        ("beta", 1.1),
        ("momentum", 1.0),
        ("momentum", -0.1),
    ],
)
def test_parameters_out_of_range_are_named(parameter, value):
    with pytest.raises(DataError, match=f"{parameter}={value}: give"):
        TEMI(**{parameter: value}).fit(blobs()[0])


def test_devices_are_checked():
    with pytest.raises(UsageError, match="tpu: unknown"):
        TEMI(2, device="tpu").fit(blobs()[0])
    assert TEMI(3, **QUICK).fit(blobs()[0]).backend_ == "torch cpu"
