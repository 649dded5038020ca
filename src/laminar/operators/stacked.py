"""An operator of every element of a series, as one operator of the series."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.errors import ConfigError
from laminar.operators.linear import LinearOperator


class Stacked(LinearOperator):
    """`y_f = A_f x_f` for `count` elements f of every batch entry: image (batch, count, ...), data (batch, count, ...).

    `operator` is that of all elements as one batch, (batch * count, ...), which nothing couples.
    """

    def __init__(self, operator: LinearOperator, count: int) -> None:
        self.operator, self.count, self.norm = operator, count, operator.norm

    def forward(self, x: Tensor) -> Tensor:
        return self._series(self.operator.forward(x.flatten(0, 1)))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._series(self.operator.adjoint(y.flatten(0, 1)))

    def gram(self, x: Tensor) -> Tensor:
        return self._series(self.operator.gram(x.flatten(0, 1)))

    def invert_regularized(
        self, rhs: Tensor, weight: Tensor, start: Tensor | None, iterations: int, tolerance: float
    ) -> Tensor:
        each = weight.expand(len(rhs), *weight.shape[1:]).repeat_interleave(self.count, 0).flatten(1, 2)
        begin = None if start is None else start.flatten(0, 1)
        return self._series(self.operator.invert_regularized(rhs.flatten(0, 1), each, begin, iterations, tolerance))

    def _series(self, elements: Tensor) -> Tensor:
        return elements.reshape(-1, self.count, *elements.shape[1:])

    @property
    def sampled(self) -> Tensor | None:
        sampled = self.operator.sampled
        return sampled if sampled is None or len(sampled) == 1 else self._series(sampled)

    def to(self, device: torch.device | str) -> Stacked:
        return Stacked(self.operator.to(device), self.count)

    @staticmethod
    def stack(operators: Sequence[LinearOperator]) -> Stacked:
        parts = [operator for operator in operators if isinstance(operator, Stacked)]
        counts = {part.count for part in parts}
        if len(parts) != len(operators) or len(counts) != 1:
            raise ConfigError(f"only series of one length can be put into one batch; got {sorted(counts)}")
        inner = [part.operator for part in parts]
        return Stacked(inner[0].stack(inner), parts[0].count)
