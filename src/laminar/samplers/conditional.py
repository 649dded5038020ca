"""Diffusion of what was not measured, conditioned on what was."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.sources import pseudo_inverse
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator
from laminar.samplers.common import Counted, Randomness, check_fraction, source_at, times_within, walk
from laminar.samplers.ddim import ddim_step
from laminar.samplers.schedules import VP, Schedule


@torch.no_grad()
def mc_ddpm(
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    eta: float = 1.0,
    iterations: int = 200,
    tolerance: float = 1e-5,
    schedule: Schedule = VP,
    start: Tensor | None = None,
) -> Trajectory:
    """Measurement-conditioned diffusion after MC-DDPM: Xie and Li, arXiv 2203.03623 (eq. 7 to 12, algorithm 2).

        u_s = N ddim_step(u, N m),    m = denoise(A^+ y + u, sigma),    image = A^+ y + u at zero noise

    `N = I - A^+ A` projects on what A does not see: for a single coil on the unsampled k-space, where alone noise is
    added and removed, as in the paper. Several coils see more; what is left is diffused. One evaluation a step. The
    pseudo-inverse is by conjugate gradient (ConfigError if it does not converge). On the trajectory the measured part
    stands still: `x_t = A^+ y + (1 - t) u`.

    The denoiser that belongs to it is `E[x0 | y, u]`, trained with noise on the unmeasured part only: then
    the unmeasured part has its exact distribution in the limit of many steps. An unconditional denoiser is an
    approximation: it takes the clean frequencies for noisy ones. Biased in both cases where y is noisy: the measured
    part is A^+ y, with its noise and without spread. Hard data consistency: `A A^+ y` is explained.
    """
    check_fraction("eta", eta)
    counted, times = Counted(denoise), times_within(nfe, 1, schedule)
    known = pseudo_inverse(y, operator, iterations, tolerance)

    def unseen(image: Tensor) -> Tensor:
        return image - pseudo_inverse(operator(image), operator, iterations, tolerance)

    def step(u: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m = counted(known + u, level)
        return unseen(ddim_step(u, m, level, following, eta, generator)), unseen(m)

    source = unseen(source_at(times[0], operator, y, start, generator))
    run = walk(step, source, times, counted)
    return Trajectory([known + u for u in run.states], [known + u for u in run.endpoints], times, run.nfe)
