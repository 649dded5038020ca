"""Line integrals: computed tomography."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import LinearOperator, Projector, Weighted


@dataclass(frozen=True, eq=False)
class Tomography(Geometry):
    """Line integrals, `y = A x` with A a `projector` (`laminar.operators.Projector`); data (image, view, bin).

    `weights` (image or 1, view, bin) are the noise level of the scan over that of each measurement, for noise that is
    Gaussian but not white, as of few photons (`laminar.data.simulation.transmission`): without, it is white.
    """

    projector: Projector
    weights: Tensor | None = None
    kind = "tomography"
    axes = ("view", "bin")

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return self.projector.matrix

    @property
    def norm(self) -> float:  # type: ignore[override]
        assert self.projector.norm is not None
        return self.projector.norm * (1.0 if self.weights is None else float(self.weights.max()))

    @property
    def measured_acceleration(self) -> float:
        """Views that the bins of a parallel beam would need, pi / 2 of the larger side, over those that there are."""
        return math.pi / 2 * max(self.matrix) / self.projector.sinogram[0]

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if self.weights is None:
            return self.projector
        return Weighted(self.projector, self.weights.expand(n_images, *self.projector.sinogram))

    def whitened(self, data: Tensor) -> Tensor:
        return data if self.weights is None else data * self.weights

    def check(self, data: Tensor) -> None:
        super().check(data)
        views, bins = self.projector.sinogram
        if data.shape[1:] != (views, bins):
            raise DataFormatError(f"the data must be (image, {views}, {bins}), as the beam; got {said(data)}")
        weights = self.weights
        if weights is None:
            return
        if tuple(weights.shape) not in ((1, views, bins), (len(data), views, bins)):
            raise DataFormatError(f"the weights must be (image, {views}, {bins}); got {said(weights)}")
        if not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not bool(weights.any()):
            raise DataFormatError("the weights must be finite, not negative and not all zero")

    def of_image(self, index: int) -> Tomography:
        if self.weights is None or len(self.weights) == 1:
            return self
        return replace(self, weights=self.weights[index : index + 1])
