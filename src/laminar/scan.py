"""The one data type that everything downstream understands: measurements, and the geometry that they have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry import Cartesian, Geometry, check_tensor

FRAME_AXES = ("phase", "frame", "time", "time2", "repetition")
"""The names, in the series of a scan, of axes along which one slice moves."""


_ORTHONORMAL = 1e-2


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the patient, in mm along the axes L, P, S of DICOM.

    `center` is the point of pixel (y, x) = (n // 2, n // 2); `x_axis` and `y_axis` are the unit vectors along which the
    indices x and y grow. Raises DataFormatError if they are not.
    """

    center: tuple[float, float, float]
    x_axis: tuple[float, float, float]
    y_axis: tuple[float, float, float]

    def __post_init__(self) -> None:
        x, y = self.x_axis, self.y_axis
        products = [sum(p * q for p, q in zip(a, b, strict=True)) for a, b in ((x, x), (y, y), (x, y))]
        if not all(map(math.isfinite, self.center)) or not math.dist(products, (1, 1, 0)) < _ORTHONORMAL:
            raise DataFormatError(f"an image lies at a point, along two orthogonal axes of length one; got {self}")


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """Measurements of one or more images, with what is needed to turn them into these images.

    `data` (image, ...), its axes and their meaning are those of `geometry`: for a Cartesian scan complex64 k-space
    (image, coil, y, x). The images may be a series with several named axes, such as {"phase": 12, "slice": 3}: `series`
    names them, the last one running fastest; without it they are slices.

    `sensitivities` complex64 (image, coil, y, x), or (image, map, coil, y, x) of several sets, if they are known.
    `noise_std` is the standard deviation per complex sample, E|n|^2 = noise_std^2, of white noise; `noise_covariance`
    (coil, coil) that of colored noise, which `prepare` whitens. `image_shape` is the matrix (y, x) that the scanner
    would show: the image is center-cropped to it. `spacing_mm` is the pixel size (y, x) of that image, `thickness_mm`
    that of a slice, `placements` say where each image lies. `header` holds what the file said besides, as plain values.

    Raises DataFormatError if the parts do not fit each other or hold NaN or Inf.
    """

    data: Tensor
    geometry: Geometry
    sensitivities: Tensor | None = None
    noise_std: float | None = None
    noise_covariance: Tensor | None = None
    image_shape: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    placements: tuple[Placement, ...] | None = None
    series: Mapping[str, int] = field(default_factory=dict)
    name: str = "scan"
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._check()
        except DataFormatError as error:
            raise DataFormatError(f"{self.name}: {error}") from None

    def _check(self) -> None:
        for name in ("data", "sensitivities", "noise_covariance"):
            if (values := getattr(self, name)) is not None:
                check_tensor(name, values)
        if not (self.data.is_floating_point() or self.data.is_complex()):
            raise DataFormatError(f"the data must be floating-point numbers, real or complex; got {self.data.dtype}")
        self.geometry.check(self.data)
        if 0 in self.data.shape:
            axes = ", ".join(("slice", *self.geometry.axes))
            raise DataFormatError(f"k-space is empty: ({axes}) = {tuple(self.data.shape)}")
        if not is_finite(self.data):
            raise DataFormatError("k-space holds NaN or Inf")
        if self.series and math.prod(self.series.values()) != self.n_slices:
            raise DataFormatError(f"a series {dict(self.series)} has as many images; got {self.n_slices}")
        if self.sensitivities is not None:
            self._check_maps(self.sensitivities)
        if self.noise_std is not None and not _is_level(self.noise_std):
            raise DataFormatError(f"the noise level must be finite and not negative; got {self.noise_std!r}")
        for name in ("spacing_mm", "image_shape"):
            sizes = getattr(self, name)
            if sizes is not None and not all(math.isfinite(size) and size > 0 for size in sizes):
                raise DataFormatError(f"{name} must be two positive sizes (y, x); got {sizes!r}")
        if self.placements is not None and len(self.placements) != self.n_slices:
            raise DataFormatError(
                f"expected a placement for each of {self.n_slices} images; got {len(self.placements)}"
            )

    def _check_maps(self, maps: Tensor) -> None:
        shape = (self.n_slices, *self.geometry.maps_shape(self.n_coils))
        several = maps.ndim == 5 and isinstance(self.geometry, Cartesian)
        one = maps[:, 0] if several and maps.shape[1] else maps
        if tuple(one.shape) != shape or not maps.is_complex():
            axes = "(image, coil, y, x), " if len(shape) == 4 else ""
            raise DataFormatError(f"sensitivities must be complex {axes}{shape}; got {maps.dtype} {tuple(maps.shape)}")
        if not is_finite(maps):
            raise DataFormatError("the sensitivities hold NaN or Inf")

    def __repr__(self) -> str:
        series = " x ".join(f"{size} {name}s" for name, size in self.series.items()) or f"{self.n_slices} slices"
        rate = f"R = {self.measured_acceleration:.2f}"
        size = " x ".join(map(str, self.geometry.shape))
        return f"Scan({self.name!r}: {series}, {self.n_coils} coils, {size}, {type(self.geometry).__name__}, {rate})"

    @property
    def grid(self) -> Cartesian:
        """The geometry of a Cartesian scan. Raises DataFormatError for another one."""
        return Cartesian.expected(self.geometry, self.name)

    @property
    def kspace(self) -> Tensor:
        """The data of a Cartesian scan (image, coil, y, x)."""
        _ = self.grid
        return self.data

    @property
    def mask(self) -> Tensor:
        """The mask of a Cartesian scan, bool (y, x), or (image, y, x) where its images differ."""
        return self.grid.mask

    @property
    def n_slices(self) -> int:
        """The number of images."""
        return int(self.data.shape[0])

    @property
    def n_coils(self) -> int:
        axes = self.geometry.axes
        return int(self.data.shape[1 + axes.index("coil")]) if "coil" in axes else 1

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (y, x) of the images before they are cropped, of a Cartesian scan that of the sampled grid."""
        return self.geometry.matrix

    @property
    def measured_acceleration(self) -> float:
        return self.geometry.measured_acceleration

    def slice(self, index: int) -> Scan:
        """The scan of one image, still with a leading axis of length one."""
        maps = None if self.sensitivities is None else self.sensitivities[index : index + 1]
        placements = None if self.placements is None else self.placements[index : index + 1]
        return replace(
            self,
            data=self.data[index : index + 1],
            geometry=self.geometry.of_image(index),
            sensitivities=maps,
            placements=placements,
            series={},
        )

    def with_kspace(self, kspace: Tensor, mask: Tensor | None = None) -> Scan:
        """The same Cartesian scan with other samples, and another mask if one is given."""
        grid = self.grid if mask is None else replace(self.grid, mask=mask)
        return replace(self, data=kspace, geometry=grid)

    def undersample(self, mask: Tensor) -> Scan:
        """The same Cartesian scan with only the samples that `mask` (y, x) or (image, y, x) has as well."""
        try:
            grid = self.grid.undersample(mask)
        except DataFormatError as error:
            raise DataFormatError(f"{self.name}: {error}") from None
        return replace(self, data=self.kspace * grid.coil_mask, geometry=grid)


def cartesian(kspace: Tensor, mask: Tensor, *, readout_axis: int | None = None, **more: Any) -> Scan:
    """A Cartesian `Scan`: `kspace` complex64 (image, coil, y, x), `mask` bool (y, x) or (image, y, x)."""
    return Scan(kspace, Cartesian(mask, readout_axis), **more)


def image_name(series: Mapping[str, int], index: int) -> str:
    """What an image is called, counted from 0: "repetition 1, slice 0"; an axis of one is left out."""
    at = []
    for axis, size in reversed(list(series.items())):
        index, place = divmod(index, size)
        at += [f"{axis} {place}"] * (size > 1)
    return ", ".join(reversed(at)) or f"{[*series][-1]} 0"


def _is_level(value: object) -> bool:
    """Whether a value is a standard deviation: a number, finite and not negative."""
    return isinstance(value, Real) and 0 <= float(value) < math.inf


def is_finite(values: Tensor) -> bool:
    """Whether nothing is NaN or Inf: a finite sum says so twenty times as fast, and one that overflows says nothing."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())
