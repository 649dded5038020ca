"""Where samples off the grid lie: trajectories of readouts and files, brought to cycles per field of view."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from laminar.data.formats import bart
from laminar.data.formats.arrays import TRAJECTORY_NAMES, Variable, Variables, choose, listing, scan_name
from laminar.data.formats.axes import to_complex64
from laminar.data.formats.format import File, Format
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError
from laminar.geometry import Geometry, NonCartesian, NonCartesianSeries
from laminar.registry import FORMATS, resolve
from laminar.scan import Scan

Array = npt.NDArray[Any]
_SLACK = 1.001
SMALLEST = 64
"""From this size on the units of a trajectory cannot be mistaken for each other."""


def in_cycles(points: Array, matrix: tuple[int, ...]) -> tuple[Tensor, str]:
    """Points (sample, 2) as (y, x), or (sample, 3), in cycles per field of view, and a note that says their unit.

    Units are told by how far the points reach in (y, x): 1/2 of the sampling frequency, pi radians a pixel, or half the
    matrix. Raises DataFormatError for any other reach, and for a matrix below `SMALLEST` whose points are not in
    cycles.
    """
    reach = float(np.abs(points[:, -2:]).max(initial=0))
    sides = np.array(matrix)
    if not math.isfinite(reach):
        raise DataFormatError("the trajectory holds NaN or Inf")
    if reach == 0:
        raise DataFormatError("a trajectory reaches out from the center; got zeros")
    found, unit = points, "cycles per field of view"
    if min(matrix[-2:]) >= SMALLEST:
        if reach <= 0.5 * _SLACK:
            found, unit = points * sides, "parts of the sampling frequency"
        elif reach <= math.pi * _SLACK:
            found, unit = points * sides / (2 * math.pi), "radians a pixel"
    return torch.from_numpy(np.require(found, np.float32, ["C", "W"])), f"the trajectory was read as in {unit}"


def leaves_the_plane(components: Array) -> bool:
    """Whether rows kx, ky and perhaps kz have a kz other than zero."""
    heights, reach = np.abs(components[2:]).max(initial=0), np.abs(components).max(initial=1e-9)
    return bool(heights > 1e-3 * reach)


def ordered(components: Array, dimensions: int) -> Array:
    """Rows kx, ky and perhaps kz as points (sample, 2) of (y, x), which have no kz, or (sample, 3) of (z, y, x)."""
    if dimensions == 3 and len(components) < 3:
        raise DataFormatError("a trajectory of kx and ky alone, and the size of a volume (z, y, x)")
    if dimensions == 2 and leaves_the_plane(components):
        raise DataFormatError("a trajectory in three dimensions, and an image of two: expected the size (z, y, x)")
    return components[dimensions - 1 :: -1].T


def stream_off_grid(path: Path, places: str, matrix: tuple[int, ...], variable: str | None) -> LazyScan:
    """K-space off the grid from one file and its trajectory from another, or the same one, in memory.

    `places` is FILE or FILE:VARIABLE. A trajectory is complex (...), kx + i ky, or real with an axis of 2 or 3 for kx,
    ky, kz at either end (BART's `traj`); k-space has the axes of its points in the same order, with coils and slices
    behind them (MATLAB, BART) or slices and coils before (NumPy). Where the coils stand between one axis of the points
    and the others, that one counts frames of a moving slice, which are a `NonCartesianSeries`. Raises DataFormatError
    if the two do not fit.
    """
    file, _, name = places.partition(":") if not Path(places).exists() else (places, "", "")
    points = _components(Path(file), name or None)
    _, chosen = choose(_variables(path), variable, None)
    data = _squeezed(chosen.load()) if variable is not None or chosen.is_complex else chosen.load()
    frames = _frame_axis(data.shape, points.shape[1:]) if len(matrix) == 2 else None
    if frames is not None and bart.pair(path) is None and points.shape[1:] in (data.shape[1:], data.shape[:-1]):
        raise DataFormatError(f"k-space {data.shape} has as many coils as frames: which axis is which?")
    if frames is not None:
        points, data = np.moveaxis(points, 1 if frames == 0 else -1, 1), np.moveaxis(data, frames, 0)
    trajectory, note = in_cycles(ordered(points.reshape(len(points), -1), len(matrix)), matrix)
    geometry: Geometry
    if frames is None:
        images, geometry = _images(data, points.shape[1:]), NonCartesian(trajectory, matrix)
    else:
        images = np.stack([_images(each, points.shape[2:]) for each in data], 1)
        geometry = NonCartesianSeries.of(trajectory.reshape(len(data), -1, len(matrix)), matrix)
    return LazyScan.of(Scan(to_complex64(images), geometry, name=scan_name(path), header={"notes": (note,)}))


def _variables(path: Path) -> Variables:
    if bart.pair(path) is not None:
        return {scan_name(path): Variable.of(bart.load(path))}
    file = File(path)
    for name in FORMATS:
        found: Format = resolve(FORMATS, name, "format")
        if found.fits(file):
            return found.variables(path)
    raise DataFormatError(f"{path}: of no known format")


def _components(path: Path, name: str | None) -> Array:
    """The points of a file as rows kx, ky and perhaps kz: (2 or 3, ...)."""
    variables = _variables(path)
    named = name or next((key for key in variables if key.lower() in TRAJECTORY_NAMES), None)
    if named is None and len(variables) == 1:
        named = next(iter(variables))
    if named is None or named not in variables:
        raise DataFormatError(f"{path}: which array is the trajectory? FILE:VARIABLE; it holds {listing(variables)}")
    array = _squeezed(variables[named].load())
    if bart.pair(path) is not None:
        array = array.real
    if np.iscomplexobj(array):
        return np.stack([array.real, array.imag])
    for axis in (0, -1) if bart.pair(path) is not None else (-1, 0):  # two or three frames may stand at the other end
        if array.shape[axis] in (2, 3):
            return np.moveaxis(array, axis, 0)
    raise DataFormatError(
        f"{path}: a trajectory is complex, or real with 2 or 3 components as its first or last axis; got "
        f"{array.dtype} {array.shape}"
    )


def _frame_axis(data: tuple[int, ...], points: tuple[int, ...]) -> int | None:
    """Which axis of k-space, the first or the last, counts frames as that of the points does; None if none does.

    An image has two axes of points, as spokes and their samples, and the coils are beside them.
    """
    if len(points) < 3 or len(data) != len(points) + 1:
        return None
    if (*data[:-2], data[-1]) == points:
        return -1
    return 0 if (data[0], *data[2:]) == points else None


def _images(data: Array, points: tuple[int, ...]) -> Array:
    """K-space (image, coil, sample) of an array whose axes of samples are those of the points."""
    count = len(points)
    if data.shape[:count] == points and data.ndim <= count + 2:
        return data.reshape(math.prod(points), *data.shape[count:], *[1] * (count + 2 - data.ndim)).transpose(2, 1, 0)
    if data.shape[data.ndim - count :] == points and data.ndim <= count + 2:
        return data.reshape(*[1] * (count + 2 - data.ndim), *data.shape[: data.ndim - count], math.prod(points))
    raise DataFormatError(
        f"k-space {data.shape} has not the axes {points} of its trajectory, with coils and slices behind or before them"
    )


def _squeezed(array: Array) -> Array:
    """Without axes of length one: those of BART, and of MATLAB's matrices."""
    return array.reshape([n for n in array.shape if n > 1])
