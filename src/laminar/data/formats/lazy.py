"""A scan that is read slice by slice, so that a volume needs no more memory than a slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry import Cartesian
from laminar.scan import Scan


@dataclass(frozen=True, eq=False)
class LazyScan:
    """What a Cartesian `Scan` says of all slices; `slice` reads one of them, as a `Scan` of one slice.

    `load(index)` may raise DataFormatError: a broken slice shows only when it is read.
    """

    n_slices: int
    n_coils: int
    grid: Cartesian
    load: Callable[[int], Scan]
    series: Mapping[str, int] = field(default_factory=dict)
    name: str = "scan"

    @classmethod
    def of(cls, scan: Scan) -> LazyScan:
        """The slices of a scan that is in memory."""
        return cls(scan.n_slices, scan.n_coils, scan.grid, scan.slice, scan.series, scan.name)

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (y, x) of the sampled grid."""
        return self.grid.matrix

    @property
    def measured_acceleration(self) -> float:
        return self.grid.measured_acceleration

    def slice(self, index: int) -> Scan:
        if not 0 <= index < self.n_slices:
            raise DataFormatError(f"{self.name}: slice {index} of {self.n_slices} does not exist")
        return self.load(index)

    def undersample(self, mask: Tensor) -> LazyScan:
        """The same scan with only the samples that both it and `mask` (y, x) or (image, y, x) have."""
        try:
            grid = self.grid.undersample(mask)
        except DataFormatError as error:
            raise DataFormatError(f"{self.name}: {error}") from None
        of_image = Cartesian(mask).of_image
        return replace(self, grid=grid, load=lambda index: self.load(index).undersample(of_image(index).mask))


AnyScan = Scan | LazyScan
