import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from embedkit.errors import DataError, UsageError
from probes.kinds.linear import LinearProbe
from probes.kinds.logistic import ConvergenceWarning


def data(n=400, d=20, c=4, seed=0):
    """Correlated features of very different scales, classes of different sizes."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(d, d)) * np.logspace(0, -2, d)
    y = random.choice(c, size=n, p=np.linspace(1, 3, c) / np.linspace(1, 3, c).sum())
    centres = np.random.default_rng(8).normal(size=(c, d))
    x = (0.7 * centres[y] + random.normal(size=(n, d))) @ mixing * np.logspace(-2, 2, d) + 3
    return x.astype(np.float32), y


def standardised(x, model):
    return ((x - model.mean_) / model.scale_).astype(np.float64)


@pytest.mark.parametrize("c", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize(("n_classes", "n", "d"), [(4, 400, 20), (2, 400, 20), (3, 60, 150), (2, 60, 150)])
def test_coefficients_agree_with_scikit_learn(c, n_classes, n, d):
    x, y = data(n, d, n_classes)
    model = LinearProbe(c_grid=c).fit(x, y)
    peer = LogisticRegression(C=c, tol=1e-10, max_iter=50_000).fit(standardised(x, model), y)
    assert model.converged_
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(x), peer.predict_proba(standardised(x, model)), atol=1e-4)


def test_without_standardisation_it_is_scikit_learn_on_the_features_themselves():
    x, y = data()
    x = x / np.abs(x).max(axis=0)
    model = LinearProbe(c_grid=1.0, standardize=False).fit(x, y)
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=50_000).fit(x.astype(np.float64), y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)


def test_the_path_gives_what_single_fits_give():
    x, y = data()
    held = data(seed=1)
    grid = (1e-3, 1e-2, 0.1, 1.0)
    model = LinearProbe(c_grid=grid).fit(x, y, validation=held)
    single = {c: LinearProbe(c_grid=c).fit(x, y) for c in grid}
    scores = {c: (m.predict(held[0]) == held[1]).mean() for c, m in single.items()}
    assert model.validation_scores_ == pytest.approx(scores, abs=1.5 / len(held[1]))
    np.testing.assert_allclose(model.coef_, single[model.c_].coef_, atol=1e-5)


def test_c_is_chosen_on_validation_and_ties_go_to_the_smaller():
    x, y = data()
    held = data(seed=1)
    model = LinearProbe().fit(x, y, validation=held)
    best = max(model.validation_scores_.values())
    assert model.c_ == min(c for c, score in model.validation_scores_.items() if score == best)
    easy = np.repeat(np.eye(3) * 9, 20, axis=0)
    labels = np.repeat(np.arange(3), 20)
    assert LinearProbe(c_grid=(10, 0.1, 1)).fit(easy, labels, validation=(easy, labels)).c_ == 0.1


def test_select_decides_what_best_means():
    x, y = data(300, 8, 2)
    keep = np.flatnonzero((y == 1) | (np.arange(300) % 8 == 0))
    chosen = {
        select: LinearProbe(select=select).fit(x[keep], y[keep], validation=data(200, 8, 2, seed=1))
        for select in ("accuracy", "balanced_accuracy", "log_loss")
    }
    held = data(200, 8, 2, seed=1)
    for model in chosen.values():
        assert model.validation_scores_[model.c_] == max(model.validation_scores_.values())
    loss = -chosen["log_loss"].validation_scores_[1.0]
    one = LinearProbe(c_grid=1.0).fit(x[keep], y[keep]).predict_proba(held[0])
    assert loss == pytest.approx(-np.log(one[np.arange(200), held[1]]).mean(), abs=1e-3)


def test_standardisation_is_fitted_on_training_rows_only():
    x, y = data()
    shifted = (x + 1e3, y)
    model = LinearProbe(c_grid=(0.1, 1)).fit(x, y, validation=shifted)
    np.testing.assert_allclose(model.mean_, x.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(model.scale_, x.std(axis=0, dtype=np.float64))


def test_refit_is_a_fit_on_training_and_validation_rows():
    x, y = data()
    held = data(seed=1)
    model = LinearProbe(refit=True).fit(x, y, validation=held)
    both = LinearProbe(c_grid=model.c_).fit(np.concatenate([x, held[0]]), np.concatenate([y, held[1]]))
    np.testing.assert_allclose(model.coef_, both.coef_, atol=1e-5)
    np.testing.assert_allclose(model.mean_, both.mean_)


def test_affine_changes_of_features_change_nothing():
    x, y = data()
    scale = np.random.default_rng(0).uniform(0.1, 10, x.shape[1]).astype(np.float32)
    one, other = (LinearProbe(c_grid=0.1).fit(z, y) for z in (x, x * scale - 5))
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-3)


def test_constant_features_are_left_out():
    x, y = data()
    padded = np.concatenate([x, np.full((len(x), 2), 0.1, np.float32)], axis=1)
    model, plain = LinearProbe(c_grid=1.0).fit(padded, y), LinearProbe(c_grid=1.0).fit(x, y)
    assert model.n_constant_ == 2
    np.testing.assert_allclose(model.coef_[:, :-2], plain.coef_, atol=1e-5)
    assert (model.coef_[:, -2:] == 0).all()


def test_separated_classes_at_a_large_c_converge():
    x = np.concatenate([np.full((30, 3), -1.0), np.full((30, 3), 1.0)])
    x += 0.1 * np.random.default_rng(0).normal(size=x.shape)
    y = np.repeat([0, 1], 30)
    model = LinearProbe(c_grid=1e4).fit(x, y)
    assert model.converged_
    assert (model.predict(x) == y).all()


def test_too_few_iterations_are_said():
    x, y = data()
    with pytest.warns(
        ConvergenceWarning, match=r"C = 10 .*stopped after 2 iterations|C = 10 stopped after 2"
    ):
        model = LinearProbe(c_grid=10.0, max_iter=2).fit(x, y)
    assert not model.converged_
    with (
        pytest.warns(ConvergenceWarning, match="stopped"),
        pytest.warns(ConvergenceWarning, match="had not settled after 1 iterations"),
    ):
        LinearProbe(c_grid=(1.0, 10.0), max_iter=1).fit(x, y, validation=(x, y))


def test_classes_keep_their_names_and_the_same_data_give_the_same_numbers():
    x, y = data()
    names = np.array(["a", "b", "c", "d"])
    model, again = (LinearProbe(c_grid=0.1).fit(x, names[y]) for _ in range(2))
    assert list(model.classes_) == list(names)
    assert set(model.predict(x)) <= set(names)
    assert np.array_equal(model.coef_, again.coef_)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


def test_what_is_refused():
    x, y = data(50)
    with pytest.raises(DataError, match="every feature is constant"):
        LinearProbe(c_grid=1.0).fit(np.full((50, 4), 0.3), y)
    with pytest.raises(DataError, match="hold NaN"):
        LinearProbe(c_grid=1.0).fit(np.full_like(x, np.nan), y)
    with pytest.raises(DataError, match="1 class in 50"):
        LinearProbe(c_grid=1.0).fit(x, np.zeros(50))
    with pytest.raises(DataError, match="several settings and no validation rows"):
        LinearProbe().fit(x, y)
    with pytest.raises(UsageError, match="every C must be above 0"):
        LinearProbe(c_grid=(0.1, 0)).fit(x, y)
    with pytest.raises(UsageError, match="select 'f1' is unknown"):
        LinearProbe(select="f1").fit(x, y, validation=(x, y))
    with pytest.raises(DataError, match="3 dimensions; this probe was fitted on 20"):
        LinearProbe(c_grid=1.0).fit(x, y).predict(x[:, :3])
    with pytest.raises(DataError, match="don't fit 50 rows"):
        LinearProbe(c_grid=1.0).fit(x, y[:3])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_balanced_weights_are_those_of_scikit_learn(n_classes):
    x, y = data(c=n_classes)
    model = LinearProbe(c_grid=0.1, class_weight="balanced").fit(x, y)
    peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=50_000, class_weight="balanced")
    peer.fit(standardised(x, model), y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-4)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, atol=1e-4)
    with pytest.raises(UsageError, match="class_weight 'even' is unknown"):
        LinearProbe(c_grid=0.1, class_weight="even").fit(x, y)


@pytest.mark.parametrize(("n_classes", "n", "d"), [(2, 400, 20), (4, 400, 20), (3, 60, 150)])
def test_torch_gives_the_numbers_of_numpy(n_classes, n, d):
    """The path of a GPU, run on the CPU."""
    x, y = data(n, d, n_classes)
    held = data(n, d, n_classes, seed=1)
    plain, torch = (
        LinearProbe(device=device, class_weight="balanced").fit(x, y, validation=held)
        for device in ("cpu", "torch:cpu")
    )
    assert (plain.backend_, torch.backend_) == ("numpy-cpu", "torch-cpu")
    assert torch.c_ == plain.c_
    np.testing.assert_allclose(torch.coef_, plain.coef_, atol=1e-5)
    np.testing.assert_allclose(torch.predict_proba(x), plain.predict_proba(x), atol=1e-5)


def test_a_probe_made_of_its_arrays_predicts_the_same():
    x, y = data()
    model = LinearProbe(c_grid=0.1).fit(x, y)
    again = LinearProbe.from_state(model.state())
    assert np.array_equal(again.predict_proba(x), model.predict_proba(x))
