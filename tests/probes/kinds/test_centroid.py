import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from embedkit.errors import DataError, UsageError
from probes.kinds.centroid import NearestCentroidProbe


def data(n=200, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    return (np.eye(3, 9)[y] * 2 + random.normal(size=(n, 9)) + 1).astype(np.float32), y


def test_euclidean_is_scikit_learns_and_cosine_the_same_of_unit_rows():
    x, y = data()
    new = data(seed=1)[0]
    plain = NearestCentroidProbe(metric="euclidean").fit(x, y)
    assert np.array_equal(plain.predict(new), NearestCentroid().fit(x, y).predict(new))
    cosine = NearestCentroidProbe(metric="cosine").fit(x, y)
    unit, means = x / np.linalg.norm(x, axis=1, keepdims=True), []
    for j in range(3):
        mean = unit[y == j].mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    assert np.array_equal(cosine.predict(new), (new @ np.array(means).T).argmax(axis=1))
    np.testing.assert_allclose(cosine.predict_proba(new).sum(axis=1), 1)


def test_the_metric_is_chosen_on_validation_rows_and_one_row_a_class_is_enough():
    x, y = data()
    held = data(seed=1)
    model = NearestCentroidProbe().fit(x, y, validation=held)
    single = {m: NearestCentroidProbe(metric=m).fit(x, y) for m in ("cosine", "euclidean")}
    scores = {m: (probe.predict(held[0]) == held[1]).mean() for m, probe in single.items()}
    assert model.validation_scores_ == pytest.approx(scores)
    assert model.chosen_ == {"metric": max(scores, key=scores.get)}
    again = NearestCentroidProbe.from_state(model.state())
    assert np.array_equal(again.predict_proba(x), model.predict_proba(x))
    few = NearestCentroidProbe(metric="euclidean").fit(np.eye(3), np.arange(3))
    assert np.array_equal(few.predict(np.eye(3)), np.arange(3))


def test_what_is_refused():
    x, y = data()
    with pytest.raises(UsageError, match="--metric manhattan: unknown. Give one of cosine, euclidean"):
        NearestCentroidProbe(metric="manhattan").fit(x, y)
    with pytest.raises(DataError, match="two metrics and no validation rows"):
        NearestCentroidProbe().fit(x, y)
    with pytest.raises(DataError, match="features of 4 dimensions; this probe was fitted on 9"):
        NearestCentroidProbe(metric="cosine").fit(x, y).predict(x[:, :4])
