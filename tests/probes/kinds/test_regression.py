import csv

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from embedkit.cli import main
from embedkit.errors import DataError, EmbedkitError
from embedkit.scoring.target_scores import score_targets
from probes.kinds.regression import RidgeProbe, SigmoidProbe
from probes.options import ProbeOptions
from probes.run import probe


def data(n=300, d=12, t=3, seed=0):
    random = np.random.default_rng(seed)
    w = np.random.default_rng(5).normal(size=(d, t))
    x = random.normal(size=(n, d)).astype(np.float32) + 2
    y = 1 / (1 + np.exp(-((x - 2) @ w) / 2)) + 0.05 * random.normal(size=(n, t))
    return x, np.clip(y, 0, 1)


@pytest.mark.parametrize(("n", "d"), [(300, 12), (40, 90)])
def test_ridge_is_scikit_learns(n, d):
    x, y = data(n, d)
    model = RidgeProbe(alphas=3.0).fit(x, y)
    z = ((x - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)).astype(float)
    peer = Ridge(alpha=3.0).fit(z, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(model.predict(x), peer.predict(z), atol=1e-5)


def test_the_penalty_is_chosen_by_rmse_on_validation_rows_and_clipping_cuts():
    (x, y), held = data(60, 40), data(60, 40, seed=1)
    model = RidgeProbe().fit(x, y, validation=held)
    single = {a: RidgeProbe(alphas=a).fit(x, y).predict(held[0]) for a in (0.1, 100.0, 1e6)}
    for alpha, predicted in single.items():
        assert model.validation_scores_[alpha] == pytest.approx(np.sqrt(((predicted - held[1]) ** 2).mean()))
    chosen = model.chosen_["alpha"]
    assert model.validation_scores_[chosen] == min(model.validation_scores_.values())
    assert model.predict(held[0]).min() < 0
    clipped = RidgeProbe(alphas=chosen, clip=True).fit(x, y)
    np.testing.assert_allclose(clipped.predict(held[0]), np.clip(model.predict(held[0]), 0, 1), atol=1e-9)
    again = RidgeProbe.from_state(clipped.state())
    assert np.array_equal(again.predict(x), clipped.predict(x))


def test_sigmoid_is_a_logistic_regression_of_each_target_and_of_fractions_by_weight():
    x, y = data()
    model = SigmoidProbe(c_grid=0.1).fit(x, y)
    z = (x - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)
    for j in range(y.shape[1]):
        # A fraction f is f rows of class 1 and 1 - f rows of class 0.
        peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
        twice, weight = np.concatenate([z, z]), np.concatenate([y[:, j], 1 - y[:, j]])
        peer.fit(twice, np.repeat([1, 0], len(z)), sample_weight=weight)
        np.testing.assert_allclose(model.coef_[j], peer.coef_[0], atol=1e-4)
    torch = SigmoidProbe(c_grid=0.1, device="torch:cpu").fit(x, y)
    np.testing.assert_allclose(torch.predict(x), model.predict(x), atol=1e-5)


def test_rmse_is_the_root_of_the_mean_over_rows_and_targets():
    random = np.random.default_rng(0)
    y, p = random.uniform(size=(50, 4)), random.uniform(size=(50, 4))
    scores = score_targets(y, p, np.full_like(y, 0.5), target_names="abcd")
    total = sum((y[i, j] - p[i, j]) ** 2 for i in range(50) for j in range(4))
    assert scores.metrics["rmse"].value == pytest.approx((total / 200) ** 0.5)
    assert scores.metrics["rmse"].low < scores.metrics["rmse"].value < scores.metrics["rmse"].high
    assert np.mean([t.rmse**2 for t in scores.targets]) == pytest.approx(total / 200)
    with pytest.raises(DataError, match="don't fit targets"):
        score_targets(y, p[:, :3], y, target_names="abcd")


@pytest.mark.parametrize("kind", ["ridge", "sigmoid"])
def test_the_command_predicts_every_test_row(make_file, tmp_path, kind, capsys):
    y = data(300)[1].astype(np.float32)
    y[4, 1] = np.nan
    path = make_file(
        features=lambda _: data(300)[0], labels=None, targets=y, target_names=("smooth", "disc", "star")
    )
    assert main(["probe", str(path), "--kind", kind, "-o", str(tmp_path / "runs")]) == 0  # in folds: 299 rows
    shown = capsys.readouterr()
    assert "RMSE of the training mean" in shown.out
    assert "Left out 1 rows without all targets" in shown.err
    report = probe(path, ProbeOptions(kind=kind, split="stratified"), output=tmp_path / "again")
    split = report.splits[0]
    metrics = report.result.metrics
    assert metrics["rmse"].value < 0.5 * metrics["mean_rmse"].value
    mean = np.sqrt(((y[split.test] - y[split.train].mean(axis=0, dtype=float)) ** 2).mean())
    assert metrics["mean_rmse"].value == pytest.approx(mean, rel=1e-5)
    with report.predictions_path.open(newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if line["split"] == "test"]
    assert [line["id"] for line in lines] == [f"images/galaxy {i}.jpg" for i in split.test]
    errors = [float(line["squared_error"]) for line in lines]
    assert np.sqrt(np.mean(errors)) == pytest.approx(metrics["rmse"].value, rel=1e-4)
    assert float(lines[0]["true:disc"]) == pytest.approx(float(y[split.test[0], 1]), rel=1e-5)


def test_targets_that_cannot_be(make_file):
    with pytest.raises(EmbedkitError, match="no targets stored. Extract again from a dataset with targets"):
        probe(make_file(), ProbeOptions(kind="ridge"))
    y = 3 * data(300)[1]
    wide = make_file(name="wide.h5", targets=y.astype(np.float32), target_names=("a", "b", "c"))
    with pytest.raises(EmbedkitError, match=r"targets outside \[0, 1\], such as .* Use --kind ridge"):
        probe(wide, ProbeOptions(kind="sigmoid"))
    assert probe(wide, ProbeOptions(kind="ridge", split="kfold:3")).result.n == 300
