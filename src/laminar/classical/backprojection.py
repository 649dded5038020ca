"""Filtered back-projection of tomography."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.operators import Beam


def filtered_back_projection(sinogram: Tensor, beam: Beam, matrix: tuple[int, int]) -> Tensor:
    """The image (batch, y, x) of a sinogram (batch, view, bin), for views that are spread evenly over their turn.

        x(p) = pi / views * sum_views (h * [y cos g])(s_p) / U_p^2

    h is the ramp of Ramachandran and Lakshminarayanan, g the angle of a ray to the central one, `s_p` the place of
    pixel p on the detector and `U_p` its distance from the source over that of the origin; g = 0 and U = 1 if the beam
    is parallel. A parallel beam needs half a turn (or a whole one), a fan a whole one. Kak and Slaney 1988, chapter 3.
    """
    curvature = 1 / beam.source
    step = beam.spacing / (1 + beam.detector * curvature)  # of the bins, scaled to the origin
    place = step * (torch.arange(beam.bins, dtype=sinogram.real.dtype, device=sinogram.device) - beam.bins // 2)
    filtered = _ramp_filtered(sinogram / (1 + (place * curvature).square()).sqrt(), step)
    y, x = (torch.arange(n, dtype=place.dtype, device=place.device) - n // 2 for n in matrix)
    image = sinogram.new_zeros(len(sinogram), *matrix)
    for view, across, along in zip(filtered.unbind(1), *(axis.tolist() for axis in beam.axes), strict=True):
        distance = 1 + curvature * (along[0] * y[:, None] + along[1] * x)
        bins = (across[0] * y[:, None] + across[1] * x) / distance / step + beam.bins // 2
        image += _interpolated(view, bins) / distance.square()
    return image * (math.pi / len(beam.angles))


def _ramp_filtered(rows: Tensor, step: float) -> Tensor:
    """Convolution of the last axis with the band-limited ramp, `1/4`, `-1/(pi n)^2` for odd n, else 0, over `step`."""
    n = rows.shape[-1]
    offset = torch.arange(-n + 1, n, dtype=torch.float64)
    ramp = torch.where(offset % 2 == 1, -1 / (math.pi * offset).square(), 0)
    ramp[n - 1] = 0.25
    size = 3 * n
    spectrum = torch.fft.fft(ramp, size).to(rows.device, rows.dtype.to_complex())
    whole: Tensor = torch.fft.ifft(torch.fft.fft(rows, size) * spectrum)[..., n - 1 : 2 * n - 1] / step
    return whole if rows.is_complex() else whole.real


def _interpolated(view: Tensor, bins: Tensor) -> Tensor:
    """`view` (batch, bin) at fractional bins (y, x), 0 beyond its ends."""
    last = view.shape[-1] - 1
    low = bins.floor().clamp(0, max(last - 1, 0))
    share = bins - low
    values = (1 - share) * view[:, low.long()] + share * view[:, (low.long() + 1).clamp_max(last)]
    inside: Tensor = values * ((bins >= 0) & (bins <= last))
    return inside
