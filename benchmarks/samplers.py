"""Posterior samplers where the posterior is known: how far are their mean and covariance off?

    python -m benchmarks.samplers [--nfe 19 49 99 199] [--samples 4096]

Images of 8 x 8 complex Gaussian pixels (the prior of `benchmarks.gaussian_world`), two coils, every third line, noise
0.1, and the exact denoiser: what is left is the error of the sampler. The law of a sampler that is affine in y and its
noise is exact: the zero noise and all unit noises are pushed through it, step by step. The others are sampled;
the error of that alone stands in the row of exact posterior samples.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.gaussian_world import GaussianWorld
from benchmarks.record import write_record
from laminar.flow import TABLEAUX
from laminar.flow.gaussian_paths import Denoiser, Rectified, by_noise_level
from laminar.flow.oracles import Gaussian, matrix_of
from laminar.flow.trajectory import Trajectory
from laminar.operators import Encoding, LinearOperator
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

Draw = Callable[..., Trajectory]
"""What is left of a sampler when denoiser and operator are fixed: y, nfe, generator, schedule, start."""


@dataclass(frozen=True)
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
        return vectors[:, values < 1e-10]

    def denoiser(self, law: Gaussian) -> Denoiser:
        """`E[x0 | x0 + sigma eps]` for x0 from `law`."""

        def endpoint(x: Tensor, t: Tensor) -> Tensor:
            return law.denoised(x.flatten(1), t, source=torch.zeros_like(law.mean), tau=1.0).view_as(x)

        return by_noise_level(Rectified(), endpoint)

    def conditional_denoiser(self) -> Denoiser:
        """`E[x0 | y, N x0 + sigma N eps]` of an image whose unseen part is the noisy one: the denoiser of MC-DDPM."""
        mean, covariance, basis = self.posterior.mean, self.posterior.covariance, self.unseen

        def denoise(z: Tensor, level: Tensor) -> Tensor:
            seen = basis.mH @ covariance @ basis + level**2 * torch.eye(basis.shape[1], dtype=basis.dtype)
            gain = covariance @ basis @ torch.linalg.inv(seen) @ basis.mH
            return (mean + (z.flatten(1) - mean) @ gain.T).view_as(z)

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


class Law(NamedTuple):
    """Mean (n,) and covariance (n, n) of what a sampler returns."""

    mean: Tensor
    covariance: Tensor


class UnitNoise:
    """Noise for a batch: zero, but for unit vectors, one draw after the other, in the rows from `row` on."""

    def __init__(self, row: int) -> None:
        self.row = row

    def __call__(self, like: Tensor) -> Tensor:
        noise = torch.zeros_like(like)
        size = noise[0].numel()
        if self.row + size <= len(noise):
            noise[self.row : self.row + size] = torch.eye(size, dtype=like.dtype).view(size, *like.shape[1:])
        self.row += size
        return noise


def pushed(step: Callable[[Tensor | None, int, UnitNoise], Tensor], law: Law | None) -> Law:
    """The law of `step(state, batch, noise)`, affine in state and noise, for a state of `law` (None: no state).

    One batch: nothing in the first row, then the unit vectors of the state, then those of the noise.
    """
    n, batch = 0 if law is None else len(law.mean), 0
    noise = UnitNoise(n + 1)
    while noise.row != batch:  # the first pass only counts the draws
        batch, noise = noise.row, UnitNoise(n + 1)
        start = None if law is None else torch.eye(batch, n, dtype=law.mean.dtype).roll(1, 0)
        ends = step(start, batch, noise).flatten(1)
    rows = ends[1:] - ends[0]
    mean, covariance = ends[0], rows[n:].T @ rows[n:].conj()
    if law is not None:
        mean = mean + rows[:n].T @ law.mean
        covariance = covariance + rows[:n].T @ law.covariance @ rows[:n].conj()
    return Law(mean, covariance)


def exact_law(sampler: Draw, scan: Scan, schedule: Schedule, steps: int, cost: int = 1) -> Law:
    """The law of an affine sampler over `steps` steps of `cost` evaluations, each run as a sampler of its own."""
    law: Law | None = None
    for times in pairwise(schedule(steps)):

        def step(state: Tensor | None, batch: int, noise: UnitNoise, times: Sequence[Tensor] = times) -> Tensor:
            start = None if state is None else state.view(-1, *scan.shape)
            y = scan.y.expand(batch, *scan.y.shape[1:])
            run = sampler(y=y, nfe=cost, generator=noise, schedule=lambda _: torch.stack(list(times)), start=start)
            return run.image

        law = pushed(step, law)
    assert law is not None
    return law


def exact_law_of_a_run(sampler: Draw, scan: Scan, nfe: int) -> Law:
    """The same of a whole run at once: for solvers whose steps are not runs of their own."""
    return pushed(
        lambda _, batch, noise: sampler(y=scan.y.expand(batch, *scan.y.shape[1:]), nfe=nfe, generator=noise).image, None
    )


def sampled_law(sampler: Draw, scan: Scan, nfe: int, samples: int, seed: int = 0, chunk: int = 512) -> Law:
    """Mean and covariance of samples."""
    generator = torch.Generator().manual_seed(seed)
    y = scan.y.expand(min(chunk, samples), *scan.y.shape[1:])
    draws = [sampler(y=y, nfe=nfe, generator=generator).image.flatten(1) for _ in range(math.ceil(samples / len(y)))]
    return moments(torch.cat(draws))


def moments(samples: Tensor) -> Law:
    mean = samples.mean(0)
    return Law(mean, (samples - mean).T @ (samples - mean).conj() / (len(samples) - 1))


class Score(NamedTuple):
    """Relative error of the mean, of the covariance (Frobenius), and the ratio of the traces."""

    mean: float
    covariance: float
    trace: float


def compare(law: Law, exact: Gaussian) -> Score:
    mean = (law.mean - exact.mean).norm() / exact.mean.norm()
    covariance = (law.covariance - exact.covariance).norm() / exact.covariance.norm()
    return Score(float(mean), float(covariance), float(law.covariance.trace().real / exact.covariance.trace().real))


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
        Entry("DPS, zeta 1", DPS(), "samples"),
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
