"""Principal components through the covariance: one pass over the rows, float64, any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from embedkit.computing.driver import backend, torch_device
from embedkit.errors import DataError
from embedkit.preparing.matrix import BLOCK, CONSTANT, as_matrix, check_finite

if TYPE_CHECKING:
    pass

# Eigenvalues below this fraction of the largest are rounding errors of a float64 covariance or Gram
# matrix (its entries carry about d * 1e-16), and their eigenvectors are arbitrary.
RANK_TOLERANCE = 1e-12
# Below this many columns a GPU gains nothing, and `auto` need not look for one.
MIN_COLUMNS_ON_GPU = 64


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Principal component analysis by eigendecomposition, accumulated in float64.

    The (d, d) covariance is summed over blocks of rows, or, where a matrix has fewer rows than columns,
    the (n, n) Gram matrix; no copy of the rows is made. Directions without variance are never returned:
    their eigenvectors would be arbitrary.

    Parameters
    ----------
    n_components
        An integer keeps that many components; a float in (0, 1) keeps the fewest components that explain
        more than that fraction of the variance; None keeps all that have variance.
    whiten
        Scale the scores to unit variance along each component.
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU where PyTorch sees one and d is 64 or more. Both compute in
        float64 and agree to its rounding.

    Attributes
    ----------
    components_ : (n_components_, d) float64
        Orthonormal rows, by falling variance; the largest entry of each (in magnitude) is positive.
    explained_variance_ : (n_components_,) float64
        Variance along each, with n - 1 degrees of freedom.
    explained_variance_ratio_ : (n_components_,) float64
        The same as a fraction of the total variance of all d columns.
    mean_ : (d,) float64
    n_components_ : int
    n_samples_ : int
    backend_ : str
        ``numpy`` or ``torch-cuda``.
    """

    def __init__(
        self, n_components: float | int | None = None, *, whiten: bool = False, device: str = "auto"
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.device = device

    def fit(self, x: Any, y: object = None) -> Self:  # noqa: ARG002
        """Find the components of `x` (n, d).

        Raises
        ------
        DataError
            NaN or infinite values, fewer than two rows, all rows equal, or `n_components` out of range.
        UsageError
            A device that isn't there.
        """
        self._check_n_components()
        x = as_matrix(self, x, dtype=[np.float32, np.float64], min_rows=2)
        n, d = x.shape
        device = _torch_device(self.device, d)
        if n >= d or device is not None:
            moments = _moments(d, device)
            for start in range(0, n, BLOCK):
                moments.add(x[start : start + BLOCK])
            return self._fit_moments(moments)
        return self._fit_gram(x)

    def fit_blocks(self, blocks: Iterable[NDArray[Any]]) -> Self:
        """Find the components of rows that come in blocks (rows, d) and need not fit into memory.

        Takes the blocks once; memory is a few (d, d) float64 matrices and one block.

        Raises
        ------
        DataError
            As `fit` does, and where blocks differ in d or there is none.
        """
        self._check_n_components()
        moments: Moments | _TorchMoments | None = None
        for block in blocks:
            block = np.asarray(block)
            if block.ndim != 2:
                raise DataError(f"a block has shape {block.shape}, expected (rows, d).")
            if moments is None:
                moments = _moments(block.shape[1], _torch_device(self.device, block.shape[1]))
            if block.shape[1] != moments.d:
                raise DataError(f"a block has {block.shape[1]} columns, the ones before it {moments.d}.")
            check_finite(block, first_row=moments.n)
            for start in range(0, len(block), BLOCK):
                moments.add(block[start : start + BLOCK])
        if moments is None or moments.n < 2:
            n = 0 if moments is None else moments.n
            raise DataError(f"{n} row{'s' * (n != 1)}; principal components need at least 2.")
        self.n_features_in_ = moments.d
        return self._fit_moments(moments)

    def transform(self, x: Any) -> NDArray[Any]:
        """Return the scores (n, n_components_) of `x` (n, d), in the type of `x` (float32 or float64)."""
        check_is_fitted(self)
        x = as_matrix(self, x, dtype=[np.float32, np.float64], reset=False)
        mean, axes = self.mean_.astype(x.dtype), self.axes_.astype(x.dtype)
        scores = np.empty((len(x), self.n_components_), dtype=x.dtype)
        for start in range(0, len(x), BLOCK):
            rows = slice(start, start + BLOCK)
            np.matmul(x[rows] - mean, axes, out=scores[rows])
        return scores

    @property
    def axes_(self) -> NDArray[np.float64]:
        """Matrix (d, n_components_) that takes centred rows to scores, whitening included."""
        check_is_fitted(self)
        scale = self._scale() if self.whiten else 1.0
        return np.ascontiguousarray((self.components_ / scale).T)

    def _scale(self) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(self.explained_variance_)[:, np.newaxis])

    def inverse_transform(self, scores: Any) -> NDArray[Any]:
        """Return the points (n, d) of the full space that `scores` (n, n_components_) stand for."""
        check_is_fitted(self)
        scores = np.asarray(scores)
        if scores.ndim != 2 or scores.shape[1] != self.n_components_:
            raise DataError(f"scores have shape {scores.shape}, expected (n, {self.n_components_}).")
        dtype = scores.dtype if scores.dtype in (np.float32, np.float64) else np.float64
        back = self.components_ * self._scale() if self.whiten else self.components_
        points: NDArray[Any] = scores @ back.astype(dtype) + self.mean_.astype(dtype)
        return points

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_n_components(self) -> None:
        wanted = self.n_components
        if wanted is None:
            return
        whole = isinstance(wanted, Integral) and not isinstance(wanted, bool) and wanted >= 1
        fraction = isinstance(wanted, Real) and not isinstance(wanted, Integral) and 0 < wanted < 1
        if not (whole or fraction):
            raise DataError(
                f"n_components={wanted!r}: give an integer of at least 1 (components to keep), a float "
                "between 0 and 1 (fraction of the variance to keep), or None (all)."
            )

    def _fit_moments(self, moments: Moments | _TorchMoments) -> Self:
        mean, covariance = moments.mean_and_covariance()
        total = float(np.trace(covariance))
        _check_varies(total, mean, moments.n)
        values, axes = moments.leading(covariance, lambda v: self._n_keep(v, total, moments.n, moments.d))
        self.backend_ = moments.backend
        self._set(values, axes, mean, total, moments.n)
        return self

    def _fit_gram(self, x: NDArray[Any]) -> Self:
        n, d = x.shape
        mean = x.mean(axis=0, dtype=np.float64)
        centred = x - mean
        gram = centred @ centred.T
        gram /= n - 1
        total = float(np.trace(gram))
        _check_varies(total, mean, n)
        values, left = _leading(gram, lambda v: self._n_keep(v, total, n, d))
        # X = U S V^T, so V^T = S^-1 U^T X; QR takes out what rounding left between the rows.
        orthonormal, _ = np.linalg.qr((left @ centred).T)
        self._set(values, orthonormal.T, mean, total, n)
        self.backend_ = "numpy"
        return self

    def _n_keep(self, values: NDArray[np.float64], total: float, n: int, d: int) -> int:
        rank = min(int((values > RANK_TOLERANCE * values[0]).sum()), n - 1, d)
        wanted = self.n_components
        if wanted is None:
            return rank
        if isinstance(wanted, Integral):
            if wanted > rank:
                raise DataError(
                    f"n_components={wanted}, but {n} rows of {d} columns vary in only {rank} directions. "
                    f"Ask for at most {rank}, or for a fraction of the variance such as 0.95."
                )
            return int(wanted)
        cumulative = np.cumsum(values[:rank]) / total
        return min(int(np.searchsorted(cumulative, float(wanted), side="right")) + 1, rank)

    def _set(
        self,
        values: NDArray[np.float64],
        axes: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
        n: int,
    ) -> None:
        largest = np.abs(axes).argmax(axis=1)
        signs = np.sign(axes[np.arange(len(axes)), largest])
        self.components_ = np.ascontiguousarray(axes * signs[:, np.newaxis])
        self.explained_variance_ = np.array(values)
        self.explained_variance_ratio_ = self.explained_variance_ / total
        self.mean_ = mean
        self.n_components_ = len(self.components_)
        self.n_samples_ = n


