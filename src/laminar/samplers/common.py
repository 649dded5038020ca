"""What all samplers share: a denoiser that counts, the budget, the clock, and the walk along it.

A state is `z = x0 + sigma eps`: on every Gaussian path `x_t / a` is the image with noise of level `sigma = b / a`, so a
sampler needs no path. Its clock is that of the rectified path, `t = sigma / (1 + sigma)`, and a trajectory is reported
on that path, `x_t = (1 - t) z = (1 - t) x0 + t eps`, whatever the schedule: so all can be laid side by side, and any
of its states is a `start` from which the same sampler goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.path import per_entry
from laminar.flow.solvers import check_times
from laminar.flow.sources import noisy
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator, conjugate_gradient
from laminar.operators.linear import LinearMap
from laminar.samplers.schedules import Schedule

Randomness = torch.Generator | Callable[[Tensor], Tensor]
"""A generator, or a function that gives standard noise with the shape and dtype of its argument."""
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""`(z, level, following) -> (z at the following level, endpoint)`."""


class Counted:
    """A denoiser that counts: one for an evaluation, one more for a vector-Jacobian product."""

    def __init__(self, denoise: Denoiser) -> None:
        self._denoise, self.nfe = denoise, 0

    def _evaluate(self, z: Tensor, level: Tensor) -> Tensor:
        self.nfe += 1
        endpoint = self._denoise(z, level.to(z.device, z.real.dtype))
        if endpoint.shape != z.shape or endpoint.dtype != z.dtype:
            raise ConfigError(
                f"a denoiser returns the shape and dtype that it gets, {tuple(z.shape)} {z.dtype}; "
                f"got {tuple(endpoint.shape)} {endpoint.dtype}"
            )
        return endpoint

    @torch.no_grad()
    def __call__(self, z: Tensor, level: Tensor) -> Tensor:
        """`E[x0 | z]`."""
        return self._evaluate(z, level)

    def with_pullback(self, z: Tensor, level: Tensor) -> tuple[Tensor, LinearMap]:
        """`E[x0 | z]` and the map `image -> J^H image`, J its Jacobian at z."""
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            endpoint = self._evaluate(at, level)
        if not endpoint.requires_grad:
            raise ConfigError("guidance differentiates the denoiser; this one returns a result without a gradient")

        def pullback(image: Tensor) -> Tensor:
            self.nfe += 1
            return torch.autograd.grad(endpoint, at, image)[0]

        return endpoint.detach(), pullback


def standard_noise(like: Tensor, source: Randomness) -> Tensor:
    """`eps` with `E|eps|^2 = 1` per sample, circular if `like` is complex."""
    if isinstance(source, torch.Generator):
        return noisy(torch.zeros_like(like), 1.0, source)
    return source(like)


def times_within(nfe: int, cost: int, schedule: Schedule, *, spared: int = 0) -> Tensor:
    """The times of as many steps as a budget of `nfe` allows: `cost` a step, `spared` by the last one."""
    steps = (nfe + spared) // cost
    if steps < 1:
        raise ConfigError(f"one step of this sampler takes {cost - spared} evaluations; got a budget of {nfe}")
    times = schedule(steps)
    if len(times) != steps + 1 or not float(times[0]) < 1 or not float(times[-1]) >= 0:
        raise ConfigError(f"a schedule of {steps} steps has {steps + 1} times from below 1 to 0; got {times.tolist()}")
    check_times(times)
    return times


def source_at(time: Tensor, operator: LinearOperator, y: Tensor, start: Tensor | None, noise: Randomness) -> Tensor:
    """The first state on the rectified path: `start`, or noise alone, `t eps`; the image in it is lost in the noise."""
    image = operator.adjoint(y)
    if start is None:
        return time * standard_noise(image, noise)
    if start.shape[1:] != image.shape[1:] or start.dtype != image.dtype:
        raise ConfigError(
            f"a start is like A^H y, (batch, {', '.join(map(str, image.shape[1:]))}) of {image.dtype}; "
            f"got {tuple(start.shape)} of {start.dtype}"
        )
    return start


def walk(step: Step, source: Tensor, times: Tensor, denoiser: Counted) -> Trajectory:
    """The trajectory of `step` from `source`, a state on the rectified path at `times[0]`."""
    states, endpoints, z = [source], list[Tensor](), source / (1 - times[0])
    for time, after in pairwise(times):
        z, endpoint = step(z, time / (1 - time), after / (1 - after))
        states.append((1 - after) * z)
        endpoints.append(endpoint)
    return Trajectory(states, endpoints, times, denoiser.nfe)


def check_fraction(name: str, value: float) -> None:
    """ConfigError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is a fraction between 0 and 1; got {value}")


def data_correction(
    operator: LinearOperator, y: Tensor, image: Tensor, weight: float | Tensor, iterations: int, tolerance: float
) -> Tensor:
    """`d = (A^H A + w I)^(-1) A^H (y - A x)`, so that `x + d` minimizes `||A u - y||^2 + w ||u - x||^2` over u.

    By conjugate gradient from zero; with `w = 0` it is the smallest correction that explains the data. `weight` is a
    number or (batch,).
    """
    weight = per_entry(weight, image)
    return conjugate_gradient(
        lambda u: operator.gram(u) + weight * u,
        operator.adjoint(y - operator(image)),
        iterations=iterations,
        tolerance=tolerance,
    )


def remaining_variance(level: Tensor, prior_std: float) -> Tensor:
    """`r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, the variance of x0 given z if x0 has the variance s^2 I.

    For s = 1 the `r_t^2` of PiGDM and OT-ODE and the `nu_t^2` of Flower, on every path.
    """
    return prior_std**2 * level**2 / (prior_std**2 + level**2)
