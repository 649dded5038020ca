"""Three readings of `p(y | x_t)` on the way from source to image, for `y = A x0 + n`, `E|n|^2 = sigma^2` per sample.

| mode | source | `y` given `x_t` | exact |
|---|---|---|---|
| `paper` | any | `N(A x_t, sigma^2 I)` | at t = 0 only |
| `path` | `x1 = A^H y` | `y_t = (1 - t) y + t A x1 ~ N(A x_t, (1 - t)^2 sigma^2 I)` | for a flat prior |
| `gaussian-source` | `x1 = tau eps` only | `N(A E[x0 given x_t], sigma^2 I + A C_t A^H)` | for a Gaussian x0 |

Each has `score(x, t) = d/d(conj x) log p(y | x_t = x)` and `guide(v)`, the velocity with the data in it where one
exists. Shapes: images (batch, ...), t a scalar tensor, sigma a number or (batch,). arXiv 2512.03020, 2310.04432.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.path import interpolate, per_entry
from laminar.flow.solvers import Velocity
from laminar.operators import LinearOperator, conjugate_gradient

Covariance = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(image, x, t) -> C_t image`, with C_t the covariance of x0 given x_t = x."""
Pullback = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`(image, x, t) -> J^H image`, with J the Jacobian of the denoiser at x."""


@dataclass(frozen=True, eq=False)
class Likelihood(ABC):
    """The measurement `y`, its operator and its noise level sigma > 0."""

    y: Tensor
    operator: LinearOperator
    noise_level: float | Tensor

    def __post_init__(self) -> None:
        if not bool((torch.as_tensor(self.noise_level) > 0).all()):
            raise ConfigError(f"a likelihood needs a positive noise level; got {self.noise_level}")

    @abstractmethod
    def score(self, state: Tensor, time: Tensor) -> Tensor: ...

    @abstractmethod
    def guide(self, velocity: Velocity) -> Velocity: ...

    def _variance(self, like: Tensor) -> Tensor:
        return per_entry(self.noise_level, like) ** 2


@dataclass(frozen=True, eq=False)
class PaperLikelihood(Likelihood):
    """`y ~ N(A x_t, sigma^2 I)` at every t, as in arXiv 2512.03020; wrong for t > 0, where x_t is not the image."""

    def score(self, state: Tensor, time: Tensor) -> Tensor:
        """`A^H (y - A x) / sigma^2`."""
        return self.operator.adjoint(self.y - self.operator(state)) / self._variance(state)

    def guide(self, velocity: Velocity) -> Velocity:
        """`v - score`, the gradient flow of the paper: it ends near the MAP estimate, not at a posterior mean."""
        return lambda state, time: velocity(state, time) - self.score(state, time)


@dataclass(frozen=True, eq=False)
class PathLikelihood(Likelihood):
    """`y_t ~ N(A x_t, (1 - t)^2 sigma^2 I)` for the source `x1 = A^H y`, any A, and a flat prior.

    With `prior=(mu, s)`, a Gaussian prior `N(mu, s^2 I)` per sample, and a single coil, `A A^H = I` (then `y_t = y`):
    mean `A x_t + (1 - t) rho A (x_t - mu)`, variance `(1 - t)^2 sigma^2 s^2 / (s^2 + t^2 sigma^2)`,
    `rho = t sigma^2 / (s^2 + t^2 sigma^2)`. `A A^H = I` on the samples of y is the caller's word.
    """

    prior: tuple[Tensor, float] | None = None

    def score(self, state: Tensor, time: Tensor) -> Tensor:
        """`(1 + (1 - t) rho) A^H (y_t - mean) / variance`, rho = 0 if flat; skipped (0) at t = 1, where it is 0/0."""
        if bool(time == 1):
            return torch.zeros_like(state)
        variance = self._variance(state)
        moved = interpolate(self.operator.adjoint(self.y), self.operator.gram(self.operator.adjoint(self.y)), time)
        residual = moved - self.operator.gram(state)
        if self.prior is None:
            return residual / ((1 - time) ** 2 * variance)
        mean, std = self.prior
        share = (1 - time) * time * variance / (std**2 + time**2 * variance)
        residual = residual - share * self.operator.gram(state - mean)
        narrowed = variance * std**2 / (std**2 + time**2 * variance)
        return (1 + share) * residual / ((1 - time) ** 2 * narrowed)

    def guide(self, velocity: Velocity) -> Velocity:
        """ConfigError: a source that contains y is not a Gaussian path, on which a score would turn a velocity."""
        raise ConfigError(
            "the path likelihood guides no velocity: its source A^H y contains the data, and a score bends a velocity "
            "only on a Gaussian path, x1 = tau eps (GaussianSourceLikelihood)"
        )


@dataclass(frozen=True, eq=False)
class GaussianSourceLikelihood(Likelihood):
    """`y ~ N(A m, sigma^2 I + A C_t A^H)` on `x_t = (1 - t) x0 + t tau eps`; exact for a Gaussian x0.

    `denoiser(x, t)` is `m = E[x0 | x_t = x]`. `covariance` is the scalar nu^2 or a map `(image, x, t) -> C_t image`.
    `pullback` is J^H, by default the vector-Jacobian product of the denoiser. The solve is by conjugate gradient in
    the space of y. No gradient flows back through the score: it guides, it is not trained through.
    """

    tau: float = field(kw_only=True)
    denoiser: Denoiser = field(kw_only=True)
    covariance: float | Covariance = field(kw_only=True)
    pullback: Pullback | None = field(default=None, kw_only=True)
    iterations: int = field(default=30, kw_only=True)
    tolerance: float = field(default=1e-6, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau > 0:
            raise ConfigError(
                f"the gaussian-source likelihood needs a source x1 = tau eps with tau > 0; got {self.tau}"
            )

    def score(self, state: Tensor, time: Tensor) -> Tensor:
        """`J^H A^H (sigma^2 I + A C_t A^H)^(-1) (y - A m)`."""
        return self._pull(self._correction(state, time), state, time)

    def guide(self, velocity: Velocity) -> Velocity:
        """`v - (t tau^2 / (1 - t)) score`; at t = 1, where that is infinity times 0, its limit `v - C_t (...)`.

        On the path `J = (1 - t) C_t / (t tau)^2`, so that the endpoint of the guided velocity is
        `m + C_t A^H (sigma^2 I + A C_t A^H)^(-1) (y - A m)`, the Kalman update.
        """

        def guided(state: Tensor, time: Tensor) -> Tensor:
            if bool(time == 1):
                return velocity(state, time) - self._spread(self._correction(state, time), state, time)
            return velocity(state, time) - time * self.tau**2 / (1 - time) * self.score(state, time)

        return guided

    def _correction(self, state: Tensor, time: Tensor) -> Tensor:
        """`A^H (sigma^2 I + A C_t A^H)^(-1) (y - A m)`, an image."""
        with torch.no_grad():
            residual = self.y - self.operator(self.denoiser(state, time))
            variance = self._variance(self.y)
            weighted = conjugate_gradient(
                lambda u: variance * u + self.operator(self._spread(self.operator.adjoint(u), state, time)),
                residual,
                iterations=self.iterations,
                tolerance=self.tolerance,
            )
            return self.operator.adjoint(weighted)

    def _spread(self, image: Tensor, state: Tensor, time: Tensor) -> Tensor:
        return self.covariance(image, state, time) if callable(self.covariance) else self.covariance * image

    def _pull(self, image: Tensor, state: Tensor, time: Tensor) -> Tensor:
        if self.pullback is not None:
            return self.pullback(image, state, time)
        with torch.enable_grad():
            at = state.detach().requires_grad_()
            endpoint = self.denoiser(at, time)
        if not endpoint.requires_grad:  # a denoiser that does not look at its input, as the exact one at t = 1
            return torch.zeros_like(state)
        (pulled,) = torch.autograd.grad(endpoint, at, image)
        return pulled
