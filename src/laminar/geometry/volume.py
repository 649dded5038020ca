"""Coils on a Cartesian grid of three axes of k-space, none of which need be complete."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import Encoding, LinearOperator


@dataclass(frozen=True, eq=False)
class Volume(Geometry):
    """A 3-D scan `y = M F S x` with a Fourier transform F of all three axes; an image is (slice, y, x).

    `mask` bool (z, y, x), true = acquired; data complex (image, coil, z, y, x), zero frequency at n // 2 of each axis;
    sensitivities (image, coil, z, y, x). Where an axis is sampled without gaps, a `Series` of slices along it is the
    same scan with smaller transforms.
    """

    mask: Tensor
    kind = "volume"
    axes = ("coil", "z", "y", "x")
    image_axes = ("slice", "y", "x")

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self.mask.shape[-2]), int(self.mask.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mask.shape)

    def maps_shape(self, coils: int) -> tuple[int, ...]:
        return (coils, *self.shape)

    @property
    def complete_axis(self) -> int | None:
        """The axis, -3 to -1, along which the mask is constant: its readout. None if every axis has gaps."""
        return next((a for a in (-1, -2, -3) if bool((self.mask == self.mask.narrow(a, 0, 1)).all())), None)

    @property
    def measured_acceleration(self) -> float:
        return float(self.mask.numel() / self.mask.sum())

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a Cartesian scan is solved with sensitivities; got none")
        return Encoding(self.mask.expand(n_images, *self.shape), sensitivities)

    def check(self, data: Tensor) -> None:
        if data.ndim != 5 or not data.is_complex():
            raise DataFormatError(f"k-space must be complex (image, coil, z, y, x); got {said(data)}")
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) != tuple(data.shape[2:]):
            raise DataFormatError(f"the mask must be bool {tuple(data.shape[2:])} like k-space; got {said(self.mask)}")
        if not bool(self.mask.any()):
            raise DataFormatError("no acquired line: the mask is false everywhere")
