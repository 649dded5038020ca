"""Posterior samplers where the posterior is known: how far are their mean and covariance off?

    python -m benchmarks.samplers [--nfe 19 49 99 199] [--samples 4096]

Images of 8 x 8 complex Gaussian pixels (the prior of `laminar.theory.world`), two coils, every third line, noise
0.1, and the exact denoiser: what is left is the error of the sampler. The law of a sampler that is affine in y and its
noise is exact: the zero noise and all unit noises are pushed through it, step by step. The others are sampled;
the error of that alone stands in the row of exact posterior samples.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.record import write_record
from laminar.flow import TABLEAUX
from laminar.samplers import (
    DDIM,
    DDS,
    DPS,
    MCDDPM,
    OTODE,
    RECTIFIED,
    Flower,
    PiGDM,
    PnPFlow,
    Sampler,
    Schedule,
    ScoreMRI,
    sample,
)
from laminar.theory.laws import Law, Score, compare, exact_law, exact_law_of_a_run, moments, sampled_law
from laminar.theory.scan import Scan, make_scan
from laminar.theory.world import GaussianWorld


class Entry(NamedTuple):
    """A row of the table: a sampler, how its law is found, and what its denoiser knows.

    Step by step, where a step is affine and needs nothing of those before it; over the whole run at once; or from
    samples. The denoiser knows the prior, the posterior, or what was not measured given the data (unseen).
    """

    name: str
    sampler: Sampler
    by: Literal["steps", "run", "samples"] = "steps"
    law: Literal["prior", "posterior", "unseen"] = "prior"
    schedule: Schedule | None = None


def entries(noise_std: float) -> list[Entry]:
    """Solves are exact, but for DDS with the few iterations of its paper."""
    solved: dict[str, Any] = {"iterations": 200, "tolerance": 1e-9}
    heun = OTODE(**solved, tableau=TABLEAUX["heun"])
    return [
        Entry("exact conditional score, ODE", DDIM(), law="posterior"),
        Entry("exact conditional score, SDE", DDIM(eta=1.0), law="posterior"),
        Entry("score-MRI", ScoreMRI(), "samples"),
        Entry("DDS, 5 CG iterations, gamma 5", DDS(), "samples"),
        Entry("DDS, w = sigma^2", DDS(**solved, weight=noise_std**2)),
        Entry("DPS, zeta 1", DPS(strength=1.0), "samples"),
        Entry("DPS, zeta 0.3", DPS(strength=0.3), "samples"),
        Entry("PiGDM, SDE", PiGDM(**solved)),
        Entry("PiGDM, ODE", PiGDM(**solved, eta=0.0)),
        Entry("MC-DDPM, unconditional denoiser", MCDDPM(**solved)),
        Entry("MC-DDPM, its own denoiser", MCDDPM(**solved), law="unseen"),
        Entry("OT-ODE, Euler, from t = 0.8", OTODE(**solved), "run"),
        Entry("OT-ODE, Heun, from t = 0.8", heun, "run"),
        Entry("OT-ODE, Heun, from noise", heun, "run", schedule=RECTIFIED),
        Entry("PnP-Flow", PnPFlow()),
        Entry("Flower, drawn", Flower(**solved)),
        Entry("Flower, mean", Flower(**solved, draw=False)),
    ]


def law_of(entry: Entry, scan: Scan, nfe: int, samples: int) -> Law:
    sampler, schedule = entry.sampler, entry.schedule or entry.sampler.schedule
    known = {"prior": scan.prior, "posterior": scan.posterior}
    denoise = scan.denoiser(known[entry.law]) if entry.law in known else scan.conditional_denoiser()
    draw = partial(sample, sampler, denoise, scan.operator, noise_level=scan.noise_std, schedule=schedule)
    if entry.by == "samples":
        return sampled_law(draw, scan, nfe, samples)
    if entry.by == "run":
        return exact_law_of_a_run(draw, scan, nfe)
    return exact_law(draw, scan, schedule, nfe // sampler.cost, sampler.cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nfe", type=int, nargs="+", default=[19, 49, 99, 199])
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    world = GaussianWorld()
    scan = make_scan(world.prior, world.size, coils=2, spacing=3, noise_std=world.noise_std, seed=args.seed)
    floor = compare(
        moments(scan.posterior.sample(args.samples, torch.Generator().manual_seed(args.seed))), scan.posterior
    )
    view, rows = Table(title="Error of the mean / of the covariance / ratio of the traces"), []
    for column in ("sampler", "computed", *(f"{nfe} NFE" for nfe in args.nfe)):
        view.add_column(column)
    view.add_row("exact posterior samples", f"{args.samples} samples", *[shown(floor)] * len(args.nfe))
    for entry in entries(world.noise_std):
        scores = [compare(law_of(entry, scan, nfe, args.samples), scan.posterior) for nfe in args.nfe]
        computed = f"{args.samples} samples" if entry.by == "samples" else "exactly"
        view.add_row(entry.name, computed, *map(shown, scores))
        rows += [
            {"sampler": entry.name, "computed": computed, "nfe": nfe} | score._asdict()
            for nfe, score in zip(args.nfe, scores, strict=True)
        ]
        print(entry.name, *map(shown, scores), sep="  ", flush=True)
    Console(width=150).print(view)
    scene = {"size": world.size, "coils": 2, "every_line": 3, "noise_std": world.noise_std, "seed": args.seed}
    print(
        write_record("samplers", {"world": scene, "samples": args.samples, "floor": floor._asdict(), "results": rows})
    )


def shown(score: Score) -> str:
    return " / ".join(f"{value:.3f}" for value in score)


if __name__ == "__main__":
    main()
