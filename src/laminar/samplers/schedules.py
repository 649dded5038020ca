"""The clock of a sampler: falling times `t = sigma / (1 + sigma)` of the rectified path, from below 1 to 0.

A schedule is a function of the number of steps, so that a budget of evaluations decides how fine it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import GaussianPath, VarianceExploding, VariancePreserving

Schedule = Callable[[int], Tensor]
"""`steps -> times` (steps + 1,), float64."""


def follow(path: GaussianPath) -> Schedule:
    """Equal steps of the path's own time, `t = b / (a + b)`; the last step goes to zero noise."""

    def schedule(steps: int) -> Tensor:
        a, b, _, _ = path.at(torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1])
        return torch.cat([b / (a + b), b.new_zeros(1)])

    return schedule


def uniform(first: float = 0.999) -> Schedule:
    """Equal steps on the rectified path, from `first` < 1: at t = 1 the state knows nothing of the image."""
    if not 0 < first < 1:
        raise ConfigError(f"a sampler starts between t = 0 and t = 1; got {first}")
    return lambda steps: torch.linspace(first, 0, steps + 1, dtype=torch.float64)


def edm(largest: float = 80.0, smallest: float = 0.002, power: float = 7.0) -> Schedule:
    """`sigma_k` equally spaced in `sigma^(1/power)`, then zero. Karras et al., arXiv 2206.00364, eq. 5."""
    if not 0 < smallest < largest or not power > 0:
        raise ConfigError(f"levels fall from largest to smallest > 0; got {largest}, {smallest} and power {power}")

    def schedule(steps: int) -> Tensor:
        roots = torch.linspace(largest ** (1 / power), smallest ** (1 / power), steps, dtype=torch.float64)
        level = torch.cat([roots**power, roots.new_zeros(1)])
        return level / (1 + level)

    return schedule


VP, VE = follow(VariancePreserving()), follow(VarianceExploding())
RECTIFIED = uniform()
WARM = uniform(0.8)
"""For a start that has the measurement in it already."""
