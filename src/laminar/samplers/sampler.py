"""A sampler is its settings and its step; one runner keeps the budget, the clock and the walk for all of them.

A state is `z = x0 + sigma eps`: on every Gaussian path `x_t / a` is the image with noise of level `sigma = b / a`, so a
sampler needs no path. Its clock is that of the rectified path, `t = sigma / (1 + sigma)`, and a trajectory is reported
on that path, `x_t = (1 - t) z = (1 - t) x0 + t eps`, whatever the schedule: so all can be laid side by side, and any
of its states is a `start` from which the same sampler goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.gaussian_paths import Denoiser
from laminar.flow.solvers import check_times
from laminar.flow.trajectory import Trajectory
from laminar.operators import LinearOperator, check_norm
from laminar.samplers.context import Context, Counted, Randomness
from laminar.samplers.schedules import VP, Schedule
from laminar.samplers.settings import Setting, within


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """The fields are the settings, each `within` its range (ConfigError); `step` is the update of the paper.

    `schedule` is the clock unless another one is brought; `on_path` says that the states are points of a path.
    `start_level` is the noise level, in units of the image, from which a trained denoiser is walked down. Guidance
    through its Jacobian is only as good as that Jacobian, whose error grows with the level over the width of the image:
    such samplers start lower, though noise alone then lacks the prior's mean.
    """

    on_path: ClassVar[bool] = True
    start_level: ClassVar[float] = 5.0

    def __post_init__(self) -> None:
        for name, setting in self.settings().items():
            setting.check(f"{name} of {type(self).__name__}", getattr(self, name))

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """The settings that are numbers."""
        return {f.name: f.metadata["setting"] for f in fields(cls) if "setting" in f.metadata}

    def schedule(self, steps: int) -> Tensor:
        """The clock of the paper."""
        return VP(steps)

    @property
    def cost(self) -> int:
        """Evaluations of the denoiser a step."""
        return 1

    @property
    def spared(self) -> int:
        """How many of them the last step does without."""
        return 0

    def source(self, context: Context, time: Tensor) -> Tensor:
        """The first state on the rectified path: noise alone, `t eps`; the image in it is lost in the noise."""
        return time * context.noise(context.operator.adjoint(context.y))

    @abstractmethod
    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        """From z at `level` to z at the `following` level, and the endpoint on the way."""


@dataclass(frozen=True, kw_only=True)
class SolvingSampler(Sampler):
    """A sampler that solves `(A^H A + w I) d = b` by at most so many iterations, or until a relative residual."""

    iterations: int = within(50, least=1)
    tolerance: float = within(1e-6)

    def correction(self, context: Context, y: Tensor, image: Tensor, weight: float | Tensor) -> Tensor:
        """`d = (A^H A + w I)^(-1) A^H (y - A x)`, so that `x + d` minimizes `||A u - y||^2 + w ||u - x||^2` over u.

        From zero by the operator's own solver; with `w = 0` the smallest correction that explains the data, as far as
        the iterations reach. `weight` is a number or (batch,).
        """
        rhs = context.operator.adjoint(y - context.operator(image))
        return context.operator.solve_regularized(rhs, weight, iterations=self.iterations, tolerance=self.tolerance)


@torch.no_grad()
def sample(
    sampler: Sampler,
    denoise: Denoiser,
    operator: LinearOperator,
    y: Tensor,
    *,
    noise_level: float | Tensor,
    nfe: int,
    generator: Randomness,
    prior_std: float = 1.0,
    schedule: Schedule | None = None,
    start: Tensor | None = None,
) -> Trajectory:
    """Walk from noise, or from the state `start`, to an image for `y = A x + n` in at most `nfe` evaluations.

    `y` is (batch, ...) as the operator returns it, images and `start` (batch, ...) as its adjoint does; `noise_level`
    is sigma_y per complex sample, a number or (batch,), zero allowed, and `prior_std` s, the root mean square of an
    image. `denoise(z, sigma) = E[x0 | x0 + sigma eps = z]`. Raises ConfigError for what does not fit together.
    """
    check_norm(operator)
    times = _times(sampler, nfe, schedule or sampler.schedule)
    context = Context(Counted(denoise), operator, y, noise_level, prior_std, generator)
    source = sampler.source(context, times[0]) if start is None else _checked(start, operator.adjoint(y))
    scales, levels = 1 - times if sampler.on_path else torch.ones_like(times), times / (1 - times)
    states, endpoints, z = [source], list[Tensor](), source / scales[0]
    for scale, level, following in zip(scales[1:], levels[:-1], levels[1:], strict=True):
        z, endpoint = sampler.step(context, z, level, following)
        states.append(scale * z)
        endpoints.append(endpoint)
    return Trajectory(states, endpoints, times if sampler.on_path else None, context.denoise.nfe)


def _times(sampler: Sampler, nfe: int, schedule: Schedule) -> Tensor:
    """The times of as many steps as the budget allows."""
    steps = (nfe + sampler.spared) // sampler.cost
    if steps < 1:
        least = sampler.cost - sampler.spared
        raise ConfigError(f"one step of this sampler takes {least} evaluations; got a budget of {nfe}")
    times = schedule(steps)
    if len(times) != steps + 1 or not float(times[0]) < 1 or not float(times[-1]) >= 0:
        raise ConfigError(f"a schedule of {steps} steps has {steps + 1} times from below 1 to 0; got {times.tolist()}")
    check_times(times)
    return times


def _checked(start: Tensor, image: Tensor) -> Tensor:
    if start.shape[1:] != image.shape[1:] or start.dtype != image.dtype:
        raise ConfigError(
            f"a start is like A^H y, (batch, {', '.join(map(str, image.shape[1:]))}) of {image.dtype}; "
            f"got {tuple(start.shape)} of {start.dtype}"
        )
    return start
