"""The map: deterministic, finite on every edge case, and true to neighbourhoods."""

import io
import sys

import numpy as np
import pytest
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from embedkit.console.visible import Visible
from embedkit.errors import DataError, UsageError
from reports.map import layout as layout_of
from reports.map.layout import Plan, lay_out
from reports.map.neighbours import describe, nearest_neighbours, neighbours_among


def umap_map(x, show_progress=False, **plan):
    return lay_out(x, Plan(**plan), show_progress=show_progress)


def blobs(n=30, d=16, centres=3):
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(centres), n)
    return (rng.normal(size=(centres, d))[label] * 8 + rng.normal(size=(n * centres, d))).astype(
        np.float32
    ), label


def test_separate_groups_stay_apart():
    x, label = blobs()
    layout = umap_map(x)
    assert layout.xy.shape == (90, 2)
    assert layout.method == "umap"
    assert silhouette_score(layout.xy, label) > 0.5


def test_same_seed_same_map():
    x, _ = blobs()
    first, again, other = umap_map(x, seed=3), umap_map(x, seed=3), umap_map(x, seed=4)
    np.testing.assert_array_equal(first.xy, again.xy)
    assert not np.allclose(first.xy, other.xy)


def test_many_rows_are_laid_out_by_their_exact_neighbours(monkeypatch):
    """From 4,096 rows on; against numpy's differences of all pairs, with copies of rows."""
    x, label = blobs(n=40)
    x[7] = x[3]
    index, distances = layout_of._neighbours(x, 15)
    pairs = np.sqrt(((x[:, np.newaxis].astype(np.float64) - x) ** 2).sum(axis=2))
    assert np.array_equal(index[:, 0], np.arange(120))
    np.testing.assert_allclose(distances, np.sort(pairs, axis=1)[:, :15], atol=1e-5)
    monkeypatch.setattr(layout_of, "SMALL", 100)
    given = []
    monkeypatch.setattr(layout_of, "_neighbours", lambda *asked: given.append(asked) or (index, distances))
    first, again = umap_map(x, metric="euclidean"), umap_map(x, metric="euclidean")
    assert len(given) == 2
    np.testing.assert_array_equal(first.xy, again.xy)
    assert silhouette_score(first.xy, label) > 0.5


def test_neighbours_of_more_rows_than_can_be_compared_say_how_many_are_true(monkeypatch):
    x, _ = blobs(n=400)
    exact = nearest_neighbours(x, 10)
    monkeypatch.setattr("reports.map.neighbours.LARGE", 1000)
    found = nearest_neighbours(x, 10)
    assert exact.recall is None
    assert found.recall.share >= 0.98
    true = [len(set(a) & set(b)) / 10 for a, b in zip(exact.index, found.index, strict=True)]
    assert found.recall.share == pytest.approx(np.mean(true), abs=0.01)
    words = describe("cosine", "none", found.recall)
    assert words.startswith("cosine of the features as extracted (")
    assert words.endswith(f"{found.recall.share:.1%} of the true 10 nearest, by 600 images asked exactly)")


def test_pca_keeps_95_percent_with_the_fewest_directions():
    x, _ = blobs()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    variance = np.linalg.svd(unit - unit.mean(0), compute_uv=False) ** 2
    share = np.cumsum(variance) / variance.sum()
    layout = umap_map(x)
    r = layout.reduced.shape[1]
    assert share[r - 1] >= 0.95 > share[r - 2]
    assert layout.kept_variance == pytest.approx(share[r - 1], abs=1e-5)


def test_at_most_50_directions():
    x = np.random.default_rng(0).normal(size=(120, 100))
    layout = umap_map(x)
    assert layout.reduced.shape == (120, 50)
    assert layout.kept_variance < 0.95


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_rows_are_placed_by_pca(n):
    layout = umap_map(np.random.default_rng(0).normal(size=(n, 7)))
    assert layout.method == "pca"
    assert layout.xy.shape == (n, 2)
    assert "too few for UMAP" in layout.describe()


