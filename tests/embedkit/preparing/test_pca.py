import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as SklearnPCA  # noqa: N811
from sklearn.utils.estimator_checks import parametrize_with_checks

from embedkit.computing import driver
from embedkit.errors import DataError, UsageError
from embedkit.preparing import pca
from embedkit.preparing.pca import PCA


def matrix(n, d, *, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.geomspace(3, 0.1, d)
    return (x @ np.linalg.qr(rng.normal(size=(d, d)))[0] + rng.normal(size=d)).astype(dtype)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([PCA(), PCA(whiten=True)])
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("shape", [(300, 20), (15, 40), (20, 20), (21, 20), (3, 2), (2, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_full_svd_signs_included(shape, dtype):
    x = matrix(*shape, dtype=dtype)
    k = min(shape[0] - 1, shape[1])
    ours, svd = PCA(k).fit(x), SklearnPCA(k, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(ours.components_, svd.components_, atol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_, svd.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(ours.explained_variance_ratio_, svd.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(ours.mean_, svd.mean_)
    np.testing.assert_allclose(
        ours.transform(x), svd.transform(x), atol=1e-4 if dtype == np.float32 else 1e-9
    )


@pytest.mark.parametrize("shape", [(300, 20), (15, 40)])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.95, 0.9999])
def test_a_fraction_keeps_as_many_as_scikit_learn_does(shape, fraction):
    x = matrix(*shape)
    ours, svd = PCA(fraction).fit(x), SklearnPCA(fraction, svd_solver="full").fit(x)
    assert ours.n_components_ == svd.n_components_ == len(ours.components_)
    assert ours.explained_variance_ratio_.sum() >= fraction


def test_few_of_many_components_take_the_same_values_as_all_of_them():
    x = matrix(200, 60)
    np.testing.assert_allclose(PCA(5).fit(x).components_, PCA(60).fit(x).components_[:5], atol=1e-10)


@pytest.mark.parametrize("sizes", [[300], [1, 299], [100, 0, 150, 50], [7] * 42 + [6]])
def test_blocks_give_what_the_whole_gives(sizes):
    x = matrix(300, 20)
    blocks = np.split(x, np.cumsum(sizes)[:-1])
    streamed, whole = PCA(0.9).fit_blocks(iter(blocks)), PCA(0.9).fit(x)
    np.testing.assert_allclose(streamed.components_, whole.components_, atol=1e-10)
    np.testing.assert_allclose(streamed.mean_, whole.mean_)
    assert streamed.n_samples_ == 300
    np.testing.assert_array_equal(streamed.transform(x), streamed.transform(x.copy()))


def test_blocks_work_with_fewer_rows_than_columns():
    x = matrix(12, 30)
    np.testing.assert_allclose(
        PCA().fit_blocks([x[:5], x[5:]]).components_, PCA().fit(x).components_, atol=1e-9
    )


def test_a_large_mean_costs_no_digits():
    x = matrix(500, 10)
    near, far = PCA(4).fit(x), PCA(4).fit(x + 1e7)
    np.testing.assert_allclose(far.components_, near.components_, atol=1e-6)
    np.testing.assert_allclose(far.explained_variance_, near.explained_variance_, rtol=1e-6)


def test_directions_without_variance_are_not_returned():
    x = matrix(50, 8)
    x[:, 3] = 2.5
    x[:, 5] = x[:, 1]
    assert PCA().fit(x).n_components_ == 6
    assert PCA().fit(np.repeat(matrix(4, 30), 3, axis=0)).n_components_ == 3
    with pytest.raises(DataError, match="vary in only 6 directions. Ask for at most 6"):
        PCA(7).fit(x)


def test_equal_eigenvalues_still_give_orthonormal_axes():
    x = np.vstack([np.eye(50), -np.eye(50)])
    axes = PCA(10).fit(x).components_
    np.testing.assert_allclose(axes @ axes.T, np.eye(10), atol=1e-12)


def test_inverse_transform_undoes_transform():
    x = matrix(100, 7)
    model = PCA().fit(x)
    np.testing.assert_allclose(model.inverse_transform(model.transform(x)), x, atol=1e-10)
    with pytest.raises(DataError, match=r"scores have shape \(100, 6\), expected \(n, 7\)"):
        model.inverse_transform(x[:, :6])


def test_float16_is_taken_as_float32():
    x = matrix(100, 7).astype(np.float16)
    assert PCA(2).fit(x).transform(x).dtype == np.float32


@pytest.mark.parametrize("value", [0, -1, 0.0, 1.0, 1.5, True, "all", float("nan")])
def test_refuses_a_senseless_number_of_components(value):
    with pytest.raises(DataError, match="give an integer of at least 1"):
        PCA(value).fit(matrix(10, 3))


def test_refuses_bad_rows():
    x = matrix(20, 3)
    x[7, 1] = np.nan
    x[9, 0] = np.inf
    for fit in (PCA().fit, lambda bad: PCA().fit_blocks([bad[:5], bad[5:]])):
        with pytest.raises(DataError, match="2 of .* rows hold NaN or infinity, the first of them row 7"):
            fit(x)
    with pytest.raises(DataError, match="all 20 rows are equal"):
        PCA(0.9).fit(np.full((20, 3), 0.1))
    with pytest.raises(DataError, match="all 20 rows are equal"):
        PCA(0.9).fit(np.full((20, 300), 0.1, np.float32))
    with pytest.raises(DataError, match=r"PCA needs at least 2 rows; found 1 sample"):
        PCA().fit(x[:1])
    with pytest.raises(DataError, match="1 row; principal"):
        PCA().fit_blocks([x[:1]])
    with pytest.raises(DataError, match="0 rows; principal"):
        PCA().fit_blocks([])
    with pytest.raises(DataError, match="a block has 2 columns, the ones before it 3"):
        PCA().fit_blocks([x[:4], x[:4, :2]])


def test_whitened_scores_have_unit_variance_and_equal_scikit_learns():
    x = matrix(300, 20)
    ours, svd = PCA(6, whiten=True).fit(x), SklearnPCA(6, whiten=True, svd_solver="full").fit(x)
    scores = ours.transform(x)
    np.testing.assert_allclose(scores, svd.transform(x), atol=1e-9)
    np.testing.assert_allclose(np.cov(scores.T), np.eye(6), atol=1e-9)
    np.testing.assert_allclose(ours.inverse_transform(scores), svd.inverse_transform(scores), atol=1e-9)


@pytest.mark.parametrize("shape", [(300, 70), (30, 70)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_code_for_gpus_gives_what_numpy_gives(shape, dtype, monkeypatch):
    x = matrix(*shape, dtype=dtype)
    numpy = PCA(0.9).fit(x)
    monkeypatch.setattr(pca, "_torch_device", lambda name, d: "cpu")
    # The same code as on CUDA, on the device that is here.
    on_torch = PCA(0.9).fit(x)
    streamed = PCA(0.9).fit_blocks([x[:7], x[7:7], x[7:]])
    assert (numpy.backend_, on_torch.backend_) == ("numpy", "torch-cpu")
    for model in (on_torch, streamed):
        np.testing.assert_allclose(model.components_, numpy.components_, atol=1e-9)
        np.testing.assert_allclose(model.explained_variance_ratio_, numpy.explained_variance_ratio_)
        np.testing.assert_allclose(model.mean_, numpy.mean_, atol=1e-12)
    with pytest.raises(DataError, match="all 9 rows are equal"):
        PCA().fit(np.full((9, 70), 0.1))


def test_takes_a_gpu_where_there_is_one(monkeypatch):
    x = matrix(100, 70)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(driver, "has_cuda_driver", lambda: True)
    assert pca._torch_device("auto", 64) == "cuda"
    assert pca._torch_device("auto", 63) is None
    assert pca._torch_device("cuda", 2) == "cuda"
    assert PCA(device="cpu").fit(x).backend_ == "numpy"
    monkeypatch.setattr(driver, "has_cuda_driver", lambda: False)
    assert pca._torch_device("auto", 64) is None


def test_refuses_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert PCA().fit(matrix(100, 70)).backend_ == "numpy"
    with pytest.raises(UsageError, match="--device cuda: PyTorch sees 0 CUDA devices"):
        PCA(device="cuda").fit(matrix(10, 3))
    with pytest.raises(UsageError, match="--device tpu: not for this. Give one of auto, cpu, cuda"):
        PCA(device="tpu").fit(matrix(10, 3))
