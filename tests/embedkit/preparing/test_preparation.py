import weakref

import h5py
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA as SklearnPCA  # noqa: N811
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from embedkit.errors import DataError, FeatureFileError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.preparing.preparation import Prepared, prepare, view_whiten_hint
from embedkit.preparing.steps import (
    Center,
    Clip,
    NeighborWhiten,
    Normalise,
    Preparation,
    Principal,
    ViewWhiten,
)
from embedkit.preparing.whitening import fit_clip, fit_neighbor_whiten

D, V = 12, 4


def planted(n=300, *, seed=0, n_views=V, classes=3, nuisance=3.0):
    """Features whose classes are far apart in three directions, and whose views vary much more in two."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(np.random.default_rng(99).normal(size=(D, D)))[0]
    labels = rng.integers(classes, size=n)
    x = np.zeros((n, n_views, D))
    x[:, :, :classes] = np.eye(classes)[labels][:, None]
    x[:, :, 4:6] = nuisance * rng.normal(size=(n, n_views, 2))
    x[..., 11] = 15  # features of networks have a large common part
    x += 0.1 * rng.normal(size=x.shape)
    return (x @ frame).astype(np.float32), labels


def statistics(x):
    """Features, and Views by the definition in its docstring, naively."""
    n, v, d = x.shape
    unit = x / np.linalg.norm(x, axis=2, keepdims=True)
    mean = unit.mean(axis=1)
    w = np.zeros((d, d))
    for image, centre in zip(unit, mean, strict=True):
        for view in image:
            w += np.outer(view - centre, view - centre)
    return x.mean(axis=1), Views(mean.astype(np.float32), w / (n * (v - 1)), v)


@pytest.fixture(scope="module")
def views():
    x, labels = planted()
    return (*statistics(x), labels)


@pytest.fixture
def files(tmp_path, views):
    """Write features, one view or several, and open the file."""

    def write(x, stats=None, name="f.h5", ok=None):
        path = write_features(tmp_path / name, x, Rows([f"r{i}" for i in range(len(x))]), views=stats)
        if ok is not None:
            with h5py.File(path, "a") as file:
                file["ok"] = ok
        return FeatureFile(path)

    return write


@pytest.mark.parametrize(
    ("text", "steps", "name"),
    [
        ("none", (), "none"),
        ("", (), "none"),
        ("center", (Center(),), "center"),
        ("PCA95", (Principal(0.95),), "pca95"),
        ("pca:95", (Principal(95),), "pca:95"),
        ("pca64", (Principal(64),), "pca64"),
        ("pca:0.8", (Principal(0.8),), "pca:0.8"),
        ("pca0.95", (Principal(0.95),), "pca95"),
        ("whiten30", (Principal(30, whiten=True),), "whiten30"),
        ("l2+pca95", (Normalise(), Principal(0.95)), "l2+pca95"),
        (" l2 + center ", (Normalise(), Center()), "l2+center"),
        ("view-whiten", (ViewWhiten(),), "view-whiten"),
        ("view-whiten:30", (ViewWhiten(30),), "view-whiten:30"),
        ("view-whiten:icc0.5+l2", (ViewWhiten("icc0.5"), Normalise()), "view-whiten:icc0.5+l2"),
        (
            "view-whiten:noise,shrinkage=0.1,power=0.5",
            (ViewWhiten("noise", 0.1, 0.5),),
            "view-whiten:noise,shrinkage=0.1,power=0.5",
        ),
        (
            "view-whiten+neighbor-whiten:10,neighbors=5",
            (ViewWhiten(), NeighborWhiten(10, 5)),
            "view-whiten+neighbor-whiten:10,neighbors=5",
        ),
        ("neighbor-whiten", (NeighborWhiten(),), "neighbor-whiten"),
        ("view-whiten:power=0", (ViewWhiten(power=0.0),), "view-whiten:power=0"),
    ],
)
def test_words_become_steps_and_back(text, steps, name):
    parsed = Preparation.parse(text)
    assert parsed.steps == steps
    assert parsed.name == name
    assert Preparation.parse(name) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("umap", "--prep umap: unknown step 'umap'. Give auto, none, center, l2, pca95"),
        ("l2+", "unknown step ''"),
        ("pca", "unknown step 'pca'"),
        ("pca0", "PCA cannot keep 0"),
        ("pca1.5", "PCA cannot keep 1.5"),
        ("l2+view-whiten", "view-whiten comes first"),
        ("view-whiten+view-whiten", "view-whiten comes first"),
        ("view-whiten:0", "directions 0 is neither a number of at least 1"),
        ("view-whiten:icc1.0", "directions 'icc1.0' is neither"),
        ("view-whiten:icc0.0", "directions 'icc0.0' is neither"),
        ("view-whiten:most", "directions 'most' is neither"),
        ("view-whiten:30,strength=2", "'strength=2' is no option of view-whiten"),
        ("view-whiten:power=much", "'power=much' is no option"),
        ("view-whiten:power=2", "power 2 is not between 0 and 1"),
        ("view-whiten:shrinkage=-1", "shrinkage -1 is not between 0 and 1"),
    ],
)
def test_refuses_words_that_mean_nothing(text, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(".", r"\.")):
        Preparation.parse(text)


def test_steps_are_applied_in_the_order_they_stand(views):
    x = views[0]
    np.testing.assert_allclose(prepare(x, "center").transform(x), x - x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(
        prepare(x, "l2+center").transform(x), normalize(x) - normalize(x).mean(0), atol=1e-6
    )
    np.testing.assert_allclose(prepare(x, "center+l2").transform(x), normalize(x - x.mean(0)), atol=1e-5)
    svd = SklearnPCA(5, svd_solver="full", whiten=True).fit(normalize(x).astype(np.float64))
    prepared = prepare(x, "l2+whiten5+l2")
    np.testing.assert_allclose(prepared.transform(x), normalize(svd.transform(normalize(x))), atol=1e-3)
    assert prepared.transform(x).dtype == np.float32
    assert (prepared.n_out, prepared.d, prepared.n_rows) == (5, D, 300)
    np.testing.assert_array_equal(prepare(x, "none").transform(x), x)


def test_a_row_of_zeros_stays_one():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [0.0, 1e30]])
    np.testing.assert_allclose(prepare(x, "l2").transform(x), [[0.6, 0.8], [0, 0], [1, 0], [0, 1]], rtol=1e-6)


def test_view_whitening_solves_the_generalised_eigenproblem(views):
    _, stats, _ = views
    s = 0.05
    prepared = prepare(stats, f"view-whiten:{D - 1},shrinkage={s},power=0")
    v = prepared.steps[0].matrix
    t = np.cov(stats.mean.astype(np.float64).T)
    w = (1 - s) * stats.within_covariance + s * np.trace(stats.within_covariance) / D * np.eye(D)
    np.testing.assert_allclose(v.T @ w @ v, np.eye(D - 1), atol=1e-8)
    ratios = np.diag(v.T @ t @ v)
    np.testing.assert_allclose(t @ v, w @ v * ratios, atol=1e-6)
    assert (np.diff(ratios) <= 0).all()
    np.testing.assert_allclose(prepared.steps[0].settings["lambda"], ratios[[0, -1]], rtol=1e-5)
    assert (v[np.abs(v).argmax(axis=0), np.arange(D - 1)] > 0).all()


def test_all_directions_unscaled_give_the_mahalanobis_distance_of_the_nuisance(views):
    _, stats, _ = views
    z = prepare(stats, f"view-whiten:{D},power=0").transform(stats.mean, view_mean=True)
    w = 0.99 * stats.within_covariance + 0.01 * np.trace(stats.within_covariance) / D * np.eye(D)
    expected = pdist(stats.mean[:40].astype(np.float64), "mahalanobis", VI=np.linalg.inv(w))
    np.testing.assert_allclose(pdist(z[:40]), expected, rtol=1e-3)


@pytest.mark.parametrize("power", [0.0, 0.375, 0.5])
def test_power_scales_each_direction(views, power):
    _, stats, _ = views
    prepared = prepare(stats, f"view-whiten:3,power={power}")
    z = prepared.transform(stats.mean, view_mean=True).astype(np.float64)
    covariance = np.cov(z.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3 * covariance[0, 0])
    unscaled = (
        prepare(stats, "view-whiten:3,power=0").transform(stats.mean, view_mean=True).var(axis=0, ddof=1)
    )
    np.testing.assert_allclose(np.diag(covariance), unscaled.astype(np.float64) ** (1 - 2 * power), rtol=1e-3)


def test_view_whitening_finds_the_classes_that_nuisance_hides(files, views):
    from sklearn.cluster import KMeans

    x, stats, labels = views

    def ari(z):
        return adjusted_rand_score(labels, KMeans(3, n_init=5, random_state=0).fit_predict(z))

    file = files(x, stats)
    prepared = prepare(file, "view-whiten")
    z = prepared.transform_file(file)
    assert z.shape == (300, 2)  # three classes differ in two directions
    assert ari(z) > 0.95
    assert ari(prepare(file, "pca95").transform_file(file)) < 0.3
    # Two views do, and images that it was not fitted on.
    x, _ = planted(n_views=2)
    few = prepare(statistics(x)[1], "view-whiten:2")
    new, labels = planted(seed=7)
    assert ari(few.transform(statistics(new)[1].mean, view_mean=True)) > 0.95


def test_neighbor_whitening_is_the_generalised_eigenproblem_of_its_definition():
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(200, 6)) * [4, 3, 2, 1, 1, 1] + 5).astype(np.float32)
    k, s, power = 7, 0.3, 0.5
    prepared = prepare(x, f"neighbor-whiten:3,neighbors={k},shrinkage={s}")
    c = x - x.mean(axis=0)
    unit = normalize(c)
    within = np.zeros((6, 6))
    for i in range(200):
        near = [j for j in np.argsort(-(unit @ unit[i]), kind="stable") if j != i][:k]
        for j in near:
            within += np.outer(c[i] - c[j], c[i] - c[j]) / (2 * 200 * k)
    shrunk = (1 - s) * within + s * np.trace(within) / 6 * np.eye(6)
    z = prepared.transform(x)
    v = prepared.steps[0].matrix
    lam = np.diag(v.T @ np.cov(x.T) @ v) / np.diag(v.T @ shrunk @ v)
    np.testing.assert_allclose(np.cov(x.T) @ v, shrunk @ v * lam, rtol=1e-4, atol=1e-5)
    assert (np.diff(lam) < 0).all()
    np.testing.assert_allclose(z.std(axis=0, ddof=1), np.ones(3), rtol=1e-4)  # unit variance: power 0.5
    np.testing.assert_allclose(prepared.steps[0].settings["lambda"], lam[[0, -1]], rtol=1e-4)
    assert power == prepared.steps[0].settings["power"]


@pytest.mark.parametrize("words", ["neighbor-whiten:6", "l2+pca10+neighbor-whiten:6", "whiten10+clip50"])
def test_a_direction_that_dominates_does_not_round_the_others(words):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 30))[rng.integers(5, size=500)] * 2 + rng.normal(size=(500, 30))
    x[:, 0] *= 1e4
    x = (x @ np.linalg.qr(rng.normal(size=(30, 30)))[0] + 100).astype(np.float32)
    prepared = prepare(x, words)
    rows = x.astype(np.float64)
    for step in prepared.steps:
        if step.mean is None:
            rows = normalize(rows)
            continue
        rows = rows - step.mean
        if step.matrix is not None:
            rows = rows @ step.matrix
        else:
            rows *= np.minimum(1, step.settings["radius"] / np.linalg.norm(rows, axis=1))[:, None]
    off = np.abs(prepared.transform(x) - rows).max(axis=0)
    assert (off < 1e-6 * rows.std(axis=0)).all()


def test_neighbor_whitening_takes_its_directions_from_the_number_of_clusters():
    x = np.random.default_rng(0).normal(size=(100, 8))
    assert prepare(x, "neighbor-whiten", n_clusters=4).n_out == 5
    with pytest.raises(DataError, match="whose number is not given"):
        prepare(x, "neighbor-whiten")
    with pytest.raises(DataError, match="8 directions of 4. Ask for at most 4"):
        prepare(x[:, :4], "neighbor-whiten:8")
    with pytest.raises(DataError, match="20 neighbours of each need at least 21"):
        prepare(x[:10], "neighbor-whiten:2")
    with pytest.raises(DataError, match="are copies of few images"):
        prepare(np.repeat(x[:3], 30, axis=0), "neighbor-whiten:2")


def test_rows_that_are_kept_let_go_of_their_blocks(monkeypatch):
    monkeypatch.setattr("embedkit.preparing.whitening.MAX_NEIGHBOR_ROWS", 60)
    rng, blocks_there, most = np.random.default_rng(0), [], 0

    def blocks():
        nonlocal most
        for _ in range(20):
            block = rng.normal(size=(50, 6)).astype(np.float32)
            blocks_there.append(weakref.ref(block))
            most = max(most, sum(there() is not None for there in blocks_there))
            yield block

    fit_neighbor_whiten(NeighborWhiten(3), blocks, None)
    fit_clip(Clip(0.5), blocks, 1000)
    assert most <= 3  # one that is made, one that is read, and the last of the pass before


def test_neighbor_whitening_finds_classes_that_a_strong_common_trend_hides():
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=600)
    x = 0.2 * rng.normal(size=(600, 8))
    x[:, :3] += np.eye(3)[labels]
    x[:, 5] += rng.uniform(-3, 3, size=600)  # a continuum, such as brightness

    def ari(z):
        return adjusted_rand_score(labels, KMeans(3, n_init=5, random_state=0).fit_predict(z))

    assert ari(x) < 0.3
    assert ari(prepare(x, "neighbor-whiten", n_clusters=3).transform(x)) > 0.8


def test_one_view_files_are_normalised_and_transformed_alike(files, views):
    x, stats, _ = views
    prepared = prepare(files(x, stats), "view-whiten:3")
    one = planted(n=50, seed=3, n_views=1)[0][:, 0]
    new = files(one, name="new.h5")
    z = prepared.transform_file(new)
    unit = normalize(one)
    by_hand = (unit - stats.mean.mean(axis=0)) @ prepared.steps[0].matrix
    np.testing.assert_allclose(z, by_hand, atol=1e-3)
    np.testing.assert_array_equal(z, prepared.transform(one))
    np.testing.assert_allclose(prepared.transform(unit, view_mean=True), z, atol=1e-3)


def test_files_are_read_in_blocks_in_any_order(files, views, monkeypatch):
    x, stats, _ = views
    monkeypatch.setattr("embedkit.preparing.preparation.BLOCK", 37)
    file = files(x, stats)
    read, sizes = FeatureFile._read, []
    monkeypatch.setattr(
        FeatureFile, "_read", lambda self, name, rows: sizes.append(len(rows)) or read(self, name, rows)
    )
    rows = np.random.default_rng(0).permutation(300)[:201]
    for name, source in (("pca3", x), ("center", x), ("view-whiten:3", stats)):
        from_file, from_array = prepare(file, name, rows=rows), prepare(source, name, rows=rows)
        assert from_file.n_rows == 201
        mine = stats.mean if name == "view-whiten:3" else x
        np.testing.assert_allclose(
            from_file.transform_file(file, rows[::-1]),
            from_array.transform(mine[rows[::-1]], view_mean=mine is stats.mean),
            atol=1e-4,
        )
    assert max(sizes) == 37
    mask = np.zeros(300, dtype=bool)
    mask[rows] = True
    np.testing.assert_allclose(
        prepare(file, "pca3", rows=mask).steps[0].mean, x[mask].mean(axis=0, dtype=np.float64)
    )


def test_only_the_stated_rows_are_looked_at(views):
    x, stats, _ = views
    rows = np.arange(100)
    other = x.copy()
    other[100:] += 50
    np.testing.assert_array_equal(
        prepare(x, "pca3", rows=rows).transform(x), prepare(other, "pca3", rows=rows).transform(x)
    )
    other = Views(np.where(np.arange(300)[:, None] < 100, stats.mean, 7), stats.within_covariance, V)
    np.testing.assert_array_equal(
        prepare(stats, "view-whiten:3", rows=rows).steps[0].matrix,
        prepare(other, "view-whiten:3", rows=rows).steps[0].matrix,
    )


def test_failed_images_are_left_out(files, views):
    x, stats, _ = views
    x, ok = x.copy(), np.ones(300, dtype=bool)
    ok[[4, 80]] = False
    x[~ok] = np.nan
    mean = stats.mean.copy()
    mean[~ok] = np.nan
    file = files(x, Views(mean, stats.within_covariance, V), ok=ok)
    for name in ("pca3", "view-whiten:3"):
        prepared = prepare(file, name)
        assert prepared.n_rows == 298
        assert prepared.transform_file(file).shape == (298, 3)


@pytest.mark.parametrize("name", ["none", "l2+pca95", "center", "view-whiten:noise+l2"])
def test_saved_and_loaded_it_gives_the_same(tmp_path, files, views, name):
    x, stats, _ = views
    prepared = prepare(files(x, stats), name)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        prepared.save(file.create_group("preparation"))
    with h5py.File(tmp_path / "model.h5") as file:
        from_h5 = Prepared.load(file["preparation"])
    np.savez(tmp_path / "model.npz", **prepared.arrays())
    with np.load(tmp_path / "model.npz") as file:  # allow_pickle is False
        from_npz = Prepared.load(file)
    for loaded in (from_h5, from_npz):
        np.testing.assert_array_equal(loaded.transform(x), prepared.transform(x))
        assert loaded.record() == prepared.record()
        assert loaded.preparation == prepared.preparation
    with pytest.raises(DataError, match="no preparation is stored there"):
        Prepared.load({})


def test_the_record_says_what_was_resolved(files, views):
    x, stats, _ = views
    prepared = prepare(files(x, stats), "view-whiten+l2")
    record = prepared.record()
    assert record["prep"] == "view-whiten+l2"
    assert record["preparation"]["n_rows"] == 300
    step, l2 = record["preparation"]["steps"]
    assert {
        "step": "view-whiten",
        "n_directions": 2,
        "n_views": V,
        "directions": "icc0.7",
    }.items() <= step.items()
    assert l2 == {"step": "l2"}
    assert prepared.describe().startswith("View whitening: 2 of 12 directions, in which images differ ")
    assert "Rows scaled to length 1. Scaled after they were centred" in prepared.describe()
    pca = prepare(x, "pca95")
    assert pca.describe().startswith(f"PCA: {pca.n_out} of 12 dimensions keep 9")
    assert prepare(x, "none").describe() == ""


@pytest.mark.parametrize("n_views", [2, 5])
def test_the_intraclass_correlation_does_not_depend_on_the_number_of_views(n_views):
    # Between variance 4, 1 and 0.25 of one view's nuisance: correlations of 0.8, 0.5 and 0.2.
    rng = np.random.default_rng(0)
    between = np.array([2.0, 1.0, 0.5])
    means = rng.normal(size=(20_000, 3)) * between + rng.normal(size=(20_000, 3)) / np.sqrt(n_views)
    stats = Views(means.astype(np.float32), np.eye(3), n_views)
    for rule, kept in (("icc0.7", 1), ("icc0.4", 2), ("icc0.1", 3)):
        assert prepare(stats, f"view-whiten:{rule},shrinkage=0").n_out == kept


def test_the_noise_rule_keeps_nothing_of_images_without_a_difference():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3, 30))

    def stats(x):
        mean = x.mean(axis=1)
        rest = (x - mean[:, None]).reshape(-1, 30)
        return Views(mean.astype(np.float32), rest.T @ rest / (400 * 2), 3)

    with pytest.raises(DataError, match="found no direction in which images differ more than chance"):
        prepare(stats(x), "view-whiten:noise,shrinkage=0")
    with pytest.raises(DataError, match=r"images account for 70 % of one view's variance \(largest lambda"):
        prepare(stats(x), "view-whiten")
    x[:, :, :2] += rng.normal(size=(400, 1, 2))
    assert prepare(stats(x), "view-whiten:noise,shrinkage=0").n_out == 2


def test_view_whitening_without_view_statistics_says_how_to_make_them(files, views):
    file = files(views[0])
    message = (
        r"no view statistics.*embedkit extract DATASET --views galaxy:12 -o FILE`; two views already help"
    )
    with pytest.raises(DataError, match=message):
        prepare(file, "view-whiten")
    with pytest.raises(DataError, match=message):
        prepare(views[0], "view-whiten")
    with pytest.raises(FeatureFileError, match=message):
        file.read_view_mean()
    with pytest.raises(DataError, match="pca95 works on features, not on view statistics"):
        prepare(views[1], "pca95")


def test_a_singular_nuisance_needs_shrinkage(views):
    _, stats, _ = views
    flat = stats.within_covariance.copy()
    flat[0] = flat[:, 0] = 0
    stats = Views(stats.mean, flat, V)
    assert prepare(stats, "view-whiten:3").n_out == 3
    with pytest.raises(DataError, match=r"singular \(rank 11 of 12\).*shrinkage=0\.01"):
        prepare(stats, "view-whiten:3,shrinkage=0")
    with pytest.raises(DataError, match="views of every image have the same features"):
        prepare(Views(stats.mean, flat * 0, V), "view-whiten:3")
    with pytest.raises(DataError, match=r"no finite \(12, 12\) matrix"):
        prepare(Views(stats.mean, flat * np.nan, V), "view-whiten:3")
    flat[0, 0] = -np.trace(flat) / 2
    with pytest.raises(DataError, match="within-image covariance is none: .*negative variance.* again"):
        prepare(Views(stats.mean, flat, V), "view-whiten:3")


def test_too_few_rows(views):
    x, stats, _ = views
    with pytest.raises(DataError, match=r"to 5 directions, but 4 rows .* only 3\. .*--prep view-whiten:3"):
        prepare(stats, "view-whiten:5", rows=np.arange(4))
    with pytest.raises(DataError, match="vary in only 3 directions. Ask for at most 3"):
        prepare(x, "pca5", rows=np.arange(4))
    with pytest.raises(DataError, match="1 rows; view whitening needs at least 2"):
        prepare(stats, "view-whiten", rows=np.arange(1))
    with pytest.raises(DataError, match="no rows to prepare"):
        prepare(x, "none", rows=np.arange(0))
    with pytest.raises(DataError, match="rows outside the 300"):
        prepare(x, "none", rows=np.array([300]))
    with pytest.raises(DataError, match="all 9 rows are equal"):
        prepare(Views(stats.mean[:1].repeat(9, 0), stats.within_covariance, V), "view-whiten:1")
    few = Views(stats.mean[:5], stats.within_covariance, 2)
    with pytest.raises(DataError, match="5 degrees of freedom for 12 dimensions. Give a number"):
        prepare(few, "view-whiten:noise")


def test_refuses_what_it_was_not_fitted_for(files, views):
    x = views[0]
    prepared = prepare(x, "l2+pca3")
    for transform in (
        lambda: prepared.transform(x[:, :6]),
        lambda: prepared.transform_file(files(x[:, :6], name="narrow.h5")),
    ):
        with pytest.raises(DataError, match=r"6 dimensions, the preparation \(l2\+pca3\) was fitted on 12"):
            transform()
    with pytest.raises(DataError, match=r"features of shape \(12,\)"):
        prepared.transform(x[0])
    bad = x.copy()
    bad[[7, 9], 0] = np.nan, np.inf
    for refuse in (lambda: prepared.transform(bad), lambda: prepare(bad, "pca3")):
        with pytest.raises(DataError, match="2 of 300 rows hold NaN or infinity, the first of them row 7"):
            refuse()
    file = files(bad, name="bad.h5")
    for refuse in (lambda: prepared.transform_file(file), lambda: prepare(file, "pca3")):
        with pytest.raises(
            DataError, match=r"2 of 300 rows hold NaN or infinity \(float16 .* 'r7'\. Extract"
        ):
            refuse()
    with pytest.raises(DataError, match="hold NaN or infinity"):
        prepared.transform(x.astype(np.float64) * 1e60)


def test_the_hint_says_what_a_file_would_allow(files, views):
    x, stats, _ = views
    with_views, without = files(x, stats), files(x, name="one.h5")
    hint = view_whiten_hint(with_views, Preparation.parse("pca95"))
    assert hint == (
        "The file has 4 views an image: --prep view-whiten would take out what differs between views of one "
        "image, which pca95 leaves in."
    )
    assert view_whiten_hint(with_views, Preparation.parse("view-whiten:2")) is None
    assert view_whiten_hint(without, Preparation.parse("pca95")) is None
