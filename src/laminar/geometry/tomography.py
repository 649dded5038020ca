"""Line integrals: computed tomography."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import said
from laminar.geometry.beam import Beam


@dataclass(frozen=True, eq=False)
class Tomography(Beam):
    """Line integrals, `y = A x` with A a `projector` (`laminar.operators.Projector`); data (image, view, bin).

    `weights` (image or 1, view, bin), by which amplitudes are multiplied, are the noise level of the scan over that of
    each measurement, for noise that is Gaussian but not white, as of few photons
    (`laminar.data.simulation.transmission`): without, it is white.
    """

    weights: Tensor | None = None
    kind = "tomography"

    @property
    def factor(self) -> Tensor | None:
        return self.weights

    def weighted(self, data: Tensor) -> Tensor:
        return data if self.weights is None else data * self.weights

    def check(self, data: Tensor) -> None:
        super().check(data)
        views, bins = self.projector.sinogram
        if data.shape[1:] != (views, bins):
            raise DataFormatError(f"the data must be (image, {views}, {bins}), as the beam; got {said(data)}")
        if self.weights is not None:
            self.check_part("weights", self.weights, data, zero=False)

    def of_image(self, index: int) -> Tomography:
        if self.weights is None or len(self.weights) == 1:
            return self
        return replace(self, weights=self.weights[index : index + 1])
