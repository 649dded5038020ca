"""A prior trained where the truth is known: how far are the mean and the covariance of its samples off?

    python -m benchmarks.prior [--steps 1000] [--nfe 19 99] [--samples 2048]

The images of `laminar.theory.world`, 8 x 8 complex Gaussian pixels with a smooth covariance, never the same
twice, and the training loop of the library. The same samplers are given the trained prior, its averaged weights being
those that the run calls best, the prior before training, and the exact denoiser: what is left with the last one is the
error of the sampler and of a finite number of samples; what exact samples show is the latter alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from laminar.flow.gaussian_paths import Denoiser
from laminar.models import Prior
from laminar.runtime import keep_freed_memory
from laminar.samplers import ddim
from laminar.theory.laws import deviation
from laminar.theory.learned import PRIOR, Draw, drawn, fit_prior, heun_samples
from laminar.theory.scan import exact_denoiser
from laminar.theory.world import GaussianWorld

WORLD = GaussianWorld(size=8, batch_size=64)


def ddim_samples(denoise: Denoiser, like: Tensor, nfe: int, generator: torch.Generator, eta: float = 0.0) -> Tensor:
    return ddim(denoise, like, nfe=nfe, generator=generator, eta=eta).image


SAMPLERS: dict[str, Draw] = {"ddim": ddim_samples, "heun": heun_samples}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--nfe", type=int, nargs="+", default=[19, 99])
    parser.add_argument("--samples", type=int, default=2048)
    args = parser.parse_args()
    keep_freed_memory()
    started = time.perf_counter()
    trained = fit_prior(WORLD, args.steps, Path("runs/gaussian_prior"))
    seconds, law = time.perf_counter() - started, WORLD.prior
    print(f"{args.steps} steps, {seconds:.0f} s", flush=True)
    denoisers = {"exact": exact_denoiser(law), "trained": trained, "untrained": Prior(PRIOR).eval()}
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
