"""A Gaussian mixture: the same answers, weighted by the responsibilities of the components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.theory.dense import check_measurement, check_state
from laminar.theory.gaussian import Gaussian

_BISECTIONS = 80  # halve the bracket below the rounding of float64


@dataclass(frozen=True, eq=False)
class Mixture:
    """x0 ~ sum_i w_i N(mean_i, C_i) and its flow from `x1 = source + tau eps`.

    On the path every component stays Gaussian; with the responsibilities `r_i(x) = P(i | x_t = x)` every
    conditional expectation is `sum_i r_i(x) E_i[. | x_t = x]`.

    `weights` (m,) not negative, with sum 1; `means` (m, n); `covariances` (m, n, n), positive definite, in float64 or
    complex128 as in `Gaussian`. Shapes of the arguments are those of `AnalyticPrior`. ConfigError for what does not
    fit.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        count = len(self.weights) if self.weights.ndim == 1 else -1
        if self.means.ndim != 2 or self.covariances.ndim != 3 or {len(self.means), len(self.covariances)} != {count}:
            raise ConfigError(
                "a mixture needs weights (m,), means (m, n) and covariances (m, n, n); got "
                f"{tuple(self.weights.shape)}, {tuple(self.means.shape)} and {tuple(self.covariances.shape)}"
            )
        total = float(self.weights.sum())
        if self.weights.dtype != torch.float64 or bool((self.weights < 0).any()) or not abs(total - 1) < 1e-9:
            raise ConfigError(
                f"the weights of a mixture are float64, not negative, with sum 1; got {self.weights.tolist()} "
                f"of {self.weights.dtype}"
            )
        if any(float(component.spectrum[0][0]) <= 0 for component in self.components):
            raise ConfigError("every covariance of a mixture must be positive definite; one is singular")

    @cached_property
    def components(self) -> tuple[Gaussian, ...]:
        return tuple(Gaussian(mean, covariance) for mean, covariance in zip(self.means, self.covariances, strict=True))

    @property
    def mean(self) -> Tensor:
        """`sum_i w_i mean_i`, (n,)."""
        return self.weights.to(self.means.dtype) @ self.means

    @property
    def covariance(self) -> Tensor:
        """The covariance within the components plus that of their means, (n, n)."""
        return _total_covariance(self.weights[None], self.means[None], self.covariances[None])[0]

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent draws, (count, n): a component by its weight, then its Gaussian."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        shape, like = (count, self.means.shape[1]), self.means
        noise = torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)
        roots = torch.stack([component.root for component in self.components])
        return self.means[chosen] + (roots[chosen] @ noise[..., None])[..., 0]

    def given(self, matrix: Tensor, y: Tensor, noise_std: float) -> Mixture:
        """The posterior given `y = A x0 + n`: the components' posteriors, weighted by their evidence.

        `w_i' = w_i N(y; A mean_i, A C_i A^H + noise_std^2 I) / sum_j ...`; A (m, n), y (m,).
        """
        matrix, y = check_measurement("Mixture", self.means[0], matrix, y, noise_std)
        posteriors = [component.given(matrix, y, noise_std) for component in self.components]
        evidence = [_log_evidence(component.measured(matrix, noise_std), y) for component in self.components]
        weights = (self.weights.log() + torch.stack(evidence)).softmax(0)
        return Mixture(
            weights,
            torch.stack([posterior.mean for posterior in posteriors]),
            torch.stack([posterior.covariance for posterior in posteriors]),
        )

    def responsibilities(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`P(component i | x_t = x)`, (batch, m)."""
        return self._joint(x, t, source, tau).softmax(-1)

    def denoised(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`E[x0 | x_t] = sum_i r_i E_i[x0 | x_t]`."""
        return self._average(Gaussian.denoised, x, t, source, tau)

    def denoiser_covariance(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`Cov[x0 | x_t]`, (batch, n, n): it depends on x, other than that of a Gaussian."""
        weights = self.responsibilities(x, t, source=source, tau=tau)
        means = torch.stack([c.denoised(x, t, source=source, tau=tau) for c in self.components], 1)
        within = [c.denoiser_covariance(t, tau).expand(len(x), -1, -1) for c in self.components]
        return _total_covariance(weights, means, torch.stack(within, 1))

    def score(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`d log p_t / d conj(x) = sum_i r_i score_i`."""
        return self._average(Gaussian.score, x, t, source, tau)

    def velocity(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`E[x1 - x0 | x_t] = sum_i r_i v_i`, without a quotient by t: finite at 0 and 1."""
        return self._average(Gaussian.velocity, x, t, source, tau)

    def flow_map(self, x1: Tensor, *, source: Tensor, tau: float) -> Tensor:
        """The monotone map of one real number: `F_0(x0) = Phi((x1 - source)/tau)`. ConfigError for other vectors."""
        check_state("Mixture", self.means[0], x1, 1.0, source, tau)
        if self.means.shape[1] != 1 or self.means.is_complex():
            raise ConfigError(
                "a mixture has a closed flow map for one real number only, through its quantiles; this one is of "
                f"{self.means.shape[1]} of {self.means.dtype}: integrate its velocity"
            )
        if tau == 0:
            raise ConfigError("the flow map needs tau > 0: from a constant source there is just the line to the mean")
        return _quantile(self, (x1 - source) / tau)

    def log_density(self, x: Tensor, t: float | Tensor, *, source: Tensor, tau: float) -> Tensor:
        """`log sum_i w_i N(x; xbar_i, S_i)`, (batch,)."""
        return self._joint(x, t, source, tau).logsumexp(-1)

    def _joint(self, x: Tensor, t: float | Tensor, source: Tensor, tau: float) -> Tensor:
        """`log w_i + log N_i(x)`, (batch, m)."""
        parts = [component.log_density(x, t, source=source, tau=tau) for component in self.components]
        return self.weights.log() + torch.stack(parts, -1)

    def _average(
        self, answer: Callable[..., Tensor], x: Tensor, t: float | Tensor, source: Tensor, tau: float
    ) -> Tensor:
        weights = self.responsibilities(x, t, source=source, tau=tau)
        answers = torch.stack([answer(c, x, t, source=source, tau=tau) for c in self.components], -1)
        return (answers * weights[:, None]).sum(-1)


def _total_covariance(weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """Covariance within plus between components: (batch, m), (batch, m, n), (batch, m, n, n) to (batch, n, n)."""
    weights = weights.to(means.dtype)
    apart = means - (weights[..., None] * means).sum(1, keepdim=True)
    return torch.einsum("bi,bijk->bjk", weights, covariances) + torch.einsum(
        "bi,bij,bik->bjk", weights, apart, apart.conj()
    )


def _log_evidence(expected: Gaussian, y: Tensor) -> Tensor:
    return expected.log_density(y[None], 0.0, source=torch.zeros_like(y), tau=0.0)[0]


def _quantile(mixture: Mixture, z: Tensor) -> Tensor:
    """Solve `sum_i w_i Phi((x - m_i)/s_i) = Phi(z)` by bisection in the lower tail, where logarithms keep all digits.

    The upper half is the lower one mirrored. The root lies between the components' own quantiles `m_i + s_i z`.
    """
    mirror = torch.where(z > 0, -1.0, 1.0).to(z)
    means, widths = mirror * mixture.means[:, 0], mixture.covariances[:, 0, 0].sqrt()
    depth = -z.abs()
    goal = torch.special.log_ndtr(depth)
    own = means + widths * depth
    low, high = own.amin(-1, keepdim=True), own.amax(-1, keepdim=True)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = (mixture.weights.log() + torch.special.log_ndtr((middle - means) / widths)).logsumexp(-1, True) < goal
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return mirror * (low + high) / 2
