"""What a detector of photons measures of line integrals, and how well."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.errors import ConfigError


def transmission(sinogram: Tensor, photons: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Measured line integrals and the weights that make their noise white, of unit level, (image, view, bin) both.

        N ~ Poisson(N_0 exp(-l)),   y = log(N_0 / N),   Var y = 1 / N,   w = sqrt(N),   N >= 1

    `sinogram` l is without dimension, `photons` N_0 a bin. Raises ConfigError unless that is a positive number.
    """
    if not 0 < photons < math.inf:
        raise ConfigError(f"expected a positive number of photons a bin; got {photons}")
    counts = torch.poisson(photons * torch.exp(-sinogram), generator=generator).clamp_min(1)
    return math.log(photons) - counts.log(), counts.sqrt()
