"""The images of a scan as other programs take them: pixels, where each lies, and what they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from laminar.scan import Placement
from laminar.statistics import quantile

WARNING = "not for diagnostic use"


@dataclass(frozen=True, eq=False)
class Volume:
    """Magnitudes float32 (image, y, x), and of samples their standard deviation `std` of the same shape.

    `placements`, `spacing_mm` (y, x) and `thickness_mm` are those of a `Scan`, None where they are not known. `series`
    names the axes that count the images, the last one, the slices, fastest. `header` holds what the file said of the
    scan, by the names of `laminar.data.formats.header`. `scan` and `request` are texts that tell this scan from every
    other one and this reconstruction from every other one of it. `acceleration` is the measured one.
    """

    magnitude: Tensor
    placements: Sequence[Placement] | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    series: Mapping[str, int] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    name: str = "scan"
    method: str = "network"
    std: Tensor | None = None
    scan: str = ""
    request: str = ""
    acceleration: float = 1.0

    @property
    def counted(self) -> dict[str, int]:
        """The axes that count the images."""
        return dict(self.series) or {"slice": len(self.magnitude)}

    @property
    def n_slices(self) -> int:
        return self.counted.get("slice", 1)

    @property
    def slice_by_slice(self) -> Tensor:
        """The magnitudes of the first slice in turn, then those of the next."""
        images = self.magnitude.reshape(-1, self.n_slices, *self.magnitude.shape[-2:])
        return images.transpose(0, 1).flatten(0, 1)

    def counters(self, image: int) -> dict[str, int]:
        """The place of an image along each axis."""
        axes = self.counted
        return dict(zip(axes, map(int, np.unravel_index(image, list(axes.values()))), strict=True))

    @property
    def kinds(self) -> dict[str, Tensor]:
        """What there is of it, by what it shows."""
        return {"": self.magnitude} | ({} if self.std is None else {"uncertainty": self.std})


def digest_of(path: Path) -> str:
    """A text that tells the content of a file from every other one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def window_of(pixels: Tensor) -> tuple[float, float]:
    """Center and width that show all but the brightest half percent."""
    top = float(quantile(pixels.flatten(), 0.995))
    return top / 2, top
