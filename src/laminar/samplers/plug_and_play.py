"""Plug-and-play with fresh noise between the steps: PnP-Flow and Flower."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.path import per_entry
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator
from laminar.samplers.common import (
    Counted,
    Randomness,
    data_correction,
    remaining_variance,
    source_at,
    standard_noise,
    times_within,
    walk,
)
from laminar.samplers.schedules import RECTIFIED, Schedule


@torch.no_grad()
def pnp_flow(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    step_size: float = 1.0,
    exponent: float = 1.0,
    averages: int = 1,
    schedule: Schedule = RECTIFIED,
    start: Tensor | None = None,
) -> Trajectory:
    """PnP-Flow: Martin et al., arXiv 2410.02423 (algorithm 3).

        z = x - step_size t^exponent A^H (A x - y)       stable for step_size < 2 / ||A||^2
        x <- mean over `averages` of E[x0 | x_t = (1 - t) z + t eps]

    A step costs `averages` evaluations. The states are the images x, from `start` or A^H y on; there are no times,
    since no state is a point of a path.

    Not a posterior sampler but an optimizer that goes through noise. Biased: for a Gaussian of covariance s^2 I the
    spread of its results vanishes in measured directions, with the square root of the number of steps, and tends to
    half of the prior variance in unmeasured ones; the mean depends on the step sizes, which know no sigma_y.
    """
    if averages < 1:
        raise ConfigError(f"PnP-Flow takes the mean of one draw or more; got {averages}")
    counted, times = Counted(denoise), times_within(nfe, averages, schedule)
    x = operator.adjoint(y) if start is None else source_at(times[0], operator, y, start, generator)
    states = [x]
    for t in times[:-1]:
        z = x - step_size * t**exponent * operator.adjoint(operator(x) - y)
        level = t / (1 - t)
        draws = [counted(z + level * standard_noise(z, generator), level) for _ in range(averages)]
        x = torch.stack(draws).mean(0)
        states.append(x)
    return Trajectory(states, states[1:], None, counted.nfe)


@torch.no_grad()
def flower(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    noise_level: float | Tensor,
    nfe: int,
    generator: Randomness,
    prior_std: float = 1.0,
    draw: bool = True,
    iterations: int = 50,
    tolerance: float = 1e-6,
    schedule: Schedule = RECTIFIED,
    start: Tensor | None = None,
) -> Trajectory:
    """Flower: arXiv 2509.26287 (algorithm 1; `draw` is its gamma).

        x0_hat ~ N(mu, S),  S = (A^H A / sigma_y^2 + I / r^2)^(-1),  mu = S (A^H y / sigma_y^2 + m / r^2)
        x_s = (1 - s) x0_hat + s eps       with fresh noise

    `r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, s = `prior_std`. Without `draw` x0_hat is mu. The draw costs no second
    solve: it is mu of perturbed data and a perturbed m. One evaluation a step.

    Approximates the distribution of x0 given x_t by `N(m, r^2 I)`. If x0 is Gaussian with covariance s^2 I, that is
    exact, and so is every state, for every number of steps: an exact draw of x0 given x_t and y, noised anew, is an
    exact x_s given y. Otherwise biased: where the prior is narrower than s^2 I the draws are too wide and the data
    count too much; in a Gaussian world this error falls with the number of steps (`benchmarks.samplers`). Without
    `draw` it is too narrow everywhere: the result is a conditional mean.
    """
    counted, times = Counted(denoise), times_within(nfe, 1, schedule)

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m, data, variance = counted(z, level), y, remaining_variance(level, prior_std)
        if draw:
            m = m + variance.sqrt() * standard_noise(m, generator)
            data = y + per_entry(noise_level, y) * standard_noise(operator(m), generator)
        endpoint = m + data_correction(operator, data, m, noise_level**2 / variance, iterations, tolerance)
        fresh = following * standard_noise(z, generator) if bool(following > 0) else 0
        return endpoint + fresh, endpoint

    return walk(step, source_at(times[0], operator, y, start, generator), times, counted)
