"""A method made indifferent to mirrors: the mean over a scan and its mirror images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor

from laminar.data.preparation import Problem
from laminar.flow import Trajectory
from laminar.methods.wrapped import WrappedMethod
from laminar.operators import fft2c, ifft2c

MIRRORS = tuple(chain.from_iterable(combinations((-2, -1), n) for n in range(3)))
"""The axes of each of the four mirrorings, none first."""


@dataclass(frozen=True, eq=False)
class MirroredMethod(WrappedMethod):
    """`1/4 sum_g g^(-1) f(g y)` over the four mirrorings g of a Cartesian scan, in four times the work.

    So a mirrored scan gives the mirrored image, whatever the method; and of the errors that differ from one mirror
    image to the next only their mean is left.
    """

    @property
    def kind(self) -> str:  # type: ignore[override]
        return f"{self.of.kind}, mirrored"

    @property
    def description(self) -> str:  # type: ignore[override]
        return f"{self.of.description}; mean over four mirrored scans"

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        runs = [self.of.estimate(mirrored(problem, axes), generator) for axes in MIRRORS]
        states, endpoints = (
            [_mean(images) for images in zip(*(getattr(run, name) for run in runs), strict=True)]
            for name in ("states", "endpoints")
        )
        results = [run.result for run in runs if run.result is not None]
        result = _mean(tuple(results)) if results else None
        return Trajectory(states, endpoints, runs[0].times, sum(run.nfe for run in runs), result)


def _mean(images: tuple[Tensor, ...]) -> Tensor:
    """The mean of the images of the four mirrored scans, brought back."""
    return torch.stack([image.flip(axes) for image, axes in zip(images, MIRRORS, strict=True)]).mean(0)


def mirrored(problem: Problem, axes: tuple[int, ...]) -> Problem:
    """The problem whose image is mirrored along axes. Raises ConfigError for one that is not Cartesian.

    On an even grid, zero frequency at n // 2 stays where it is: the sample -k of the mask moves to k.
    """
    if not axes:
        return problem
    sensed = problem.sensed
    mask, maps = sensed.mask.flip(axes), sensed.sensitivities.flip(axes)
    mask = mask.roll([1 - mask.shape[axis] % 2 for axis in axes], axes)
    return replace(problem, y=fft2c(ifft2c(problem.y).flip(axes)) * mask[:, None], operator=type(sensed)(mask, maps))
