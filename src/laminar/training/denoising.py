"""How a prior is trained: denoise images at random noise levels, with the weight of EDM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laminar.data.cases import Case
from laminar.errors import ConfigError
from laminar.flow import noisy
from laminar.metrics import psnr
from laminar.models import Model, Prior


@dataclass(frozen=True)
class DenoisingConfig:
    """The noise levels that a prior is trained at, `ln sigma ~ N(log_mean, log_std^2)`.

    In images with a maximum of one or two and a root mean square of 0.45, half of all levels are below 0.37, the level
    of the image itself. Nine in ten are between 0.03 and 5: below lies what a scan has of noise anyway, above only
    the largest shapes are left, the mean of 128 x 128 pixels up to a level of about 50. Natural images have -1.2 and
    1.2 (arXiv 2206.00364), of fewer pixels and without a dark background.

    Args:
        log_mean: P_mean, mean of the natural logarithm of the noise level, which is in units of the image.
        log_std: P_std, its standard deviation.
        random_phase: turn each image by a random phase; that of a scan means nothing.
        validation_levels: validate at this many levels, the centers of equally likely intervals.
    """

    log_mean: float = -1.0
    log_std: float = 1.6
    random_phase: bool = True
    validation_levels: int = 5

    def __post_init__(self) -> None:
        if not -20 < self.log_mean < 20:
            raise ConfigError(f"denoising.log_mean must be between -20 and 20; got {self.log_mean}")
        if not 0 < self.log_std < 20:
            raise ConfigError(f"denoising.log_std must be between 0 and 20; got {self.log_std}")
        if self.validation_levels < 1:
            raise ConfigError(f"denoising.validation_levels must be at least 1; got {self.validation_levels}")

    def levels(self, count: int, place: float | Tensor = 0.5) -> Tensor:
        """One noise level (count,) in each of `count` equally likely intervals, at a `place` from 0 to 1 in each."""
        likelihood = (torch.arange(count) + torch.as_tensor(place).cpu()) / count
        normal: Tensor = torch.special.ndtri(likelihood.clamp(1e-6, 1 - 1e-6))
        return (self.log_mean + self.log_std * normal).exp()


def weighted_error(denoised: Tensor, image: Tensor, level: Tensor, sigma_data: float) -> Tensor:
    """`lambda mean |D - x0|^2` of each image (batch,), `lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2`.

    It is the mean squared error of the U-Net inside the prior, whose goal has unit variance at every level: about one
    before training. The minimum over all functions is the conditional mean. arXiv 2206.00364, eq. 8.
    """
    weight = (level**2 + sigma_data**2) / (level * sigma_data) ** 2
    return weight * (denoised - image).abs().square().mean((-2, -1))


class DenoisingLearner(nn.Module):
    """`E lambda(sigma) |D(x0 + sigma eps, sigma) - x0|^2` in one forward pass; the levels of a batch are stratified."""

    def __init__(self, prior: Prior, config: DenoisingConfig) -> None:
        super().__init__()
        self.prior, self.config = prior, config

    def forward(self, target: Tensor, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        level = self.config.levels(len(target), torch.rand(len(target), generator=generator)).to(target.real)
        if self.config.random_phase:
            angle = 2 * torch.pi * torch.rand(len(target), 1, 1, generator=generator)
            target = target * torch.exp(1j * angle).to(target)
        noise = noisy(torch.zeros_like(target), 1.0, generator)
        denoised = self.prior(target + level[:, None, None] * noise, level)
        return {"loss": weighted_error(denoised, target, level, self.prior.config.sigma_data).mean()}


class DenoisingTask:
    """A prior learns to denoise; the best is that of the lowest loss."""

    def __init__(self, prior: Prior, config: DenoisingConfig) -> None:
        self.config, self.learner = config, DenoisingLearner(prior, config)

    def inputs(self, batch: Case) -> tuple[Any, ...]:
        return (batch.image,)

    def merit(self, scores: dict[str, Any]) -> float:
        return -float(scores["loss"])

    @torch.no_grad()
    def evaluate(self, model: Model, validation: list[Case]) -> dict[str, Any]:
        """Mean loss, and the PSNR of the denoised magnitude at each level, over fixed batches, levels and noise.

        The data range is the maximum of each image; the mean is over images.
        """
        assert isinstance(model, Prior)
        device = next(model.parameters()).device
        levels = self.config.levels(self.config.validation_levels)
        losses, psnrs = list[Tensor](), list[Tensor]()
        model.eval()
        for index, batch in enumerate(validation):
            noise = noisy(torch.zeros_like(batch.image), 1.0, torch.Generator().manual_seed(index))
            found = [_denoised(model, batch.image.to(device), noise.to(device), level) for level in levels.to(device)]
            losses.append(torch.stack([loss for loss, _ in found], 1).cpu())
            psnrs.append(torch.stack([quality for _, quality in found], 1).cpu())
        model.train()
        return {
            "loss": torch.cat(losses).mean().item(),
            "noise_levels": levels.tolist(),
            "psnr_per_level": torch.cat(psnrs).mean(0).tolist(),
        }


def _denoised(prior: Prior, image: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted error and PSNR of each image (batch,)."""
    denoised, magnitude = prior(image + level * noise, level), image.abs()
    quality = psnr(denoised.abs(), magnitude, magnitude.flatten(1).amax(1), per_slice=True)
    return weighted_error(denoised, image, level, prior.config.sigma_data), quality
