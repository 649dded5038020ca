"""Plug-and-play with fresh noise between the steps: PnP-Flow and Flower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from laminar.flow.path import per_entry
from laminar.samplers.context import Context
from laminar.samplers.sampler import Sampler, SolvingSampler
from laminar.samplers.schedules import RECTIFIED
from laminar.samplers.settings import within


@dataclass(frozen=True, kw_only=True)
class PnPFlow(Sampler):
    """PnP-Flow: Martin et al., arXiv 2410.02423 (algorithm 3).

        z = x - step_size t^exponent A^H (A x - y)       stable for step_size < 2 / ||A||^2
        x <- mean over `averages` of E[x0 | x_t = (1 - t) z + t eps]

    A step costs `averages` evaluations. The states are the images x, from `start` or A^H y on; there are no times,
    since no state is a point of a path.

    Not a posterior sampler but an optimizer that goes through noise. Biased: for a Gaussian of covariance s^2 I the
    spread of its results vanishes in measured directions, with the square root of the number of steps, and tends to
    half of the prior variance in unmeasured ones; the mean depends on the step sizes, which know no sigma_y.
    """

    on_path: ClassVar[bool] = False

    step_size: float = within(1.0)
    exponent: float = within(1.0)
    averages: int = within(1, least=1)

    def schedule(self, steps: int) -> Tensor:
        return RECTIFIED(steps)

    @property
    def cost(self) -> int:
        return self.averages

    def source(self, context: Context, time: Tensor) -> Tensor:
        return context.operator.adjoint(context.y)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        t, residual = level / (1 + level), context.operator(z) - context.y
        z = z - self.step_size * t**self.exponent * context.operator.adjoint(residual)
        draws = [context.denoise(z + level * context.noise(z), level) for _ in range(self.averages)]
        x = torch.stack(draws).mean(0)
        return x, x


@dataclass(frozen=True, kw_only=True)
class Flower(SolvingSampler):
    """Flower: arXiv 2509.26287 (algorithm 1; `draw` is its gamma).

        x0_hat ~ N(mu, S),  S = (A^H A / sigma_y^2 + I / r^2)^(-1),  mu = S (A^H y / sigma_y^2 + m / r^2)
        x_s = (1 - s) x0_hat + s eps       with fresh noise

    `r^2 = s^2 sigma^2 / (s^2 + sigma^2)`, s = `prior_std`. Without `draw` x0_hat is mu. The draw costs no second
    solve: it is mu of perturbed data and a perturbed m. One evaluation a step.

    Approximates the distribution of x0 given x_t by `N(m, r^2 I)`. If x0 is Gaussian with covariance s^2 I, that is
    exact, and so is every state, for every number of steps: an exact draw of x0 given x_t and y, noised anew, is an
    exact x_s given y. Otherwise biased: where the prior is narrower than s^2 I the draws are too wide and the data
    count too much; in a Gaussian world this error falls with the number of steps (`benchmarks.samplers`). Without
    `draw` it is too narrow everywhere: the result is a conditional mean.
    """

    draw: bool = within(True)

    def schedule(self, steps: int) -> Tensor:
        return RECTIFIED(steps)

    def step(self, context: Context, z: Tensor, level: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        m, y = context.denoise(z, level), context.y
        if self.draw:
            m = m + context.remaining_variance(level).sqrt() * context.noise(m)
            y = y + per_entry(context.noise_level, y) * context.noise(context.operator(m))
        endpoint = m + self.correction(context, y, m, context.weight(level))
        fresh = following * context.noise(z) if bool(following > 0) else 0
        return endpoint + fresh, endpoint
