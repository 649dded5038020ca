"""Patches of k-space: the subspace in which all of them lie, and what it says in the image domain."""

from __future__ import annotations

import torch
from torch import Tensor

_CLEAR = 200  # times about the largest eigenvalue of noise: chosen on simulated scans of validation persons
_FAINTEST, _FAINT = 3e-5, 1e-3  # of the largest eigenvalue


def patches(calibration: Tensor, kernel_size: int) -> tuple[Tensor, tuple[int, int]]:
    """Every patch of all coils as a column (coil * ky * kx, patches), and its size (ky, kx).

    calibration is (coil, cy, cx). The size along an axis is `kernel_size`, or half the lines if that is less:
    a single position would say nothing of how the samples depend on each other.
    """
    ky, kx = (min(kernel_size, (lines + 1) // 2) for lines in calibration.shape[1:])
    windows = calibration.unfold(1, ky, 1).unfold(2, kx, 1)
    columns = windows.permute(0, 3, 4, 1, 2).reshape(-1, windows.shape[1] * windows.shape[2])
    return columns, (ky, kx)


def signal_projector(columns: Tensor, threshold: float | None) -> Tensor:
    """Projector on the span of the patches, without directions of relative eigenvalue below the `threshold`, or that
    of the noise if it is None."""
    wide = columns.shape[0] <= columns.shape[1]
    values, vectors = torch.linalg.eigh(columns @ columns.mH if wide else columns.mH @ columns)
    if threshold is None:
        threshold = float((_CLEAR * _noise_edge(values, columns.shape) / values[-1]).clamp(_FAINTEST, _FAINT))
    kept = values > threshold * values[-1]
    vectors = vectors[:, kept]
    if not wide:
        vectors = columns @ (vectors / values[kept].sqrt())
    projector: Tensor = vectors @ vectors.mH
    return projector


def _noise_edge(values: Tensor, shape: torch.Size) -> Tensor:
    """About the largest eigenvalue of patches of noise alone: `s^2 (sqrt(m) + sqrt(n))^2` for an m x n matrix of them.

    The lower half of the eigenvalues, ascending, is taken for noise, of `s^2 max(m, n)` in the middle (Marchenko and
    Pastur 1967, doi:10.1070/SM1967v001n04ABEH001994). Patches overlap, and the lower half lies low: it comes out one to
    four times too small.
    """
    m, n = shape
    edge: Tensor = values[: (len(values) + 1) // 2].median() * (m**0.5 + n**0.5) ** 2 / max(m, n)
    return edge


def lag_kernel(projector: Tensor, kernel: tuple[int, int]) -> Tensor:
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
