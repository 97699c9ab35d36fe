"""Probes for few labels: LDA with a shrunk covariance, and labels that spread to rows without one."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.semi_supervised import LabelSpreading

import embedkit
from embedkit.errors import DataError, UsageError
from embedkit.files.store import FeatureFile
from embedkit.scoring.calibration import scale
from probes.division import deal_rows, settle_rows
from probes.few_labels import fit_within
from probes.fitting import fit_splits
from probes.kinds.around import Around, Pool
from probes.kinds.discriminant import LDAProbe
from probes.kinds.spreading import LabelSpreadingProbe
from probes.labelling.options import LabelOptions
from probes.model_file import load_probe
from probes.options import ProbeOptions


def blobs(n, d=12, seed=0, spread=1.0):
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (np.eye(3, d)[y] * 2 + spread * random.normal(size=(n, d)) + 1).astype(np.float32), y


def graph(x, k, temperature):
    """The affinity by brute force: the k nearest of each by cosine, either way."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similar = unit.astype(np.float64) @ unit.T.astype(np.float64)
    np.fill_diagonal(similar, -np.inf)
    joined = np.zeros_like(similar)
    for i, row in enumerate(similar):
        near = np.argsort(-row, kind="stable")[:k]
        joined[i, near] = np.exp((row[near] - 1) / temperature)
    return np.maximum(joined, joined.T)


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("n", "d"), [(200, 9), (15, 40)])
def test_lda_is_scikit_learns(n, d, shrinkage):
    x, y = blobs(n, d)
    new, _ = blobs(50, d, seed=1)
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x.astype(np.float64), y)
    model = LDAProbe(shrinkage=shrinkage).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(new), peer.predict_proba(new), atol=1e-6)
    again = LDAProbe.from_state(model.state())
    assert np.array_equal(again.predict_proba(new), model.predict_proba(new))


def test_lda_of_one_row_a_class_answers_by_the_nearest_and_chooses_on_validation_rows():
    one = LDAProbe(shrinkage=0.5).fit(np.eye(3), np.arange(3))
    assert np.array_equal(one.predict(np.eye(3) + 0.1), np.arange(3))
    x, y = blobs(60)
    held = blobs(90, seed=2)
    model = LDAProbe(shrinkage=(0.9, 0.1)).fit(x, y, validation=held)
    scores = {s: (LDAProbe(shrinkage=s).fit(x, y).predict(held[0]) == held[1]).mean() for s in (0.1, 0.9)}
    assert model.validation_scores_ == pytest.approx(scores)
    assert model.chosen_ == {"shrinkage": max(scores, key=scores.get)}
    joined = LDAProbe(shrinkage=0.5, refit=True).fit(x, y, validation=held)
    both = LDAProbe(shrinkage=0.5).fit(np.concatenate([x, held[0]]), np.concatenate([y, held[1]]))
    np.testing.assert_allclose(joined.coef_, both.coef_)
    for wrong in (0.0, 1.5):
        with pytest.raises(UsageError, match="--shrinkage: above 0 and at most 1"):
            LDAProbe(shrinkage=wrong).fit(x, y)
    with pytest.raises(DataError, match="several shrinkages and no validation rows"):
        LDAProbe().fit(x, y)


@pytest.mark.parametrize("clamping", [0.5, 0.9])
def test_spreading_is_scikit_learns_on_the_same_graph(clamping):
    x, y = blobs(150, spread=1.5)
    at = np.array([0, 1, 2, 30, 31, 32])
    known = np.full(150, -1)
    known[at] = y[at]
    affinity = csr_matrix(graph(x, 7, 0.2))
    peer = LabelSpreading(kernel=lambda *_: affinity, alpha=clamping, max_iter=5000, tol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(x, known)
    model = LabelSpreadingProbe(k=7, clamping=clamping, temperature=0.2)
    model.fit(x[at], y[at], around=Around(Pool(x), at))
    np.testing.assert_allclose(model.answers_, peer.label_distributions_, atol=1e-4)


def test_a_new_row_is_answered_by_its_neighbours_and_a_saved_probe_says_the_same():
    x, y = blobs(90)
    new, _ = blobs(20, seed=3)
    model = LabelSpreadingProbe(k=5, clamping=0.9).fit(x, y)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (new, x)]
    similar = unit[0] @ unit[1].T
    for row, given in zip(similar, model.predict_proba(new), strict=True):
        near = np.argsort(-row)[:5]
        weight = np.exp(row[near] / 0.07)
        np.testing.assert_allclose(given, weight @ model.answers_[near] / weight.sum(), rtol=1e-3)
    again = LabelSpreadingProbe.from_state(model.state())
    assert np.array_equal(again.predict_proba(new), model.predict_proba(new))


def test_rows_without_a_label_lead_along_the_shape_of_the_data():
    """Two arcs on a sphere that no mean of one label each tells apart."""
    angle = np.linspace(0, np.pi, 300)
    one = np.stack([np.cos(angle), np.sin(angle), np.full(300, 3.0)], axis=1)
    other = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle), np.full(300, 3.0)], axis=1)
    x = np.concatenate([one, other]).astype(np.float32)
    y = np.repeat([0, 1], 300)
    at = np.array([10, 590])
    spread = LabelSpreadingProbe(k=6, clamping=0.99, temperature=0.001)
    spread.fit(x[at], y[at], around=Around(Pool(x), at))
    alone = LabelSpreadingProbe(k=1, clamping=0.99).fit(x[at], y[at])
    assert (spread.predict(x) == y).mean() == 1
    assert (alone.predict(x) == y).mean() < 0.9
    assert spread.details_ == {"n_unlabelled": 598}


