"""Coil sensitivities from fully sampled central k-space by an eigenvalue problem in every pixel (ESPIRiT)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.errors import ConfigError, DataFormatError

_CHUNK = 2**19  # entries of the pixel matrices that are held at once: small enough for the cache
_SQUARINGS = 3  # the power iteration runs on G^8


@torch.no_grad()
def espirit(
    calibration: Tensor,
    matrix: tuple[int, int],
    *,
    kernel_size: int = 6,
    threshold: float = 1e-3,
    crop: float = 0.8,
) -> Tensor:
    """Sensitivities S of all coils, up to the phase of the object, from calibration data around DC.

    All patches of `kernel_size`^2 samples and all coils lie in a subspace with projector W. In the image
    domain W is a Hermitian matrix in every pixel, of eigenvalues from 0 to 1, and S is its eigenvector:

        G(r) = kernel_size^-2 sum_{k,k'} W[k, k'] exp(-2 pi i (k' - k) r),   G(r) S(r) = S(r)

    Args:
        calibration: complex (batch, coil, cy, cx), fully sampled, DC at n // 2.
        matrix: size (y, x) of the maps.
        kernel_size: side of a patch; less along an axis of fewer than twice as many calibration lines.
        threshold: eigenvalues of the patch covariance above this fraction of the largest are signal.
        crop: maps are zero in pixels whose largest eigenvalue of G is smaller.

    Returns:
        complex (batch, coil, y, x), sum over coils |S|^2 = 1 or 0. The phase is relative to a combination of
        the coils, chosen slice by slice, that no pixel is blind to: it is smooth, and leaves the phase of the
        object in the image. A single coil has S = 1 everywhere. Without any signal S = 0.

    Raises:
        DataFormatError: calibration is not complex (batch, coil, cy, cx) or larger than the matrix.
        ConfigError: a parameter is out of range.

    Source: Uecker et al. 2014, doi:10.1002/mrm.24751.
    """
    _check(calibration, matrix, kernel_size, threshold, crop)
    return torch.stack([_maps(block, matrix, kernel_size, threshold, crop) for block in calibration])


def _check(calibration: Tensor, matrix: tuple[int, int], kernel_size: int, threshold: float, crop: float) -> None:
    shape = tuple(calibration.shape)
    if calibration.ndim != 4 or not calibration.is_complex() or 0 in shape:
        raise DataFormatError(f"calibration must be complex (batch, coil, cy, cx); got {calibration.dtype} {shape}")
    if shape[2] > matrix[0] or shape[3] > matrix[1]:
        raise DataFormatError(f"calibration {shape[2:]} is larger than the matrix {tuple(matrix)}")
    if kernel_size < 1 or not 0 < threshold < 1 or not 0 <= crop <= 1:
        raise ConfigError(
            "ESPIRiT needs kernel_size >= 1, 0 < threshold < 1 and 0 <= crop <= 1; "
            f"got {kernel_size}, {threshold} and {crop}"
        )


def _maps(calibration: Tensor, matrix: tuple[int, int], kernel_size: int, threshold: float, crop: float) -> Tensor:
    """Maps (coil, y, x) of one slice; calibration (coil, cy, cx)."""
    coils = calibration.shape[0]
    scale = calibration.abs().amax()
    if scale == 0:
        return calibration.new_zeros(coils, *matrix)
    if coils == 1:
        return calibration.new_ones(1, *matrix)
    columns, kernel = patches(calibration / scale, kernel_size)
    lags = _lag_kernel(_signal_projector(columns, threshold), kernel)
    vectors, values = _leading_eigenvectors(lags, matrix)
    inside = values >= crop
    if not bool(inside.any()):
        return calibration.new_zeros(coils, *matrix)
    phase = torch.sgn(vectors @ _reference(vectors, inside, calibration / scale).conj())
    maps = vectors * phase.conj()[..., None] * inside[..., None]
    return maps.permute(2, 0, 1).contiguous()


def patches(calibration: Tensor, kernel_size: int) -> tuple[Tensor, tuple[int, int]]:
    """Every patch of all coils as a column (coil * ky * kx, patches), and its size (ky, kx).

    calibration is (coil, cy, cx). The size along an axis is `kernel_size`, or half the lines if that is less:
    a single position would say nothing of how the samples depend on each other.
    """
    ky, kx = (min(kernel_size, (lines + 1) // 2) for lines in calibration.shape[1:])
    windows = calibration.unfold(1, ky, 1).unfold(2, kx, 1)
    columns = windows.permute(0, 3, 4, 1, 2).reshape(-1, windows.shape[1] * windows.shape[2])
    return columns, (ky, kx)


def _signal_projector(columns: Tensor, threshold: float) -> Tensor:
    """Projector on the span of the patches, without directions of relative eigenvalue below `threshold`."""
    wide = columns.shape[0] <= columns.shape[1]
    values, vectors = torch.linalg.eigh(columns @ columns.mH if wide else columns.mH @ columns)
    kept = values > threshold * values[-1]
    vectors = vectors[:, kept]
    if not wide:
        vectors = columns @ (vectors / values[kept].sqrt())
    projector: Tensor = vectors @ vectors.mH
    return projector


def _lag_kernel(projector: Tensor, kernel: tuple[int, int]) -> Tensor:
    """The projector summed over all pairs of samples with equal lag k' - k: (lag y, lag x, coil, coil)."""
    ky, kx = kernel
    coils = len(projector) // (ky * kx)
    lag_y, lag_x = (torch.arange(k)[None, :] - torch.arange(k)[:, None] + k - 1 for k in kernel)
    lag = lag_y[:, None, :, None] * (2 * kx - 1) + lag_x[None, :, None, :]
    pairs = projector.reshape(coils, ky * kx, coils, ky * kx)
    pairs = pairs.permute(1, 3, 0, 2).reshape(-1, coils * coils)
    lags = pairs.new_zeros((2 * ky - 1) * (2 * kx - 1), coils * coils)
    lags.index_add_(0, lag.reshape(-1).to(pairs.device), pairs)
    return lags.reshape(2 * ky - 1, 2 * kx - 1, coils, coils) / (ky * kx)


def _fourier_rows(n: int, lags: int, like: Tensor) -> Tensor:
    """exp(-2 pi i lag r) for the n pixels r in [-1/2, 1/2) and lags around zero: (n, lags)."""
    pixel = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    lag = torch.arange(lags, dtype=torch.float64) - lags // 2
    angle = -2 * torch.pi * pixel[:, None] * lag
    return torch.polar(torch.ones_like(angle), angle).to(like)


def _leading_eigenvectors(lags: Tensor, matrix: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Unit eigenvector (y, x, coil) and value (y, x) of the largest eigenvalue of G in every pixel."""
    ly, lx, coils, _ = lags.shape
    along_y = _fourier_rows(matrix[0], ly, lags) @ lags.reshape(ly, -1)
    along_x = _fourier_rows(matrix[1], lx, lags)
    vectors, values = [], []
    # G has coils^2 entries in every pixel, too many to hold at once: a few rows at a time.
    for rows in torch.split(along_y, max(1, _CHUNK // (matrix[1] * coils**2))):
        g = (along_x @ rows.reshape(len(rows), lx, -1)).reshape(-1, coils, coils)
        vector = _power_iteration(g)
        vectors.append(vector)
        values.append((vector.conj() * (g @ vector)).sum(dim=(-2, -1)).real)
    return torch.cat(vectors).reshape(*matrix, coils), torch.cat(values).reshape(matrix)


def _power_iteration(g: Tensor) -> Tensor:
    """Leading eigenvectors (pixel, coil, 1) of positive matrices (pixel, coil, coil), by powers of G^8."""
    # With unit trace, no power that is taken here leaves the range of single precision.
    g = g / g.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(1e-30)[:, None, None]
    for _ in range(_SQUARINGS):
        g = g @ g
    # The largest column of a positive matrix is never orthogonal to the leading eigenvector.
    largest = g.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    vector = _unit(g.take_along_dim(largest[:, None, None], dim=-1))
    return _unit(g @ (g @ vector))


def _unit(vector: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(vector[..., 0], dim=-1)
    return vector / norm.clamp_min(1e-30)[:, None, None]


def _reference(vectors: Tensor, inside: Tensor, calibration: Tensor) -> Tensor:
    """The combination of coils u (coil,) whose phase the maps (y, x, coil) can be given without a pole.

    The phase of u^H S winds around every pixel with u^H S = 0, and the first principal combination has such
    pixels in many head coils. So u is the sensitivity of the pixel whose least |u^H S| is largest, on a grid
    of pixels where the calibration image is not dark.
    """
    step = max(1, math.isqrt(int(inside.sum()) // 512))
    rows, columns = (
        _fourier_rows(n, lines, vectors)[::step].conj()
        for n, lines in zip(vectors.shape[:2], calibration.shape[1:], strict=True)
    )
    energy = (rows @ calibration @ columns.mT).abs().square().sum(0) * inside[::step, ::step]
    sample = vectors[::step, ::step][energy >= 0.01 * energy.max()]
    vector = sample[(sample @ sample.mH).abs().amin(1).argmax()]
    return vector * torch.sgn(vector[vector.abs().argmax()]).conj()
