"""Where the step sizes and data weights of the cascades come from: nowhere (free), the flow, or a learned flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.flow import DataStep, cascade_steps, data_coefficients, softmax_schedule, uniform_schedule


@dataclass(frozen=True, eq=False)
class CoefficientValues:
    """Numbers of one forward pass, in order of execution.

    `times` (N + 1,) from 1 to 0, or None if the network is no discretization; `steps` (N,) the relative step h_k
    (lam_k of a free network, |delta_k| in the paper's form); `data` (N, batch) the coefficient of the data step;
    `conditioning` (N,) the time that the regularizer is told.
    """

    times: Tensor | None
    steps: Tensor
    data: Tensor
    conditioning: Tensor


class FreeCoefficients(nn.Module):
    """Every lam_k and eta_k (or w_k) is a parameter of its own, as in E2E-VarNet; `shared`, there is one, as in MoDL.

    Only the gradient step takes a lam_k: elsewhere it would only rescale the regularizer.
    """

    nominal: Tensor

    def __init__(self, n_cascades: int, data_step: DataStep, initial: float, shared: bool = False) -> None:
        super().__init__()
        count = 1 if shared else n_cascades
        self.data_step, self.raw = data_step, data_step in ("gradient", "ista")
        self.steps = nn.Parameter(torch.ones(count), requires_grad=data_step == "gradient")
        start = torch.full((count,), initial)
        self.data = nn.Parameter(start if self.raw else start.log(), requires_grad=data_step not in ("hard", "none"))
        self.register_buffer("nominal", torch.tensor(uniform_schedule(n_cascades)[:-1]), persistent=False)

    def forward(self, noise_level: Tensor) -> CoefficientValues:
        values = self.data if self.raw else self._positive()
        data = values[:, None].expand(len(self.nominal), len(noise_level))
        return CoefficientValues(None, self.steps.expand(len(self.nominal)), data, self.nominal)

    def _positive(self) -> Tensor:
        """The closed form at h = 1, except that ADMM then has no weight: there the parameter is its weight."""
        row: DataStep = "proximal" if self.data_step == "admm" else self.data_step
        return data_coefficients(row, torch.ones_like(self.data), self.data.exp())


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
        knows_width = data_step not in ("hard", "none", "paper")
        self.log_prior_std = nn.Parameter((prior_std * times[:-1]).log(), requires_grad=learn_prior_std and knows_width)
        increments = (times[:-1] - times[1:]).log()
        self.increments = nn.Parameter(increments) if learn_schedule else None

    def forward(self, noise_level: Tensor) -> CoefficientValues:
        times = self.times()
        steps = cascade_steps(self.data_step, times)
        variance = noise_level**2 + self.floor**2
        width = torch.zeros_like(self.log_prior_std) if self.data_step == "paper" else self.log_prior_std
        ratio = variance[None] / (2 * width).exp()[:, None]
        return CoefficientValues(times, steps, data_coefficients(self.data_step, steps, ratio), times[:-1])

    def times(self) -> Tensor:
        """The schedule (N + 1,), from 1 to 0."""
        if self.increments is not None:
            return softmax_schedule(self.increments)
        like = self.log_prior_std
        return torch.tensor(self.schedule, dtype=like.dtype, device=like.device)

    def ratio_at(self, time: Tensor, noise_level: Tensor) -> Tensor:
        """`w = sigma^2 / nu^2` (batch,) at any times (batch,): `log(nu / t)` is interpolated between the cascades'."""
        times = self.times()[:-1]
        relative = self.log_prior_std - times.log()
        after = (times[:, None] > time).sum(0).clamp(1, max(1, len(times) - 1)) % len(times)
        before = (after - 1).clamp_min(0)
        gap = (times[before] - times[after]).clamp_min(torch.finfo(times.dtype).tiny)
        log_width = torch.lerp(relative[before], relative[after], ((times[before] - time) / gap).clamp(0, 1))
        return (noise_level**2 + self.floor**2) / (2 * (log_width + time.log())).exp()
