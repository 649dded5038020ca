"""Coils on a Cartesian grid of k-space, image by image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, check_tensor, said
from laminar.operators import Encoding, LinearOperator, SoftSense


@dataclass(frozen=True, eq=False)
class Cartesian(Geometry):
    """Coils on a Cartesian grid of k-space, `y = M F S x`.

    `mask` bool (y, x), or (image, y, x) where the images differ, true = acquired; `readout_axis` is -2 (y) or -1 (x)
    where it is known which one is the readout, else None. Data are complex (image, coil, y, x), zero where nothing was
    sampled, zero frequency at index n // 2 of each spatial axis.
    """

    mask: Tensor
    readout_axis: int | None = None
    kind = "cartesian"
    axes = ("coil", "y", "x")

    @staticmethod
    def expected(geometry: Geometry, name: str) -> Cartesian:
        """The geometry of a scan that must be Cartesian. Raises DataFormatError, which says the scan's name."""
        if not isinstance(geometry, Cartesian):
            raise DataFormatError(f"{name}: this needs a Cartesian scan; got {type(geometry).__name__}")
        return geometry

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self.mask.shape[-2]), int(self.mask.shape[-1])

    @property
    def phase_axis(self) -> int:
        """The axis to undersample: -2 if x is known to be the readout, else -1."""
        return -2 if self.readout_axis == -1 else -1

    @property
    def measured_acceleration(self) -> float:
        """Number of grid points over number of acquired points."""
        return float(self.mask.numel() / self.mask.sum())

    @property
    def common_mask(self) -> Tensor:
        """What every image has: bool (y, x)."""
        return self.mask if self.mask.ndim == 2 else self.mask.all(0)

    @property
    def union(self) -> Tensor:
        """What any image has: bool (y, x)."""
        return self.mask if self.mask.ndim == 2 else self.mask.any(0)

    @property
    def coil_mask(self) -> Tensor:
        """The mask as it multiplies data (image, coil, y, x)."""
        return self.mask if self.mask.ndim == 2 else self.mask[:, None]

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a Cartesian scan is solved with sensitivities; got none")
        kind = Encoding if sensitivities.ndim == 4 else SoftSense
        return kind(self.mask.expand(n_images, *self.matrix), sensitivities)

    def check(self, data: Tensor) -> None:
        check_tensor("mask", self.mask)
        if data.ndim != 4 or not data.is_complex():
            raise DataFormatError(f"k-space must be complex (slice, coil, y, x); got {said(data)}")
        fitting = (tuple(data.shape[-2:]), (len(data), *data.shape[-2:]))
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) not in fitting:
            raise DataFormatError(f"the mask must be bool {fitting[0]} like k-space; got {said(self.mask)}")
        if not bool(self.mask.any()):
            raise DataFormatError("no acquired line: the mask is false everywhere")

    def of_image(self, index: int) -> Cartesian:
        return self if self.mask.ndim == 2 else replace(self, mask=self.mask[index])

    def undersample(self, mask: Tensor) -> Cartesian:
        """With only the samples that `mask` (y, x) or (image, y, x) has as well."""
        if tuple(mask.shape[-2:]) != self.matrix:
            raise DataFormatError(f"the mask has {tuple(mask.shape)} points, k-space {self.matrix}")
        return replace(self, mask=mask & self.mask)
