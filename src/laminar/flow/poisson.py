r"""The data term of counts: the Poisson likelihood in the place of squares, in the same units.

    f(x) = m sum_i [(A x + b)_i - y_i log (A x + b)_i],   y + b counts in units of y, m their mean

The factor m makes f nearly `||A x - y||^2 / 2` where the counts are near their mean, with `sigma^2 = m / k` for k
counts a unit: so every closed form of `laminar.flow.data_steps` keeps its meaning, `w = sigma^2 / nu^2`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.flow.path import per_entry
from laminar.operators import LinearOperator

DARKEST = 0.02  # of the image: where a start is darker, multiplicative steps take long


@dataclass(frozen=True, eq=False)
class PoissonTerm:
    """f of `counts` (batch, ...) and their `background`, both in the units of y; images (batch, y, x)."""

    counts: Tensor
    operator: LinearOperator
    background: Tensor

    @property
    def mean(self) -> Tensor:
        """m, (batch,)."""
        return self.counts.flatten(1).mean(1).clamp_min(1e-12)

    def ratio(self, x: Tensor) -> Tensor:
        """`y / (A x + b)`, 0 where nothing was counted."""
        expected = self.operator.forward(x) + self.background
        least = 1e-6 * per_entry(self.mean, expected)
        return torch.where(self.counts > 0, self.counts / torch.maximum(expected, least), 0)

    def gradient(self, x: Tensor) -> Tensor:
        """`m A^T (1 - y / (A x + b))`, of the image without its negative pixels."""
        return per_entry(self.mean, x) * self.operator.adjoint(1 - self.ratio(x.clamp_min(0)))

    def proximal(self, center: Tensor, weight: Tensor, start: Tensor, iterations: int) -> Tensor:
        """`argmin f(x) + w/2 ||x - center||^2` over x >= 0, by expectation maximization from a start.

            e = x A^T(y / (A x + b)),   x <- the positive root of  w x^2 + (m s - w center) x - m e = 0

        with `s = A^T 1`: the separable surrogate of the likelihood is minimized exactly, so that f + w/2 ||.||^2 never
        rises. De Pierro 1995, doi:10.1109/42.370409. The gradient goes through the iterations.
        """
        mean, weight = per_entry(self.mean, center), per_entry(weight.flatten(), center)
        linear = mean * self.operator.adjoint(torch.ones_like(self.counts)) - weight * center
        x = start.clamp_min(DARKEST)
        for _ in range(iterations):
            product = mean * x * self.operator.adjoint(self.ratio(x))
            root = (linear.square() + 4 * weight * product).clamp_min(1e-20).sqrt()
            rising = 2 * product / (linear + root).clamp_min(1e-12)
            x = torch.where(linear > 0, rising, (root - linear) / (2 * weight))
        return x
