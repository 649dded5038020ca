"""Diffusion with the data taken in at every step: score-MRI by projection, DDS and MC-DDPM by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.flow.path import per_entry
from laminar.samplers.context import Context
from laminar.samplers.ddim import ddim_step
from laminar.samplers.sampler import Sampler, SolvingSampler
from laminar.samplers.schedules import VE
from laminar.samplers.settings import within


@dataclass(frozen=True, kw_only=True)
class ScoreMRI(Sampler):
    """Predictor-corrector sampling with projection: Chung and Ye, arXiv 2110.05243 (algorithms 1 to 3).

        z <- z + (sigma^2 - s^2) score(z, sigma) + sqrt(sigma^2 - s^2) eps            predictor, without noise at s = 0
        z <- z + e score(z, s) + sqrt(2 e) eps,  e = 2 (snr ||eps|| / ||score||)^2    corrector, none at s = 0
        z <- z + relaxation A^H (y - A z)                                             after each of them

    `score(z, sigma) = (m - z) / sigma^2`. For a single coil and relaxation 1 the projection replaces the sampled
    k-space, and the result explains y exactly; for several coils it is one gradient step (the paper's SENSE form). A
    step costs 1 + correctors evaluations, the last one 1.

    Approximates: y as it is stands in for the sampled k-space of z at every level, where it should carry the noise of
    that level; the denoiser sees frequencies that are too quiet. Biased: with a single coil sampled directions have
    no spread and keep the noise of y, without shrinkage towards the prior; the unsampled ones are off as far as the
    prior couples them.
    """

    correctors: int = within(1)
    snr: float = within(0.16)
    relaxation: float = within(1.0)

    def schedule(self, steps: int) -> Tensor:
        return VE(steps)

    @property
    def cost(self) -> int:
        return 1 + self.correctors

    @property
    def spared(self) -> int:
        return self.correctors

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m = context.denoise(z, level)
        if not bool(following > 0):
            return self._consistent(context, m), m
        added = level**2 - following**2
        z = self._consistent(context, z + added / level**2 * (m - z) + added.sqrt() * context.noise(z))
        for _ in range(self.correctors):
            z = self._consistent(context, self._corrected(context, z, following))
        return z, m

    def _consistent(self, context: Context, z: Tensor) -> Tensor:
        return z + self.relaxation * context.operator.adjoint(context.y - context.operator(z))

    def _corrected(self, context: Context, z: Tensor, level: Tensor) -> Tensor:
        score, eps = (context.denoise(z, level) - z) / level**2, context.noise(z)
        size = 2 * (self.snr * eps.flatten(1).norm(dim=1) / score.flatten(1).norm(dim=1)) ** 2
        return z + per_entry(size, z) * score + per_entry((2 * size).sqrt(), z) * eps


@dataclass(frozen=True, kw_only=True)
class DDS(SolvingSampler):
    """DDS, decomposed diffusion sampling: Chung et al., arXiv 2303.05754 (algorithms 1 and 4, eq. 16, constant eta).

        m' = argmin_x ||A x - y||^2 + w ||x - m||^2     by `iterations` of conjugate gradient from m
        z_s = m' + s (sqrt(1 - eta^2) (z - m) / sigma + eta eps)

    `w = 1 / gamma` of the paper (gamma = 5) is `weight`; w = 0 is its noiseless form, where the few iterations
    regularize. Where the operator solves line by line, every line has these iterations to itself, which comes nearer
    to the minimizer than as many for the whole image. One evaluation a step: `nfe` steps.

    Approximates: m' is the conditional mean for one w, `sigma_y^2 / r^2`, which should fall with the level while w is
    constant; and the noise (z - m) / sigma is that of the unconditional endpoint. Biased: too narrow where data
    are taken, since the last endpoint is a penalized least-squares solution and no draw. With few iterations the
    step is not linear in y.
    """

    eta: float = within(0.85, most=1)
    weight: float = within(0.2)
    iterations: int = within(5, least=1)
    tolerance: float = within(0.0)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m = context.denoise(z, level)
        endpoint = m + self.correction(context, context.y, m, self.weight)
        moved = endpoint + following * (1 - self.eta**2) ** 0.5 * (z - m) / level
        if self.eta * float(following) > 0:
            moved = moved + following * self.eta * context.noise(z)
        return moved, endpoint


@dataclass(frozen=True, kw_only=True)
class MCDDPM(SolvingSampler):
    """Measurement-conditioned diffusion after MC-DDPM: Xie and Li, arXiv 2203.03623 (eq. 7 to 12, algorithm 2).

        m' = A^+ y + N m,    z_s = ddim_step(z, m') with the noise N eps,    from z = A^+ y + sigma N eps

    `N = I - A^+ A` projects on what A does not see: for a single coil on the unsampled k-space, where alone noise is
    added and removed, as in the paper. Several coils see nearly everything, but most of it so faintly that the
    pseudo-inverse is noise there. So here `A^+` is the inverse that knows the noise,

        A^+ = (A^H A + w I)^(-1) A^H,    w = sigma_y^2 / r^2,    r^2 = s^2 sigma^2 / (s^2 + sigma^2),    s = `prior_std`

    and a direction that A scales by a is seen by the share `a^2 / (a^2 + w)`: as far as y knows it better than
    a denoiser at this level. What is seen at high levels is diffused from where its noise, `sigma_y / a`, is that of
    the level. Without noise (w = 0) `A^+` is the pseudo-inverse and N a projector, as far as the iterations reach. One
    evaluation and two solves a step.

    The denoiser that belongs to it is `E[x0 | y, u]`, u the noisy unmeasured part, trained with noise on that
    alone: then, if y has no noise, the unmeasured part has its exact distribution in the limit of many steps. An
    unconditional denoiser is an approximation: it takes the clean frequencies for noisy ones. Biased in both cases
    where y is noisy: what is well seen keeps the noise of y, without spread. Hard data consistency: without noise
    `A A^+ y` is explained.
    """

    eta: float = within(1.0, most=1)
    tolerance: float = within(1e-3)

    def source(self, context: Context, time: Tensor) -> Tensor:
        noise = super().source(context, time)
        return noise + self.correction(context, (1 - time) * context.y, noise, context.weight(time / (1 - time)))

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        def unseen_noise(like: Tensor) -> Tensor:
            eps = context.noise(like)
            return eps + self.correction(context, torch.zeros_like(context.y), eps, weight)

        m, weight = context.denoise(z, level), context.weight(level)
        endpoint = m + self.correction(context, context.y, m, weight)
        return ddim_step(z, endpoint, level, following, self.eta, unseen_noise), endpoint
