"""One quantity of a Gaussian path from another, and one denoiser for all paths.

With the endpoint `m = E[x0 | x_t]` of a path `x_t = a(t) x0 + b(t) eps` everything else is one formula away:

    noise    e = E[eps | x_t] = (x - a m) / b
    score    d/d(conj x) log p_t(x) = -e / b
    velocity E[dx/dt | x_t] = a' m + b' e

(for real images the score is the plain gradient; the formulas are the same).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow import Velocity
from laminar.flow.gaussian_paths import Affine, Denoiser, GaussianPath
from laminar.flow.path import per_entry

Quantity = Literal["endpoint", "velocity", "score", "noise"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)


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
