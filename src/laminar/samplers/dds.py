"""DDS: the decomposed diffusion sampler, a few conjugate-gradient iterations on every endpoint."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator
from laminar.samplers.common import (
    Counted,
    Randomness,
    check_fraction,
    data_correction,
    source_at,
    standard_noise,
    times_within,
    walk,
)
from laminar.samplers.schedules import VP, Schedule


@torch.no_grad()
def dds(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    eta: float = 0.85,
    weight: float | Tensor = 0.2,
    iterations: int = 5,
    tolerance: float = 0.0,
    schedule: Schedule = VP,
    start: Tensor | None = None,
) -> Trajectory:
    """DDS, Chung et al., arXiv 2303.05754 (algorithms 1 and 4, DDIM step of eq. 16 with constant eta).

        m' = argmin_x ||A x - y||^2 + w ||x - m||^2     by `iterations` of conjugate gradient from m
        z_s = m' + s (sqrt(1 - eta^2) (z - m) / sigma + eta eps)

    `w = 1 / gamma` of the paper (gamma = 5); w = 0 is its noiseless form, where the few iterations regularize. One
    evaluation a step: `nfe` steps. Images (batch, ...) complex, y (batch, ...).

    Approximates: m' is the conditional mean for one w, `sigma_y^2 / r^2`, which should fall with the level while w is
    constant; and the noise (z - m) / sigma is that of the unconditional endpoint. Biased: too narrow where data
    are taken, since the last endpoint is a penalized least-squares solution and no draw. With few iterations the
    step is not linear in y.
    """
    check_fraction("eta", eta)
    counted, times = Counted(denoise), times_within(nfe, 1, schedule)

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m = counted(z, level)
        endpoint = m + data_correction(operator, y, m, weight, iterations, tolerance)
        moved = endpoint + following * (1 - eta**2) ** 0.5 * (z - m) / level
        if eta * float(following) > 0:
            moved = moved + following * eta * standard_noise(z, generator)
        return moved, endpoint

    return walk(step, source_at(times[0], operator, y, start, generator), times, counted)