class Moments:
    """Mean and covariance of rows that come in blocks."""

    backend = "numpy"

    def __init__(self, d: int) -> None:
        self.n, self.d = 0, d
        self._shift: NDArray[np.float64] = np.zeros(d)
        self._sum = np.zeros(d)
        self._products = np.zeros((d, d), order="F")

    def add(self, block: NDArray[Any]) -> None:
        """Add rows (b, d)."""
        if not len(block):
            return
        if self.n == 0:
            # Sums around a point near the mean lose no digits to it: features of mean 1e4 and standard
            # deviation 1 would otherwise keep half of float64's.
            self._shift = block.mean(axis=0, dtype=np.float64)
        rows = block - self._shift
        self._sum += rows.sum(axis=0)
        # dsyrk computes one triangle, in half of a full product's time.
        self._products = linalg.blas.dsyrk(
            1.0, rows.T, beta=1.0, c=self._products, lower=1, overwrite_c=1, trans=0
        )
        self.n += len(block)

    def mean_and_covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean (d,) and the covariance (d, d), with n - 1 degrees of freedom."""
        offset = self._sum / self.n
        covariance = (self._products - self.n * np.outer(offset, offset)) / (self.n - 1)
        covariance = np.tril(covariance) + np.tril(covariance, -1).T
        return self._shift + offset, covariance

    @staticmethod
    def leading(
        matrix: NDArray[np.float64], n_keep: Callable[[NDArray[np.float64]], int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the leading eigenvalues (m,), falling, and eigenvectors (m, d) of the covariance."""
        return _leading(matrix, n_keep)


