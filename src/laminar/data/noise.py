"""The noise level of a scan that came without a noise measurement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.data.coils import calibration_region
from laminar.data.patches import patches
from laminar.errors import DataFormatError

_SLICES = 4  # noise does not depend on the slice: a few of them tell it
_BANDS = 16
_PROCESSED = 0.02  # of the variance at the center, which holds what no low rank explains of the signal as well
_FLAT = 0.1  # of the least singular value of white noise, squared: coils that were not whitened spread them
_UNEQUAL = 4.0  # times the level of the median coil
_QUANTILE = 0.25  # what is left of the signal is sparse, and hardly shifts a low quantile


def estimate_noise_std(kspace: Tensor, mask: Tensor) -> float:
    """Standard deviation of the noise per complex sample, E|n|^2 = sigma^2, root mean square over coils.

    Each of three places shows noise with little signal in it; what signal there is makes the estimate too
    large, so the least of them is taken:
        samples at the edge of k-space;
        air beside the object, where the readout has samples without gaps and can be transformed alone;
        the part of the calibration patches that no low-rank signal explains.
    K-space that was filtered or zero-padded shows less than a seventh of its noise in the first two; then the third,
    the noise where the signal is, is taken.

    Shapes: `kspace` (slice, coil, y, x), `mask` bool (y, x), true = acquired. Units: those of k-space.
    Coils need not be prewhitened: where one is far louder than the others, all are brought to one level for the third.
    Raises DataFormatError if the mask does not fit k-space or acquires nothing.
    """
    if kspace.ndim != 4 or mask.shape != kspace.shape[-2:] or not bool(mask.any()):
        raise DataFormatError(
            f"noise needs k-space (slice, coil, y, x) and a mask of acquired samples (y, x); "
            f"got {tuple(kspace.shape)} and {tuple(mask.shape)}"
        )
    kspace = kspace[list(telling_slices(len(kspace)))].detach()
    parts = torch.view_as_real(kspace) if kspace.is_complex() else kspace
    scale = parts.abs().amax().clamp_min(torch.finfo(parts.dtype).tiny)
    kspace = kspace / scale
    bands = _outermost_bands(kspace, mask)
    least = min([_quietest_band(bands.transpose(1, 2).flatten(2)), *_air(kspace, mask)])
    levels = _coil_levels(bands)
    central = min((v * float(levels.square().mean()) for v in _unexplained(kspace, levels, mask)), default=least)
    is_white = least > _PROCESSED * central
    return float(scale) * math.sqrt(min(least, central) if is_white else central)


def telling_slices(n_slices: int) -> range:
    """Which slices of a volume tell its noise level: a few, evenly spread."""
    step = math.ceil(n_slices / _SLICES)
    return range(step // 2, n_slices, step)


def _quietest_band(power: Tensor) -> float:
    """Noise variance from |samples|^2 (coil, band, sample) in the band where the mean over coils is least.

    |n|^2 is exponentially distributed, its q-quantile -sigma^2 log(1 - q).
    """
    rank = int(_QUANTILE * power.shape[-1]) + 1
    variance = power.kthvalue(rank, dim=-1).values / -math.log1p(-_QUANTILE)
    return float(variance.mean(0).min())


def _coil_levels(bands: Tensor) -> Tensor:
    """The noise level of every coil (coil,) over that of the median one; one where they do not differ much."""
    power = bands[:, :, 0].flatten(1)  # coil, sample
    rank = int(_QUANTILE * power.shape[-1]) + 1
    levels = power.kthvalue(rank, dim=-1).values.sqrt()
    levels = levels / levels[levels > 0].median() if bool(levels.any()) else levels
    return levels.clamp_min(1) if float(levels.max()) > _UNEQUAL else torch.ones_like(levels)


def _outermost_bands(kspace: Tensor, mask: Tensor) -> Tensor:
    """|samples|^2 (coil, slice, band, sample), the outermost band first."""
    y, x = (2 * (torch.arange(n) - n // 2) / n for n in mask.shape)
    outwards = torch.hypot(y[:, None], x[None, :]).to(mask.device)[mask].argsort()
    power = _double(kspace[..., mask][..., outwards]).abs().square().movedim(1, 0)  # coil, slice, sample
    length = max(min(64, power.shape[-1]), power.shape[-1] // _BANDS)
    return power.flip(-1).unfold(-1, length, length)


def _double(samples: Tensor) -> Tensor:
    """In double precision, which only the samples that an estimate looks at need."""
    return samples.to(torch.complex128)


def _air(kspace: Tensor, mask: Tensor) -> list[float]:
    """An estimate for every axis that is sampled without gaps on every acquired line."""
    rows, columns = mask.any(1), mask.any(0)
    if not torch.equal(mask, rows[:, None] & columns):
        return []
    block = _double(kspace[..., rows, :][..., columns]).movedim(1, 0)  # coil, slice, y, x
    estimates = []
    for acquired, lines in ((rows, block.movedim(2, 1)), (columns, block.movedim(3, 1))):
        span = acquired.nonzero()
        positions = lines.shape[1]
        if int(span[-1] - span[0]) + 1 != positions or positions < _BANDS:
            continue
        profile = torch.fft.fftshift(torch.fft.fft(lines, dim=1, norm="ortho"), dim=1)
        rim = positions // 40  # the receiver's filter attenuates the noise there
        profile = profile[:, rim : positions - rim].abs().square().flatten(2)
        width = max(4, positions // _BANDS)
        estimates.append(_quietest_band(profile.unfold(1, width, width // 2).flatten(2)))
    return estimates


def _unexplained(kspace: Tensor, levels: Tensor, mask: Tensor) -> list[float]:
    """Residual variance of the calibration patches, coils over their levels, beyond the rank that is above white noise.

    It is the coils that make patches depend on each other: those of a single one tell nothing.
    """
    if kspace.shape[1] == 1:
        return []
    try:
        region = calibration_region(mask)
    except DataFormatError:
        return []
    blocks = _double(kspace[..., *region]) / levels[:, None, None]
    found = [_residual_variance(patches(block, 6)[0]) for block in blocks]
    return [variance for variance in found if variance is not None]


def _residual_variance(columns: Tensor) -> float | None:
    """Variance s_r = tail energy / ((m - r)(n - r)) at the first rank r beyond which all singular values are noise.

    The largest singular value of m x n white noise is sigma (sqrt m + sqrt n), the least sigma |sqrt m - sqrt n|. A
    spectrum that falls far below it is that of a signal which is not of low rank: None.
    """
    m, n = columns.shape
    gram = columns @ columns.mH if m <= n else columns.mH @ columns
    energy = torch.linalg.eigvalsh(gram).flip(0)  # the squared singular values, in half of the time
    energy = energy.clamp_min(energy[0] * torch.finfo(energy.dtype).eps)  # which rounds them by as much
    tail = energy.flip(0).cumsum(0).flip(0)
    rank = torch.arange(len(energy), device=energy.device)
    variance = tail / ((m - rank) * (n - rank))
    flat = energy[-1] >= _FLAT * ((m - rank).sqrt() - (n - rank).sqrt()).square() * variance
    is_noise = flat & (energy <= (math.sqrt(m) + math.sqrt(n)) ** 2 * variance)
    is_noise[-1] = False  # a single value is always flat
    return float(variance[is_noise.int().argmax()]) if bool(is_noise.any()) else None
