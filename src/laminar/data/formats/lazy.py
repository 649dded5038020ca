"""A scan that is read slice by slice, so that a volume needs no more memory than a slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from laminar.acquisition import Acquisition
from laminar.errors import DataFormatError


@dataclass(frozen=True, eq=False)
class LazyScan:
    """What an `Acquisition` says of all slices; `slice` reads one of them, as an `Acquisition` of one slice.

    `load(index)` may raise DataFormatError: a broken slice shows only when it is read. `mask` is bool (y, x).
    """

    n_slices: int
    n_coils: int
    mask: Tensor
    load: Callable[[int], Acquisition]
    phase_axis: int = -1
    name: str = "scan"

    @classmethod
    def of(cls, scan: Acquisition) -> LazyScan:
        """The slices of a scan that is in memory."""
        return cls(scan.n_slices, scan.n_coils, scan.mask, scan.slice, scan.phase_axis, scan.name)

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (y, x) of the sampled grid."""
        return int(self.mask.shape[0]), int(self.mask.shape[1])

    @property
    def measured_acceleration(self) -> float:
        """Number of grid points over number of acquired points."""
        return float(self.mask.numel() / self.mask.sum())

    def slice(self, index: int) -> Acquisition:
        if not 0 <= index < self.n_slices:
            raise DataFormatError(f"{self.name}: slice {index} of {self.n_slices} does not exist")
        return self.load(index)

    def undersample(self, mask: Tensor) -> LazyScan:
        """The same scan with only the samples that both it and `mask` (y, x) have."""
        if tuple(mask.shape) != self.matrix:
            raise DataFormatError(f"{self.name}: the mask has {tuple(mask.shape)} points, k-space {self.matrix}")
        return replace(self, mask=mask & self.mask, load=lambda index: self.load(index).undersample(mask))
