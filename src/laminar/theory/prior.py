"""What every oracle can answer."""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor


class AnalyticPrior(Protocol):
    """A distribution of vectors x0 (n,) whose flow from `x1 = source + tau eps` to x0 is known exactly.

    On the path `x_t = (1 - t) x0 + t x1` the noise eps is standard (circular if complex) and independent of x0.
    Shapes: x (batch, n); t in [0, 1], a number or (batch,); source (n,) or (batch, n). tau^2 is per complex sample.
    """

    @property
    def mean(self) -> Tensor:
        """E[x0], (n,)."""

    @property
    def covariance(self) -> Tensor:
        """E[(x0 - mean)(x0 - mean)^H], (n, n)."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws of x0, (count, n)."""

    def given(self, matrix: Tensor, y: Tensor, noise_std: float) -> Self:
        """The posterior of x0 given `y = A x0 + n`, `E|n_i|^2 = noise_std^2`; A (m, n), y (m,)."""

    def denoised(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """The endpoint `E[x0 | x_t = x]`, (batch, n)."""

    def score(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`d log p_t(x) / d conj(x)` (the gradient if x is real), (batch, n)."""

    def velocity(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`v = E[x1 - x0 | x_t = x]`, (batch, n), finite for all t in [0, 1]."""

    def flow_map(self, x1: Tensor, *, source: Tensor, tau: float) -> Tensor:
        """The end at t = 0 of `dx/dt = v` started at x1 at t = 1, (batch, n)."""

    def log_density(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`log p_t(x)`, normalized over the real vectors or, for complex ones, over real and imaginary parts."""
