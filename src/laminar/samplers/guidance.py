"""Guidance by the gradient of a likelihood through the denoiser: DPS, PiGDM and OT-ODE.

The conditional endpoint is `E[x0 | z, y] = m + sigma^2 d/d(conj z) log p(y | z)`, and the samplers differ in what they
take for `p(y | z)`. One evaluation and one vector-Jacobian product a step: two of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.flow import solvers
from laminar.flow.gaussian_paths import interpolant_velocity
from laminar.flow.path import interpolate, per_entry
from laminar.flow.tableaux import EULER, Tableau
from laminar.samplers.context import Context
from laminar.samplers.ddim import ddim_step
from laminar.samplers.sampler import Sampler, SolvingSampler
from laminar.samplers.schedules import WARM
from laminar.samplers.settings import within


@dataclass(frozen=True, kw_only=True)
class DPS(Sampler):
    """DPS, diffusion posterior sampling: Chung et al., arXiv 2209.14687 (algorithm 1).

        z_s = ddim_step(z, m) + zeta sqrt((1 + s^2)(1 + sigma^2)) J^H A^H (y - A m) / ||y - A m||

    The paper's step in its own variance-preserving scale, `x = z / sqrt(1 + sigma^2)`, with the gradient of the norm as
    in its published code; zeta is `strength`. `nfe // 2` steps.

    Approximates `p(y | z)` by `N(A m, sigma_y^2 I)`, as if m were the image, and its weight by `zeta / ||y - A m||`:
    the length of a step depends neither on the residual nor on sigma_y. Biased, for a Gaussian image too: the samples
    are the same whatever the noise of y is, and zeta must be found anew for each number of steps and image scale: 3 is
    for 25 steps of the prior that ships.
    """

    strength: float = within(3.0)
    eta: float = within(1.0, most=1)

    @property
    def cost(self) -> int:
        return 2

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m, pullback = context.denoise.with_pullback(z, level)
        residual = context.y - context.operator(m)
        length = residual.flatten(1).norm(dim=1).clamp_min(torch.finfo(residual.real.dtype).tiny)
        gradient = pullback(context.operator.adjoint(residual)) / per_entry(length, z)
        scale = self.strength * ((1 + following**2) * (1 + level**2)).sqrt()
        return ddim_step(z, m, level, following, self.eta, context.noise) + scale * gradient, m


@dataclass(frozen=True, kw_only=True)
class PseudoInverseGuidance(SolvingSampler):
    """A sampler that is guided by the data as if x0 given z had the covariance r^2 I."""

    start_level = 1.5

    @property
    def cost(self) -> int:
        return 2

    def guided(self, context: Context, z: Tensor, level: Tensor, strength: float = 1.0) -> Tensor:
        """`m + gamma sigma^2 J^H d / r^2` with the `correction` d of the weight `w = sigma_y^2 / r^2`."""
        m, pullback = context.denoise.with_pullback(z, level)
        correction = self.correction(context, context.y, m, context.weight(level))
        return m + strength * level**2 / context.remaining_variance(level) * pullback(correction)


@dataclass(frozen=True, kw_only=True)
class PiGDM(PseudoInverseGuidance):
    """PiGDM, pseudo-inverse guidance: Song et al., openreview 9_gsMA8MRKQ (eq. 7 and 8).

        m_y = m + sigma^2 J^H A^H (r^2 A A^H + sigma_y^2 I)^(-1) (y - A m),    z_s = ddim_step(z, m_y)

    `r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, s = `prior_std`; sigma_y = `noise_level`, zero allowed.
    The whole conditional endpoint goes into the step of DDIM; the paper's algorithm 1 adds the guidance to
    the step of the unconditional one, which is the same to first order in the step. `nfe // 2` steps.

    Approximates the covariance of x0 given z by r^2 I. Exact, in the limit of many steps, if x0 is Gaussian with
    covariance s^2 I; else biased: with an image that is smoother than that the data count too little at high
    frequencies and too much at low ones.
    """

    eta: float = within(1.0, most=1)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        endpoint = self.guided(context, z, level)
        return ddim_step(z, endpoint, level, following, self.eta, context.noise), endpoint


@dataclass(frozen=True, kw_only=True)
class OTODE(PseudoInverseGuidance):
    """OT-ODE: Pokle et al., arXiv 2310.04432 (algorithm 1, gamma_t = `strength`).

        dx/dt = (x - m_y) / t,    m_y as in PiGDM,    from x = (1 - t) A^H y + t eps at the first time

    On the rectified path `r_t^2 = t^2 / (t^2 + (1 - t)^2)` is PiGDM's: with Euler steps it is PiGDM with eta = 0 and
    another start. Any `tableau`, the last step Euler; the budget pays for two times its stages a step.

    Approximates as PiGDM does; in addition `A^H y` in the start counts the data twice, which is forgotten only
    as far as the first time is near 1: biased towards A^H y otherwise. From pure noise (`start`) and for covariance
    s^2 I it is exact in the limit of many steps.
    """

    strength: float = within(1.0)
    tableau: Tableau = EULER

    def schedule(self, steps: int) -> Tensor:
        return WARM(steps)

    @property
    def cost(self) -> int:
        return 2 * self.tableau.stages

    @property
    def spared(self) -> int:
        return 2 * (self.tableau.stages - 1)

    def source(self, context: Context, time: Tensor) -> Tensor:
        zero_filled = context.operator.adjoint(context.y)
        return interpolate(zero_filled, context.noise(zero_filled), time)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return interpolant_velocity(x, t, self.guided(context, x / (1 - t), t / (1 - t), self.strength))

        t, after = (at / (1 + at) for at in (level, following))
        tableau = self.tableau if bool(following > 0) else EULER
        taken = solvers.step(velocity, (1 - t) * z, t, after - t, tableau)
        return taken.state / (1 - after), (1 - t) * z - t * taken.first
