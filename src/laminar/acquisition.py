"""The one data type that everything downstream understands: a multi-coil Cartesian acquisition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from laminar.errors import DataFormatError


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Measured k-space on its Cartesian grid, with what is needed to turn it into an image.

    Shapes: `kspace` complex64 (slice, coil, y, x), zero where nothing was sampled, zero frequency at index
    n // 2 of each spatial axis; `mask` bool (y, x), true = acquired; `sensitivities` complex64 (slice, coil, y, x)
    if they are known.

    `readout_axis` is -2 (y) or -1 (x) where the file says which one is the readout, else None.
    `noise_std` is the standard deviation per complex sample, E|n|^2 = noise_std^2, of prewhitened channels.
    `image_shape` is the matrix (y, x) that the scanner would show: the image is center-cropped to it.
    `spacing_mm` is the pixel size (y, x) of that image. `header` holds what the file said besides, as plain values.

    Raises DataFormatError if the parts do not fit each other or hold NaN or Inf.
    """

    kspace: Tensor
    mask: Tensor
    sensitivities: Tensor | None = None
    noise_std: float | None = None
    readout_axis: int | None = None
    image_shape: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None
    name: str = "scan"
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.kspace.shape)
        if self.kspace.ndim != 4 or not self.kspace.is_complex():
            raise DataFormatError(
                f"{self.name}: k-space must be complex (slice, coil, y, x); got {self.kspace.dtype} {shape}"
            )
        if 0 in shape:
            raise DataFormatError(f"{self.name}: k-space is empty: (slice, coil, y, x) = {shape}")
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) != shape[-2:]:
            raise DataFormatError(
                f"{self.name}: the mask must be bool {shape[-2:]} like k-space; "
                f"got {self.mask.dtype} {tuple(self.mask.shape)}"
            )
        if not bool(self.mask.any()):
            raise DataFormatError(f"{self.name}: no acquired line: the mask is false everywhere")
        if not bool(torch.isfinite(torch.view_as_real(self.kspace)).all()):
            raise DataFormatError(f"{self.name}: k-space holds NaN or Inf")
        maps = self.sensitivities
        if maps is not None and (tuple(maps.shape) != shape or not maps.is_complex()):
            raise DataFormatError(
                f"{self.name}: sensitivities must be complex and have the shape of k-space {shape}; "
                f"got {maps.dtype} {tuple(maps.shape)}"
            )
        if maps is not None and not bool(torch.isfinite(torch.view_as_real(maps)).all()):
            raise DataFormatError(f"{self.name}: the sensitivities hold NaN or Inf")
        if self.noise_std is not None and not 0 <= self.noise_std < float("inf"):
            raise DataFormatError(f"{self.name}: the noise level must be finite and not negative; got {self.noise_std}")

    @property
    def n_slices(self) -> int:
        return int(self.kspace.shape[0])

    @property
    def n_coils(self) -> int:
        return int(self.kspace.shape[1])

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (y, x) of the sampled grid."""
        return int(self.kspace.shape[2]), int(self.kspace.shape[3])

    @property
    def phase_axis(self) -> int:
        """The axis to undersample: -2 if x is known to be the readout, else -1."""
        return -2 if self.readout_axis == -1 else -1

    @property
    def measured_acceleration(self) -> float:
        """Number of grid points over number of acquired points."""
        return float(self.mask.numel() / self.mask.sum())

    def slice(self, index: int) -> Acquisition:
        """The acquisition of one slice, still with a leading slice axis of length one."""
        maps = None if self.sensitivities is None else self.sensitivities[index : index + 1]
        return replace(self, kspace=self.kspace[index : index + 1], sensitivities=maps)

    def undersample(self, mask: Tensor) -> Acquisition:
        """The same scan with only the samples that both it and `mask` (y, x) have."""
        if tuple(mask.shape) != self.matrix:
            raise DataFormatError(f"{self.name}: the mask has {tuple(mask.shape)} points, k-space {self.matrix}")
        kept = mask & self.mask
        return replace(self, kspace=self.kspace * kept, mask=kept)
