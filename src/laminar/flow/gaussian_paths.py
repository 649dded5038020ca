"""Affine Gaussian paths `x_t = a(t) x0 + b(t) eps`: variance preserving, variance exploding.

Noise is at t = 1 and the image at t = 0, as everywhere here; `E|eps|^2 = 1` per sample, circular if complex. A path
differs from another only in scale and clock: `x_t / a` is the image with noise of standard deviation `b / a`, so that
one denoiser serves them all (`laminar.theory.conversions`). Song et al., arXiv 2011.13456; Karras et al. (EDM), arXiv
2206.00364; Lipman et al., arXiv 2210.02747.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.path import per_entry

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""`m(x, t) = E[x0 | x_t = x]` on one path, or `E[x0 | x0 + sigma eps = x]` by noise level."""


class Affine(NamedTuple):
    """`a`, `b` and their derivatives in t."""

    a: Tensor
    b: Tensor
    a_rate: Tensor
    b_rate: Tensor


class GaussianPath(ABC):
    """A path is its coefficients at a time, and the time at which it has a given noise ratio `b / a`."""

    @abstractmethod
    def at(self, time: Tensor) -> Affine: ...

    @abstractmethod
    def _time_at(self, ratio: Tensor) -> Tensor: ...

    def time_at(self, ratio: Tensor) -> Tensor:
        """The time with `b / a = ratio`; ConfigError where the path never gets there."""
        time = self._time_at(ratio)
        slack = 16 * torch.finfo(time.dtype).eps
        if not bool(((time >= -slack) & (time <= 1 + slack)).all()):
            raise ConfigError(f"{self} has no time in [0, 1] with a noise ratio of {ratio.tolist()}")
        return time.clamp(0, 1)


@dataclass(frozen=True)
class VariancePreserving(GaussianPath):
    """`a = exp(-B/2)`, `b = sqrt(1 - exp(-B))`, `B(t) = beta_min t + (beta_max - beta_min) t^2 / 2`. arXiv 2011.13456.

    `b'` is infinite at t = 0, so the velocity exists for t > 0 only; `a(1)` is small but not zero.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max < math.inf:
            raise ConfigError(f"a VP path needs 0 < beta_min <= beta_max; got {self.beta_min} and {self.beta_max}")

    def at(self, time: Tensor) -> Affine:
        slope = self.beta_max - self.beta_min
        rate = self.beta_min + slope * time
        total = self.beta_min * time + slope * time**2 / 2
        a, b = (-total / 2).exp(), (-torch.expm1(-total)).sqrt()
        return Affine(a, b, -rate * a / 2, rate * a**2 / (2 * b))

    def _time_at(self, ratio: Tensor) -> Tensor:
        total = torch.log1p(ratio**2)
        return 2 * total / (self.beta_min + (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * total).sqrt())


@dataclass(frozen=True)
class VarianceExploding(GaussianPath):
    """`a = 1`, `b = sigma_min (sigma_max / sigma_min)^t`. arXiv 2011.13456.

    It ends at noise `sigma_min`, not at the image: one evaluation of the denoiser takes the last step.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ConfigError(f"a VE path needs 0 < sigma_min < sigma_max; got {self.sigma_min} and {self.sigma_max}")

    def at(self, time: Tensor) -> Affine:
        growth = math.log(self.sigma_max / self.sigma_min)
        b = self.sigma_min * (growth * time).exp()
        return Affine(torch.ones_like(b), b, torch.zeros_like(b), growth * b)

    def _time_at(self, ratio: Tensor) -> Tensor:
        return (ratio / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)


def interpolant_velocity(state: Tensor, time: float | Tensor, endpoint: Tensor) -> Tensor:
    """`v = (x - x0_hat) / t` on `x_t = (1 - t) x0 + t x1`, whatever the source; 0/0 at t = 0 is a ConfigError."""
    time = per_entry(time, state)
    if bool((time == 0).any()):
        raise ConfigError("the velocity (x - x0_hat) / t is 0/0 at t = 0; let the last step be an Euler step")
    return (state - endpoint) / time
