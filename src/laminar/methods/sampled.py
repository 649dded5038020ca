"""Samples of a method as its estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from laminar.data.preparation import Problem
from laminar.flow import Trajectory
from laminar.methods.method import Method


@dataclass(frozen=True, eq=False)
class MeanOfSamples(Method):
    """The mean of so many samples of another method; of one sample, that sample with its states."""

    of: Method
    samples: int = 1

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.of.name

    @property
    def module(self) -> nn.Module | None:  # type: ignore[override]
        return self.of.module

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        draws = [self.of.draw(problem, generator) for _ in range(self.samples)]
        if self.samples == 1:
            return draws[0]
        mean = torch.stack([draw.image for draw in draws]).mean(0)
        return Trajectory([draws[0].source, mean], [mean], None, sum(draw.nfe for draw in draws))
