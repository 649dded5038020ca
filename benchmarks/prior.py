"""A prior trained where the truth is known: how far are the mean and the covariance of its samples off?

    python -m benchmarks.prior [--steps 1000] [--nfe 19 99] [--samples 2048]

The images of `benchmarks.gaussian_world`, 8 x 8 complex Gaussian pixels with a smooth covariance, never the same
twice, and the training loop of the library. The same samplers are given the trained prior, its averaged weights being
those that the run calls best, the prior before training, and the exact denoiser: what is left with the last one is the
error of the sampler and of a finite number of samples; what exact samples show is the latter alone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gaussian_world import GaussianWorld
from benchmarks.record import write_record
from laminar.flow import TABLEAUX, integrate
from laminar.flow.gaussian_paths import Denoiser, Rectified, by_noise_level, on_path, probability_flow
from laminar.flow.oracles import Gaussian
from laminar.models import Prior, PriorConfig, load_prior
from laminar.runtime import keep_freed_memory
from laminar.samplers import ddim, edm, standard_noise
from laminar.training.config import DataConfig, OptimizerConfig, TrainConfig
from laminar.training.denoising import DenoisingConfig
from laminar.training.loop import make_fabric, train
from laminar.training.state import RunFolder

Sampler = Callable[[Denoiser, Tensor, int, torch.Generator], Tensor]
"""Samples like an empty batch, from a denoiser within a number of evaluations."""
MODEL = PriorConfig(sigma_data=1.0, channels=[32, 64], fold=1, embedding=64)
DENOISING = DenoisingConfig(log_mean=0.0, log_std=1.5)
WORLD = GaussianWorld(size=8, batch_size=64)


def fit(world: GaussianWorld, steps: int, folder: Path) -> Prior:
    """The best prior of a run over `steps` batches."""
    config = TrainConfig(
        model=MODEL,
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
    train(make_fabric(config), Prior(config.model), world, validation, config, RunFolder(folder))
    return load_prior(folder / "best")


def exact_denoiser(law: Gaussian) -> Denoiser:
    """`E[x0 | x0 + sigma eps]` for x0 from `law`."""
    source = torch.zeros_like(law.mean)

    def endpoint(x: Tensor, t: Tensor) -> Tensor:
        return law.denoised(x.flatten(1).to(source), t.double(), source=source, tau=1.0).view_as(x).to(x)

    return by_noise_level(Rectified(), endpoint)


def ddim_samples(denoise: Denoiser, like: Tensor, nfe: int, generator: torch.Generator, eta: float = 0.0) -> Tensor:
    return ddim(denoise, like, nfe=nfe, generator=generator, eta=eta).image


@torch.no_grad()
def heun_samples(denoise: Denoiser, like: Tensor, nfe: int, generator: torch.Generator) -> Tensor:
    """Heun's method on the probability flow down to the smallest level, and there the denoised image (EDM)."""
    path, times = Rectified(), edm()((nfe + 1) // 2)[:-1].to(like.real)
    flow = probability_flow(path, on_path(path, denoise))
    end = integrate(flow, times[0] * standard_noise(like, generator), times, TABLEAUX["heun"]).image
    return on_path(path, denoise)(end, times[-1])


SAMPLERS: dict[str, Sampler] = {"ddim": ddim_samples, "heun": heun_samples}


class Deviation(NamedTuple):
    """Length of the mean over the root of the trace, which is 0 for exact samples, and the relative error of the
    covariance (Frobenius)."""

    mean: float
    covariance: float


def deviation(samples: Tensor, exact: Gaussian) -> Deviation:
    samples = samples.flatten(1).to(exact.mean)
    mean = samples.mean(0)
    covariance = (samples - mean).T @ (samples - mean).conj() / (len(samples) - 1)
    size = exact.covariance.trace().real.sqrt()
    return Deviation(
        float((mean - exact.mean).norm() / size),
        float((covariance - exact.covariance).norm() / exact.covariance.norm()),
    )


def drawn(sampler: Sampler, denoise: Denoiser, nfe: int, samples: int, size: int, chunk: int = 512) -> Tensor:
    """The same noise for every denoiser."""
    generator = torch.Generator().manual_seed(3)
    like = torch.zeros(min(chunk, samples), size, size, dtype=torch.complex64)
    return torch.cat([sampler(denoise, like, nfe, generator) for _ in range(math.ceil(samples / len(like)))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--nfe", type=int, nargs="+", default=[19, 99])
    parser.add_argument("--samples", type=int, default=2048)
    args = parser.parse_args()
    keep_freed_memory()
    started = time.perf_counter()
    trained = fit(WORLD, args.steps, Path("runs/gaussian_prior"))
    seconds, law = time.perf_counter() - started, WORLD.prior
    print(f"{args.steps} steps, {seconds:.0f} s", flush=True)
    denoisers = {"exact": exact_denoiser(law), "trained": trained, "untrained": Prior(MODEL).eval()}
    floor = deviation(law.sample(args.samples, torch.Generator().manual_seed(4)), law)
    view, rows = Table(title="Mean / covariance of samples, relative deviation from the truth"), []
    for column in ("sampler", "denoiser", *(f"{nfe} NFE" for nfe in args.nfe)):
        view.add_column(column)
    view.add_row("exact samples", "", *[f"{floor.mean:.3f} / {floor.covariance:.3f}"] * len(args.nfe))
    for sampler, draw in SAMPLERS.items():
        for name, denoise in denoisers.items():
            found = [deviation(drawn(draw, denoise, nfe, args.samples, WORLD.size), law) for nfe in args.nfe]
            rows += [
                {"sampler": sampler, "denoiser": name, "nfe": nfe} | one._asdict()
                for nfe, one in zip(args.nfe, found, strict=True)
            ]
            view.add_row(sampler, name, *[f"{one.mean:.3f} / {one.covariance:.3f}" for one in found])
            print(rows[-1], flush=True)
    Console(width=110).print(view)
    training = {
        "steps": args.steps,
        "batch": WORLD.batch_size,
        "parameters": sum(p.numel() for p in trained.parameters()),
        "seconds": round(seconds, 1),
    }
    print(
        write_record(
            "prior", {"training": training, "samples": args.samples, "floor": floor._asdict(), "results": rows}
        )
    )


if __name__ == "__main__":
    main()
