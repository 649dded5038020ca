"""Scans off the grid: trajectories, and the calibration block that lies in their densely sampled center."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import NonCartesian, NonCartesianSeries
from laminar.operators import NonUniform, fft2c, ifft2c
from laminar.scan import Scan

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2
"""111.25 degrees. Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337."""
_GOLDEN_MEANS = 0.46557123187676, 0.68232780382802
_COVERED = 0.9
_LEAST, _MOST = {2: 7, 3: 4}, 12  # radius of the calibration block of a plane or a volume, in cycles per field of view
_ITERATIONS, _DAMPING = 20, 1e-3


def radial(spokes: int, samples: int, matrix: tuple[int, int]) -> Tensor:
    """Golden-angle spokes through the center, (spokes * samples, 2) as (y, x) in cycles per field of view.

    They reach from -N / 2 to N / 2 of the larger side N of the matrix, without the last point.
    """
    _counted(spokes=spokes, samples=samples)
    along = (torch.arange(samples, dtype=torch.float64) / samples - 0.5) * max(matrix)
    angle = GOLDEN_ANGLE * torch.arange(spokes, dtype=torch.float64)
    return _within(torch.stack([angle.sin()[:, None] * along, angle.cos()[:, None] * along], -1), matrix)


def spiral(interleaves: int, samples: int, turns: float, matrix: tuple[int, int], density: float = 1.0) -> Tensor:
    """Spirals `r = N / 2 (angle / 2 pi turns)^density` from the center out, (interleaves * samples, 2) as `radial`.

    A `density` of 1 is that of Archimedes, alike everywhere; with more the turns are narrower at the center: too few
    as a whole, and yet complete where the coils are calibrated. Kim et al. 2003, doi:10.1002/mrm.10493.
    """
    _counted(interleaves=interleaves, samples=samples, turns=turns, density=density)
    part = torch.arange(samples, dtype=torch.float64).div(samples) ** (1 / (1 + density))  # about even along the arm
    angle = 2 * math.pi * (turns * part + torch.arange(interleaves, dtype=torch.float64)[:, None] / interleaves)
    radius = part**density * max(matrix) / 2
    return _within(torch.stack([angle.sin() * radius, angle.cos() * radius], -1), matrix)


def stack_of_stars(spokes: int, samples: int, size: tuple[int, int, int]) -> Tensor:
    """`radial` spokes in every plane of kz of a volume of size (z, y, x), (z * spokes * samples, 3) as (z, y, x).

    Those of a plane go on where those of the one before ended: no two planes have the same angles.
    """
    depth, *matrix = size
    plane = radial(depth * spokes, samples, (matrix[0], matrix[1]))
    heights = torch.arange(depth, dtype=plane.dtype) - depth // 2
    return torch.cat([heights.repeat_interleave(spokes * samples)[:, None], plane], 1)


def kooshball(spokes: int, samples: int, size: tuple[int, int, int]) -> Tensor:
    """Spokes through the center of a volume, (spokes * samples, 3) as (z, y, x), spread by the golden means.

        kz / |k| = frac(0.4656 n),   azimuth 2 pi frac(0.6823 n)

    Chan et al. 2009, doi:10.1002/mrm.21837.
    """
    _counted(spokes=spokes, samples=samples)
    along = (torch.arange(samples, dtype=torch.float64) / samples - 0.5) * max(size)
    number = torch.arange(spokes, dtype=torch.float64)
    z, azimuth = (_GOLDEN_MEANS[0] * number).frac(), 2 * math.pi * (_GOLDEN_MEANS[1] * number).frac()
    across = (1 - z.square()).sqrt()
    direction = torch.stack([z, across * azimuth.sin(), across * azimuth.cos()], -1)
    return _within(direction[:, None] * along[:, None], size)


def gathered(scan: Scan) -> Scan:
    """A scan of a `NonCartesianSeries` as if nothing moved: its coils and its noise are those of all frames."""
    series = scan.geometry
    assert isinstance(series, NonCartesianSeries)
    return replace(scan, data=scan.data.movedim(1, 2).flatten(2), geometry=series.gathered)


def calibration_block(data: Tensor, geometry: NonCartesian) -> Tensor:
    """K-space on the grid around its center, complex (image, coil, side, side), by least squares; so of volumes.

    Raises DataFormatError if the points leave gaps in more than a tenth of the 14 x 14 around the center, of a volume
    of the 8 x 8 x 8.
    """
    radius = sampled_radius(geometry.trajectory, geometry.size)
    block = (2 * radius,) * len(geometry.size)
    inside = ((geometry.trajectory >= -radius - 0.5) & (geometry.trajectory < radius - 0.5)).all(1)
    samples = data[..., inside].flatten(0, 1).unsqueeze(1)
    one = torch.ones(len(samples), 1, *block, dtype=data.dtype)
    operator = NonUniform(geometry.trajectory[inside], one)
    weight = _DAMPING * float(operator.spectrum.max())
    images = operator.solve_regularized(operator.adjoint(samples), weight, iterations=_ITERATIONS)
    return fft2c(images, tuple(range(-len(block), 0))).reshape(*data.shape[:2], *block)


def calibration_slices(data: Tensor, geometry: NonCartesian) -> Tensor:
    """The `calibration_block` of a volume, transformed along z: complex (image, z, coil, side, side)."""
    block = calibration_block(data, geometry)
    depth, side = geometry.size[0], block.shape[-3]
    before = depth // 2 - side // 2
    whole = pad(block, (0, 0, 0, 0, before, depth - side - before))
    return ifft2c(whole, (-3,)).movedim(-3, 1)


def outer_noise_std(data: Tensor, geometry: NonCartesian) -> float:
    """Noise per complex sample, E|n|^2 = sigma^2, from the outermost tenth of k-space, (image, coil, sample).

        sigma^2 = median |y|^2 / ln 2

    What signal there is makes it too large.
    """
    radius = (geometry.trajectory / torch.tensor(geometry.size)).norm(dim=1)
    power = data[..., radius >= 0.9 * radius.max()].abs().double().square()
    return math.sqrt(float(power.median()) / math.log(2))


def sampled_radius(trajectory: Tensor, matrix: tuple[int, ...]) -> int:
    """The largest r, at most 12, with a point in nine of ten cells of the grid from -r to r - 1: `calibration_block`.

    Every cell would be too many to ask: golden-angle spokes miss one long before their gaps are wider than the coils'
    smoothness bridges. A block of few patches holds no noise that ESPIRiT could tell the faint part of the object from,
    and it cuts that out: hence the least radius, and the largest there is.
    """
    most, dimensions = min(_MOST, min(matrix) // 2), len(matrix)
    cells = (trajectory + 0.5).floor().long() + most
    cells = cells[((cells >= 0) & (cells < 2 * most)).all(1)]
    hit = torch.zeros((2 * most,) * dimensions, dtype=torch.bool)
    hit[cells.unbind(1)] = True
    share = 0.0
    for radius in range(most, _LEAST[dimensions] - 1, -1):
        share = hit[(slice(most - radius, most + radius),) * dimensions].double().mean().item()
        if share >= _COVERED:
            return radius
    cube = " x ".join([str(2 * _LEAST[dimensions])] * dimensions)
    raise DataFormatError(
        f"no calibration region: expected points in {_COVERED:.0%} of the {cube} cells around the "
        f"center of k-space; got {share:.0%}: bring sensitivities, or more spokes"
    )


def _counted(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ConfigError(f"a trajectory needs {name} > 0; got {number}")


def _within(points: Tensor, matrix: tuple[int, ...]) -> Tensor:
    """The points (..., 2) of an oblong matrix, or (..., 3), flat and in single precision."""
    sides = torch.tensor(matrix, dtype=torch.float64)
    return (points * sides / sides.max()).flatten(0, -2).float()
