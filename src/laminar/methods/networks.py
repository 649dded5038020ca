"""Trained networks as methods."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from laminar.data.preparation import Problem
from laminar.errors import ConfigError
from laminar.flow import Trajectory, noisy
from laminar.methods.method import Coefficients, Method
from laminar.models import Network, UnrolledNetwork


@dataclass(frozen=True, eq=False)
class NetworkMethod(Method):
    """A trained network. One with a noisy source draws samples; its estimate starts from the source without noise.

    That is not the posterior mean, but near it where the posterior is nearly Gaussian, and the flow takes as many
    evaluations as for a sample; `posterior_mean` is the mean in one evaluation, if the network is as good in one.
    """

    network: Network
    name: str = "network"
    kind = "network"
    offers = Method.OFFERS

    def __post_init__(self) -> None:
        if self.network.training:  # the user's own stays as it is
            object.__setattr__(self, "network", copy.deepcopy(self.network).eval())

    @property
    def module(self) -> Network:  # type: ignore[override]
        return self.network

    @property
    def draws(self) -> bool:  # type: ignore[override]
        return isinstance(self.network, UnrolledNetwork) and self.network.config.source_noise > 0

    @property
    def n_maps(self) -> int:  # type: ignore[override]
        return 2 if isinstance(self.network, UnrolledNetwork) else 1

    @property
    def geometry(self) -> str:  # type: ignore[override]
        return self.network.config.geometry if isinstance(self.network, UnrolledNetwork) else "cartesian"

    @property
    def description(self) -> str:  # type: ignore[override]
        return self.network.description

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        if not isinstance(self.network, UnrolledNetwork):
            return self.network.trajectory(problem.y, problem.operator, **offered)
        scan = self.network.measure(problem.y, problem.operator, problem.noise_level)
        return self.network.run(scan, source=self.network.source(scan), **offered)

    def draw(self, problem: Problem, generator: torch.Generator) -> Trajectory:
        if not self.draws:
            return super().draw(problem, generator)
        return self.network.trajectory(problem.y, problem.operator, problem.noise_level, generator=generator)

    def coefficients(self, problem: Problem) -> Coefficients | None:
        """Those for the first scan of the problem; None of a network that is no flow."""
        if not isinstance(self.network, UnrolledNetwork):
            return None
        conditions = None
        if self.network.config.probes:
            conditions = self.network.measure(problem.y, problem.operator, problem.noise_level).conditions
        values = self.network.coefficients(problem.noise_level, conditions)
        width = getattr(self.network.coefficients, "log_width", None)
        steps, data = (v.detach().double().cpu() for v in (values.steps, values.data[:, 0]))
        prior_std = None if width is None else width(conditions)[:, 0].detach().exp().double().cpu()
        return Coefficients(steps, data, self.network.config.data_step, prior_std)

    def to(self, device: str | torch.device) -> Self:
        if self.device == torch.device(device):
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))


@dataclass(frozen=True, eq=False)
class PosteriorMean(NetworkMethod):
    """A network with a velocity at every time and a noisy source, whose estimate is `x0_hat(x1, t = 1)`.

    Since the noise of the source tells nothing of the image, this is `E[x0 | y]` in one evaluation, of a network that
    has learned it. Raises ConfigError for another network.
    """

    offers = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.network, UnrolledNetwork):
            raise ConfigError(f"no endpoint at t = 1: got a {type(self.network).__name__}")
        if not self.network.config.continuous:
            raise ConfigError(f"no endpoint at t = 1: {self.network.config.needs_continuous()}")
        if not self.network.config.source_noise:
            raise ConfigError("no posterior mean at t = 1: the source of this network has no noise (source_noise 0)")

    def estimate(self, problem: Problem, generator: torch.Generator, **offered: Any) -> Trajectory:
        network = self.network
        assert isinstance(network, UnrolledNetwork)  # checked when it was made
        scan = network.measure(problem.y, problem.operator, problem.noise_level)
        source = noisy(network.source(scan), network.config.source_noise, generator)
        mean = network.endpoint(source, torch.ones_like(scan.noise_level), scan)
        return Trajectory([source, mean], [mean], torch.tensor([1.0, 0.0], device=mean.device), nfe=1)
