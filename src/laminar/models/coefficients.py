"""Where the step sizes and data weights of the cascades come from: nowhere (free), the flow, or a learned flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.flow import DataStep, data_coefficient, implied_times, relative_steps, uniform_schedule


@dataclass(frozen=True)
class CoefficientValues:
    """Numbers of one forward pass, in order of execution.

    `times` (N + 1,) from 1 to 0, or None if the network is no discretization; `steps` (N,) the relative step h_k
    (lam_k of a free network); `data` (N, batch) the coefficient of the data step; `conditioning` (N,) the time
    that the regularizer is told.
    """

    times: Tensor | None
    steps: Tensor
    data: Tensor
    conditioning: Tensor


class FreeCoefficients(nn.Module):
    """Every lam_k and eta_k (or w_k) is a parameter of its own, as in E2E-VarNet and MoDL.

    A proximal or hard step takes no lam_k: it would only rescale the regularizer.
    """

    nominal: Tensor

    def __init__(self, n_cascades: int, data_step: DataStep, initial: float) -> None:
        super().__init__()
        self.data_step = data_step
        self.steps = nn.Parameter(torch.ones(n_cascades), requires_grad=data_step == "gradient")
        start = torch.full((n_cascades,), initial)
        self.data = nn.Parameter(start if data_step == "gradient" else start.log(), requires_grad=data_step != "hard")
        self.register_buffer("nominal", torch.tensor(uniform_schedule(n_cascades)[:-1]), persistent=False)

    def forward(self, noise_level: Tensor) -> CoefficientValues:
        free = self.data_step == "gradient"
        values = self.data if free else data_coefficient(self.data_step, self.steps, self.data.exp())
        data = values[:, None].expand(-1, noise_level.shape[0])
        return CoefficientValues(None, self.steps, data, self.nominal)


class FlowCoefficients(nn.Module):
    """The closed form: h_k from the schedule, the data weight from `w_k = (sigma^2 + floor^2) / nu_k^2`.

    `nu_k^2`, the variance of the image given the state at time t, is modeled by `nu_k = prior_std * t_{k+1}` (the
    source is the image plus an error of that size); with `learn_prior_std` each nu_k is a parameter that starts
    there, with `learn_schedule` the times are softmax increments: still a discretization, by construction.
    `floor` stands for the error of the model itself (sensitivities, Gibbs ringing), in units of the image.
    """

    def __init__(
        self,
        schedule: Sequence[float],
        data_step: DataStep,
        *,
        prior_std: float,
        floor: float,
        learn_prior_std: bool,
        learn_schedule: bool,
    ) -> None:
        super().__init__()
        self.data_step, self.floor = data_step, floor
        self.schedule = tuple(schedule)
        times = torch.tensor(schedule)
        self.log_prior_std = nn.Parameter(
            (prior_std * times[:-1]).log(), requires_grad=learn_prior_std and data_step != "hard"
        )
        increments = (times[:-1] - times[1:]).log()
        self.increments = nn.Parameter(increments) if learn_schedule else None

    def forward(self, noise_level: Tensor) -> CoefficientValues:
        times, steps = self._schedule()
        variance = noise_level**2 + self.floor**2
        ratio = variance[None] / (2 * self.log_prior_std).exp()[:, None]
        data = data_coefficient(self.data_step, steps[:, None], ratio)
        return CoefficientValues(times, steps, data, times[:-1])

    def _schedule(self) -> tuple[Tensor, Tensor]:
        if self.increments is None:
            like = self.log_prior_std
            times = torch.tensor(self.schedule, dtype=like.dtype, device=like.device)
            return times, torch.tensor(relative_steps(self.schedule), dtype=like.dtype, device=like.device)
        weights = self.increments.softmax(0)
        remaining = weights.flip(0).cumsum(0).flip(0)
        steps = weights / remaining
        return implied_times(steps), steps
