"""Operators whose measurements are counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator


class Counting(LinearOperator):
    """`A` of a measurement y that is counts less their expected `background` b: `y + b ~ Poisson(A x + b)`, scaled.

    To all that is linear it is A. What knows the Poisson likelihood reads `background` (batch, ...), in the units of y.
    """

    def __init__(self, operator: LinearOperator, background: Tensor) -> None:
        self.operator, self.background, self.norm = operator, background, operator.norm

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(y)

    def gram(self, x: Tensor) -> Tensor:
        return self.operator.gram(x)

    def to(self, device: torch.device | str) -> Counting:
        return Counting(self.operator.to(device), self.background.to(device))

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> Counting:
        parts = [operator for operator in operators if isinstance(operator, Counting)]
        if len(parts) != len(operators):
            raise ConfigError("counts can be put into one batch with counts alone")
        inner = [part.operator for part in parts]
        return Counting(inner[0].stack(inner), torch.cat([part.background for part in parts]))
