"""What the coefficients of a network say about the flow that it discretizes: the inverse of the closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.flow.data_steps import DataStep


def implied_times(steps: Tensor) -> Tensor:
    """Times `(1, ..., t_0)` that relative steps `h` in order of execution imply: `t_k = prod (1 - h_j)`."""
    return torch.cat([torch.ones_like(steps[:1]), torch.cumprod(1 - steps, 0)])


@dataclass(frozen=True, eq=False)
class Discretization:
    """What the coefficients of a network say about the flow that it discretizes, in order of execution.

    `times` (N + 1,) that the steps imply, from 1; `steps` (N,) the relative steps; `ratio` (N, ...) the
    `w_k = sigma^2 / nu_k^2` of the data steps (`sigma^2` in the paper's form); `margin`: the least distance of
    the steps before the last from 0 and from 1, negative outside (0.5 if there are none); `last_step_error`:
    `|1 - lam_0|`, for the last step must land on the image; in the paper's form `|1 - sum |delta_k||`.
    """

    times: Tensor
    steps: Tensor
    ratio: Tensor
    margin: float
    last_step_error: float

    def holds(self, tolerance: float = 1e-6) -> bool:
        """Whether the network is a discretization: the last step 1, every other strictly between 0 and 1."""
        return self.last_step_error <= tolerance and self.margin > 0


def discretization(data_step: DataStep, steps: Tensor, data: Tensor) -> Discretization:
    """The inverse map: schedule and noise ratios from the coefficients `steps` (N,) and `data` (N, ...).

    A network is a discretization iff `lam_0 = 1` and `0 < lam_k < 1` for k >= 1, with `t_k = prod_{j>=k} (1 - lam_j)`;
    in the paper's form, where the steps are `|delta_k|`, they sum to 1. Raises ConfigError if the lengths differ.
    """
    if steps.ndim != 1 or len(data) != len(steps) or len(steps) == 0:
        raise ConfigError(
            "a network has one step and one data coefficient a cascade; "
            f"got {tuple(steps.shape)} and {tuple(data.shape)}"
        )
    if data_step.absolute:
        times = torch.cat([torch.ones_like(steps[:1]), 1 - steps.cumsum(0)])
        relative, missed = steps / times[:-1], times[-1]
    else:
        times, relative, missed = implied_times(steps), steps, 1 - steps[-1]
    inner = relative[:-1]
    margin = float(torch.minimum(inner, 1 - inner).min()) if len(inner) else 0.5
    return Discretization(times, relative, data_step.ratios(steps, data), margin, float(missed.abs()))
