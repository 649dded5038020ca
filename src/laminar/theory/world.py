"""A stream of scans whose exact posterior mean is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.operators import Encoding
from laminar.theory.dense import matrix_of
from laminar.theory.gaussian import Gaussian


@dataclass(frozen=True)
class GaussianWorld:
    """A stream of scans of Gaussian images, all with one mask and noise level, and their exact posterior mean."""

    size: int = 8
    noise_std: float = 0.1
    seed: int = 0
    batch_size: int = 256

    @cached_property
    def prior(self) -> Gaussian:
        """Zero mean, variance one, correlation exp(-distance / 2)."""
        place = torch.cartesian_prod(*[torch.arange(self.size, dtype=torch.float64)] * 2)
        covariance = torch.exp(-torch.cdist(place, place) / 2)
        return Gaussian(torch.zeros(len(place), dtype=torch.complex128), covariance.to(torch.complex128))

    @cached_property
    def mask(self) -> Tensor:
        return (torch.arange(self.size) % 2 == 0).expand(1, self.size, self.size)

    @cached_property
    def matrix(self) -> Tensor:
        maps = torch.ones(1, 1, self.size, self.size, dtype=torch.complex128)
        return matrix_of(Encoding(self.mask, maps), (self.size, self.size))

    def batch(self, index: int) -> Case:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + index)
        shape = (self.batch_size, self.size, self.size)
        image = self.prior.sample(self.batch_size, generator).view(shape)
        maps = torch.ones(self.batch_size, 1, self.size, self.size, dtype=torch.complex128)
        mask = self.mask.expand(shape)
        clean = Encoding(mask, maps).forward(image)
        noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
        kspace = (clean + self.noise_std * noise) * mask[:, None]
        level = torch.full((self.batch_size,), self.noise_std)
        operator = Encoding(mask, maps.to(torch.complex64))
        problem = Problem(kspace.to(torch.complex64), operator, level, torch.ones(self.batch_size))
        return Case(problem, image.to(torch.complex64))

    def posterior_mean(self, problem: Problem) -> Tensor:
        """`C A^H (A C A^H + sigma^2 I)^(-1) y` (batch, y, x), the same matrix for every scan."""
        a, c = self.matrix, self.prior.covariance
        gain = c @ a.mH @ torch.linalg.inv(a @ c @ a.mH + self.noise_std**2 * torch.eye(len(a)))
        mean: Tensor = problem.y.to(torch.complex128).flatten(1) @ gain.T
        return mean.view(-1, self.size, self.size)