def test_rows_that_no_label_reaches_get_the_shares_of_the_labels_and_are_counted():
    random = np.random.default_rng(0)
    x = np.concatenate([np.eye(4)[i] + 0.01 * random.normal(size=(20, 4)) for i in range(4)])
    at = np.array([0, 1, 20])
    model = LabelSpreadingProbe(k=5, clamping=0.9).fit(x[at], ["a", "a", "b"], around=Around(Pool(x), at))
    np.testing.assert_allclose(model.answers_[40:], np.tile([2 / 3, 1 / 3], (40, 1)), rtol=1e-6)
    assert model.notes_[0].startswith("40 of 80 rows are joined to no label")
    weighted = LabelSpreadingProbe(k=5, clamping=0.9, class_weight="balanced")
    weighted.fit(x[at], ["a", "a", "b"], around=Around(Pool(x), at))
    np.testing.assert_allclose(weighted.answers_[40:], 0.5, rtol=1e-6)


def test_more_copies_than_neighbours_are_never_their_own():
    x = np.concatenate([np.ones((30, 3)), np.eye(3)])
    found = Pool(x).neighbours(4)
    assert not (found.index == np.arange(33)[:, None]).any()
    assert found.index.shape == (33, 4)
    assert np.array_equal(Pool(x).neighbours(2).index, found.index[:, :2])


def test_settings_are_chosen_on_validation_rows_whose_labels_do_not_spread():
    x, y = blobs(60, spread=2.0)
    held = blobs(60, seed=4, spread=2.0)
    model = LabelSpreadingProbe(k=(3, 9), clamping=(0.5, 0.9)).fit(x, y, validation=held)
    everyone = Around(Pool(np.concatenate([x, held[0]])), np.arange(60))
    for (k, clamping), score in model.validation_scores_.items():
        peer = LabelSpreadingProbe(k=k, clamping=clamping).fit(x, y, around=everyone)
        assert score == pytest.approx((peer.classes_[peer.answers_[60:].argmax(axis=1)] == held[1]).mean())
    again = LabelSpreadingProbe(k=(3, 9), clamping=(0.5, 0.9), refit=True).fit(x, y, validation=held)
    assert again.details_ == {"n_unlabelled": 0}
    with pytest.raises(DataError, match="several settings and no validation rows"):
        LabelSpreadingProbe().fit(x, y)
    with pytest.raises(UsageError, match="a clamping between 0 and 1"):
        LabelSpreadingProbe(clamping=1.0).fit(x, y)
    with pytest.raises(DataError, match="k = 60 neighbours are asked of 59"):
        LabelSpreadingProbe(k=60, clamping=0.9).fit(x, y)


def some_labels(y):
    return np.where(np.arange(len(y)) < 60, y, -1)


@pytest.mark.parametrize("more", [{}, {"budget": ("3",), "draws": 2}])
def test_rows_without_a_label_are_learnt_from_and_test_rows_never(make_file, more):
    """Turning the test rows round changes what is said of them, and nothing that was learnt."""
    path = make_file(labels=some_labels)
    options = ProbeOptions(kind="label-spreading", split="stratified")
    with FeatureFile(path) as file:
        dealt = settle_rows(file, deal_rows(file, options), options)
        fitted, _ = fit_splits(file, dealt.labelled, dealt.splits, options, [])
        split = dealt.splits[0]
    assert fitted[0].model.details_ == {"n_unlabelled": 300 - len(split.train) - len(split.test)}

    def turned(x):
        x[split.test] = -x[split.test]
        return x

    with FeatureFile(make_file(name="turned.h5", labels=some_labels, features=turned)) as file:
        other, _ = fit_splits(file, dealt.labelled, dealt.splits, options, [])
    assert np.array_equal(fitted[0].model.answers_, other[0].model.answers_)
    assert not np.array_equal(fitted[0].outputs["test"], other[0].outputs["test"])

    said = embedkit.probe(path, kind="label-spreading", split="stratified", **more)
    assert any("240 rows without a label are learnt from as well" in note for note in said.notes)


def test_label_spreads_over_all_images_of_the_file(make_file, tmp_path):
    """A probe that knows the file's other rows; those with a label are answered without theirs."""
    path = make_file(labels=some_labels)
    found = embedkit.label(path, kind="label-spreading", save_model=tmp_path / "model")
    kept = load_probe(tmp_path / "model").probe
    assert found.result.method == "label-spreading"
    assert len(kept.answers_) == 300
    with FeatureFile(path) as file:
        y, x = file.rows.labels, file.read()
    at = np.flatnonzero(y >= 0)
    every = Around(Pool(x), at)
    peer = LabelSpreadingProbe(k=kept.k_, clamping=found.result.outcomes["clamping"])
    assert np.array_equal(peer.fit(x[at], y[at], around=every).answers_, kept.answers_)
    fold = np.flatnonzero(found.spread.fold == 1)
    rest = np.setdiff1d(at, fold)
    out = fit_within(
        x[rest],
        y[rest],
        y[rest],
        LabelOptions(kind="label-spreading").probe,
        seed=0,
        around=Around(Pool(x), rest),
    )
    expected = scale(out.predict_proba(x[fold]), found.spread.temperature)
    np.testing.assert_allclose(found.spread.probabilities[fold], expected, rtol=1e-6)
