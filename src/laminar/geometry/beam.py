"""What all scans along lines have in common: a projector, and a factor of each measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import LinearOperator, Projector, Weighted


@dataclass(frozen=True, eq=False)
class Beam(Geometry):
    """A geometry `y = f P x` with P a `projector`; data (image, view, bin)."""

    projector: Projector
    axes = ("view", "bin")

    @property
    def factor(self) -> Tensor | None:
        """f (image or 1, view, bin), or None for one everywhere."""
        raise NotImplementedError

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return self.projector.matrix

    @property
    def norm(self) -> float:  # type: ignore[override]
        assert self.projector.norm is not None
        return self.projector.norm * (1.0 if self.factor is None else float(self.factor.max()))

    @property
    def measured_acceleration(self) -> float:
        """Views that the bins of a parallel beam would need, pi / 2 of the larger side, over those that there are."""
        return math.pi / 2 * max(self.matrix) / self.projector.sinogram[0]

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if self.factor is None:
            return self.projector
        return Weighted(self.projector, self.factor.expand(n_images, *self.projector.sinogram))

    def check_part(self, name: str, part: Tensor, data: Tensor, zero: bool) -> None:
        """Raise DataFormatError for numbers that do not fit the data, are negative or, unless `zero`, all zero."""
        views, bins = self.projector.sinogram
        if tuple(part.shape) not in ((1, views, bins), (len(data), views, bins)):
            raise DataFormatError(f"the {name} must be (image, {views}, {bins}); got {said(part)}")
        if not bool((torch.isfinite(part) & (part >= 0)).all()) or not (zero or bool(part.any())):
            raise DataFormatError(f"the {name} must be finite, not negative{'' if zero else ' and not all zero'}")
