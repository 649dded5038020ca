"""Any linear operator of others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import LinearOperator, check_operator, wrap


@dataclass(frozen=True, eq=False)
class Linear(Geometry):
    """Any linear operator between images (image, y, x) of a `matrix` and data (image, ...).

    Real data are of real images, complex data of complex ones: an operator of real numbers acts on real and imaginary
    part. `axes` names the axes of the data. What is no `LinearOperator` is wrapped with defaults (`laminar.wrap`).
    Raises ConfigError if the operator has no true adjoint.
    """

    forward: LinearOperator
    matrix: tuple[int, int]
    kind = "linear"
    axes: tuple[str, ...] = ("y", "x")

    def __post_init__(self) -> None:
        known = wrap(self.forward, self.matrix)
        norm = known.norm
        if norm is None:
            norm = check_operator(known, self.matrix, type(known).__name__, torch.complex64)
        object.__setattr__(self, "forward", known)
        object.__setattr__(self, "norm", norm)

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        return self.forward

    def check(self, data: Tensor) -> None:
        super().check(data)
        expected = self.forward.forward(torch.zeros(1, *self.matrix, dtype=data.dtype)).shape[1:]
        if data.shape[1:] != expected:
            raise DataFormatError(f"the data must be (image, {', '.join(map(str, expected))}); got {said(data)}")
