"""Cartesian images that are solved together: the frames of a cine, the slices of a volume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, said
from laminar.operators import Encoding, LinearOperator, Stacked


@dataclass(frozen=True, eq=False)
class Series(Geometry):
    """Frames of one moving slice, or slices of one volume, `y_f = M_f F S_f x_f`, as one image (frame, y, x).

    `mask` bool (frame, y, x), or (image, frame, y, x), true = acquired. Frames have the coils of their slice in common,
    sensitivities (image, coil, y, x); slices have their own, (image, slice, coil, y, x). Data are complex (image,
    frame, coil, y, x). `readout_axis` as of `Cartesian`. A 3-D scan whose readout is sampled without gaps is a series
    of slices along it.
    """

    mask: Tensor
    axis: Literal["frame", "slice"] = "frame"
    readout_axis: int | None = None
    kinds: ClassVar = {"frame": "cine", "slice": "volume"}

    @property
    def kind(self) -> str:  # type: ignore[override]
        return str(self.kinds[self.axis])

    @property
    def axes(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.axis, "coil", "y", "x")

    @property
    def image_axes(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.axis, "y", "x")

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self.mask.shape[-2]), int(self.mask.shape[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.count, *self.matrix)

    @property
    def count(self) -> int:
        """How many images are solved together."""
        return int(self.mask.shape[-3])

    @property
    def phase_axis(self) -> int:
        """The axis to undersample, as of `Cartesian`."""
        return -2 if self.readout_axis == -1 else -1

    @property
    def is_moving(self) -> bool:
        """Whether all images are of one slice, and have its coils."""
        return self.axis == "frame"

    def maps_shape(self, coils: int) -> tuple[int, ...]:
        return (coils, *self.matrix) if self.is_moving else (self.count, coils, *self.matrix)

    @property
    def measured_acceleration(self) -> float:
        return float(self.mask.numel() / self.mask.sum())

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a Cartesian scan is solved with sensitivities; got none")
        masks = self.mask.expand(n_images, *self.mask.shape[-3:]).flatten(0, 1)
        maps = sensitivities.repeat_interleave(self.count, 0) if self.is_moving else sensitivities.flatten(0, 1)
        return Stacked(Encoding(masks, maps), self.count)

    def check(self, data: Tensor) -> None:
        if self.axis not in self.kinds:
            raise DataFormatError(f"a series is of frames or slices, axis frame or slice; got {self.axis!r}")
        if data.ndim != 5 or not data.is_complex():
            raise DataFormatError(f"k-space must be complex (image, {self.axis}, coil, y, x); got {said(data)}")
        fitting = (data.shape[1], *data.shape[-2:])
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) not in (fitting, (len(data), *fitting)):
            raise DataFormatError(f"the mask must be bool {fitting} like k-space; got {said(self.mask)}")
        if not bool(self.mask.flatten(-2).any(-1).all()):
            raise DataFormatError(f"no acquired line: the mask of a {self.axis} is false everywhere")

    def of_image(self, index: int) -> Series:
        return self if self.mask.ndim == 3 else replace(self, mask=self.mask[index])
