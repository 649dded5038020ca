"""Where the step sizes and data weights of the cascades come from: nowhere (free), the flow, or a learned flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.flow import DATA_STEPS, DataStep, relative_steps, softmax_schedule, uniform_schedule
from laminar.models.config import CONDITIONS, UnrolledConfig


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

    @property
    def relative(self) -> Tensor:
        """The relative steps (N,), where `steps` are those of the paper's form."""
        return self.steps if self.times is None else relative_steps(self.times)


class FreeCoefficients(nn.Module):
    """Every lam_k and eta_k (or w_k) is a parameter of its own, as in E2E-VarNet; `shared`, there is one, as in MoDL.

    What is a parameter, and of which sign, the data step says: `raw`, `free_step`, `constant`.
    """

    nominal: Tensor

    def __init__(self, n_cascades: int, data_step: DataStep, initial: float, shared: bool = False) -> None:
        super().__init__()
        count = 1 if shared else n_cascades
        self.data_step = data_step
        self.steps = nn.Parameter(torch.ones(count), requires_grad=data_step.free_step)
        start = torch.full((count,), initial)
        self.data = nn.Parameter(start if data_step.raw else start.log(), requires_grad=not data_step.constant)
        self.register_buffer("nominal", torch.tensor(uniform_schedule(n_cascades)[:-1]), persistent=False)

    def forward(self, noise_level: Tensor, conditions: Tensor | None = None) -> CoefficientValues:
        # Every step is 1, so that of each cascade the closed form is that of the last.
        form = self.data_step.final.coefficient
        values = self.data if self.data_step.raw else form(torch.ones_like(self.data), self.data.exp())
        data = values[:, None].expand(len(self.nominal), len(noise_level))
        return CoefficientValues(None, self.steps.expand(len(self.nominal)), data, self.nominal)


class FlowCoefficients(nn.Module):
    """The closed form: h_k from the schedule, the data weight from `w_k = (sigma^2 + floor^2) / nu_k^2`.

    `nu_k^2`, the variance of the image given the state at time t, is modeled by `nu_k = prior_std * t_{k+1}` (the
    source is the image plus an error of that size); with `learn_prior_std` each nu_k is a parameter that starts
    there, with `learn_schedule` the times are softmax increments: still a discretization, by construction.
    `least` bounds them, `nu_k^2 = least^2 + exp(2 theta_k)`: what a network learns of its own error where it is right
    must hold on images that it has never seen. `floor` stands for the error of the model itself (sensitivities, Gibbs
    ringing), in units of the image. With `of_scan` the widths follow the scan,

        log nu_k = 1/2 log(least^2 + exp(2 theta_k)) + a_k . c,

    c the `conditions` of `Measurement` (noise level and acceleration), zero for an ordinary scan: the error of an image
    at R = 1.5 is not that at R = 8. The a_k start at zero, and are what is learned.
    """

    def __init__(
        self,
        schedule: Sequence[float],
        data_step: DataStep,
        *,
        prior_std: float,
        least: float,
        floor: float,
        learn_prior_std: bool,
        learn_schedule: bool,
        of_scan: bool = False,
    ) -> None:
        super().__init__()
        self.data_step, self.least, self.floor = data_step, least, floor
        self.schedule = tuple(schedule)
        times = torch.tensor(schedule)
        learned = learn_prior_std and data_step.knows_width
        self.log_prior_std = nn.Parameter((prior_std * times[:-1]).log(), requires_grad=learned)
        increments = (times[:-1] - times[1:]).log()
        self.increments = nn.Parameter(increments) if learn_schedule else None
        gains = torch.zeros(len(schedule) - 1, CONDITIONS)
        self.scan_gains = nn.Parameter(gains, requires_grad=learned) if of_scan and data_step.knows_width else None

    def forward(self, noise_level: Tensor, conditions: Tensor | None = None) -> CoefficientValues:
        times = self.times()
        steps = self.data_step.steps(times)
        variance = noise_level**2 + self.floor**2
        width = self.log_width(conditions) if self.data_step.knows_width else times.new_zeros(len(steps), 1)
        ratio = variance[None] / (2 * width).exp()
        return CoefficientValues(times, steps, self.data_step.coefficients(steps, ratio), times[:-1])

    def log_width(self, conditions: Tensor | None = None) -> Tensor:
        """`log nu_k` (N, batch) for scans of these `conditions` (batch, 2); (N, 1) of the ordinary one without."""
        width = self.log_prior_std[:, None]
        if self.least:
            width = 0.5 * (self.least**2 + (2 * width).exp()).log()
        if self.scan_gains is None or conditions is None:
            return width
        return width + (self.scan_gains[:, None] * conditions).sum(-1)  # no matrix product: autocast would round it

    def times(self) -> Tensor:
        """The schedule (N + 1,), from 1 to 0."""
        if self.increments is not None:
            return softmax_schedule(self.increments)
        like = self.log_prior_std
        return torch.tensor(self.schedule, dtype=like.dtype, device=like.device)

    def ratio_at(self, time: Tensor, noise_level: Tensor, conditions: Tensor | None = None) -> Tensor:
        """`w = sigma^2 / nu^2` (batch,) at any times (batch,): `log(nu / t)` is interpolated between the cascades'."""
        times = self.times()[:-1]
        relative = (self.log_width(conditions) - times.log()[:, None]).expand(-1, len(time))
        after = (times[:, None] > time).sum(0).clamp(1, max(1, len(times) - 1)) % len(times)
        before = (after - 1).clamp_min(0)
        gap = (times[before] - times[after]).clamp_min(torch.finfo(times.dtype).tiny)
        entry = torch.arange(len(time), device=time.device)
        log_width = torch.lerp(
            relative[before, entry], relative[after, entry], ((times[before] - time) / gap).clamp(0, 1)
        )
        return (noise_level**2 + self.floor**2) / (2 * (log_width + time.log())).exp()


def make_coefficients(config: UnrolledConfig) -> FreeCoefficients | FlowCoefficients:
    """The coefficients that the settings ask for."""
    data_step = DATA_STEPS[config.data_step]
    if config.coefficients == "free":
        return FreeCoefficients(config.n_cascades, data_step, config.data_weight, config.shared)
    return FlowCoefficients(
        config.times,
        data_step,
        prior_std=config.prior_std,
        least=config.least_prior_std,
        floor=config.noise_floor,
        learn_prior_std=config.learn_prior_std,
        learn_schedule=config.coefficients == "learned",
        of_scan=config.scan_prior_std,
    )
