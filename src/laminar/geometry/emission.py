"""Emission tomography: counts of decays along lines, as of PET and SPECT."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import said
from laminar.geometry.beam import Beam
from laminar.operators import Counting, LinearOperator


@dataclass(frozen=True, eq=False)
class Emission(Beam):
    """Counts of a Poisson process, `y ~ Poisson(f P x + b)`, of an activity x that is nowhere negative.

    P is a `projector`; `factors` f (image or 1, view, bin) the chance that a decay along a line is counted: attenuation
    times the efficiency of the detectors; `background` b (image or 1, view, bin) the expected scatter and randoms, or
    None. Data are counts, real (image, view, bin). The noise is that of the counts themselves: `noise_std` means
    nothing here.
    """

    factors: Tensor | None = None
    background: Tensor | None = None
    kind = "emission"

    @property
    def factor(self) -> Tensor | None:
        return self.factors

    def counting(self, n_images: int, unit: Tensor) -> LinearOperator:
        """The operator over `norm`, for counts over `unit` (image,), with their background."""
        background = self.expected(n_images) / unit[:, None, None]
        return Counting((1 / self.norm) * self.operator(n_images, None), background)

    def expected(self, n_images: int) -> Tensor:
        """The background of so many images, zero where none is known."""
        if self.background is None:
            return torch.zeros(n_images, *self.projector.sinogram)
        return self.background.expand(n_images, *self.projector.sinogram)

    def check(self, data: Tensor) -> None:
        super().check(data)
        views, bins = self.projector.sinogram
        if data.is_complex() or data.shape[1:] != (views, bins):
            raise DataFormatError(f"counts must be real (image, {views}, {bins}), as the beam; got {said(data)}")
        if not bool((data >= 0).all()):
            raise DataFormatError(f"counts must not be negative; got {float(data.min()):.4g}")
        if self.factors is not None:
            self.check_part("factors", self.factors, data, zero=False)
        if self.background is not None:
            self.check_part("background", self.background, data, zero=True)

    def of_image(self, index: int) -> Emission:
        return replace(self, factors=_of(self.factors, index), background=_of(self.background, index))


def _of(part: Tensor | None, index: int) -> Tensor | None:
    return part if part is None or len(part) == 1 else part[index : index + 1]
