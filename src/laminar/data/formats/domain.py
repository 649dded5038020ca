"""Whether an array is k-space or the images of its coils: the energy of k-space is at its center."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from laminar.errors import ConfigError, DataFormatError
from laminar.operators import fft2c

Domain = Literal["kspace", "image"]
DOMAINS = ("kspace", "image")
_COILS = 4  # of one slice, tell it


def to_kspace(array: Tensor, domain: Domain | None) -> Tensor:
    """K-space (slice, coil, y, x) of an array that is k-space, or the images of coils (`domain` "image")."""
    if domain not in (None, *DOMAINS):
        raise ConfigError(f"the domain is kspace or image; got {domain!r}")
    return fft2c(array) if domain == "image" else array


def check_kspace(array: Tensor) -> None:
    """Raise DataFormatError if (slice, coil, y, x) has far less energy at its center than its transform has."""
    part = array[len(array) // 2, :_COILS]
    here = central_energy(part)
    if here < 0.5 and here < 0.5 * (there := central_energy(fft2c(part))) and there > 0.3:
        raise DataFormatError(
            f"these look like images of coils, not k-space: {100 * here:.0f} % of the energy is in the central eighth "
            f"of each axis, after a Fourier transform {100 * there:.0f} %; --domain image (domain='image') transforms "
            "them, --domain kspace takes them as they are"
        )


def central_energy(array: Tensor) -> float:
    """The part of the energy of (..., y, x) that lies in the central eighth of both axes."""
    height, width = (max(1, n // 8) for n in array.shape[-2:])
    top, left = (n // 2 - size // 2 for n, size in zip(array.shape[-2:], (height, width), strict=True))
    peak = torch.view_as_real(array).abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    power = torch.view_as_real(array / peak).square().sum((0, -1))
    total = float(power.sum())
    return float(power[top : top + height, left : left + width].sum()) / total if total > 0 else 1.0
