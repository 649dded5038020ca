"""Methods made of another one, which they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.methods.method import Method
from laminar.samplers import Number


@dataclass(frozen=True, eq=False)
class WrappedMethod(Method):
    """What a method that runs another one has of it."""

    of: Method

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.of.name

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.of.notes

    @property
    def settings(self) -> Mapping[str, Number]:  # type: ignore[override]
        return self.of.settings

    @property
    def geometry(self) -> str | None:  # type: ignore[override]
        return self.of.geometry

    @property
    def n_maps(self) -> int | None:  # type: ignore[override]
        return self.of.n_maps

    @property
    def module(self) -> nn.Module | None:  # type: ignore[override]
        return self.of.module

    def to(self, device: str | torch.device) -> Self:
        return replace(self, of=self.of.to(device))


@dataclass(frozen=True, eq=False)
class OneSample(WrappedMethod):
    """Another method that draws: its estimate is a sample, with the states that lead to it."""

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        return self.of.draw(problem, generator)


@dataclass(frozen=True, eq=False)
class AtDepth(WrappedMethod):
    """Another method with so many cascades, below or above the trained number. Raises ConfigError if it has none."""

    n_cascades: int

    def __post_init__(self) -> None:
        if "n_cascades" not in self.of.offers or self.n_cascades < 1:
            raise ConfigError(f"{self.name} cannot be run with {self.n_cascades} cascades: a network takes 1 or more")

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        return self.of.estimate(problem, generator, n_cascades=self.n_cascades)
