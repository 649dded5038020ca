"""A sample of a method as its estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from laminar.data.preparation import Problem
from laminar.flow import Trajectory
from laminar.methods.method import Method


@dataclass(frozen=True, eq=False)
class OneSample(Method):
    """Another method that draws: its estimate is a sample, with the states that lead to it."""

    of: Method

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.of.name

    @property
    def geometry(self) -> str | None:  # type: ignore[override]
        return self.of.geometry

    @property
    def n_maps(self) -> int | None:  # type: ignore[override]
        return self.of.n_maps

    @property
    def module(self) -> nn.Module | None:  # type: ignore[override]
        return self.of.module

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        return self.of.draw(problem, generator)
