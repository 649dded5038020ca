"""A Gaussian prior: posterior, endpoint, score, velocity and flow map in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.theory.dense import (
    check_measurement,
    check_moments,
    check_state,
    check_time,
    hermitian_spectrum,
    identity_like,
    ratio,
)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """x0 ~ N(mean, covariance) and its flow from `x1 = source + tau eps`.

    On the path `x_t ~ N(xbar_t, S_t)` with `xbar_t = (1-t) mean + t source`, `S_t = (1-t)^2 C + t^2 tau^2 I`.

    `mean` (n,) and `covariance` (n, n), float64 (real vectors) or complex128 (circular, variance per complex
    sample); the covariance may be singular. Shapes of the arguments are those of `AnalyticPrior`. Raises ConfigError
    for what does not fit. All is computed in the eigenvectors of C, where a 0/0 is read as 0: a constant tells nothing.
    So tau = 0 gives the degenerate endpoint `(x - t source)/(1-t)` for t < 1 and the mean at t = 1.
    """

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        check_moments("a Gaussian", self.mean, self.covariance)

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (n,) of C, rising, negligible ones exactly zero, and eigenvectors (n, n) in columns."""
        return hermitian_spectrum(self.covariance)

    @cached_property
    def root(self) -> Tensor:
        """The Hermitian principal root C^(1/2), (n, n)."""
        values, vectors = self.spectrum
        return (vectors * values.sqrt()) @ vectors.mH

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws `mean + C^(1/2) eps`, (count, n)."""
        noise = torch.randn(count, len(self.mean), dtype=self.mean.dtype, device=self.mean.device, generator=generator)
        return self.mean + noise @ self.root.T

    def given(self, matrix: Tensor, y: Tensor, noise_std: float) -> Gaussian:
        """The posterior given `y = A x0 + n`; A (m, n), y (m,), `E|n_i|^2 = noise_std^2 > 0`.

        `mean + K (y - A mean)` and `(I - K A) C (I - K A)^H + noise_std^2 K K^H` with the gain
        `K = C A^H (A C A^H + noise_std^2 I)^(-1)`: Joseph's form, which stays positive semidefinite in rounding.
        """
        matrix, y = check_measurement("Gaussian", self.mean, matrix, y, noise_std)
        expected = self.measured(matrix, noise_std)
        gain: Tensor = torch.linalg.solve(expected.covariance, matrix @ self.covariance).mH
        rest = identity_like(self.mean) - gain @ matrix
        covariance = rest @ self.covariance @ rest.mH + noise_std**2 * gain @ gain.mH
        return Gaussian(self.mean + gain @ (y - expected.mean), (covariance + covariance.mH) / 2)

    def measured(self, matrix: Tensor, noise_std: float) -> Gaussian:
        """The distribution of `y = A x0 + n`: N(A mean, A C A^H + noise_std^2 I)."""
        mean = matrix @ self.mean
        covariance = matrix @ self.covariance @ matrix.mH + noise_std**2 * identity_like(mean)
        return Gaussian(mean, (covariance + covariance.mH) / 2)

    def denoised(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`E[x0 | x_t] = mean + (1-t) C S_t^(-1) (x - xbar_t)`."""
        t = check_state("Gaussian", self.mean, x, t, source, tau)
        values, variances = self._variances(t, tau)
        return self.mean + self._filtered(x - self._center(t, source), ratio((1 - t) * values, variances))

    def denoiser_covariance(self, t: float | Tensor, tau: float) -> Tensor:
        """`Cov[x0 | x_t] = C - (1-t)^2 C S_t^(-1) C = t^2 tau^2 C S_t^(-1)`, for every x; (..., n, n) for t (...)."""
        t = check_time(t, tau)[..., None]
        vectors = self.spectrum[1]
        values, variances = self._variances(t, tau)
        # Where x_t is a constant (tau = 0 at t = 1) nothing is known but the prior.
        remaining = torch.where(variances > 0, ratio((t * tau) ** 2 * values, variances), values)
        return (vectors * remaining[..., None, :]) @ vectors.mH

    def score(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`d log p_t / d conj(x) = -S_t^(-1) (x - xbar_t)`; the gradient if x is real. ConfigError: S_t singular."""
        t = check_state("Gaussian", self.mean, x, t, source, tau)
        variances = self._variances(t, tau)[1]
        if not bool((variances > 0).all()):
            raise ConfigError(
                f"there is no score where x_t is a constant in some direction: t = {t.tolist()}, tau = {tau}"
            )
        return -self._filtered(x - self._center(t, source), 1 / variances)

    def velocity(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`(source - mean) + (t tau^2 I - (1-t) C) S_t^(-1) (x - xbar_t) = E[x1 - x0 | x_t]`."""
        t = check_state("Gaussian", self.mean, x, t, source, tau)
        values, variances = self._variances(t, tau)
        gain = ratio(t * tau**2 - (1 - t) * values, variances)
        return source - self.mean + self._filtered(x - self._center(t, source), gain)

    def flow_map(self, x1: Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`mean + C^(1/2) (x1 - source) / tau` with the Hermitian root; its Lipschitz constant is sqrt(||C||)/tau."""
        check_state("Gaussian", self.mean, x1, 1.0, source, tau)
        if tau == 0:
            raise ConfigError("the flow map needs tau > 0: from a constant source there is just the line to the mean")
        return self.mean + (x1 - source) @ self.root.T / tau

    def log_density(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`log N(x; xbar_t, S_t)`, (batch,), over the directions in which x_t is not a constant."""
        t = check_state("Gaussian", self.mean, x, t, source, tau)
        variances = self._variances(t, tau)[1]
        energy = self._coordinates(x - self._center(t, source)).abs().square()
        power = 1.0 if self.mean.is_complex() else 0.5
        volume = torch.where(variances > 0, variances, power / math.pi) * math.pi / power
        return -power * (ratio(energy, variances) + volume.log()).sum(-1)

    def _center(self, t: Tensor, source: Tensor) -> Tensor:
        return (1 - t) * self.mean + t * source

    def _variances(self, t: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        """Eigenvalues of C and of S_t, (..., n)."""
        values = self.spectrum[0]
        return values, (1 - t) ** 2 * values + (t * tau) ** 2

    def _coordinates(self, x: Tensor) -> Tensor:
        return x @ self.spectrum[1].conj()

    def _filtered(self, x: Tensor, gain: Tensor) -> Tensor:
        """Multiply the coordinates of x (batch, n) in the eigenvectors of C by `gain`."""
        return (self._coordinates(x) * gain) @ self.spectrum[1].T
