"""The step of DDIM and DDPM without a path, and prior (or, with a conditional denoiser, posterior) samples by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.trajectory import Trajectory
from laminar.operators import Identity
from laminar.samplers.context import Context, Randomness
from laminar.samplers.sampler import Sampler, sample
from laminar.samplers.schedules import Schedule
from laminar.samplers.settings import within


def ddim_step(
    z: Tensor, endpoint: Tensor, level: Tensor, following: Tensor, eta: float, noise: Callable[[Tensor], Tensor]
) -> Tensor:
    """`z_s = m + sqrt(s^2 - c^2) (z - m) / sigma + c eps`, `c^2 = eta^2 s^2 (sigma^2 - s^2) / sigma^2`.

    DDIM (arXiv 2010.02502, eq. 12 and 16) divided by its `sqrt(alpha_s)`: the path is gone. With eta = 0 it is also the
    Euler step of the rectified flow, with eta = 1 the step of DDPM (arXiv 2006.11239). No noise is drawn for eta = 0
    or s = 0, where the step ends in the endpoint.
    """
    fresh = eta * following * (1 - (following / level) ** 2).sqrt()
    moved = endpoint + (following**2 - fresh**2).sqrt() / level * (z - endpoint)
    return moved + fresh * noise(z) if bool(fresh > 0) else moved


@dataclass(frozen=True, kw_only=True)
class DDIM(Sampler):
    """`nfe` steps of `ddim_step` that take no data: samples of what the denoiser knows. Song et al., arXiv 2010.02502.

    Samples of the prior, or, if the denoiser is `E[x0 | z, y]`, as of a conditional network, of the posterior. Both in
    the limit of many steps, where the error falls with 1 / nfe, and of a first level sigma_1 far above the image: since
    the noise of the start has no image in it, the flow (eta = 0) shifts the mean of N(mu, C) by `C^(1/2) mu / sigma_1`.
    """

    eta: float = within(0.0, most=1)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        endpoint = context.denoise(z, level)
        return ddim_step(z, endpoint, level, following, self.eta, context.noise), endpoint


def ddim(
    denoise: Denoiser,
    like: Tensor,
    *,
    nfe: int,
    generator: Randomness,
    eta: float = 0.0,
    schedule: Schedule | None = None,
    start: Tensor | None = None,
) -> Trajectory:
    """Samples by `DDIM`, without a measurement: images like `like` (batch, ...)."""
    return sample(
        DDIM(eta=eta), denoise, Identity(), like,
        noise_level=0.0, nfe=nfe, generator=generator, schedule=schedule, start=start,
    )  # fmt: skip
