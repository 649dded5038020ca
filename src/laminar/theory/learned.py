"""What learns a Gaussian world by the training loop of the library: a network of linear regularizers, and a prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from laminar.data.cases import Case
from laminar.flow import TABLEAUX, integrate
from laminar.flow.gaussian_paths import Denoiser
from laminar.models import Prior, PriorConfig, UnrolledConfig, UnrolledNetwork, load_prior
from laminar.samplers import edm, standard_noise
from laminar.theory.conversions import Rectified, on_path, probability_flow
from laminar.theory.world import GaussianWorld
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import Repeated
from laminar.training.denoising import DenoisingConfig
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

NETWORK = UnrolledConfig(n_cascades=3, source="zero-filled", prior_std=0.5, noise_floor=0.0, cg_tolerance=1e-6)
PRIOR = PriorConfig(sigma_data=1.0, channels=[32, 64], fold=1, embedding=64)
DENOISING = DenoisingConfig(log_mean=0.0, log_std=1.5)

Draw = Callable[[Denoiser, Tensor, int, torch.Generator], Tensor]
"""Samples like an empty batch, from a denoiser within a number of evaluations."""


class Linear(nn.Module):
    """R(x, t) = W x over all pixels, the best regularizer that a Gaussian world can have; starts at zero."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, size, dtype=torch.complex64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight).view(x.shape)


@torch.no_grad()
def distance_from_the_mean(network: UnrolledNetwork, world: GaussianWorld) -> tuple[float, list[float]]:
    """Relative distance of the image from the posterior mean, and of each state from the line that ends there."""
    problem = world.batch(0).problem
    mean = world.posterior_mean(problem).to(torch.complex64)
    trajectory = network.trajectory(problem.y, problem.operator, problem.noise_level)
    assert trajectory.times is not None
    states = [
        float((state - (1 - t) * mean - t * trajectory.source).norm() / mean.norm())
        for t, state in zip(trajectory.times, trajectory.states, strict=True)
    ]
    return states[-1], states


def fit_network(world: GaussianWorld, batches: int, steps: int, alignment: float, folder: Path) -> UnrolledNetwork:
    """A network trained on `batches` distinct batches."""
    config = TrainConfig(
        model=NETWORK,
        objective=ObjectiveConfig(image_norm="l2", ssim=0, alignment=alignment, alignment_norm="l2"),
        data=DataConfig(batch_size=world.batch_size, workers=0),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup=50, clip=1e3),
        steps=steps,
        validate_every=steps,
        accelerator="cpu",
        threads=1,
    )
    torch.manual_seed(0)
    network = UnrolledNetwork(Linear(world.size**2), NETWORK)
    stream = Repeated(_Kept(world), batches)
    train(make_fabric(config), network, stream, [replace(world, seed=1).batch(0)], config, RunFolder(folder))
    return network


class _Kept:
    """A stream that keeps what it made."""

    def __init__(self, world: GaussianWorld) -> None:
        self.world, self.batches = world, dict[int, Case]()

    def batch(self, index: int) -> Case:
        if index not in self.batches:
            self.batches[index] = self.world.batch(index)
        return self.batches[index]


def fit_prior(world: GaussianWorld, steps: int, folder: Path) -> Prior:
    """The best prior of a run over `steps` batches."""
    config = TrainConfig(
        model=PRIOR,
        denoising=DENOISING,
        data=DataConfig(batch_size=world.batch_size, workers=0),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup=50, clip=1.0),
        ema=0.99,
        steps=steps,
        validate_every=max(1, steps // 10),
        accelerator="cpu",
        threads=1,
    )
    torch.manual_seed(0)
    validation = [GaussianWorld(world.size, seed=1, batch_size=512).batch(0)]
    train(make_fabric(config), Prior(PRIOR), world, validation, config, RunFolder(folder))
    return load_prior(folder / "best")


@torch.no_grad()
def heun_samples(denoise: Denoiser, like: Tensor, nfe: int, generator: torch.Generator) -> Tensor:
    """Heun's method on the probability flow down to the smallest level, and there the denoised image (EDM)."""
    path, times = Rectified(), edm()((nfe + 1) // 2)[:-1].to(like.real)
    flow = probability_flow(path, on_path(path, denoise))
    end = integrate(flow, times[0] * standard_noise(like, generator), times, TABLEAUX["heun"]).image
    return on_path(path, denoise)(end, times[-1])


def drawn(draw: Draw, denoise: Denoiser, nfe: int, samples: int, size: int, chunk: int = 512) -> Tensor:
    """The same noise for every denoiser."""
    generator = torch.Generator().manual_seed(3)
    like = torch.zeros(min(chunk, samples), size, size, dtype=torch.complex64)
    return torch.cat([draw(denoise, like, nfe, generator) for _ in range(math.ceil(samples / len(like)))])
