"""Guidance by the gradient of a likelihood through the denoiser: DPS, PiGDM and OT-ODE.

The conditional endpoint is `E[x0 | z, y] = m + sigma^2 d/d(conj z) log p(y | z)`, and the samplers differ in what they
take for `p(y | z)`. One evaluation and one vector-Jacobian product a step: two of the budget.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser, interpolant_velocity
from laminar.flow.path import interpolate, per_entry
from laminar.flow.solvers import integrate
from laminar.flow.tableaux import EULER, Tableau
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator
from laminar.samplers.common import (
    Counted,
    Randomness,
    check_fraction,
    data_correction,
    remaining_variance,
    source_at,
    standard_noise,
    times_within,
    walk,
)
from laminar.samplers.ddim import ddim_step
from laminar.samplers.schedules import VP, WARM, Schedule


@torch.no_grad()
def dps(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    strength: float = 1.0,
    eta: float = 1.0,
    schedule: Schedule = VP,
    start: Tensor | None = None,
) -> Trajectory:
    """DPS, diffusion posterior sampling: Chung et al., arXiv 2209.14687 (algorithm 1).

        z_s = ddim_step(z, m) + zeta sqrt((1 + s^2)(1 + sigma^2)) J^H A^H (y - A m) / ||y - A m||

    The paper's step in its own variance-preserving scale, `x = z / sqrt(1 + sigma^2)`, with the gradient of the norm as
    in its published code; zeta is `strength`. `nfe // 2` steps.

    Approximates `p(y | z)` by `N(A m, sigma_y^2 I)`, as if m were the image, and its weight by `zeta / ||y - A m||`:
    the length of a step depends neither on the residual nor on sigma_y. Biased, for a Gaussian image too: the samples
    are the same whatever the noise of y is, and zeta must be found anew for each number of steps and image scale.
    """
    counted, times = Counted(denoise), times_within(nfe, 2, schedule)

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m, pullback = counted.with_pullback(z, level)
        residual = y - operator(m)
        length = residual.flatten(1).norm(dim=1).clamp_min(torch.finfo(residual.real.dtype).tiny)
        gradient = pullback(operator.adjoint(residual)) / per_entry(length, z)
        scale = strength * ((1 + following**2) * (1 + level**2)).sqrt()
        return ddim_step(z, m, level, following, eta, generator) + scale * gradient, m

    return walk(step, source_at(times[0], operator, y, start, generator), times, counted)


@torch.no_grad()
def pigdm(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    noise_level: float | Tensor,
    nfe: int,
    generator: Randomness,
    prior_std: float = 1.0,
    eta: float = 1.0,
    iterations: int = 50,
    tolerance: float = 1e-6,
    schedule: Schedule = VP,
    start: Tensor | None = None,
) -> Trajectory:
    """PiGDM, pseudo-inverse guidance: Song et al., openreview 9_gsMA8MRKQ (eq. 7 and 8).

        m_y = m + sigma^2 J^H A^H (r^2 A A^H + sigma_y^2 I)^(-1) (y - A m),    z_s = ddim_step(z, m_y)

    `r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, s = `prior_std`; sigma_y = `noise_level`, a number or (batch,), zero allowed.
    The whole conditional endpoint goes into the step of DDIM; the paper's algorithm 1 adds the guidance to
    the step of the unconditional one, which is the same to first order in the step. `nfe // 2` steps.

    Approximates the covariance of x0 given z by r^2 I. Exact, in the limit of many steps, if x0 is Gaussian with
    covariance s^2 I; else biased: with an image that is smoother than that the data count too little at high
    frequencies and too much at low ones.
    """
    check_fraction("eta", eta)
    counted, times = Counted(denoise), times_within(nfe, 2, schedule)
    guided = _guided(counted, operator, y, noise_level, prior_std, 1.0, iterations, tolerance)

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        endpoint = guided(z, level)
        return ddim_step(z, endpoint, level, following, eta, generator), endpoint

    return walk(step, source_at(times[0], operator, y, start, generator), times, counted)


@torch.no_grad()
def ot_ode(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    noise_level: float | Tensor,
    nfe: int,
    generator: Randomness,
    prior_std: float = 1.0,
    strength: float = 1.0,
    tableau: Tableau = EULER,
    iterations: int = 50,
    tolerance: float = 1e-6,
    schedule: Schedule = WARM,
    start: Tensor | None = None,
) -> Trajectory:
    """OT-ODE: Pokle et al., arXiv 2310.04432 (algorithm 1, gamma_t = `strength`).

        dx/dt = (x - m_y) / t,    m_y as in PiGDM,    from x = (1 - t) A^H y + t eps at the first time

    On the rectified path `r_t^2 = t^2 / (t^2 + (1 - t)^2)` is PiGDM's: with Euler steps it is PiGDM with eta = 0 and
    another start. Any `tableau`, the last step Euler; the budget pays for two times its stages a step.

    Approximates as PiGDM does; in addition `A^H y` in the start counts the data twice, which is forgotten only
    as far as the first time is near 1: biased towards A^H y otherwise. From pure noise (`start`) and for covariance
    s^2 I it is exact in the limit of many steps.
    """
    spared = 2 * (tableau.stages - 1)
    counted, times = Counted(denoise), times_within(nfe, 2 * tableau.stages, schedule, spared=spared)
    guided = _guided(counted, operator, y, noise_level, prior_std, strength, iterations, tolerance)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return interpolant_velocity(x, t, guided(x / (1 - t), t / (1 - t)))

    if start is None:
        zero_filled = operator.adjoint(y)
        start = interpolate(zero_filled, standard_noise(zero_filled, generator), times[0])
    source = source_at(times[0], operator, y, start, generator)
    run = integrate(velocity, source, times, tableau, last_euler=True)
    return Trajectory(run.states, run.endpoints, times, counted.nfe)


def _guided(
    denoiser: Counted,
    operator: LinearOperator,
    y: Tensor,
    noise_level: float | Tensor,
    prior_std: float,
    strength: float,
    iterations: int,
    tolerance: float,
) -> Callable[[Tensor, Tensor], Tensor]:
    """`m + gamma sigma^2 J^H d / r^2`, `d = r^2 A^H (r^2 A A^H + sigma_y^2 I)^(-1) (y - A m)`, w = sigma_y^2 / r^2."""

    def guided(z: Tensor, level: Tensor) -> Tensor:
        m, pullback = denoiser.with_pullback(z, level)
        variance = remaining_variance(level, prior_std)
        correction = data_correction(operator, y, m, noise_level**2 / variance, iterations, tolerance)
        return m + strength * level**2 / variance * pullback(correction)

    return guided
