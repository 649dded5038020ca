"""From a scan to the normalized inverse problem that every method solves: one way for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.data.coils import calibration_region, espirit, estimate_sensitivities, whitened
from laminar.data.cropping import crop_readout
from laminar.data.formats import AnyScan
from laminar.data.noise import estimate_noise_std, telling_slices
from laminar.data.noncartesian import calibration_block, calibration_slices, gathered, outer_noise_std
from laminar.data.series import apart, averaged, in_one_phase, series_maps, volume_maps
from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import Cartesian, Emission, NonCartesian, NonCartesianSeries, Series, Volume, check_tensor
from laminar.operators import Encoding, LinearOperator, SoftSense, ifft2c, pixel_magnitude, solve
from laminar.scan import Scan
from laminar.statistics import quantile

SCALE_QUANTILE = 0.99
LEAST_SQUARES_ITERATIONS = 10


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """`y = A x + n` in units in which the image is about one.

    `y` complex64, or float32 of a real image, (batch, ...); `operator` is A; `noise_level` (batch,), sigma per sample
    in these units, off the grid that of equal samples which would bring as much noise into an image; `scale` (batch,):
    image in the units of the file = scale * image in these units. Raises DataFormatError if they do not fit each other.
    """

    y: Tensor
    operator: LinearOperator
    noise_level: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        for name in ("y", "noise_level", "scale"):
            check_tensor(f"{name} of a Problem", values := getattr(self, name))
            if name != "y" and values.shape not in (self.y.shape[:1], (1,)):
                raise DataFormatError(f"{name} must be (batch,) = ({len(self.y)},), or (1,); got {tuple(values.shape)}")

    def to(self, device: torch.device | str) -> Problem:
        return Problem(self.y.to(device), self.operator.to(device), self.noise_level.to(device), self.scale.to(device))

    def __repr__(self) -> str:
        kind, noise = type(self.operator).__name__, ", ".join(f"{level:.3g}" for level in self.noise_level.tolist()[:4])
        return f"Problem(y {tuple(self.y.shape)} by {kind}, noise level {noise}{', ..' * (len(self.noise_level) > 4)})"

    @property
    def samples(self) -> int:
        """The number of measured entries of y, over the whole batch."""
        sampled = self.operator.sampled
        return self.y.numel() if sampled is None else int(sampled.expand(self.y.shape).sum())

    @property
    def encoding(self) -> Encoding:
        """The operator as the multi-coil Cartesian one. Raises ConfigError if it is another."""
        if not isinstance(self.operator, Encoding):
            raise ConfigError(
                "this needs a multi-coil Cartesian scan, with mask and sensitivities; "
                f"got an operator of type {type(self.operator).__name__}"
            )
        return self.operator

    @property
    def sensed(self) -> Encoding | SoftSense:
        """`encoding`, of one or several sets of sensitivities."""
        return self.operator if isinstance(self.operator, SoftSense) else self.encoding

    @property
    def n_maps(self) -> int:
        """Images in a pixel: x is (batch, y, x) of one, else (batch, map, y, x)."""
        return self.operator.n_maps

    def magnitude(self, images: Tensor) -> Tensor:
        """The size (..., y, x) of each pixel of images of this problem, whatever the number of maps."""
        return pixel_magnitude(images, self.n_maps)

    def padded(self, n_maps: int) -> Problem:
        """The same problem with so many sets of sensitivities, of which the further ones are zero."""
        if n_maps == self.n_maps:
            return self
        return replace(self, operator=SoftSense.padded(self.encoding, n_maps))

    @staticmethod
    def stack(problems: Sequence[Problem]) -> Problem:
        """One batch of problems of the same sizes and kind of operator."""
        first = problems[0].operator
        return Problem(
            torch.cat([problem.y for problem in problems]),
            first.stack([problem.operator for problem in problems]),
            torch.cat([problem.noise_level for problem in problems]),
            torch.cat([problem.scale for problem in problems]),
        )


def prepare(scan: Scan, n_maps: int | None = 1) -> Problem:
    """The inverse problem of a scan, one batch entry a slice, its coils whitened where their covariance is known.

    Of a Cartesian scan, sensitivities come from the scan, brought to `sum_coil |S|^2 = 1` where they are not zero, or
    from its calibration region (ESPIRiT), with `n_maps` of 2 for an object that reaches over the edge of its field of
    view (`SoftSense`), None where it does; the noise level from the scan or from its k-space. The scale is the 0.99
    quantile of the root-sum-of-squares image of the calibration region alone, so that it does not depend on the
    acceleration; a scan that brings sensitivities and has no calibration region takes all its samples. A slice without
    signal keeps scale 1. Raises DataFormatError if there are neither sensitivities nor calibration lines, ConfigError
    where two maps are asked of a scan that brings one.

    A series or a volume has one scale. A scan off the grid is calibrated by what lies near its center, and shows its
    noise far from it; its samples weigh as the k-space that they stand for (`NonCartesian`). Counts have the noise of
    counts. Any other geometry brings its noise level. Off the grid the scale is the quantile of a least-squares image,
    and operator and data are divided by the norm of the operator. Real data stay real, and so does their image.

    All is computed after a division by a power of two that brings the data to about one, so that a factor of the data
    is a factor of the image, from 1e-37 to 1e37.
    """
    if n_maps == 2 and not isinstance(scan.geometry, Cartesian):
        raise ConfigError(f"{scan.name}: two maps are of a planar Cartesian scan; got {type(scan.geometry).__name__}")
    if isinstance(scan.geometry, Emission):
        return _counted(scan, scan.geometry)
    scan = whitened(scan)
    noise, unit = noise_std_of(scan), magnitude(scan.data)
    scan = replace(scan, data=scan.data / _per_image(unit, scan.data))
    if isinstance(scan.geometry, Cartesian | Series | Volume):
        operator = scan.geometry.operator(scan.n_slices, _maps(scan, n_maps))
        return _normalized(scan.data, operator, noise, unit, _grid_scale(scan, operator))
    operator, norm = scan.geometry.operator(scan.n_slices, _off_grid_maps(scan)), scan.geometry.norm
    if norm != 1:
        operator = (1 / norm) * operator
    y = scan.geometry.weighted(scan.data) / norm
    y = y.to(torch.complex64 if y.is_complex() else torch.float32)
    noise = noise * scan.geometry.noise_gain / norm
    return _normalized(y, operator, noise, unit, _least_squares_scale(y, operator))


def _maps(scan: Scan, n_maps: int | None) -> Tensor:
    """The sensitivities of a scan on a grid: those that it brings, of unit power, or those that it shows."""
    geometry, given = scan.geometry, scan.sensitivities
    if given is not None:
        if n_maps == 2 and given.ndim == 4:
            raise ConfigError(f"{scan.name}: the scan brings one set of sensitivities; two maps cannot be made of them")
        return _unit_power(given, -4 if isinstance(geometry, Volume) else -3)
    if isinstance(geometry, Series):
        return series_maps(scan)
    return volume_maps(scan) if isinstance(geometry, Volume) else estimate_sensitivities(scan, n_maps=n_maps)


def _grid_scale(scan: Scan, operator: LinearOperator) -> Tensor:
    """One scale (image,) for all of a series or a volume: that of the mean of its frames, or of its brightest slice."""
    if isinstance(scan.geometry, Cartesian):
        return _scale(scan)
    if isinstance(scan.geometry, Series) and scan.geometry.is_moving:
        return _scale(averaged(scan))
    if isinstance(scan.geometry, Volume) and scan.geometry.complete_axis is None:
        return _least_squares_scale(scan.data, operator)
    return _scale(apart(scan)).reshape(scan.n_slices, -1).amax(1)


def _counted(scan: Scan, geometry: Emission) -> Problem:
    """Counts less their background, with the noise of the mean count: see `laminar.flow.poisson`."""
    counts = scan.data.to(torch.float32)
    mean = counts.flatten(1).mean(1).clamp_min(torch.finfo(torch.float32).tiny)
    ones = torch.full_like(mean, geometry.norm)
    operator = geometry.counting(len(counts), ones)
    y = (counts - geometry.expected(len(counts))) / geometry.norm
    scale = _least_squares_scale(y, operator)
    level = mean.sqrt() / (geometry.norm * scale)
    return Problem(y / _per_image(scale, y), geometry.counting(len(counts), ones * scale), level, scale)


def _off_grid_maps(scan: Scan) -> Tensor | None:
    if isinstance(scan.geometry, NonCartesianSeries):
        return _off_grid_maps(gathered(scan)) if scan.sensitivities is None else _unit_power(scan.sensitivities, -3)
    if not isinstance(scan.geometry, NonCartesian):
        return scan.sensitivities
    if scan.sensitivities is not None:
        return _unit_power(scan.sensitivities, -1 - len(scan.geometry.size))
    if not scan.geometry.is_volume:
        return espirit(calibration_block(scan.data, scan.geometry), scan.geometry.matrix)
    volumes = calibration_slices(scan.data, scan.geometry)
    return torch.stack([in_one_phase(espirit(each, scan.geometry.matrix)).movedim(0, 1) for each in volumes])


def _normalized(y: Tensor, operator: LinearOperator, noise_std: float, unit: Tensor, scale: Tensor) -> Problem:
    level = (noise_std / unit.double() / scale).to(torch.float32)
    return Problem(y / _per_image(scale, y), operator, level, unit * scale)


def magnitude(array: Tensor) -> Tensor:
    """The power of two (batch,) next to the largest part of real or complex (batch, ...); 1 where all is zero."""
    parts = torch.view_as_real(array) if array.is_complex() else array
    largest = parts.abs().flatten(1).amax(1)
    exponent = largest.log2().round().clamp(-120, 120)
    return torch.where(largest > 0, exponent.exp2(), 1.0)


def _per_image(values: Tensor, array: Tensor) -> Tensor:
    """Values (image,) that broadcast against (image, ...)."""
    return values.reshape(-1, *[1] * (array.ndim - 1))


def noise_std_of(scan: AnyScan) -> float:
    """The noise level that a scan brings, or that some of its slices show; 1 where `prepare` whitens.

    Raises DataFormatError for a scan that brings none and does not show it, as one of no k-space.
    """
    first = scan.slice(0)
    if first.noise_covariance is not None:
        return 1.0
    if first.noise_std is not None:
        return first.noise_std
    if isinstance(first.geometry, Emission):
        return float(first.data.mean().sqrt())  # of a count; `prepare` takes that of each image
    if isinstance(first.geometry, Series | Volume):
        return noise_std_of(apart(first))
    if isinstance(first.geometry, NonCartesianSeries):
        return noise_std_of(gathered(first))
    if isinstance(first.geometry, NonCartesian):
        return outer_noise_std(scan.slice(scan.n_slices // 2).data, first.geometry)
    if not isinstance(first.geometry, Cartesian):
        raise DataFormatError(f"{scan.name}: a {type(first.geometry).__name__} scan needs its noise_std; got none")
    some = [scan.slice(index) for index in telling_slices(scan.n_slices)]
    telling = [part for part in some if bool(part.kspace.any())] or some
    if all(part.mask.equal(telling[0].mask) for part in telling):
        return estimate_noise_std(torch.cat([part.kspace for part in telling]), telling[0].mask)
    return math.hypot(*(estimate_noise_std(part.kspace, part.mask) for part in telling)) / math.sqrt(len(telling))


def without_oversampling(scan: Scan) -> Scan:
    """The scan with its noise level and without readout oversampling.

    In this order: the air beside the object, which shows the noise best, goes with the oversampling.
    """
    if scan.noise_covariance is None:
        scan = replace(scan, noise_std=noise_std_of(scan))
    return crop_readout(scan)


def _unit_power(sensitivities: Tensor, coil: int) -> Tensor:
    """Sensitivities of unit power over the axis of the coils, where they are not zero."""
    largest = torch.view_as_real(sensitivities).abs().amax((coil - 1, -1), keepdim=True).squeeze(-1)
    sensitivities = sensitivities / torch.where(largest > 0, largest, 1)
    power = sensitivities.abs().square().sum(coil, keepdim=True).sqrt()
    return torch.where(power > 0, sensitivities / power, 0)


def _scale(scan: Scan) -> Tensor:
    block = scan.kspace
    try:
        rows, columns = calibration_region(scan.grid.common_mask)
        block = block[..., rows, columns]
    except DataFormatError:
        if scan.sensitivities is None:
            raise
    image = ifft2c(block).abs().square().sum(1).sqrt()
    shrink = (block.shape[-2] * block.shape[-1] / math.prod(scan.matrix)) ** 0.5
    return _positive(shrink * quantile(image.flatten(1), SCALE_QUANTILE))


def _least_squares_scale(y: Tensor, operator: LinearOperator) -> Tensor:
    image = solve(operator.gram, operator.adjoint(y), iterations=LEAST_SQUARES_ITERATIONS)
    return _positive(quantile(image.abs().flatten(1), SCALE_QUANTILE))


def _positive(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1.0)
