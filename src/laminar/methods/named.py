"""The methods that have a name of their own: classical ones, and posterior samplers of a trained prior."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from laminar import samplers
from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory
from laminar.methods.method import Method
from laminar.models import Prior
from laminar.registry import CLASSICAL, SAMPLERS, nearest, resolve
from laminar.samplers import Number, Setting

DEFAULT_NFE, SMALLEST_LEVEL = 50, 0.002


class NamedMethod(Method):
    """A method whose name is its kind."""

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def description(self) -> str:  # type: ignore[override]
        return f"method {self.name} of Laminar"


@dataclass(frozen=True, eq=False)
class ClassicalMethod(NamedMethod):
    """A function from a Problem to a Trajectory with its settings."""

    name: str
    function: Callable[..., Trajectory]
    settings: Mapping[str, Number] = field(default_factory=dict)
    n_maps = 2

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        return self.function(problem, **self.settings)


@dataclass(frozen=True, eq=False)
class SamplerMethod(NamedMethod):
    """A posterior sampler with a trained prior; its estimate is a single draw.

    All walk along the levels of `samplers.edm`, from `start_level` down, `nfe` evaluations in all. Raises ConfigError.
    """

    name: str
    sampler: samplers.Sampler
    prior: Prior
    nfe: int = DEFAULT_NFE
    start_level: float = samplers.Sampler.start_level
    draws = True
    n_maps = 1

    def __post_init__(self) -> None:
        if self.nfe < 1:
            raise ConfigError(f"nfe must be at least 1; got {self.nfe}")
        if not self.start_level > SMALLEST_LEVEL:
            raise ConfigError(f"start_level must be above {SMALLEST_LEVEL}; got {self.start_level}")

    @property
    def module(self) -> Prior:  # type: ignore[override]
        return self.prior

    @property
    def settings(self) -> Mapping[str, Number]:  # type: ignore[override]
        own = {name: getattr(self.sampler, name) for name in self.sampler.settings()}
        return {"nfe": self.nfe, **own, "start_level": self.start_level}

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        return self.draw(problem, generator)

    def draw(self, problem: Problem, generator: torch.Generator) -> Trajectory:
        return samplers.sample(
            self.sampler,
            self.prior,
            problem.operator,
            problem.y,
            noise_level=problem.noise_level,
            prior_std=self.prior.config.sigma_data,
            nfe=self.nfe,
            generator=generator,
            schedule=samplers.edm(self.start_level, SMALLEST_LEVEL),
        )

    def to(self, device: str | torch.device) -> Self:
        if self.device == torch.device(device):
            return self
        return replace(self, prior=copy.deepcopy(self.prior).to(device))


def classical_method(name: str, settings: Mapping[str, Number] | None = None) -> ClassicalMethod:
    """One of `registry.CLASSICAL`; its keywords that are numbers are `settings`. Raises ConfigError."""
    function = resolve(CLASSICAL, name, "method")
    parameters = inspect.signature(function).parameters
    known = {key: Setting(p.default) for key, p in parameters.items() if isinstance(p.default, Number)}
    return ClassicalMethod(name, function, _settled(name, known, settings))


def sampler_method(
    name: str, prior: Prior, nfe: int = DEFAULT_NFE, settings: Mapping[str, Number] | None = None
) -> SamplerMethod:
    """One of `registry.SAMPLERS`; its fields and `start_level` are `settings`. Raises ConfigError."""
    kind: type[samplers.Sampler] = resolve(SAMPLERS, name, "method")
    chosen = _settled(name, kind.settings() | {"start_level": Setting(kind.start_level)}, settings)
    start_level = float(chosen.pop("start_level"))
    return SamplerMethod(name, kind(**chosen), prior, nfe, start_level)


def _settled(name: str, known: Mapping[str, Setting], given: Mapping[str, Number] | None) -> dict[str, Number]:
    """All settings of a method, those `given` among them. Raises ConfigError if one is unknown or out of range."""
    for key, value in (given or {}).items():
        if key not in known:
            hint = nearest(key, known) if known else "; it has none"
            raise ConfigError(f"method {name!r} has no setting {key!r}{hint}")
        known[key].check(f"{key} of method {name!r}", value)
    return {key: setting.default for key, setting in known.items()} | dict(given or {})
