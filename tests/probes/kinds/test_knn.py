import math

import numpy as np
import pytest

from embedkit.errors import DataError, UsageError
from probes.kinds.knn import KNNProbe, vote
from probes.neighbours.search import nearest, normalise


def naive(queries, bank, k):
    """Every pair, one at a time, sorted by similarity and then by row."""
    queries, bank = normalise(queries).astype(np.float64), normalise(bank).astype(np.float64)
    index = np.empty((len(queries), k), int)
    for i, q in enumerate(queries):
        similarities = [math.fsum(q * b) for b in bank]
        index[i] = sorted(range(len(bank)), key=lambda j: (-round(similarities[j], 12), j))[:k]
    return index


def data(n, d=24, seed=0, c=3):
    random = np.random.default_rng(seed)
    y = random.integers(0, c, n)
    centres = np.random.default_rng(99).normal(size=(c, d))
    return (centres[y] + 1.5 * random.normal(size=(n, d))).astype(np.float32), y


@pytest.mark.parametrize("k", [1, 7, 200, 300])
def test_neighbours_are_those_of_a_naive_loop(k):
    queries, bank = data(40)[0], data(300, seed=1)[0]
    assert np.array_equal(nearest(queries, bank, k).index, naive(queries, bank, k))


def test_copies_come_in_the_order_of_the_bank():
    bank = np.repeat(data(30)[0], 40, axis=0)[np.random.default_rng(0).permutation(1200)]
    queries = data(5, seed=1)[0]
    found = nearest(queries, bank, 25)
    assert np.array_equal(found.index, naive(queries, bank, 25))


def test_neighbours_closer_than_float32_resolves_are_told_apart():
    random = np.random.default_rng(0)
    bank = np.ones((500, 64), np.float32) + 1e-4 * random.normal(size=(500, 64)).astype(np.float32)
    queries = bank[:20] + 1e-4 * random.normal(size=(20, 64)).astype(np.float32)
    assert np.array_equal(nearest(queries, bank, 10).index, naive(queries, bank, 10))


def test_each_row_among_all_is_found_from_half_the_products():
    rows = np.concatenate([data(200)[0], data(40)[0]])  # 40 of them twice
    assert np.array_equal(nearest(rows, rows, 20).index, naive(rows, rows, 20))


def test_rows_that_all_point_nearly_the_same_way():
    rows = 1 + 3e-3 * data(200)[0]
    assert np.array_equal(nearest(rows, rows, 20).index, naive(rows, rows, 20))


def test_tiles_and_threads_change_nothing(monkeypatch):
    import torch

    rows = np.concatenate([data(700)[0], data(50)[0]])
    whole = nearest(rows, rows, 9)
    monkeypatch.setattr("probes.neighbours.candidates.TILE_ROWS", 64)
    monkeypatch.setattr("probes.neighbours.candidates.TILE_COLUMNS", 128)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        tiled = nearest(rows, rows, 9)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(tiled.index, whole.index)
    assert np.array_equal(tiled.similarity, whole.similarity)


def test_more_copies_than_there_is_room_for_are_still_in_the_order_of_the_bank(monkeypatch):
    monkeypatch.setattr("probes.neighbours.candidates.ROOM", (1, 30))
    bank = np.repeat(data(6)[0], 50, axis=0)[np.random.default_rng(0).permutation(300)]
    queries = np.concatenate([bank[:5], data(5, seed=1)[0]])
    assert np.array_equal(nearest(queries, bank, 20).index, naive(queries, bank, 20))


@pytest.mark.parametrize("copies", [1, 60])
def test_torch_finds_the_same_neighbours(copies):
    bank = np.repeat(data(600)[0], copies, axis=0)[:900]
    queries = np.concatenate([bank[:30], data(30, seed=1)[0], np.zeros((1, 24), np.float32)])
    ours, torchs = nearest(queries, bank, 15), nearest(queries, bank, 15, device="cpu")
    assert np.array_equal(torchs.index, ours.index)
    np.testing.assert_allclose(torchs.similarity, ours.similarity, atol=1e-12)


