"""A world in which the answer is known: simulate, train by FLAT, reconstruct, compare with the exact posterior mean.

    python -m benchmarks.gaussian_world [--steps 4000]

Images of 8 x 8 complex Gaussian pixels with a smooth covariance, one coil, every second line, noise. The network has
three unshared cascades with the proximal data step and linear regularizers, trained with the L2 loss by the training
loop of the library on a growing number of samples. With L2 its optimum is the posterior mean; what remains is the
error of a finite sample, which falls with its square root.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.record import write_record
from laminar.data.cases import Case
from laminar.data.preparation import Problem
from laminar.flow.oracles import Gaussian, matrix_of
from laminar.models import UnrolledConfig, UnrolledNetwork
from laminar.operators import Encoding
from laminar.runtime import keep_freed_memory
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.data import Repeated
from laminar.training.loop import make_fabric, train
from laminar.training.objectives import ObjectiveConfig
from laminar.training.state import RunFolder

BATCH, MODEL = (
    256,
    UnrolledConfig(n_cascades=3, source="zero-filled", prior_std=0.5, noise_floor=0.0, cg_tolerance=1e-6),
)


class Linear(nn.Module):
    """R(x, t) = W x over all pixels, the best regularizer that a Gaussian world can have; starts at zero."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, size, dtype=torch.complex64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight).view(x.shape)


@dataclass(frozen=True)
class GaussianWorld:
    """A stream of scans of Gaussian images, all with one mask and noise level, and their exact posterior mean."""

    size: int = 8
    noise_std: float = 0.1
    seed: int = 0
    batch_size: int = BATCH

    @cached_property
    def prior(self) -> Gaussian:
        """Zero mean, variance one, correlation exp(-distance / 2)."""
        place = torch.cartesian_prod(*[torch.arange(self.size, dtype=torch.float64)] * 2)
        covariance = torch.exp(-torch.cdist(place, place) / 2)
        return Gaussian(torch.zeros(len(place)).cdouble(), covariance.cdouble())

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
        problem = Problem(kspace.cfloat(), Encoding(mask, maps.cfloat()), level, torch.ones(self.batch_size))
        return Case(problem, image.cfloat())

    def posterior_mean(self, problem: Problem) -> Tensor:
        """`C A^H (A C A^H + sigma^2 I)^(-1) y` (batch, y, x), the same matrix for every scan."""
        a, c = self.matrix, self.prior.covariance
        gain = c @ a.mH @ torch.linalg.inv(a @ c @ a.mH + self.noise_std**2 * torch.eye(len(a)))
        return (problem.y.cdouble().flatten(1) @ gain.T).view(-1, self.size, self.size)


@torch.no_grad()
def deviation(network: UnrolledNetwork, world: GaussianWorld) -> tuple[float, list[float]]:
    """Relative distance of the image from the posterior mean, and of each state from the line that ends there."""
    problem = world.batch(0).problem
    mean = world.posterior_mean(problem).cfloat()
    trajectory = network.trajectory(problem.y, problem.operator, problem.noise_level)
    assert trajectory.times is not None
    states = [
        float((state - (1 - t) * mean - t * trajectory.source).norm() / mean.norm())
        for t, state in zip(trajectory.times, trajectory.states, strict=True)
    ]
    return states[-1], states


def fit(world: GaussianWorld, batches: int, steps: int, alignment: float, folder: Path) -> UnrolledNetwork:
    """A network trained on `batches` distinct batches."""
    config = TrainConfig(
        model=MODEL,
        objective=ObjectiveConfig(image_norm="l2", ssim=0, alignment=alignment, alignment_norm="l2"),
        data=DataConfig(batch_size=world.batch_size, workers=0),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup=50, clip=1e3),
        steps=steps,
        validate_every=steps,
        accelerator="cpu",
        threads=1,
    )
    torch.manual_seed(0)
    network = UnrolledNetwork(Linear(world.size**2), config.model)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    args = parser.parse_args()
    keep_freed_memory()
    world, rows = GaussianWorld(), []
    view = Table(title="Deviation from the exact posterior mean, relative")
    for column in ("samples", "alignment", "image", "times sqrt(samples)", "states from the line, source first"):
        view.add_column(column)
    for batches in args.batches:
        for alignment in (0.0, 1.0):
            network = fit(world, batches, args.steps, alignment, Path("runs/gaussian"))
            image, states = deviation(network, replace(world, seed=2))
            samples = batches * BATCH
            rows.append({"samples": samples, "alignment": alignment, "deviation": image, "states": states})
            view.add_row(
                f"{samples:,}", f"{alignment:g}", f"{image:.5f}", f"{image * math.sqrt(samples):.2f}",
                " ".join(f"{value:.4f}" for value in states),
            )  # fmt: skip
            print(f"{samples:,} samples, alignment {alignment:g}: {image:.5f}", flush=True)
    Console(width=130).print(view)
    print(write_record("gaussian_world", {"steps": args.steps, "batch": BATCH, "results": rows}))


if __name__ == "__main__":
    main()
