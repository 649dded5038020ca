"""Coils at any points of k-space."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from laminar.errors import DataFormatError
from laminar.geometry.base import Geometry, check_tensor, said
from laminar.operators import NonUniform, density_weights, spectral_norm, toeplitz_spectrum

MOST_PIXELS, _THIN = 2**24, 16
"""Of an image. The Toeplitz spectrum takes some 200 bytes for each, and an axis no less than one of 16."""
_LEAST_WEIGHT = 1e-9
_POWER_ITERATIONS, _MARGIN = {2: 50, 3: 15}, 1.02
"""Of the norm, which they find to 2 %."""


@dataclass(frozen=True, eq=False)
class NonCartesian(Geometry):
    """Coils at any points of k-space, `y = F S x`; data complex (image, coil, sample), needs the package finufft.

    `trajectory` (sample, 2) as (y, x) of an image of `size` (y, x), or (sample, 3) as (z, y, x) of a volume of size
    (z, y, x), in cycles per field of view, so that `|k| <= N / 2`. Raises DataFormatError for one that is not.

    Samples lie dense in the center. By their noise alone it would weigh hundreds of times what fine details weigh,
    which no method solves in a few iterations and no network knows from a grid. So each sample weighs as the part of
    k-space that it stands for, by its `weights` w (sample,): the `compensation` of the density that was given, or the
    `density_weights` of the trajectory. Solved is `W^(1/2) y = W^(1/2) F S x`, the likelihood of noise of the variance
    sigma^2 / w, at the price that this is not the one that was measured, which a compensation of ones gives. As an
    image sees it, the noise level is

        sigma_w^2 = sigma^2 sum_j w_j^2 / sum_j w_j

    and the variance of a weighted sample, sigma^2 w_j, is less on the mean.
    Pruessmann et al. 2001, doi:10.1002/mrm.1241; Ramzi et al. 2022, doi:10.1109/TMI.2022.3144619.
    """

    trajectory: Tensor
    size: tuple[int, ...]
    compensation: Tensor | None = None
    weights: Tensor = field(init=False, repr=False)
    """By which the power of each sample counts, single precision."""
    spectrum: Tensor = field(init=False, repr=False)
    """The `toeplitz_spectrum` of the trajectory and its weights."""
    axes = ("coil", "sample")

    def __post_init__(self) -> None:
        points, size = self.trajectory, self.size
        check_tensor("trajectory", points)
        if len(size) not in (2, 3) or math.prod(max(n, _THIN) for n in size) > MOST_PIXELS:
            raise DataFormatError(
                f"an image has the size (y, x), a volume (z, y, x), of at most {MOST_PIXELS} pixels; got {size}"
            )
        if points.ndim != 2 or points.shape[-1] != len(size) or not len(points) or not points.is_floating_point():
            expected = "(sample, 2), as (y, x)" if len(size) == 2 else "(sample, 3), as (z, y, x)"
            raise DataFormatError(f"a trajectory must be floating-point {expected}; got {said(points)}")
        if not bool(torch.isfinite(points).all()):
            raise DataFormatError("the trajectory holds NaN or Inf")
        reach = points.abs().amax(0)
        share, axis = (reach / torch.tensor(size)).max(0)
        if not 0.05 < share <= 0.5 + 1e-3:
            raise DataFormatError(
                f"a trajectory is in cycles per field of view and reaches to about {size[axis] / 2:g}, half the "
                f"matrix; got {float(reach[axis]):.4g} along {self.image_axes[axis].replace('slice', 'z')}: "
                "are these rad, 1/m or parts of one, or other axes?"
            )
        weights = density_weights(points, size) if self.compensation is None else self._given()
        spectrum = toeplitz_spectrum(points, size, weights)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "spectrum", spectrum)
        one = NonUniform(points, torch.ones(1, 1, *size, dtype=torch.complex64), spectrum, weights)
        start = torch.randn(1, *size, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
        norm = spectral_norm(one, start, _POWER_ITERATIONS[len(size)])
        object.__setattr__(self, "norm", _MARGIN * float(norm))

    def _given(self) -> Tensor:
        """The compensation as weights. Raises DataFormatError if it is none."""
        given = self.compensation
        check_tensor("compensation", given)
        assert given is not None
        if given.shape != self.trajectory.shape[:1] or not given.is_floating_point():
            raise DataFormatError(
                f"the density compensation must be floating-point (sample,) = ({len(self.trajectory)},), as the "
                f"trajectory; got {said(given)}"
            )
        low, high = (float(end) for end in given.double().aminmax())
        if not _LEAST_WEIGHT <= low <= high <= 1 / _LEAST_WEIGHT:
            raise DataFormatError(
                f"the density compensation is about one on a grid, and from {_LEAST_WEIGHT:g} to "
                f"{1 / _LEAST_WEIGHT:g} anywhere; got {low:g} to {high:g}"
            )
        return given.float()

    @property
    def matrix(self) -> tuple[int, int]:  # type: ignore[override]
        return self.size[-2], self.size[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "noncartesian-volume" if self.is_volume else "noncartesian"

    @property
    def image_axes(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("slice", "y", "x") if len(self.size) == 3 else ("y", "x")

    def maps_shape(self, coils: int) -> tuple[int, ...]:
        return (coils, *self.size)

    @property
    def measured_acceleration(self) -> float:
        """Pixels over the cells of k-space that the samples stand for: 1.3 of a complete disc in the square."""
        return math.prod(self.size) / float(self.weights.sum())

    def operator(self, n_images: int, sensitivities: Tensor | None) -> NonUniform:
        if sensitivities is None:
            raise DataFormatError("a non-Cartesian scan is solved with sensitivities; got none")
        return NonUniform(self.trajectory, sensitivities, self.spectrum, self.weights)

    def weighted(self, data: Tensor) -> Tensor:
        return data * self.weights.sqrt()

    @property
    def noise_gain(self) -> float:
        return float((self.weights.square().sum() / self.weights.sum()).sqrt())

    def check(self, data: Tensor) -> None:
        super().check(data)
        if not data.is_complex() or data.shape[-1] != len(self.trajectory):
            raise DataFormatError(
                f"the data must be complex (image, coil, {len(self.trajectory)}), as the trajectory; got {said(data)}"
            )
