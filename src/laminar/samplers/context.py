"""What a step may use: a denoiser that counts, the measurement, how wide images are, and the one source of noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.sources import noisy
from laminar.operators import LinearOperator
from laminar.operators.linear import LinearMap

Randomness = torch.Generator | Callable[[Tensor], Tensor]
"""A generator, or a function that gives standard noise with the shape and dtype of its argument."""


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


@dataclass(frozen=True, eq=False)
class Context:
    """One posterior to sample: `y = A x + n`, n of `noise_level` (a number or (batch,)), x of about `prior_std`."""

    denoise: Counted
    operator: LinearOperator
    y: Tensor
    noise_level: float | Tensor
    prior_std: float
    randomness: Randomness

    def __post_init__(self) -> None:
        if not bool((torch.as_tensor(self.noise_level) >= 0).all()) or not self.prior_std > 0:
            raise ConfigError(
                "a noise level is not negative and the width of a prior positive; "
                f"got {self.noise_level} and {self.prior_std}"
            )

    def noise(self, like: Tensor) -> Tensor:
        """`eps` with `E|eps|^2 = 1` per sample, circular if `like` is complex: all the randomness there is."""
        return standard_noise(like, self.randomness)

    def remaining_variance(self, level: Tensor) -> Tensor:
        """`r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, the variance of x0 given z if x0 has the variance s^2 I.

        For s = 1 the `r_t^2` of PiGDM and OT-ODE and the `nu_t^2` of Flower, on every path.
        """
        return self.prior_std**2 * level**2 / (self.prior_std**2 + level**2)

    def weight(self, level: Tensor) -> Tensor:
        """`w = sigma_y^2 / r^2`: how much the endpoint counts beside the data, a number or (batch,)."""
        return self.noise_level**2 / self.remaining_variance(level)


def standard_noise(like: Tensor, randomness: Randomness) -> Tensor:
    """Noise of unit variance that is like `like`, from a generator or a function."""
    if isinstance(randomness, torch.Generator):
        return noisy(torch.zeros_like(like), 1.0, randomness)
    return randomness(like)
