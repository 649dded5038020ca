"""A prior: a denoiser of complex images at every noise level, which knows nothing of a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from laminar.errors import ConfigError
from laminar.models.checks import MOST_CHANNELS, check_channels, check_positive, check_whole
from laminar.models.config import Settings
from laminar.networks import as_complex
from laminar.networks.denoiser import DenoisingUNet

# Levels beyond these multiples of the image are shown to the network as these: it never saw others in training.
SMALLEST_LEVEL, LARGEST_LEVEL = 1e-3, 1e2


@dataclass(frozen=True)
class PriorConfig(Settings):
    """Settings of `Prior`.

    Args:
        sigma_data: root mean square of the complex pixels of an image; about 0.45 for simulated scans as `prepare`
            scales them.
        channels: features of the U-Net at each level, from fine to coarse.
        fold: it works on pixels folded fold x fold into channels, 1 does not fold.
        embedding: width of the embedding of the noise level.
    """

    sigma_data: float = 0.45
    channels: list[int] = field(default_factory=lambda: [32, 64, 96, 128])
    fold: int = 2
    embedding: int = 128

    def __post_init__(self) -> None:
        check_positive(self, "sigma_data")
        check_channels("channels", self.channels)
        check_whole(self, fold=(1, 64), embedding=(1, MOST_CHANNELS))


class Prior(nn.Module):
    """`D(z, sigma) ~ E[x0 | x0 + sigma eps = z]` for images x0 like those it was trained on, `E|eps|^2 = 1`.

        D(z, sigma) = c_skip z + c_out F(c_in z, ln(sigma / sigma_data) / 4)
        c_skip = sigma_data^2 / s^2,  c_out = sigma sigma_data / s,  c_in = 1 / s,  s^2 = sigma^2 + sigma_data^2

    the preconditioning of Karras et al., arXiv 2206.00364, table 1: input and goal of the U-Net F have unit variance
    at every level. F starts at zero, so that an untrained prior is the exact denoiser of white `N(0, sigma_data^2 I)`.

    It is the `denoise(z, sigma)` of every sampler in `laminar.samplers`. The variance preserving, variance exploding
    and rectified paths are views of it: `on_path(path, prior)` is `E[x0 | x_t]`, and
    `probability_flow(path, on_path(path, prior))` the velocity of its flow (`laminar.theory.conversions`).
    """

    def __init__(self, config: PriorConfig | None = None, **settings: Any) -> None:
        super().__init__()
        self.config = PriorConfig.of(config, settings)
        self.network = DenoisingUNet(self.config.channels, self.config.fold, self.config.embedding)

    def forward(self, z: Tensor, sigma: Tensor | float) -> Tensor:
        """The denoised image of z (batch, y, x) with noise of standard deviation `sigma`, scalar or (batch,).

        sigma is per sample, in units of the image; that of a real z is real. Raises ConfigError for other shapes.
        """
        level = torch.as_tensor(sigma, device=z.device).to(z.real)
        if z.ndim != 3 or level.shape not in ((), (1,), z.shape[:1]):
            raise ConfigError(
                "a prior takes images (batch, y, x) and a noise level that is a scalar or (batch,); "
                f"got {z.dtype} {tuple(z.shape)} and {tuple(level.shape)}"
            )
        denoised = self._denoise(as_complex(z), level.expand(len(z)))
        return denoised if z.is_complex() else denoised.real

    def _denoise(self, z: Tensor, level: Tensor) -> Tensor:
        data = self.config.sigma_data
        c_noise = (level / data).clamp(SMALLEST_LEVEL, LARGEST_LEVEL).log() / 4
        level = level[:, None, None]
        total = (level**2 + data**2).sqrt()
        shape: Tensor = self.network(z / total, c_noise)
        return (data / total) ** 2 * z + level * data / total * shape
