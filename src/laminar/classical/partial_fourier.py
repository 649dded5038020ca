"""Partial Fourier: samples missing on one side of k-space, from those on the other and the phase of the center."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.data.coils import calibration_region, whole_lines
from laminar.errors import ConfigError
from laminar.operators import Encoding, SoftSense


def pocs(y: Tensor, operator: Encoding | SoftSense, iterations: int = 20) -> Tensor:
    """The image whose phase is that of the center of k-space and whose samples are the measured ones, by projections.

        x <- p Re(conj(p) x),   x <- x + A^H (y - A x),   p = exp(i arg A^H w y)

    w is a Hann window over the fully sampled center, as far as it is symmetric. Shapes: `y` (batch, coil, y, x), the
    sensitivities of unit power. It is right where the phase is smooth; elsewhere it is no better than zeros. Raises
    DataFormatError without a fully sampled center. Source: Haacke et al. 1991, doi:10.1016/0022-2364(91)90253-P; with
    the real part in place of the magnitude, which is a projection on a subspace.
    """
    if iterations < 1:
        raise ConfigError(f"iterations must be at least 1; got {iterations}")
    windows = torch.stack([_center(mask) for mask in operator.mask])
    center = operator.adjoint(y * windows[:, None])
    phase = torch.polar(torch.ones_like(center.real), center.angle())
    x = operator.adjoint(y)
    for _ in range(iterations):
        x = phase * (phase.conj() * x).real
        x = x + operator.adjoint(y - operator.forward(x))
    return x


def _center(mask: Tensor) -> Tensor:
    """A window (y, x) over the symmetric part of the fully sampled block around zero frequency."""
    sides = whole_lines(mask, calibration_region(mask))
    rows, columns = (_hann(n, part) for n, part in zip(mask.shape, sides, strict=True))
    return (rows[:, None] * columns).to(mask.device)


def _hann(n: int, part: slice) -> Tensor:
    """Along an axis that is sampled to both ends there is nothing to taper."""
    if (part.start, part.stop) == (0, n):
        return torch.ones(n)
    reach = min(n // 2 - part.start, part.stop - 1 - n // 2) + 1
    offset = (torch.arange(n) - n // 2).clamp(-reach, reach)
    window: Tensor = (torch.pi * offset / (2 * reach)).cos().square()
    return window
