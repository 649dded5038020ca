"""Coil sensitivities of a scan from its own calibration lines; whitening and compression of coils."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from laminar.data.espirit import espirit
from laminar.errors import ConfigError, DataFormatError
from laminar.scan import Scan

_SINGULAR = 1e-10  # of the largest eigenvalue

__all__ = [
    "calibration_region",
    "combine",
    "compression",
    "espirit",
    "estimate_sensitivities",
    "whitened",
    "whole_lines",
]

_FEWEST_LINES = 4


def estimate_sensitivities(
    scan: Scan,
    *,
    limit: int = 24,
    kernel_size: int = 6,
    threshold: float | None = None,
    crop: float = 0.8,
    n_maps: int | None = 1,
) -> Tensor:
    """Sensitivities of a scan: those it brings, else ESPIRiT maps of its calibration region, slice by slice.

    Shape: complex (slice, coil, y, x), of two maps (slice, map, coil, y, x). None makes two where the object reaches
    over the edge of its field of view. `limit` bounds the calibration region along each axis, the other parameters are
    those of `espirit`. Raises DataFormatError if the mask has no calibration region.
    """
    if scan.sensitivities is not None:
        return scan.sensitivities
    mask = scan.grid.common_mask
    region = calibration_region(mask, limit=limit)
    block, lines = (scan.kspace[..., *r] for r in (region, whole_lines(mask, region)))
    return espirit(
        block, scan.matrix, lines=lines, kernel_size=kernel_size, threshold=threshold, crop=crop, n_maps=n_maps
    )


def calibration_region(mask: Tensor, *, limit: int = 24) -> tuple[slice, slice]:
    """The largest fully sampled block around DC, as slices of y and x.

    `mask` is bool (y, x), true = acquired, DC at n // 2. The block reaches at most limit / 2 samples to
    either side of DC: more of a fully sampled axis would cost time and gain nothing.
    Raises DataFormatError if there is none of at least 4 lines (all of a shorter axis) along each axis.
    """
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise DataFormatError(f"a mask must be bool (y, x); got {mask.dtype} {tuple(mask.shape)}")
    if limit < _FEWEST_LINES:
        raise ConfigError(f"a calibration region needs at least {_FEWEST_LINES} lines; the limit is {limit}")
    top, bottom, left, right = _blocks_around_dc(mask, limit)
    sampled = _block_sums(mask)
    count = sampled[bottom, right] - sampled[top, right] - sampled[bottom, left] + sampled[top, left]
    height, width = bottom - top, right - left
    usable = (count == height * width) & (height >= min(_FEWEST_LINES, mask.shape[0]))
    usable &= width >= min(_FEWEST_LINES, mask.shape[1])
    if not bool(usable.any()):
        raise DataFormatError(
            f"no calibration lines: the mask {tuple(mask.shape)} has no fully sampled block of at least "
            f"{_FEWEST_LINES} x {_FEWEST_LINES} around its center, and sensitivities are learned there"
        )
    best = (height * width * usable).argmax()
    first_y, end_y, first_x, end_x = (int(edge.flatten()[best]) for edge in (top, bottom, left, right))
    return slice(first_y, end_y), slice(first_x, end_x)


def whole_lines(mask: Tensor, region: tuple[slice, slice]) -> tuple[slice, slice]:
    """A fully sampled region, grown along y and then along x to where the samples end."""
    rows, columns = region
    rows = _run(mask[:, columns].all(1), rows)
    return rows, _run(mask[rows].all(0), columns)


def _run(sampled: Tensor, inner: slice) -> slice:
    """The run of true (n,) around `inner`."""
    gaps = (~sampled).nonzero()[:, 0]
    before, after = gaps[gaps < inner.start], gaps[gaps >= inner.stop]
    return slice(int(before.max()) + 1 if len(before) else 0, int(after.min()) if len(after) else len(sampled))


def _blocks_around_dc(mask: Tensor, limit: int) -> tuple[Tensor, ...]:
    """First row, end of rows, first column, end of columns of every block that holds DC, on a 4-D grid."""
    edges = []
    for n in mask.shape:
        dc = n // 2
        edges.append(dc - torch.arange(min(limit // 2, dc) + 1))
        edges.append(dc + 1 + torch.arange(min((limit + 1) // 2, n - dc)))
    return torch.meshgrid(edges, indexing="ij")


def _block_sums(mask: Tensor) -> Tensor:
    """Number of acquired samples above and to the left of every corner: (y + 1, x + 1)."""
    sums = torch.zeros(mask.shape[0] + 1, mask.shape[1] + 1, dtype=torch.int64)
    sums[1:, 1:] = mask.cpu().cumsum(0).cumsum(1)
    return sums


def whitened(scan: Scan) -> Scan:
    """A scan whose noise is white: its coils mixed by `whiten` where it brings their covariance, else as it is."""
    covariance, maps = scan.noise_covariance, scan.sensitivities
    if covariance is None:
        return scan
    behind = len(scan.geometry.axes) - 1 - scan.geometry.axes.index("coil")
    data = _whitened(scan.data, covariance, behind)
    if maps is not None:
        maps = _whitened(maps, covariance, len(scan.geometry.image_axes) if behind == 3 else 2)
    return replace(scan, data=data, sensitivities=maps, noise_std=1.0, noise_covariance=None)


def _whitened(array: Tensor, covariance: Tensor, behind: int) -> Tensor:
    """`whiten` of an array with so many axes behind that of the coils."""
    flat = array if behind == 2 else array.flatten(array.ndim - behind).unsqueeze(-1)
    return whiten(flat, covariance).reshape(array.shape)


def whiten(kspace: Tensor, noise_covariance: Tensor) -> Tensor:
    """K-space whose noise is white and of unit variance in all coils.

        y_white = L^-1 y,   L L^H = E[n n^H]

    Shapes: `kspace` (..., coil, y, x), `noise_covariance` (coil, coil) per complex sample.
    Raises DataFormatError if the covariance is of another size or not positive definite.
    """
    coils = kspace.shape[-3]
    if tuple(noise_covariance.shape) != (coils, coils):
        raise DataFormatError(
            f"the noise covariance of {coils} coils must be {(coils, coils)}; got {tuple(noise_covariance.shape)}"
        )
    exact = noise_covariance.to(torch.complex128)
    factor, failure = torch.linalg.cholesky_ex(exact)
    if bool(failure) or not is_regular(exact):
        raise DataFormatError("the noise covariance is not positive definite: is a coil dead or repeated?")
    identity = torch.eye(coils, dtype=factor.dtype, device=factor.device)
    whitening = torch.linalg.solve_triangular(factor, identity, upper=False)
    return combine(whitening.to(kspace), kspace)


def is_regular(covariance: Tensor) -> bool:
    """Whether a covariance is finite and tells all coils apart: the factor of a singular one is rounding noise."""
    if not bool(torch.isfinite(torch.view_as_real(covariance)).all()):
        return False
    power = covariance.diagonal().real
    if not bool((power > 0).all()):
        return False
    values = torch.linalg.eigvalsh(covariance / (power[:, None] * power).sqrt())  # whatever the gain of a coil
    return bool(values[0] > _SINGULAR * values[-1])


def compression(kspace: Tensor, n: int) -> Tensor:
    """The weights (min(n, coil), coil) of the n orthonormal combinations of coils with the most signal, in its order.

        y_n = U_n^H y,   U_n: leading eigenvectors of sum y y^H over slices and samples

    Shape: `kspace` (slice, coil, y, x). White noise stays white. Raises ConfigError
    if n < 1. Source: Buehrer et al. 2007, doi:10.1002/mrm.21237.
    """
    return leading(gram(kspace.movedim(-3, 0).flatten(1)), n)


def gram(samples: Tensor) -> Tensor:
    """`Y Y^H` (..., coil, coil) of samples Y (..., coil, sample), but for one positive factor that keeps it finite."""
    samples = samples / samples.abs().amax().clamp_min(torch.finfo(samples.real.dtype).tiny)
    return samples @ samples.mH


def leading(covariance: Tensor, n: int) -> Tensor:
    """Its leading eigenvectors as rows (..., min(n, coil), coil), the first one first. Raises ConfigError if n < 1."""
    if n < 1:
        raise ConfigError(f"coils can be compressed to 1 or more; got {n}")
    weights: Tensor = torch.linalg.eigh(covariance).eigenvectors[..., -n:].flip(-1).mH
    return weights


def combine(weights: Tensor, kspace: Tensor) -> Tensor:
    """Linear combinations of the coils: (new, coil) applied to (..., coil, y, x)."""
    return torch.einsum("nc,...cyx->...nyx", weights, kspace)
