"""Coils at any points of k-space."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import LinearOperator, NonUniform, spectral_norm, toeplitz_spectrum


@dataclass(frozen=True, eq=False)
class NonCartesian(Geometry):
    """Coils at any points of k-space, `y = F S x`; data complex (image, coil, sample), needs the package finufft.

    `trajectory` (sample, 2) as (y, x), in cycles per field of view, so that `|k| <= N / 2` of the `matrix`. Raises
    DataFormatError for one that is not.
    """

    trajectory: Tensor
    matrix: tuple[int, int]
    kind = "noncartesian"
    axes = ("coil", "sample")

    def __post_init__(self) -> None:
        points = self.trajectory
        if points.ndim != 2 or points.shape[-1] != 2 or not len(points) or not points.is_floating_point():
            raise DataFormatError(f"a trajectory must be floating-point (sample, 2), as (y, x); got {said(points)}")
        if not bool(torch.isfinite(points).all()):
            raise DataFormatError("the trajectory holds NaN or Inf")
        reach = (points.abs() / torch.tensor(self.matrix)).max()
        if not 0.05 < reach <= 0.5 + 1e-3:
            raise DataFormatError(
                f"a trajectory is in cycles per field of view and reaches to about {self.matrix[0] / 2:g}, half the "
                f"matrix; got {float(points.abs().max()):.4g}: are these rad, 1/m or parts of one?"
            )
        spectrum = toeplitz_spectrum(points, self.matrix)
        object.__setattr__(self, "_spectrum", spectrum)
        one = NonUniform(points, torch.ones(1, 1, *self.matrix, dtype=torch.complex64), spectrum)
        norm = spectral_norm(one, torch.ones(1, *self.matrix, dtype=torch.complex64), 15)
        object.__setattr__(self, "norm", float(norm))

    @property
    def measured_acceleration(self) -> float:
        return math.prod(self.matrix) / len(self.trajectory)

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a non-Cartesian scan is solved with sensitivities; got none")
        return NonUniform(self.trajectory, sensitivities, self._spectrum)  # type: ignore[attr-defined]

    def check(self, data: Tensor) -> None:
        super().check(data)
        if not data.is_complex() or data.shape[-1] != len(self.trajectory):
            raise DataFormatError(
                f"the data must be complex (image, coil, {len(self.trajectory)}), as the trajectory; got {said(data)}"
            )
