"""What a network or solver went through on its way from the source to the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States `x^(N) ... x^(0)` in the order of execution, with what was known at each step.

    `states`: N + 1 images (batch, y, x), the source first and the result last. `endpoints`: the N estimates
    `x0_hat_k` of the image that the steps aimed at. `times`: N + 1 numbers from 1 to 0 as a tensor, or None if
    the network is not a discretization of time. `nfe`: number of evaluations of the regularizer. `result`: the image,
    where it is made of more than the last state.
    """

    states: list[Tensor]
    endpoints: list[Tensor]
    times: Tensor | None
    nfe: int
    result: Tensor | None = None

    @property
    def image(self) -> Tensor:
        return self.states[-1] if self.result is None else self.result

    @property
    def source(self) -> Tensor:
        return self.states[0]

    def stacked(self) -> Tensor:
        """All states as one tensor (cascade, batch, y, x)."""
        return torch.stack(self.states)

    def to(self, device: torch.device | str) -> Trajectory:
        states, endpoints = ([x.to(device) for x in images] for images in (self.states, self.endpoints))
        times, result = (None if x is None else x.to(device) for x in (self.times, self.result))
        return Trajectory(states, endpoints, times, self.nfe, result)