def test_products_stay_within_the_margin():
    import torch

    from probes.neighbours.rounded import Rounded

    random = np.random.default_rng(0)
    # Rounding takes away the same from every dimension, the worst that can be.
    steps = random.choice([1.0, 1.0 + 2.0**-8], size=(300, 96)) * (1 + np.arange(300)[:, None] / 300)
    rows = normalise(random.choice([-1, 1], size=(300, 1)) * steps)
    centre = rows.mean(axis=0)
    for precision in (torch.float32, torch.bfloat16):
        rounded = Rounded.of(rows, centre, precision)
        exact = rows.astype(np.float64) @ rows.astype(np.float64).T - centre.astype(np.float64) @ centre
        products = (rounded.left.double() @ rounded.right.double().T).numpy()
        assert (2 * np.abs(products - exact).max(axis=1) <= rounded.margin(rounded)).all()


def test_vote_is_the_published_formula():
    queries, bank, (_, y) = data(40)[0], data(300, seed=1)[0], data(300, seed=1)
    shares = vote(nearest(queries, bank, 50), y, n_classes=3, ks=(20, 50), temperature=0.07)
    q, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries.astype(float), bank.astype(float)))
    for k in (20, 50):
        for i in range(len(q)):
            similarity = b @ q[i]
            near = np.argsort(-similarity)[:k]
            w = np.array([sum(math.exp(similarity[j] / 0.07) for j in near if y[j] == c) for c in range(3)])
            np.testing.assert_allclose(shares[k][i], w / w.sum(), rtol=1e-4, atol=1e-9)


def test_temperature_decides_between_the_nearest_and_the_many():
    bank = np.array([[1, 0], [0.9, 0.45], [0.9, -0.45]], np.float32)
    for temperature, winner in ((0.001, 0), (10.0, 1)):
        model = KNNProbe(k=3, temperature=temperature).fit(bank, np.array([0, 1, 1]))
        assert model.predict(np.array([[1, 0.0]])) == [winner]


def test_length_does_not_matter_and_zeros_are_no_error():
    x, y = data(100)
    model = KNNProbe(k=5).fit(x, y)
    again = KNNProbe(k=5).fit(x * np.linspace(0.1, 50, 100)[:, None], y)
    np.testing.assert_allclose(model.predict_proba(x), again.predict_proba(x * 3), atol=1e-5)
    assert np.isfinite(model.predict_proba(np.zeros((1, 24)))).all()


def test_k_is_chosen_on_validation_and_ties_go_to_the_smaller():
    x, y = data(300)
    held = data(150, seed=1)
    model = KNNProbe(k=(100, 1, 10)).fit(x, y, validation=held)
    scores = {k: (KNNProbe(k=k).fit(x, y).predict(held[0]) == held[1]).mean() for k in (1, 10, 100)}
    assert model.validation_scores_ == pytest.approx(scores)
    assert model.k_ == min(k for k in scores if scores[k] == max(scores.values()))
    twins = np.eye(2).repeat(50, axis=0)
    assert KNNProbe(k=(30, 3)).fit(twins, twins[:, 0], validation=(twins, twins[:, 0])).k_ == 3


def test_a_device_is_taken_and_named():
    x, y = data(200)
    model, other = KNNProbe(k=9).fit(x, y), KNNProbe(k=9, device="torch:cpu").fit(x, y)
    np.testing.assert_allclose(other.predict_proba(x), model.predict_proba(x), atol=1e-9)
    assert model.backend_ == other.backend_ == "torch-cpu"
    with pytest.raises(UsageError, match="--device abacus: not for this"):
        KNNProbe(k=9, device="abacus").fit(x, y)


def test_refit_adds_the_validation_rows():
    x, y = data(60)
    held = data(60, seed=1)
    model = KNNProbe(k=(1, 3), refit=True).fit(x, y, validation=held)
    joined = KNNProbe(k=model.k_).fit(np.concatenate([x, held[0]]), np.concatenate([y, held[1]]))
    assert np.array_equal(model.predict_proba(held[0]), joined.predict_proba(held[0]))


def test_classes_keep_their_names_and_probabilities_add_up():
    x, y = data(90)
    names = np.array(["disc", "merger", "smooth"])
    model = KNNProbe(k=20).fit(x, names[y])
    assert list(model.classes_) == sorted(names)
    assert (model.predict(x) == names[y]).mean() > 0.7
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1)


