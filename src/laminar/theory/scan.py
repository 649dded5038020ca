"""One measurement of a Gaussian image, and every denoiser that is exact for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from laminar.flow.gaussian_paths import Denoiser
from laminar.operators import Encoding, LinearOperator
from laminar.theory.conversions import Rectified, by_noise_level
from laminar.theory.dense import matrix_of
from laminar.theory.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class Scan:
    """One measurement of a Gaussian image: prior, operator, y (1, coil, y, x), noise, and what is known exactly."""

    prior: Gaussian
    operator: LinearOperator
    y: Tensor
    noise_std: float
    shape: tuple[int, int]

    @cached_property
    def matrix(self) -> Tensor:
        return matrix_of(self.operator, self.shape)

    @cached_property
    def posterior(self) -> Gaussian:
        return self.prior.given(self.matrix, self.y.flatten(), self.noise_std)

    @cached_property
    def unseen(self) -> Tensor:
        """An orthonormal basis (n, k) of what A does not see."""
        values, vectors = torch.linalg.eigh(self.matrix.mH @ self.matrix)
        hidden: Tensor = vectors[:, values < 1e-10]
        return hidden

    def denoiser(self, law: Gaussian) -> Denoiser:
        """`E[x0 | x0 + sigma eps]` for x0 from `law`."""
        return exact_denoiser(law)

    def conditional_denoiser(self) -> Denoiser:
        """`E[x0 | y, N x0 + sigma N eps]` of an image whose unseen part is the noisy one: the denoiser of MC-DDPM."""
        mean, covariance, basis = self.posterior.mean, self.posterior.covariance, self.unseen

        def denoise(z: Tensor, level: Tensor) -> Tensor:
            seen = basis.mH @ covariance @ basis + level**2 * torch.eye(basis.shape[1], dtype=basis.dtype)
            gain = covariance @ basis @ torch.linalg.inv(seen) @ basis.mH
            denoised: Tensor = mean + (z.flatten(1) - mean) @ gain.T
            return denoised.view_as(z)

        return denoise


def make_scan(prior: Gaussian, size: int, *, coils: int, spacing: int, noise_std: float = 0.1, seed: int = 0) -> Scan:
    """Every `spacing`-th line, with zero frequency among them, of an image of the prior, by one or two smooth coils."""
    lines = (torch.arange(size) - size // 2) % spacing == 0
    angle = torch.linspace(0.2, 1.3, size, dtype=torch.float64)[:, None].expand(size, size)
    pair = torch.stack([angle.cos() + 0j, angle.sin() * torch.exp(1j * angle.T)])
    maps = pair[None] if coils == 2 else torch.ones(1, 1, size, size, dtype=torch.complex128)
    operator = Encoding(lines.expand(1, size, size), maps)
    generator = torch.Generator().manual_seed(seed)
    clean = operator(prior.sample(1, generator).view(1, size, size))
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator) * lines
    return Scan(prior, operator, clean + noise_std * noise, noise_std, (size, size))


def exact_denoiser(law: Gaussian) -> Denoiser:
    """`E[x0 | x0 + sigma eps]` for x0 from `law`."""
    source = torch.zeros_like(law.mean)

    def endpoint(x: Tensor, t: Tensor) -> Tensor:
        return law.denoised(x.flatten(1).to(source), t.double(), source=source, tau=1.0).view_as(x).to(x)

    return by_noise_level(Rectified(), endpoint)