@pytest.mark.parametrize("n", [5, 6, 16])
def test_neighbourhoods_larger_than_the_file_are_cut(n):
    layout = umap_map(np.random.default_rng(0).normal(size=(n, 7)), n_neighbors=15)
    assert layout.settings["n_neighbors"] == min(15, n - 1)
    assert np.isfinite(layout.xy).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "correlation", "manhattan"])
def test_duplicates_and_zero_rows(metric):
    x = np.repeat(np.random.default_rng(0).normal(size=(3, 8)), 12, axis=0)
    layout = umap_map(np.concatenate([x, np.zeros((4, 8))]), metric=metric)
    assert np.isfinite(layout.xy).all()


def test_one_feature_only():
    layout = umap_map(np.random.default_rng(0).normal(size=(20, 1)), metric="euclidean")
    assert layout.reduced.shape == (20, 1)
    assert np.isfinite(layout.xy).all()


def test_constant_features_are_refused():
    with pytest.raises(DataError, match="all 9 images have the same features"):
        umap_map(np.full((9, 5), 0.3, np.float32))


def test_nan_is_refused():
    x = np.zeros((6, 3))
    x[2, 1] = np.nan
    with pytest.raises(DataError, match="1 of 6 rows hold NaN"):
        umap_map(x)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        umap_map(np.empty((0, 4)))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"n_neighbors": 1}, "--n-neighbors 1: a neighbourhood needs at least 2"),
        ({"min_dist": 1.5}, "--min-dist 1.5: give a number from 0 to 1"),
        ({"metric": "cosin"}, "--umap-metric cosin: not one of cosine, euclidean"),
    ],
)
def test_options_out_of_range(option, message):
    with pytest.raises(UsageError, match=message):
        umap_map(np.eye(6), **option)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_against_a_naive_loop(metric):
    x = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32)
    found = nearest_neighbours(x, 4, metric=metric).index
    for i in range(25):
        if metric == "cosine":
            distance = [-(x[i] @ x[j]) / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in range(25)]
        else:
            distance = [np.linalg.norm(x[i] - x[j]) for j in range(25)]
        assert found[i].tolist() == [j for j in np.argsort(distance) if j != i][:4]


def one_dominant_direction(n=60, d=24):
    """Return rows of four classes by small directions, beside one in which all rows differ much more."""
    rng = np.random.default_rng(1)
    label = np.repeat(np.arange(4), n)
    x = rng.normal(scale=0.05, size=(4 * n, d))
    x[:, 1:5] += 3 * np.eye(4)[label]
    x[:, 0] = 30 * np.exp(rng.normal(size=4 * n))
    x[:, 1:] *= np.abs(x[:, :1]) / 30  # so that classes differ by angle
    return x.astype(np.float32), label


@pytest.mark.parametrize("metric", ["cosine", "correlation", "euclidean"])
def test_neighbours_are_scikit_learns_in_features_of_one_dominant_direction(metric):
    x, label = one_dominant_direction()
    found = nearest_neighbours(x, 8, metric=metric).index
    peer = NearestNeighbors(n_neighbors=8, algorithm="brute", metric=metric).fit(x.astype(np.float64))
    truth = peer.kneighbors(return_distance=False)
    recall = np.mean([len(set(a) & set(b)) / 8 for a, b in zip(found, truth, strict=True)])
    assert recall == 1.0
    if metric == "cosine":
        assert (label[found] == label[:, None]).mean() == 1.0


def test_rows_of_zeros_are_as_far_from_all_as_scikit_learn_has_them():
    x = np.random.default_rng(0).normal(size=(60, 40))
    x[[0, 7, 30]] = 0
    peer = NearestNeighbors(n_neighbors=15, metric="cosine").fit(x)
    truth, _ = peer.kneighbors()
    away = 1 - normalize(x) @ normalize(x).T
    found = nearest_neighbours(x, 15, metric="cosine")
    np.testing.assert_allclose(np.take_along_axis(away, found.index, axis=1), truth, atol=1e-12)
    some = neighbours_among(x, x[:9], 15, metric="cosine")
    truth, _ = peer.kneighbors(x[:9])
    np.testing.assert_allclose(np.take_along_axis(away[:9], some.index, axis=1), truth, atol=1e-12)