def test_what_is_refused():
    x, y = data(50)
    with pytest.raises(
        DataError, match="k = 60 neighbours are asked of 50 training rows. Give --n-neighbors at most 50"
    ):
        KNNProbe(k=60).fit(x, y)
    with pytest.raises(DataError, match="no validation rows to choose by"):
        KNNProbe(k=(1, 2)).fit(x, y)
    with pytest.raises(UsageError, match="temperature above 0"):
        KNNProbe(k=5, temperature=0).fit(x, y)
    with pytest.raises(DataError, match="1 of 50 rows hold NaN or infinity, the first of them row 7"):
        KNNProbe(k=5).fit(np.where(np.arange(50)[:, None] == 7, np.nan, x), y)
    with pytest.raises(DataError, match="every feature is constant"):
        KNNProbe(k=5).fit(np.ones((50, 4)), y)
    with pytest.raises(DataError, match="1 class in 50 training rows"):
        KNNProbe(k=5).fit(x, np.zeros(50))
    with pytest.raises(DataError, match="queries of 3 dimensions don't fit a bank of 24"):
        KNNProbe(k=5).fit(x, y).predict(x[:, :3])
    with pytest.raises(UsageError, match="votes can be 0"):
        KNNProbe(k=5, select="log_loss").fit(x, y)


def by_the_rule(shares, neighbours, labels, k):
    """The class with the largest share; the rest of the rule in the order in which it is written down."""
    return [
        min(
            np.flatnonzero(row == row.max()),
            key=lambda c, i=i: min(
                (-neighbours.similarity[i, j], -(labels == c).sum(), j)
                for j in range(k)
                if labels[neighbours.index[i, j]] == c
            ),
        )
        for i, row in enumerate(shares)
    ]


@pytest.mark.parametrize("k", [2, 4, 6])
def test_ties_do_not_ask_for_the_order_of_the_classes(k, monkeypatch):
    """On a grid of few directions most votes are tied; another numbering of the classes is the same vote."""
    random = np.random.default_rng(5)
    bank, queries = random.integers(-1, 2, (80, 2)) + 0.0, random.integers(-1, 2, (60, 2)) + 0.0
    labels = random.choice(4, 80, p=[0.1, 0.2, 0.3, 0.4])
    found = nearest(queries, bank, k)
    shares = vote(found, labels, n_classes=4, ks=[k])[k]
    monkeypatch.setattr(
        "probes.kinds.knn._untied", lambda votes, *_: votes / votes.sum(axis=1, keepdims=True)
    )
    before = vote(found, labels, n_classes=4, ks=[k])[k]
    monkeypatch.undo()
    tied = (before == before.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert 3 < tied.sum() < 60
    assert np.array_equal(shares[~tied], before[~tied])
    assert np.abs(shares - before).max() < 1e-15
    assert shares.argmax(axis=1).tolist() == by_the_rule(before, found, labels, k)
    assert (shares.argmax(axis=1) != before.argmax(axis=1)).any()
    for other in ([3, 2, 1, 0], [1, 3, 0, 2]):
        numbered = np.array(other)
        again = vote(found, numbered[labels], n_classes=4, ks=[k])[k]
        assert np.array_equal(again.argmax(axis=1), numbered[shares.argmax(axis=1)])


def test_a_tied_vote_goes_to_the_nearest_then_to_the_more_frequent_then_to_the_first_row():
    x = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0.1], [1, 0.1], [0, 1]])
    query = np.array([[1.0, 0]])

    def winner(bank, labels, k):
        shares = vote(nearest(query, x[bank], k), np.array(labels), n_classes=3, ks=[k], temperature=1e9)
        return int(shares[k].argmax())

    assert winner([3, 0], [0, 1], 2) == 1  # the nearer (weights alike at this temperature)
    assert winner([0, 1, 5], [0, 1, 1], 2) == 1  # as near, and more of them
    assert winner([0, 1], [1, 0], 2) == 1  # as near and as many: the first row
    assert winner([1, 0], [0, 1], 2) == 0
