"""New rows on a map: held against umap-learn's own transform, and against what a place may depend on."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from embedkit.errors import DataError
from reports.map import layout, placing
from reports.map.layout import Plan, lay_out
from reports.map.placing import place

pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")


def groups(n, seed, d=12, c=3, apart=8):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, d)) + apart * np.eye(d)[i] for i in range(c)])
    return x.astype(np.float32), np.repeat(np.arange(c), n)


@pytest.fixture(scope="module")
def laid():
    x, group = groups(70, 0)
    plan = Plan(metric="euclidean", prepared=True, seed=3)
    return x, group, plan, lay_out(x, plan)


@pytest.fixture(scope="module")
def umap(laid):
    """umap-learn's own model of the same map."""
    x, _, plan, made = laid

    def transform(new, seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP

            model = UMAP(
                n_neighbors=plan.n_neighbors,
                min_dist=plan.min_dist,
                init=made.xy,
                n_epochs=None,
                random_state=plan.seed,
                transform_seed=seed,
                n_jobs=1,
            ).fit(x)
            model.embedding_ = made.xy.copy()
            return model.transform(new)

    return transform


def test_new_rows_lie_where_umaps_own_transform_puts_them(laid, umap):
    """To the last bit with its distances; else within what another seed of its own changes.

    UMAP draws random numbers from the bits of where a row starts, so distances that differ in the seventh
    digit give other draws.
    """
    x, group, plan, made = laid
    new, of_new = groups(12, 1)
    theirs = umap(new, plan.seed)
    from umap.distances import euclidean

    distance = np.array([[euclidean(a, b) for b in x] for a in new]).astype(np.float32)
    index = np.argsort(distance, axis=1)[:, : plan.n_neighbors]
    same = placing._by_umap(index, np.take_along_axis(distance, index, axis=1), plan, made)
    np.testing.assert_allclose(same, theirs, rtol=0, atol=1e-4)
    ours = place(x, new, plan, made).xy
    off = np.linalg.norm(ours - theirs, axis=1)
    by_seed = np.linalg.norm(umap(new, plan.seed + 1) - theirs, axis=1)
    assert np.median(off) <= np.median(by_seed)
    assert off.max() <= 0.2 * np.ptp(made.xy, axis=0).max()
    nearest = np.linalg.norm(ours[:, None] - made.xy[None], axis=2).argmin(axis=1)
    assert (group[nearest] == of_new).all()


def test_rows_are_placed_where_umap_itself_can_not(laid, monkeypatch):
    """With given neighbours, as for 4,096 to 50,000 rows, umap-learn's transform refuses."""
    x, group, plan, _ = laid
    monkeypatch.setattr(layout, "SMALL", 100)
    made = lay_out(x, plan)
    new, of_new = groups(12, 1)
    placed = place(x, new, plan, made)
    nearest = np.linalg.norm(placed.xy[:, None] - made.xy[None], axis=2).argmin(axis=1)
    assert (group[nearest] == of_new).all()


def test_the_same_call_gives_the_same_places_and_moves_no_known_row(laid):
    x, _, plan, made = laid
    before, (new, _) = made.xy.copy(), groups(5, 2)
    first, second = place(x, new, plan, made), place(x, new, plan, made)
    np.testing.assert_array_equal(first.xy, second.xy)
    np.testing.assert_array_equal(made.xy, before)


def test_on_principal_components_a_row_lies_where_its_own_are():
    x, _ = groups(30, 0)
    new, _ = groups(4, 1)
    plan = Plan(projection="pca", metric="euclidean")
    placed = place(x, new, plan, lay_out(x, plan))
    truth = PCA(2).fit(x)
    ours, theirs = np.abs(placed.xy), np.abs(truth.transform(new))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_known_rows_given_again_lie_where_they_are_on_principal_components():
    x, _ = groups(30, 0)
    for metric in ("cosine", "euclidean", "correlation"):
        plan = Plan(projection="pca", metric=metric)
        made = lay_out(x, plan)
        np.testing.assert_allclose(place(x, x[:7], plan, made).xy, made.xy[:7], atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "correlation", "manhattan"])
def test_every_metric_finds_the_nearest_in_the_space_of_its_map(metric):
    x, group = groups(25, 0)
    new, of_new = groups(4, 1)
    plan = Plan(metric=metric)
    placed = place(x, new, plan, lay_out(x, plan))
    made = lay_out(x, plan)
    nearest = np.linalg.norm(placed.xy[:, None] - made.xy[None], axis=2).argmin(axis=1)
    assert (group[nearest] == of_new).all()


def test_on_t_sne_a_row_lies_at_the_median_of_its_nearest_as_opentsne_starts():
    initialization = pytest.importorskip("openTSNE.initialization")
    x, _ = groups(30, 0)
    new, _ = groups(4, 1)
    plan = Plan(projection="tsne", metric="euclidean", prepared=True)
    made = lay_out(x, plan)
    placed = place(x, new, plan, made)
    apart = np.linalg.norm(new[:, None].astype(float) - x[None], axis=2)
    index = np.argsort(apart, axis=1)[:, :15]
    theirs = initialization.median(made.xy, index)
    np.testing.assert_allclose(placed.xy, theirs, atol=1e-5)


def test_how_far_they_are_is_said_against_the_known_rows_own(laid):
    x, _, plan, made = laid
    inside, outside = groups(10, 1)[0], groups(10, 1)[0] + 100
    near, far = place(x, inside, plan, made), place(x, outside, plan, made)
    apart = np.linalg.norm(x[:, None].astype(float) - x[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(near.known_apart, apart.min(axis=1), rtol=1e-5)
    truth = np.linalg.norm(outside[:, None].astype(float) - x[None], axis=2).min(axis=1)
    np.testing.assert_allclose(far.apart, truth, rtol=1e-5)
    assert near.share_far < 0.2
    assert far.share_far == 1
    assert "100% are farther from it than 99% of the known ones are" in far.describe()


def test_too_small_a_map_and_rows_that_are_no_numbers_are_refused():
    x, _ = groups(1, 0)
    plan = Plan(metric="euclidean")
    with pytest.raises(DataError, match="a map of 3 images is too small"):
        place(x, x, plan, lay_out(x, plan))
    x, _ = groups(5, 0)
    plan = Plan(projection="pca", metric="euclidean")
    with pytest.raises(DataError, match="1 of 15 new rows hold"):
        place(x, np.where(np.arange(15)[:, None] == 3, np.nan, x), plan, lay_out(x, plan))
