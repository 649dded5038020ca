"""A scan that is read slice by slice, so that a volume needs no more memory than a slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry import Cartesian, Geometry
from laminar.scan import Placement, Scan


@dataclass(frozen=True, eq=False)
class LazyScan:
    """What a `Scan` says of all slices; `slice` reads one of them, as a `Scan` of one slice.

    `load(index)` may raise DataFormatError: a broken slice shows only when it is read. `held` is the scan if all of it
    is in memory.
    """

    n_slices: int
    n_coils: int
    geometry: Geometry
    load: Callable[[int], Scan]
    series: Mapping[str, int] = field(default_factory=dict)
    name: str = "scan"
    header: Mapping[str, Any] = field(default_factory=dict)
    held: Scan | None = None

    @classmethod
    def of(cls, scan: Scan) -> LazyScan:
        """The slices of a scan that is in memory."""
        series, name, header = scan.series, scan.name, scan.header
        return cls(scan.n_slices, scan.n_coils, scan.geometry, scan.slice, series, name, header, scan)

    @property
    def grid(self) -> Cartesian:
        """The geometry of a Cartesian scan. Raises DataFormatError for another one."""
        return Cartesian.expected(self.geometry, self.name)

    @property
    def is_planar_grid(self) -> bool:
        """Whether it is Cartesian, image by image."""
        return isinstance(self.geometry, Cartesian)

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (y, x) of the images, of a Cartesian scan that of the sampled grid."""
        return self.geometry.matrix

    @property
    def measured_acceleration(self) -> float:
        return self.geometry.measured_acceleration

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, mended or left out when the file was read, a line each: `header["notes"]`."""
        return tuple(self.header.get("notes", ()))

    def noting(self, *lines: str) -> LazyScan:
        """The same scan with more notes."""
        header = {**self.header, "notes": (*self.notes, *lines)}
        held = self.held and replace(self.held, header=header)
        return replace(self, header=header, held=held, load=lambda index: replace(self.load(index), header=header))

    def slice(self, index: int) -> Scan:
        if not 0 <= index < self.n_slices:
            raise DataFormatError(f"{self.name}: slice {index} of {self.n_slices} does not exist")
        return self.load(index)

    def whole(self) -> Scan:
        """All slices in memory."""
        if self.held is not None:
            return self.held
        first = self.slice(0)
        data, maps = (_room(one, self.n_slices) for one in (first.data, first.sensitivities))
        places: list[Placement] = []
        for index in range(self.n_slices):
            part = first if index == 0 else self.slice(index)
            for room, values in ((data, part.data), (maps, part.sensitivities)):
                if room is not None and values is not None:
                    room[index] = values[0]
            places += part.placements or ()
        assert data is not None
        placements = tuple(places) if len(places) == self.n_slices else None
        return replace(
            first, data=data, sensitivities=maps, geometry=self.geometry, placements=placements, series=self.series
        )

    def select(self, name: str, index: int) -> LazyScan:
        """The images at one place of an axis of the series, or one slice. Raises DataFormatError if there is none."""
        axes = dict(self.series) or {"slice": self.n_slices}
        if name not in axes or not 0 <= index < axes[name]:
            there = ", ".join(f"{each} 0 to {count - 1}" for each, count in axes.items())
            raise DataFormatError(f"{self.name}: no {name} {index}; the scan has {there}")
        kept = torch.arange(self.n_slices).reshape(*axes.values()).select(list(axes).index(name), index).flatten()
        geometry = self.geometry
        if geometry.of_image(0) is not geometry:
            geometry = replace(self.grid, mask=self.grid.mask[kept])
        left = {each: count for each, count in axes.items() if each != name}
        series = left if left.keys() - {"slice"} else {}
        load = lambda image: self.load(int(kept[image]))  # noqa: E731
        chosen = replace(self, n_slices=len(kept), geometry=geometry, load=load, series=series, held=None)
        return chosen.noting(f"{name} {index} of {axes[name]}, by choice")

    def undersample(self, mask: Tensor) -> LazyScan:
        """The same scan with only the samples that both it and `mask` (y, x) or (image, y, x) have."""
        try:
            grid = self.grid.undersample(mask)
        except DataFormatError as error:
            raise DataFormatError(f"{self.name}: {error}") from None
        of_image = Cartesian(mask).of_image
        load = lambda index: self.load(index).undersample(of_image(index).mask)  # noqa: E731
        return replace(self, geometry=grid, held=None, load=load)


def _room(part: Tensor | None, n: int) -> Tensor | None:
    return None if part is None else part.new_empty(n, *part.shape[1:])


AnyScan = Scan | LazyScan
