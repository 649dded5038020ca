"""The multi-coil encoding and its solves as tensors alone: no branch depends on a number."""

from __future__ import annotations

import torch
from torch import Tensor

from laminar.export.arithmetic import Fourier, conjugate, times


class Coils:
    """`A = M F S` on images (batch, 2, y, x): `mask` float (batch, 1, 1, y, x), `maps` (batch, coil, 2, y, x)."""

    def __init__(self, mask: Tensor, maps: Tensor, fourier: Fourier) -> None:
        self._mask, self._maps, self._fourier = mask, maps, fourier
        lines = mask[:, 0, 0]
        self._by_row = (lines == lines[:, :1]).all()  # the mask is constant along y: rows are systems of their own
        self._by_column = (lines == lines[:, :, :1]).all()

    @property
    def samples(self) -> Tensor:
        """The number of measured entries of a coil."""
        return self._mask.sum().clamp_min(1)

    def measured(self, y: Tensor) -> Tensor:
        """What was sampled of k-space y."""
        return y * self._mask

    def forward(self, x: Tensor) -> Tensor:
        return self._fourier.forward(times(self._maps, x.unsqueeze(1))) * self._mask

    def adjoint(self, y: Tensor) -> Tensor:
        return times(conjugate(self._maps), self._fourier.inverse(y * self._mask)).sum(1)

    def gram(self, x: Tensor) -> Tensor:
        return self.adjoint(self.forward(x))

    def solve(
        self,
        rhs: Tensor,
        weight: Tensor,
        start: Tensor,
        iterations: int,
        tolerance: Tensor | float,
        most: Tensor | None = None,
    ) -> Tensor:
        """`(A^H A + w I)^(-1) b` by so many iterations of conjugate gradient.

        As in `laminar.operators`: of a mask of lines, each image line is a system of its own, and nothing moves any
        more once `||b - (A^H A + w I) x|| <= tolerance ||b||`, nor after the iterations `most`.
        """
        goal = (tolerance * rhs.new_ones(())).clamp_min(torch.finfo(rhs.dtype).eps) ** 2 * _whole(rhs.square())
        x = start
        residual = rhs - self.gram(x) - weight * x
        direction, energy = residual, self._per_system(residual.square())
        for k in range(iterations):
            mapped = self.gram(direction) + weight * direction
            step = _ratio(energy, self._per_system(direction * mapped))
            step = torch.where(_whole(residual.square()) <= goal, 0.0, step)
            step = step if most is None else torch.where(k >= most, 0.0, step)
            x, residual = x + step * direction, residual - step * mapped
            energy, previous = self._per_system(residual.square()), energy
            direction = residual + _ratio(energy, previous) * direction
        return x

    def _per_system(self, product: Tensor) -> Tensor:
        """Sums of (batch, 2, y, x) over each system, (batch, 1, y or 1, x or 1) as broadcast to one shape."""
        product = product.sum(1, keepdim=True)
        rows, columns = product.sum(-1, keepdim=True), product.sum(-2, keepdim=True)
        return torch.where(self._by_column, columns, torch.where(self._by_row, rows, rows.sum(-2, keepdim=True)))


def _whole(product: Tensor) -> Tensor:
    return product.sum((-3, -2, -1), keepdim=True)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    tiny = torch.finfo(denominator.dtype).tiny
    return torch.where(denominator > tiny, numerator / denominator.clamp_min(tiny), 0.0)
