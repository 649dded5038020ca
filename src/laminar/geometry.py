"""Geometries: how the measurements of a scan follow from its images, and hence which operator to solve with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.operators import (
    Encoding,
    LinearOperator,
    NonUniform,
    Projector,
    SoftSense,
    Weighted,
    check_operator,
    spectral_norm,
    toeplitz_spectrum,
    wrap,
)


class Geometry(ABC):
    """What a kind of measurement must say of itself; `matrix` is the size (y, x) of the images."""

    matrix: tuple[int, int]
    axes: tuple[str, ...]
    """Names of the axes of the data after the first, which counts the images of a scan."""
    norm: float = 1.0
    """That of the operator, or an upper bound: `prepare` divides by it."""

    @abstractmethod
    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        """The operator from images (image, y, x) to the data of so many images."""

    def check(self, data: Tensor) -> None:
        """Raise DataFormatError if data (image, ...) do not fit."""
        if data.ndim != 1 + len(self.axes):
            raise DataFormatError(f"the data must have the axes (image, {', '.join(self.axes)}); got {_said(data)}")

    def whitened(self, data: Tensor) -> Tensor:
        """The data with noise of one level in all measurements, as `operator` gives them."""
        return data

    def of_image(self, index: int) -> Geometry:
        """That of one image, where the images of a scan differ."""
        return self

    @property
    def measured_acceleration(self) -> float:
        """Unknowns over measurements of one coil."""
        return 1.0


@dataclass(frozen=True, eq=False)
class Cartesian(Geometry):
    """Coils on a Cartesian grid of k-space, `y = M F S x`.

    `mask` bool (y, x), or (image, y, x) where the images differ, true = acquired; `readout_axis` is -2 (y) or -1 (x)
    where it is known which one is the readout, else None. Data are complex (image, coil, y, x), zero where nothing was
    sampled, zero frequency at index n // 2 of each spatial axis.
    """

    mask: Tensor
    readout_axis: int | None = None
    axes = ("coil", "y", "x")

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
        if data.ndim != 4 or not data.is_complex():
            raise DataFormatError(f"k-space must be complex (slice, coil, y, x); got {_said(data)}")
        fitting = (tuple(data.shape[-2:]), (len(data), *data.shape[-2:]))
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) not in fitting:
            raise DataFormatError(f"the mask must be bool {fitting[0]} like k-space; got {_said(self.mask)}")
        if not bool(self.mask.any()):
            raise DataFormatError("no acquired line: the mask is false everywhere")

    def of_image(self, index: int) -> Cartesian:
        return self if self.mask.ndim == 2 else replace(self, mask=self.mask[index])

    def undersample(self, mask: Tensor) -> Cartesian:
        """With only the samples that `mask` (y, x) or (image, y, x) has as well."""
        if tuple(mask.shape[-2:]) != self.matrix:
            raise DataFormatError(f"the mask has {tuple(mask.shape)} points, k-space {self.matrix}")
        return replace(self, mask=mask & self.mask)


@dataclass(frozen=True, eq=False)
class Linear(Geometry):
    """Any linear operator between images (image, y, x) of a `matrix` and data (image, ...).

    Real data are of real images, complex data of complex ones: an operator of real numbers acts on real and imaginary
    part. `axes` names the axes of the data. What is no `LinearOperator` is wrapped with defaults (`laminar.wrap`).
    Raises ConfigError if the operator has no true adjoint.
    """

    forward: LinearOperator
    matrix: tuple[int, int]
    axes: tuple[str, ...] = ("y", "x")

    def __post_init__(self) -> None:
        known = wrap(self.forward, self.matrix)
        norm = known.norm
        if norm is None:
            norm = check_operator(known, self.matrix, type(known).__name__, torch.complex64)
        object.__setattr__(self, "forward", known)
        object.__setattr__(self, "norm", norm)

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        return self.forward

    def check(self, data: Tensor) -> None:
        super().check(data)
        expected = self.forward.forward(torch.zeros(1, *self.matrix, dtype=data.dtype)).shape[1:]
        if data.shape[1:] != expected:
            raise DataFormatError(f"the data must be (image, {', '.join(map(str, expected))}); got {_said(data)}")


@dataclass(frozen=True, eq=False)
class Tomography(Geometry):
    """Line integrals, `y = A x` with A a `projector` (`laminar.operators.Projector`); data (image, view, bin).

    `weights` (image or 1, view, bin) are the noise level of the scan over that of each measurement, for noise that is
    Gaussian but not white, as of few photons (`laminar.data.simulation.transmission`): without, it is white.
    """

    projector: Projector
    weights: Tensor | None = None
    axes = ("view", "bin")

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return self.projector.matrix

    @property
    def norm(self) -> float:  # type: ignore[override]
        assert self.projector.norm is not None
        return self.projector.norm * (1.0 if self.weights is None else float(self.weights.max()))

    @property
    def measured_acceleration(self) -> float:
        """Views that the bins of a parallel beam would need, pi / 2 of the larger side, over those that there are."""
        return math.pi / 2 * max(self.matrix) / self.projector.sinogram[0]

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if self.weights is None:
            return self.projector
        return Weighted(self.projector, self.weights.expand(n_images, *self.projector.sinogram))

    def whitened(self, data: Tensor) -> Tensor:
        return data if self.weights is None else data * self.weights

    def check(self, data: Tensor) -> None:
        super().check(data)
        views, bins = self.projector.sinogram
        if data.shape[1:] != (views, bins):
            raise DataFormatError(f"the data must be (image, {views}, {bins}), as the beam; got {_said(data)}")
        weights = self.weights
        if weights is None:
            return
        if tuple(weights.shape) not in ((1, views, bins), (len(data), views, bins)):
            raise DataFormatError(f"the weights must be (image, {views}, {bins}); got {_said(weights)}")
        if not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not bool(weights.any()):
            raise DataFormatError("the weights must be finite, not negative and not all zero")

    def of_image(self, index: int) -> Tomography:
        if self.weights is None or len(self.weights) == 1:
            return self
        return replace(self, weights=self.weights[index : index + 1])


@dataclass(frozen=True, eq=False)
class NonCartesian(Geometry):
    """Coils at any points of k-space, `y = F S x`; data complex (image, coil, sample), needs the package finufft.

    `trajectory` (sample, 2) as (y, x), in cycles per field of view, so that `|k| <= N / 2` of the `matrix`. Raises
    DataFormatError for one that is not.
    """

    trajectory: Tensor
    matrix: tuple[int, int]
    axes = ("coil", "sample")

    def __post_init__(self) -> None:
        points = self.trajectory
        if points.ndim != 2 or points.shape[-1] != 2 or not len(points) or not points.is_floating_point():
            raise DataFormatError(f"a trajectory must be floating-point (sample, 2), as (y, x); got {_said(points)}")
        if not bool(torch.isfinite(points).all()):
            raise DataFormatError("the trajectory holds NaN or Inf")
        reach = (points.abs() / torch.tensor(self.matrix)).max()
        if not 0.05 < reach <= 0.5 + 1e-3:
            raise DataFormatError(
                f"a trajectory is in cycles per field of view and reaches to about {self.matrix[0] / 2:g}, half the "
                f"matrix; got {float(points.abs().max()):.4g}: are these rad, 1/m or parts of one?"
            )
        spectrum = toeplitz_spectrum(points, self.matrix)
        object.__setattr__(self, "_spectrum", spectrum)
        one = NonUniform(points, torch.ones(1, 1, *self.matrix, dtype=torch.complex64), spectrum)
        norm = spectral_norm(one, torch.ones(1, *self.matrix, dtype=torch.complex64), 15)
        object.__setattr__(self, "norm", float(norm))

    @property
    def measured_acceleration(self) -> float:
        return math.prod(self.matrix) / len(self.trajectory)

    def operator(self, n_images: int, sensitivities: Tensor | None) -> LinearOperator:
        if sensitivities is None:
            raise DataFormatError("a non-Cartesian scan is solved with sensitivities; got none")
        return NonUniform(self.trajectory, sensitivities, self._spectrum)  # type: ignore[attr-defined]

    def check(self, data: Tensor) -> None:
        super().check(data)
        if not data.is_complex() or data.shape[-1] != len(self.trajectory):
            raise DataFormatError(
                f"the data must be complex (image, coil, {len(self.trajectory)}), as the trajectory; got {_said(data)}"
            )


def _said(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
