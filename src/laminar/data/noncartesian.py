"""Scans off the grid: trajectories, and the calibration block that lies in their densely sampled center."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from laminar.errors import ConfigError, DataFormatError
from laminar.geometry import NonCartesian
from laminar.operators import NonUniform, fft2c

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2
"""111.25 degrees. Winkelmann et al. 2007, doi:10.1109/TMI.2006.885337."""
_LEAST, _MOST = 4, 12  # radius of the calibration block, in cycles per field of view
_ITERATIONS, _DAMPING = 20, 1e-3


def radial(spokes: int, samples: int, matrix: tuple[int, int]) -> Tensor:
    """Golden-angle spokes through the center, (spokes * samples, 2) as (y, x) in cycles per field of view.

    They reach from -N / 2 to N / 2 of the larger side N of the matrix, without the last point.
    """
    _counted(spokes=spokes, samples=samples)
    along = (torch.arange(samples, dtype=torch.float64) / samples - 0.5) * max(matrix)
    angle = GOLDEN_ANGLE * torch.arange(spokes, dtype=torch.float64)
    return _within(torch.stack([angle.sin()[:, None] * along, angle.cos()[:, None] * along], -1), matrix)


def spiral(interleaves: int, samples: int, turns: float, matrix: tuple[int, int]) -> Tensor:
    """Archimedean spirals from the center to N / 2, (interleaves * samples, 2) as `radial`."""
    _counted(interleaves=interleaves, samples=samples, turns=turns)
    part = torch.arange(samples, dtype=torch.float64).div(samples).sqrt()  # about even along the arm
    angle = 2 * math.pi * (turns * part + torch.arange(interleaves, dtype=torch.float64)[:, None] / interleaves)
    radius = part * max(matrix) / 2
    return _within(torch.stack([angle.sin() * radius, angle.cos() * radius], -1), matrix)


def calibration_block(data: Tensor, geometry: NonCartesian) -> Tensor:
    """K-space on the grid around its center, complex (image, coil, side, side), by least squares.

    Raises DataFormatError if the points leave gaps in the 8 x 8 around the center.
    """
    radius = sampled_radius(geometry.trajectory, geometry.matrix)
    inside = ((geometry.trajectory >= -radius - 0.5) & (geometry.trajectory < radius - 0.5)).all(1)
    samples = data[..., inside].flatten(0, 1).unsqueeze(1)
    one = torch.ones(len(samples), 1, 2 * radius, 2 * radius, dtype=data.dtype)
    operator = NonUniform(geometry.trajectory[inside], one)
    weight = _DAMPING * float(operator.spectrum.max())
    images = operator.solve_regularized(operator.adjoint(samples), weight, iterations=_ITERATIONS)
    return fft2c(images).reshape(*data.shape[:2], 2 * radius, 2 * radius)


def outer_noise_std(data: Tensor, geometry: NonCartesian) -> float:
    """Noise per complex sample, E|n|^2 = sigma^2, from the outermost tenth of k-space, (image, coil, sample).

        sigma^2 = median |y|^2 / ln 2

    What signal there is makes it too large.
    """
    radius = (geometry.trajectory / torch.tensor(geometry.matrix)).norm(dim=1)
    power = data[..., radius >= 0.9 * radius.max()].abs().double().square()
    return math.sqrt(float(power.median()) / math.log(2))


def sampled_radius(trajectory: Tensor, matrix: tuple[int, int]) -> int:
    """The largest r, at most 12, with a point in every cell of the grid from -r to r - 1; see `calibration_block`."""
    most = min(_MOST, min(matrix) // 2)
    cells = (trajectory + 0.5).floor().long() + most
    cells = cells[((cells >= 0) & (cells < 2 * most)).all(1)]
    hit = torch.zeros(2 * most, 2 * most, dtype=torch.bool)
    hit[cells[:, 0], cells[:, 1]] = True
    for radius in range(most, _LEAST - 1, -1):
        if bool(hit[most - radius : most + radius, most - radius : most + radius].all()):
            return radius
    raise DataFormatError(
        f"no calibration region: expected points in every cell of the {2 * _LEAST} x {2 * _LEAST} around the center of "
        "k-space; got gaps: bring sensitivities, or more spokes"
    )


def _counted(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ConfigError(f"a trajectory needs {name} > 0; got {number}")


def _within(points: Tensor, matrix: tuple[int, int]) -> Tensor:
    """The points (..., 2) of an oblong matrix, flat and in single precision."""
    sides = torch.tensor(matrix, dtype=torch.float64)
    return (points * sides / sides.max()).flatten(0, -2).float()
