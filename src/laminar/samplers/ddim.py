"""The step of DDIM and DDPM without a path, and prior (or, with a conditional denoiser, posterior) samples by it."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.trajectory import Trajectory
from laminar.samplers.common import Counted, Randomness, standard_noise, times_within, walk
from laminar.samplers.schedules import VP, Schedule


def ddim_step(z: Tensor, endpoint: Tensor, level: Tensor, following: Tensor, eta: float, noise: Randomness) -> Tensor:
    """`z_s = m + sqrt(s^2 - c^2) (z - m) / sigma + c eps`, `c^2 = eta^2 s^2 (sigma^2 - s^2) / sigma^2`.

    DDIM (arXiv 2010.02502, eq. 12 and 16) divided by its `sqrt(alpha_s)`: the path is gone. With eta = 0 it is also the
    Euler step of the rectified flow, with eta = 1 the step of DDPM (arXiv 2006.11239). No noise is drawn for eta = 0
    or s = 0, where the step ends in the endpoint.
    """
    fresh = eta * following * (1 - (following / level) ** 2).sqrt()
    moved = endpoint + (following**2 - fresh**2).sqrt() / level * (z - endpoint)
    return moved + fresh * standard_noise(z, noise) if bool(fresh > 0) else moved


@torch.no_grad()
def ddim(
    denoise: Denoiser,
    like: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    eta: float = 0.0,
    schedule: Schedule = VP,
    start: Tensor | None = None,
) -> Trajectory:
    """Samples of the distribution that the denoiser knows, each like `like` (batch, ...); `nfe` steps of `ddim_step`.

    Without data these are samples of the prior; if the denoiser is `E[x0 | z, y]`, as of a conditional network, samples
    of the posterior. Both in the limit of many steps, where the error falls with 1 / nfe, and of a first level sigma_1
    far above the image: since the noise of the start has no image in it, the flow (eta = 0) shifts the mean of N(mu, C)
    by `C^(1/2) mu / sigma_1`. One evaluation a step. Song et al., arXiv 2010.02502.
    """
    counted, times = Counted(denoise), times_within(nfe, 1, schedule)

    def step(z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        endpoint = counted(z, level)
        return ddim_step(z, endpoint, level, following, eta, generator), endpoint

    source = times[0] * standard_noise(like, generator) if start is None else start
    return walk(step, source, times, counted)