def test_the_map_of_one_dominant_direction_keeps_what_cosine_keeps():
    x, label = one_dominant_direction()
    layout = umap_map(x)
    near = NearestNeighbors(n_neighbors=5).fit(layout.xy).kneighbors(return_distance=False)
    assert (label[near] == label[:, None]).mean() > 0.95


@pytest.mark.parametrize(
    ("metric", "prep", "words"),
    [
        ("cosine", "none", "cosine of the features as extracted"),
        ("correlation", "none", "correlation of the features as extracted"),
        ("euclidean", "pca95", "Euclidean distance of the features after pca95"),
    ],
)
def test_what_near_means_is_said(metric, prep, words):
    assert describe(metric, prep) == words


def test_rows_that_umap_cannot_place_lie_below_the_map(monkeypatch):
    import umap

    class Lost(umap.UMAP):
        def fit_transform(self, x):
            places = super().fit_transform(x)
            places[[3, 7]] = np.nan
            return places

    monkeypatch.setattr(umap, "UMAP", Lost)
    layout = umap_map(blobs()[0])
    assert layout.unplaced.tolist() == [3, 7]
    assert np.isfinite(layout.xy).all()
    others = np.delete(layout.xy, [3, 7], axis=0)
    assert (layout.xy[[3, 7], 1] < others[:, 1].min()).all()


def test_neighbours_of_duplicates_never_include_the_row_itself():
    x = np.ones((8, 3), np.float32)
    found = nearest_neighbours(x, 3).index
    assert found.shape == (8, 3)
    assert not (found == np.arange(8)[:, None]).any()


@pytest.mark.parametrize("n", [1, 2])
def test_neighbours_of_very_few_rows(n):
    near = nearest_neighbours(np.ones((n, 3), np.float32), 5)
    assert near.index.shape == near.distance.shape == (n, n - 1)


def test_umaps_own_bar_is_one_of_ours_and_steers_nothing(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    quiet = umap_map(x)
    monkeypatch.setattr(sys, "stderr", Visible(screen))
    shown = umap_map(x, show_progress=True)
    np.testing.assert_array_equal(shown.xy, quiet.xy)
    assert "finding neighbours" in screen.getvalue()
    assert "laying out the map" in screen.getvalue()
    assert "500" in screen.getvalue()  # the epochs of so few rows
    assert "\\r" not in screen.getvalue()
    assert "it/s" not in screen.getvalue()


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    x, _ = blobs()
    found = lay_out(x, Plan(projection="pca", metric="euclidean", prepared=True))
    peer = PCA(2).fit(x)
    np.testing.assert_allclose(np.abs(found.xy), np.abs(peer.transform(x)), atol=1e-3)
    assert f"({peer.explained_variance_ratio_.sum():.0%} of the variance)" in found.describe()


def test_tsne_keeps_groups_apart_and_is_the_same_twice():
    pytest.importorskip("openTSNE", reason="pip install embedkit-images[tsne]")
    x, label = blobs()
    plan = Plan(projection="tsne", metric="euclidean", prepared=True)
    first, again = lay_out(x, plan), lay_out(x, plan)
    np.testing.assert_array_equal(first.xy, again.xy)
    assert silhouette_score(first.xy, label) > 0.5
    assert "t-SNE with perplexity 29.6667" in first.describe()


def test_prepared_rows_are_laid_out_as_they_are():
    x, _ = blobs()
    found = lay_out(x, Plan(metric="euclidean", prepared=True))
    np.testing.assert_array_equal(found.reduced, x)
    assert found.describe().startswith("UMAP with 15 neighbours")


def test_places_that_were_kept_are_taken(tmp_path, monkeypatch):
    from reports.map.coordinates import keep, kept, place_of

    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path))
    x, _ = blobs()
    place = place_of(x, Plan())
    assert kept(place, 90) is None
    xy = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    keep(place, xy)
    np.testing.assert_array_equal(kept(place, 90), xy)
    np.testing.assert_array_equal(lay_out(x, known=kept(place, 90)).xy, xy)
    for other in (place_of(x + 1, Plan()), place_of(x, Plan(seed=1)), place_of(x, Plan(projection="tsne"))):
        assert other != place
    assert kept(place, 91) is None
    place.write_bytes(b"\x93NUMPY damaged")
    assert kept(place, 90) is None