class _TorchMoments:
    """The same on a device of PyTorch, in float64 too: one block at a time is copied there."""

    def __init__(self, d: int, device: str) -> None:
        import torch

        self.n, self.d = 0, d
        self.backend = backend(device)
        self._device = device
        self._shift = torch.zeros(d, dtype=torch.float64, device=device)
        self._sum = torch.zeros_like(self._shift)
        self._products = torch.zeros((d, d), dtype=torch.float64, device=device)

    def add(self, block: NDArray[Any]) -> None:
        """Add rows (b, d)."""
        import torch

        if not len(block):
            return
        rows = torch.tensor(block, device=self._device).double()
        if self.n == 0:
            self._shift = rows.mean(dim=0)
        rows -= self._shift
        self._sum += rows.sum(dim=0)
        self._products.addmm_(rows.T, rows)
        self.n += len(block)

    def mean_and_covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        offset = self._sum / self.n
        covariance = (self._products - self.n * offset.outer(offset)) / (self.n - 1)
        covariance = (covariance + covariance.T) / 2
        return (self._shift + offset).cpu().numpy(), covariance.cpu().numpy()

    def leading(
        self, matrix: NDArray[np.float64], n_keep: Callable[[NDArray[np.float64]], int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import torch

        values, vectors = torch.linalg.eigh(torch.tensor(matrix, device=self._device))
        falling = values.cpu().numpy()[::-1]
        keep = n_keep(falling)
        return falling[:keep], vectors[:, -keep:].cpu().numpy().T[::-1]


def _torch_device(name: str, d: int) -> str | None:
    """Return the GPU to compute on, or None for numpy."""
    return None if name == "auto" and d < MIN_COLUMNS_ON_GPU else torch_device(name)


def _moments(d: int, device: str | None) -> Moments | _TorchMoments:
    return Moments(d) if device is None else _TorchMoments(d, device)


def _leading(
    matrix: NDArray[np.float64], n_keep: Callable[[NDArray[np.float64]], int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leading eigenvalues (m,), falling, and eigenvectors (m, d) of a symmetric matrix.

    `n_keep` is given all eigenvalues and says how many. One reduction to tridiagonal form serves both
    the values and the wanted vectors, which halves the time of a full `eigh` when few are wanted.
    """
    d = len(matrix)
    if d > 2:
        lwork = int(lapack.dsytrd_lwork(d, lower=1)[0])
        reflectors, diagonal, off, tau, info = lapack.dsytrd(matrix, lower=1, lwork=lwork)
        if info == 0:
            values, info = lapack.dsterf(diagonal, off)
        if info == 0:
            keep = n_keep(values[::-1])
            if 2 * keep < d:
                values, vectors = linalg.eigh_tridiagonal(
                    diagonal, off, select="i", select_range=(d - keep, d - 1), lapack_driver="stemr"
                )
                vectors = np.asfortranarray(vectors)
                # The first row is outside the reflectors of a lower reduction.
                vectors[1:], _, info = lapack.dormqr(
                    "L", "N", np.asfortranarray(reflectors[1:, :-1]), tau, vectors[1:], lwork=64 * keep
                )
                if info == 0:
                    return values[::-1], vectors.T[::-1]
    values, vectors = linalg.eigh(matrix, driver="evd", check_finite=False)
    keep = n_keep(values[::-1])
    return values[::-1][:keep], vectors.T[::-1][:keep]


def _check_varies(total: float, mean: NDArray[np.float64], n: int) -> None:
    # A constant column leaves about (1e-16 * its value)^2 of variance behind.
    if total <= 1e-28 * float(mean @ mean) or total == 0:
        raise DataError(CONSTANT.format(n=n))
