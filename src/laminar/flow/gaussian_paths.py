"""Affine Gaussian paths `x_t = a(t) x0 + b(t) eps`: rectified, variance preserving, variance exploding.

Noise is at t = 1 and the image at t = 0, as everywhere here; `E|eps|^2 = 1` per sample, circular if complex. With the
endpoint `m = E[x0 | x_t]` everything else is one formula away:

    noise    e = E[eps | x_t] = (x - a m) / b
    score    d/d(conj x) log p_t(x) = -e / b
    velocity E[dx/dt | x_t] = a' m + b' e

(for real images the score is the plain gradient; the formulas are the same). A path differs from another only in
scale and clock: `x_t / a` is the image with noise of standard deviation `b / a`, so that one denoiser serves them all.
Song et al., arXiv 2011.13456; Karras et al. (EDM), arXiv 2206.00364; Lipman et al., arXiv 2210.02747.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn, get_args

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.path import per_entry
from laminar.flow.solvers import Velocity

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""`m(x, t) = E[x0 | x_t = x]` on one path, or `E[x0 | x0 + sigma eps = x]` by noise level."""

Quantity = Literal["endpoint", "velocity", "score", "noise"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)


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
class Rectified(GaussianPath):
    """`a = 1 - t`, `b = tau t`: straight lines from `x1 = tau eps`. Liu et al., arXiv 2209.03003.

    Without noise (tau = 0) it is not a Gaussian path: use `interpolant_velocity` and `interpolant_endpoint`.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.tau < math.inf:
            raise ConfigError(f"a rectified Gaussian path needs tau > 0; got {self.tau}")

    def at(self, time: Tensor) -> Affine:
        one = torch.ones_like(time)
        return Affine(1 - time, self.tau * time, -one, self.tau * one)

    def _time_at(self, ratio: Tensor) -> Tensor:
        return ratio / (self.tau + ratio)


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


def convert(
    path: GaussianPath, state: Tensor, time: Tensor, value: Tensor, *, given: Quantity, wanted: Quantity
) -> Tensor:
    """`value`, a quantity of `QUANTITIES` at `state` (batch, ...) and `time` (scalar or (batch,)), as another one.

    Everything goes through the endpoint, and what a time does not determine is a ConfigError: nothing but the
    endpoint follows where b = 0, and no endpoint from noise or score where a = 0.
    """
    for quantity in (given, wanted):
        if quantity not in QUANTITIES:
            raise ConfigError(f"a flow has {', '.join(QUANTITIES)}, not {quantity!r}")
    if given == wanted:
        return value
    now = path.at(per_entry(time, state))
    return _from_endpoint(now, state, _to_endpoint(now, state, value, given), wanted)


def _to_endpoint(now: Affine, state: Tensor, value: Tensor, given: Quantity) -> Tensor:
    a, b, a_rate, b_rate = now
    if given == "endpoint":
        return value
    if given == "velocity":
        _refuse(~torch.isfinite(b_rate), "the velocity of this path is infinite at t = 0; ask at t > 0")
        return (b * value - b_rate * state) / (a_rate * b - a * b_rate)
    _refuse(a == 0, f"where a = 0 the state is pure noise and its {given} says nothing of the endpoint; ask at t < 1")
    noise = value if given == "noise" else -b * value
    return (state - b * noise) / a


def _from_endpoint(now: Affine, state: Tensor, endpoint: Tensor, wanted: Quantity) -> Tensor:
    if wanted == "endpoint":
        return endpoint
    a, b, a_rate, b_rate = now
    _refuse(b == 0, f"the {wanted} is 0/0 at t = 0, where the path has no noise; end at a t > 0 or with an Euler step")
    noise = (state - a * endpoint) / b
    if wanted == "noise":
        return noise
    return -noise / b if wanted == "score" else a_rate * endpoint + b_rate * noise


def probability_flow(path: GaussianPath, denoiser: Denoiser) -> Velocity:
    """The velocity of the deterministic flow with the marginals of the path, from `m(x, t) = E[x0 | x_t = x]`.

    `dx/dt = a' m + b' (x - a m) / b`, integrated from 1 towards 0; 0/0 at t = 0 (ConfigError, see `convert`).
    """
    return lambda state, time: convert(path, state, time, denoiser(state, time), given="endpoint", wanted="velocity")


def by_noise_level(path: GaussianPath, denoiser: Denoiser) -> Denoiser:
    """The denoiser of a path as one of noise levels: `D(z, sigma) = m(a z, t)` with `b(t) / a(t) = sigma`.

    `z = x0 + sigma eps`, sigma a scalar or (batch,): the form of EDM, which knows no path.
    """

    def denoise(noisy: Tensor, level: Tensor) -> Tensor:
        time = path.time_at(level)
        return denoiser(per_entry(path.at(time).a, noisy) * noisy, time)

    return denoise


def on_path(path: GaussianPath, denoiser: Denoiser) -> Denoiser:
    """The inverse of `by_noise_level`: `m(x, t) = D(x / a, b / a)`; ConfigError where a = 0."""

    def denoise(state: Tensor, time: Tensor) -> Tensor:
        a, b, _, _ = path.at(time)
        _refuse(a == 0, "where a = 0 the noise ratio b / a is infinite; ask at t < 1")
        return denoiser(state / per_entry(a, state), b / a)

    return denoise


def interpolant_velocity(state: Tensor, time: float | Tensor, endpoint: Tensor) -> Tensor:
    """`v = (x - x0_hat) / t` on `x_t = (1 - t) x0 + t x1`, whatever the source; 0/0 at t = 0 is a ConfigError."""
    time = per_entry(time, state)
    _refuse(time == 0, "the velocity (x - x0_hat) / t is 0/0 at t = 0; let the last step be an Euler step")
    return (state - endpoint) / time


def interpolant_endpoint(state: Tensor, time: float | Tensor, velocity: Tensor) -> Tensor:
    """`x0_hat = x - t v`, at every t."""
    return state - per_entry(time, state) * velocity


def interpolant_score(state: Tensor, time: float | Tensor, endpoint: Tensor) -> NoReturn:
    """ConfigError, always: the interpolant from a source that is a function of y has no score given y."""
    raise ConfigError(
        "the deterministic interpolant has no score: given y its source is one point and x_t = (1 - t) x0 + t x1 is x0 "
        "moved and shrunk, without noise to be denoised; use a rectified path, x1 = tau eps with tau > 0"
    )


def _refuse(where: Tensor, why: str) -> None:
    if bool(where.any()):
        raise ConfigError(why)
