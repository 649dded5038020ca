"""Score-MRI: predictor, corrector, and the measured k-space put back in after each of them."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.path import per_entry
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator
from laminar.samplers.common import Counted, Randomness, source_at, standard_noise, times_within, walk
from laminar.samplers.schedules import VE, Schedule


@torch.no_grad()
def score_mri(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    correctors: int = 1,
    snr: float = 0.16,
    relaxation: float = 1.0,
    schedule: Schedule = VE,
    start: Tensor | None = None,
) -> Trajectory:
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
    if correctors < 0:
        raise ConfigError(f"the number of corrector steps is not negative; got {correctors}")
    counted = Counted(denoise)
    times = times_within(nfe, 1 + correctors, schedule, spared=correctors)

    def consistent(z: Tensor) -> Tensor:
        return z + relaxation * operator.adjoint(y - operator(z))

    def correct(z: Tensor, level: Tensor) -> Tensor:
        score, eps = (counted(z, level) - z) / level**2, standard_noise(z, generator)
        size = 2 * (snr * eps.flatten(1).norm(dim=1) / score.flatten(1).norm(dim=1)) ** 2
        return z + per_entry(size, z) * score + per_entry((2 * size).sqrt(), z) * eps

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m = counted(z, level)
        if not bool(following > 0):
            return consistent(m), m
        added = level**2 - following**2
        z = consistent(z + added / level**2 * (m - z) + added.sqrt() * standard_noise(z, generator))
        for _ in range(correctors):
            z = consistent(correct(z, following))
        return z, m

    return walk(step, source_at(times[0], operator, y, start, generator), times, counted)
