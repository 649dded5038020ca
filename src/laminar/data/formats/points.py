"""Where samples off the grid lie: trajectories of readouts and files, brought to cycles per field of view."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
_TIME = 10  # the axis of frames in BART
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
    behind them (MATLAB, BART) or slices and coils before (NumPy). Frames of a moving slice, each along points of its
    own, are a `NonCartesianSeries`: BART's axis of time, or else an axis of the points that the coils part from two
    others, as spokes and samples. Raises DataFormatError if the two do not fit.
    """
    file, _, name = places.partition(":") if not Path(places).exists() else (places, "", "")
    _, chosen = choose(_variables(path), variable, None)
    points, data = _points_in(Path(file), name or None), chosen.load()
    plain = variable is not None or chosen.is_complex
    is_bart = bart.pair(path) is not None and bart.pair(Path(file)) is not None
    components, kspace = _matched(points, data, plain, is_bart, len(matrix), Path(file))
    frames = components.shape[1]
    trajectory, note = in_cycles(ordered(components.reshape(len(components), -1), len(matrix)), matrix)
    geometry: Geometry
    if frames > 1:
        geometry = NonCartesianSeries.of(trajectory.reshape(frames, -1, len(matrix)), matrix)
    else:
        kspace, geometry = kspace[:, 0], NonCartesian(trajectory, matrix)
        axes = _squeezed(points).ndim - (not np.iscomplexobj(points))
        note += "; points of three axes were taken as one image" if axes == 3 and len(matrix) == 2 else ""
    return LazyScan.of(Scan(to_complex64(kspace), geometry, name=scan_name(path), header={"notes": (note,)}))


def _variables(path: Path) -> Variables:
    if bart.pair(path) is not None:
        return {scan_name(path): Variable.of(bart.load(path))}
    file = File(path)
    for name in FORMATS:
        found: Format = resolve(FORMATS, name, "format")
        if found.fits(file):
            return found.variables(path)
    raise DataFormatError(f"{path}: of no known format")


def _points_in(path: Path, name: str | None) -> Array:
    """The array of the points in a file, as it stands there."""
    variables = _variables(path)
    named = name or next((key for key in variables if key.lower() in TRAJECTORY_NAMES), None)
    if named is None and len(variables) == 1:
        named = next(iter(variables))
    if named is None or named not in variables:
        raise DataFormatError(f"{path}: which array is the trajectory? FILE:VARIABLE; it holds {listing(variables)}")
    array = variables[named].load()
    return array.real if bart.pair(path) is not None else array


def _matched(
    points: Array, data: Array, plain: bool, is_bart: bool, dimensions: int, path: Path
) -> tuple[Array, Array]:
    """Points (kx ky kz, frame, sample) and k-space (image, frame, coil, sample), of one frame where nothing moves."""
    if is_bart and points.ndim > _TIME and points.shape[_TIME] > 1:
        return _of_bart(points, data)
    flat = _squeezed(data) if plain else data
    for array, measured in ((points, data), (_squeezed(points), flat)) if dimensions == 2 else ():
        for components in _components(array):
            if (moving := _moving(components, measured)) is not None:
                return moving
    every = list(_components(_squeezed(points)))
    for components in every:
        if (images := _images(flat, components.shape[1:])) is not None:
            return components.reshape(len(components), 1, -1), images[:, None]
    if not every:
        raise DataFormatError(
            f"{path}: a trajectory is complex, or real with 2 or 3 components as its first or last axis; got "
            f"{points.dtype} {points.shape}"
        )
    axes = every[0].shape[1:]
    raise DataFormatError(
        f"k-space {flat.shape} has not the axes {axes} of its trajectory, with coils and slices behind or before them"
    )


def _components(array: Array) -> Iterator[Array]:
    """The rows kx, ky and perhaps kz that an array may be, (2 or 3, ...): both ends may look like them."""
    if np.iscomplexobj(array):
        yield np.stack([array.real, array.imag])
        return
    yield from (np.moveaxis(array, axis, 0) for axis in (0, -1) if array.ndim > 1 and array.shape[axis] in (2, 3))


def _of_bart(points: Array, data: Array) -> tuple[Array, Array]:
    """As `_matched`, of a trajectory with frames."""
    if data.ndim <= _TIME or data.shape[_TIME] != points.shape[_TIME]:
        raise DataFormatError(f"a trajectory of {points.shape[_TIME]} frames, and k-space {_squeezed(data).shape}")
    parts = [
        (_squeezed(p), _squeezed(d)) for p, d in zip(*(np.moveaxis(a, _TIME, 0) for a in (points, data)), strict=True)
    ]
    images = [_images(d, p.shape[1:]) for p, d in parts]
    if any(each is None for each in images):
        raise DataFormatError(f"k-space {_squeezed(data).shape} has not the axes {parts[0][0].shape[1:]} of its frames")
    rows = np.stack([p.reshape(len(p), -1) for p, _ in parts], 1)
    return rows, np.stack([each for each in images if each is not None], 1)


def _moving(components: Array, data: Array) -> tuple[Array, Array] | None:
    """As `_matched`, where the coils stand between the frames and two axes of points; None if they do not."""
    points = components.shape[1:]
    if len(points) != 3 or data.ndim != 4:
        return None
    first, last = (data.shape[0], *data.shape[2:]) == points, (*data.shape[:2], data.shape[3]) == points
    if not first and not last:
        return None
    if (first and last) or points in (data.shape[1:], data.shape[:3]):
        raise DataFormatError(
            f"k-space {data.shape} has as many coils as frames, spokes or samples: which axis is which?"
        )
    if last:  # (sample, spoke, coil, frame)
        components, data = np.moveaxis(components, -1, 1), data.transpose(3, 2, 0, 1)
    rows = components.reshape(len(components), len(data), -1)
    return rows, data.reshape(1, *data.shape[:2], -1)


def _images(data: Array, points: tuple[int, ...]) -> Array | None:
    """K-space (image, coil, sample) of an array whose axes of samples are those of the points; None if they are not."""
    count = len(points)
    if data.shape[:count] == points and data.ndim <= count + 2:
        return data.reshape(math.prod(points), *data.shape[count:], *[1] * (count + 2 - data.ndim)).transpose(2, 1, 0)
    if data.shape[data.ndim - count :] == points and data.ndim <= count + 2:
        return data.reshape(*[1] * (count + 2 - data.ndim), *data.shape[: data.ndim - count], math.prod(points))
    return None


def _squeezed(array: Array) -> Array:
    """Without axes of length one: those of BART, and of MATLAB's matrices."""
    return array.reshape([n for n in array.shape if n > 1])
