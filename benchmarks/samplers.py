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
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import write_record
from laminar.flow import TABLEAUX, Trajectory
from laminar.samplers import (
    RECTIFIED,
    VP,
    Schedule,
    ddim,
    dds,
    dps,
    flower,
    mc_ddpm,
    ot_ode,
    pigdm,
    pnp_flow,
    score_mri,
)
from laminar.theory.laws import Law, Sampler, Score, compare, exact_law, exact_law_of_a_run, moments, sampled_law
from laminar.theory.scan import Scan, make_scan
from laminar.theory.world import GaussianWorld


class Entry(NamedTuple):
    """A row of the table: a sampler, the schedule that it may be taken apart by (None: not), evaluations a step."""

    name: str
    sampler: Sampler
    schedule: Schedule | None
    cost: int = 1
    affine: bool = True


def entries(scan: Scan) -> list[Entry]:
    denoise, sigma = scan.denoiser(scan.prior), scan.noise_std
    on = {"denoise": denoise, "operator": scan.operator}
    exactly = {"iterations": 200, "tolerance": 1e-9}
    guided = on | exactly | {"noise_level": sigma}

    def conditional(y: Tensor, **settings: object) -> Trajectory:
        like = torch.zeros(len(y), *scan.shape, dtype=y.dtype)
        return ddim(scan.denoiser(scan.posterior), like, **settings)  # type: ignore[arg-type]

    return [
        Entry("exact conditional score, ODE", conditional, VP),
        Entry("exact conditional score, SDE", partial(conditional, eta=1.0), VP),
        Entry("score-MRI", partial(score_mri, **on), None, affine=False),
        Entry("DDS, 5 CG iterations, gamma 5", partial(dds, **on), None, affine=False),
        Entry("DDS, w = sigma^2", partial(dds, **on, **exactly, weight=sigma**2), VP),
        Entry("DPS, zeta 1", partial(dps, **on), None, affine=False),
        Entry("DPS, zeta 0.3", partial(dps, **on, strength=0.3), None, affine=False),
        Entry("PiGDM, SDE", partial(pigdm, **guided), VP, cost=2),
        Entry("PiGDM, ODE", partial(pigdm, **guided, eta=0.0), VP, cost=2),
        Entry("MC-DDPM, unconditional denoiser", partial(mc_ddpm, **on, **exactly), VP),
        Entry(
            "MC-DDPM, its own denoiser",
            partial(mc_ddpm, denoise=scan.conditional_denoiser(), operator=scan.operator, **exactly),
            VP,
        ),
        Entry("OT-ODE, Euler, from t = 0.8", partial(ot_ode, **guided), None),
        Entry("OT-ODE, Heun, from t = 0.8", partial(ot_ode, **guided, tableau=TABLEAUX["heun"]), None),
        Entry(
            "OT-ODE, Heun, from noise", partial(ot_ode, **guided, tableau=TABLEAUX["heun"], schedule=RECTIFIED), None
        ),
        Entry("PnP-Flow", partial(pnp_flow, **on), RECTIFIED),
        Entry("Flower, drawn", partial(flower, **guided), RECTIFIED),
        Entry("Flower, mean", partial(flower, **guided, draw=False), RECTIFIED),
    ]


def law_of(entry: Entry, scan: Scan, nfe: int, samples: int) -> Law:
    if not entry.affine:
        return sampled_law(entry.sampler, scan, nfe, samples)
    if entry.schedule is None:
        return exact_law_of_a_run(entry.sampler, scan, nfe)
    return exact_law(entry.sampler, scan, entry.schedule, nfe // entry.cost, entry.cost)


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
    for entry in entries(scan):
        scores = [compare(law_of(entry, scan, nfe, args.samples), scan.posterior) for nfe in args.nfe]
        computed = "exactly" if entry.affine else f"{args.samples} samples"
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
