"""Small dense linear algebra of the oracles, and what they check at the door."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearMap

EXACT = (torch.float64, torch.complex128)


def matrix_of(
    operator: LinearMap, shape: tuple[int, ...], *, dtype: torch.dtype = torch.complex128, chunk: int = 256
) -> Tensor:
    """The dense matrix (m, n) of a linear operator of images of `shape`, n = the product of `shape`.

    `vec(A x) = matrix @ vec(x)` with row-major `vec`. The operator maps (batch, *shape) to (batch, ...) for any
    batch; its columns are the images of unit vectors, `chunk` at a time.
    """
    size = torch.Size(shape).numel()
    units = torch.eye(size, dtype=dtype).view(size, *shape)
    return torch.cat([operator(part).flatten(1) for part in torch.split(units, chunk)]).T.contiguous()


def identity_like(vector: Tensor) -> Tensor:
    """The identity (n, n) in the dtype and on the device of a vector (n,)."""
    return torch.eye(len(vector), dtype=vector.dtype, device=vector.device)


def hermitian_spectrum(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n,), rising, negligible ones made zero, and eigenvectors (n, n) in columns."""
    values, vectors = torch.linalg.eigh(covariance)
    negligible = len(values) * torch.finfo(values.dtype).eps * values.abs().amax()
    return torch.where(values > negligible, values, 0), vectors


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, and 0 where the denominator is zero: there is nothing to learn from a constant."""
    return torch.where(denominator > 0, numerator / torch.where(denominator > 0, denominator, 1), 0)


def check_moments(name: str, mean: Tensor, covariance: Tensor) -> None:
    """ConfigError unless mean (n,) and covariance (n, n) are float64 or complex128, Hermitian and psd."""
    n = mean.shape[0] if mean.ndim == 1 else -1
    if mean.ndim != 1 or n == 0 or covariance.shape != (n, n):
        raise ConfigError(
            f"{name} needs a mean (n,) and a covariance (n, n); got {tuple(mean.shape)} and {tuple(covariance.shape)}"
        )
    if mean.dtype not in EXACT or covariance.dtype != mean.dtype:
        raise ConfigError(f"{name} works in float64 or complex128; got {mean.dtype} and {covariance.dtype}")
    if not (mean.isfinite().all() and covariance.isfinite().all()):
        raise ConfigError(f"{name} needs a finite mean and covariance; got a NaN or an infinite value")
    scale = float(covariance.abs().amax())
    smallest = float(torch.linalg.eigvalsh(covariance)[0])
    if not torch.allclose(covariance, covariance.mH, rtol=0, atol=1e-10 * scale) or smallest < -1e-10 * scale:
        raise ConfigError(
            f"the covariance of {name} must be Hermitian and positive semidefinite; its smallest eigenvalue is "
            f"{smallest:.3g}, its asymmetry {float((covariance - covariance.mH).abs().amax()):.3g}"
        )


def check_measurement(name: str, mean: Tensor, matrix: Tensor, y: Tensor, noise_std: float) -> tuple[Tensor, Tensor]:
    """Matrix (m, n) and y (m,) in the dtype of the mean (n,); ConfigError if they do not fit."""
    if matrix.ndim != 2 or matrix.shape[1] != len(mean) or y.shape != matrix.shape[:1]:
        raise ConfigError(
            f"{name} of {len(mean)} numbers needs a matrix (m, {len(mean)}) and y (m,); "
            f"got {tuple(matrix.shape)} and {tuple(y.shape)}"
        )
    if not mean.is_complex() and (matrix.is_complex() or y.is_complex()):
        raise ConfigError(f"a real {name} needs a real matrix and y; got {matrix.dtype} and {y.dtype}")
    if not 0 < noise_std < float("inf"):
        raise ConfigError(f"the noise standard deviation must be positive and finite; got {noise_std}")
    return matrix.to(mean.dtype), y.to(mean.dtype)


def check_state(name: str, mean: Tensor, x: Tensor, t: float | Tensor, source: Tensor, tau: float) -> Tensor:
    """The time as a column (1,) or (batch, 1) beside x (batch, n); ConfigError if something does not fit."""
    n = len(mean)
    if x.ndim != 2 or x.shape[1] != n or x.dtype != mean.dtype:
        raise ConfigError(f"a state of this {name} is (batch, {n}) of {mean.dtype}; got {tuple(x.shape)} of {x.dtype}")
    if source.shape not in ((n,), (1, n), x.shape) or (source.is_complex() and not mean.is_complex()):
        raise ConfigError(
            f"the source of this {name} is ({n},) or {tuple(x.shape)} of {mean.dtype}; "
            f"got {tuple(source.shape)} of {source.dtype}"
        )
    time = check_time(t, tau)
    if time.ndim > 1 or (time.ndim == 1 and len(time) != len(x)):
        raise ConfigError(f"the time is a number or ({len(x)},); got {tuple(time.shape)}")
    return time[..., None]


def check_time(t: float | Tensor, tau: float) -> Tensor:
    """The time in float64; ConfigError unless t is in [0, 1] and tau finite and not negative."""
    if not 0 <= tau < float("inf"):
        raise ConfigError(f"tau, the width of the source, must be finite and not negative; got {tau}")
    time = torch.as_tensor(t, dtype=torch.float64)
    if not bool(((time >= 0) & (time <= 1)).all()):
        raise ConfigError(f"the time must be between 0 (image) and 1 (source); got {t}")
    return time
