"""Magnetic resonance off the beaten track: cine, volumes, and trajectories of two and three dimensions."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from laminar.data.acquisition.acquisition import Acquisition, Conditions, Measured, noise, resampled
from laminar.data.acquisition.motion import beating, through
from laminar.data.masks import make_kt_mask, make_mask
from laminar.data.noncartesian import kooshball, radial, spiral, stack_of_stars
from laminar.data.simulation.receive import sensitivities
from laminar.errors import ConfigError
from laminar.geometry import Geometry, NonCartesian, NonCartesianSeries, Series
from laminar.operators import fft2c, ifft2c
from laminar.operators.nonuniform import nonuniform
from laminar.scan import Scan


@dataclass(frozen=True)
class Cine(Acquisition):
    """A beating heart, its frames with lines of their own around the same calibration lines.

    Interleaved, every R-th line, and the calibration lines besides, move on by one from frame to frame, as in TSENSE
    (Kellman et al. 2001, doi:10.1002/mrm.1113) and the k-t masks of CMRxRecon; else they are drawn anew, R in all.
    """

    frames: int = 8
    acceleration: float = 8.0
    calibration_lines: int = 8
    contraction: float = 0.3
    breathing: float = 0.01
    interleaved: int = 1
    kind = "cine"
    has_coils = True
    least: ClassVar = {"frames": 2, "acceleration": 1, "contraction": 0, "breathing": 0, "interleaved": 0}
    switches: ClassVar = ("interleaved",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interleaved and self.acceleration != int(self.acceleration):
            raise ConfigError(f"acceleration: interleaved lines need a whole one; got {self.acceleration}")

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        moving = beating(thing, self.frames, self.contraction, self.breathing, conditions.generator)
        seed = int(torch.randint(2**31, (), generator=conditions.generator))
        kind = "equispaced" if self.interleaved else "random"
        masks = make_kt_mask(kind, self.frames, matrix, self.acceleration, self.calibration_lines, seed, -2)
        return _on_the_grid(moving, masks, "frame", matrix, conditions)


@dataclass(frozen=True)
class Volume(Acquisition):
    """A 3-D scan with a complete readout, the same random points of the other two axes in every slice across it."""

    slices: int = 8
    acceleration: float = 6.0
    calibration_lines: int = 12
    kind = "volume"
    has_coils = True
    least: ClassVar = {"slices": 2, "acceleration": 1}

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        slices = through(thing, self.slices, conditions.generator)
        seed = int(torch.randint(2**31, (), generator=conditions.generator))
        mask = make_mask("poisson", matrix, self.acceleration, self.calibration_lines, seed)
        return _on_the_grid(slices, mask.expand(self.slices, *matrix), "slice", matrix, conditions)


def _on_the_grid(things: Tensor, masks: Tensor, axis: str, matrix: tuple[int, int], conditions: Conditions) -> Measured:
    maps = _maps(things, conditions)
    coils = torch.stack([resampled(maps * each, matrix) for each in things])
    kspace = fft2c(coils)
    kspace = (kspace + noise(kspace.shape, conditions.noise_std, conditions.generator, kspace.dtype)) * masks[:, None]
    geometry = Series(masks, "frame" if axis == "frame" else "slice")
    return _measured(kspace, geometry, coils, conditions)


@dataclass(frozen=True)
class OffGrid(Acquisition):
    """Coils along a trajectory, the same for every scan; of a volume all slices together.

    It never reaches the corners of k-space, and nobody sees them in an image of all its spokes or arms: the image to
    be found has none.
    """

    kind = "noncartesian"
    has_coils = True
    round_axes: ClassVar[int] = 2
    """The last axes across which the measured k-space is a disc or a ball."""

    @abstractmethod
    def geometry(self, matrix: tuple[int, int]) -> NonCartesian:
        """The trajectory that the settings say."""

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        geometry = _geometry(self, matrix)
        thing = through(thing, geometry.size[0], conditions.generator) if geometry.is_volume else thing
        return _off_the_grid(thing, geometry, self.round_axes, conditions)


@lru_cache(16)
def _geometry(acquisition: OffGrid, matrix: tuple[int, int]) -> NonCartesian:
    return acquisition.geometry(matrix)


@dataclass(frozen=True)
class Radial(OffGrid):
    """Golden-angle spokes of twice as many samples as the larger side of the matrix."""

    spokes: int = 32

    def geometry(self, matrix: tuple[int, int]) -> NonCartesian:
        return NonCartesian(radial(self.spokes, 2 * max(matrix), matrix), matrix)


@dataclass(frozen=True)
class RadialCine(Acquisition):
    """A beating heart, the golden-angle spokes of each frame going on where those of the one before ended."""

    frames: int = 8
    spokes: int = 16
    contraction: float = 0.3
    breathing: float = 0.01
    kind = "noncartesian-cine"
    has_coils = True
    least: ClassVar = {"frames": 2, "contraction": 0, "breathing": 0}

    def measure(self, thing: Tensor, matrix: tuple[int, int], conditions: Conditions) -> Measured:
        geometry = _golden_frames(self.frames, self.spokes, matrix)
        moving = beating(thing, self.frames, self.contraction, self.breathing, conditions.generator)
        maps = _maps(thing, conditions)
        parts = [_along(maps * each, frame, conditions) for each, frame in zip(moving, geometry.frames, strict=True)]
        coils = torch.stack([without_corners(resampled(maps * each, matrix), 2) for each in moving])
        return _measured(torch.stack(parts), geometry, coils, conditions)


@lru_cache(16)
def _golden_frames(frames: int, spokes: int, matrix: tuple[int, int]) -> NonCartesianSeries:
    points = radial(frames * spokes, 2 * max(matrix), matrix)
    return NonCartesianSeries.of(points.reshape(frames, -1, 2), matrix)


@dataclass(frozen=True)
class Spiral(OffGrid):
    """Interleaves from the center outwards, whose turns are narrow there: `laminar.data.noncartesian.spiral`."""

    interleaves: int = 8
    turns: float = 9.0
    density: float = 2.0
    samples: int = 2048

    def geometry(self, matrix: tuple[int, int]) -> NonCartesian:
        return NonCartesian(spiral(self.interleaves, self.samples, self.turns, matrix, self.density), matrix)


@dataclass(frozen=True)
class StackOfStars(OffGrid):
    """A volume of `slices` planes of k-space, in each of them golden-angle spokes of its own."""

    slices: int = 16
    spokes: int = 24
    kind = "noncartesian-volume"
    least: ClassVar = {"slices": 8}

    def geometry(self, matrix: tuple[int, int]) -> NonCartesian:
        size = (self.slices, *matrix)
        return NonCartesian(stack_of_stars(self.spokes, 2 * max(matrix), size), size)


@dataclass(frozen=True)
class Kooshball(OffGrid):
    """A volume of `slices` slices along spokes through its center in all directions."""

    slices: int = 32
    spokes: int = 1500
    kind = "noncartesian-volume"
    least: ClassVar = {"slices": 8}
    round_axes: ClassVar[int] = 3

    def geometry(self, matrix: tuple[int, int]) -> NonCartesian:
        size = (self.slices, *matrix)
        return NonCartesian(kooshball(self.spokes, 2 * max(size), size), size)


def without_corners(images: Tensor, round_axes: int) -> Tensor:
    """Images (..., y, x) of nothing but the k-space with `sum (k_i / N_i)^2 <= 1 / 4` over so many of the last axes."""
    axes = tuple(range(-round_axes, 0))
    sides = [torch.arange(n) / n - (n // 2) / n for n in images.shape[-round_axes:]]
    square = torch.stack(torch.meshgrid(*sides, indexing="ij")).square().sum(0)
    return ifft2c(fft2c(images, axes) * (square <= 0.25), axes)


def _off_the_grid(thing: Tensor, geometry: NonCartesian, round_axes: int, conditions: Conditions) -> Measured:
    """The scan of an object on a finer grid (y, x), of a volume (z, y, x)."""
    maps = _maps(thing, conditions)
    fine = maps.unsqueeze(1) * thing if geometry.is_volume else maps * thing
    y, coils = _along(fine, geometry, conditions), without_corners(resampled(fine, geometry.matrix), round_axes)
    return _measured(y, geometry, coils.movedim(0, 1) if geometry.is_volume else coils, conditions)


def _along(fine: Tensor, geometry: NonCartesian, conditions: Conditions) -> Tensor:
    """The transform of the finer grid at the points, with noise, (coil, sample): the samples know no pixels."""
    scale = math.sqrt(math.prod(geometry.size) / math.prod(fine.shape[1:]))
    y = nonuniform(fine, geometry.trajectory) * scale
    return y + noise(tuple(y.shape), conditions.noise_std, conditions.generator, y.dtype)


def _maps(thing: Tensor, conditions: Conditions) -> Tensor:
    """Sensitivities on the grid of an object (..., y, x)."""
    height, width = thing.shape[-2:]
    return sensitivities(conditions.coils, (height, width), conditions.generator)


def _measured(y: Tensor, geometry: Geometry, coils: Tensor, conditions: Conditions) -> Measured:
    scan = Scan(y[None], geometry, noise_std=conditions.noise_std, name="simulated", header={"simulated": True})
    return Measured(scan, coils, is_coils=True)
