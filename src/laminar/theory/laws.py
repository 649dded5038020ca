"""The law of what a sampler returns, exact where it is affine in y and its noise, and its distance from the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from laminar.flow import Trajectory
from laminar.samplers import Schedule
from laminar.theory.gaussian import Gaussian
from laminar.theory.scan import Scan

Draw = Callable[..., Trajectory]
"""What is left of a sampler when denoiser and operator are fixed: y, nfe, generator, schedule, start."""


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


class Deviation(NamedTuple):
    """Length of the mean over the root of the trace, which is 0 for exact samples, and the relative error of the
    covariance (Frobenius)."""

    mean: float
    covariance: float


def deviation(samples: Tensor, exact: Gaussian) -> Deviation:
    mean, covariance = moments(samples.flatten(1).to(exact.mean))
    size = exact.covariance.trace().real.sqrt()
    return Deviation(
        float((mean - exact.mean).norm() / size),
        float((covariance - exact.covariance).norm() / exact.covariance.norm()),
    )
