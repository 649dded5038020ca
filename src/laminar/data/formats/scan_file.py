"""Laminar's own HDF5 of a scan in any geometry: its data, what the geometry is made of, and perhaps the reference."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.format import File, Format, Request
from laminar.data.formats.hdf5 import Hdf5, hdf5_variables, survey
from laminar.data.formats.lazy import LazyScan
from laminar.errors import ConfigError, DataFormatError
from laminar.files import writing_hdf5
from laminar.geometry import (
    Cartesian,
    Emission,
    Geometry,
    Linear,
    NonCartesian,
    NonCartesianSeries,
    Series,
    Tomography,
    Volume,
)
from laminar.geometry.noncartesian import MOST_PIXELS as MOST_OFF_GRID
from laminar.operators import Beam, Convolution, Inpainting, Projector
from laminar.scan import Placement, Scan

VERSION = 1
KEY = "laminar_scan"
REFERENCE = "reference"
MOST_PIXELS, MOST_CROSSINGS = 2**22, 2**28
"""What a file may ask for: an image is not larger, and no more pixels lie on the rays of a projector."""

Parts = dict[str, Any]
"""What a geometry is made of: arrays, numbers and words; None is left out."""


@dataclass(frozen=True)
class Layout:
    """One kind of geometry in a file: what it is taken apart into, and put together from."""

    holds: Callable[[Geometry], bool]
    parts: Callable[[Any], Parts]
    made: Callable[[Mapping[str, Any]], Geometry]


def _beam(projector: Projector) -> Parts:
    beam = projector.beam
    lengths = {"spacing": beam.spacing, "source": beam.source, "detector": beam.detector}
    return {"angles": beam.angles, "bins": beam.bins, "matrix": list(projector.matrix), **lengths}


def _projector(parts: Mapping[str, Any]) -> Projector:
    rays, side = len(parts["angles"]) * int(parts["bins"]), max(_matrix(parts))
    if parts["data"].shape[-1:] != (int(parts["bins"]),) or rays * side > MOST_CROSSINGS:
        raise DataFormatError(f"{parts['bins']} bins and {len(parts['angles'])} angles of a matrix {_matrix(parts)}")
    lengths = (float(parts[name]) for name in ("spacing", "source", "detector"))
    return Projector(Beam(parts["angles"], int(parts["bins"]), *lengths), _matrix(parts))


def _matrix(parts: Mapping[str, Any]) -> tuple[int, int]:
    y, x = _size(parts)
    return y, x


def _size(parts: Mapping[str, Any], most: int = MOST_PIXELS) -> tuple[int, ...]:
    sides = tuple(int(n) for n in parts["matrix"])
    if min(sides, default=0) < 1 or math.prod(sides) > most:
        raise DataFormatError(f"a matrix of {' x '.join(map(str, sides))} pixels")
    return sides


LAYOUTS = {
    "cartesian": Layout(
        lambda g: isinstance(g, Cartesian),
        lambda g: {"mask": g.mask, "readout_axis": g.readout_axis},
        lambda p: Cartesian(p["mask"].bool(), p.get("readout_axis")),
    ),
    "series": Layout(
        lambda g: isinstance(g, Series),
        lambda g: {"mask": g.mask, "axis": g.axis, "readout_axis": g.readout_axis},
        lambda p: Series(p["mask"].bool(), p["axis"], p.get("readout_axis")),
    ),
    "volume": Layout(lambda g: isinstance(g, Volume), lambda g: {"mask": g.mask}, lambda p: Volume(p["mask"].bool())),
    "noncartesian": Layout(
        lambda g: isinstance(g, NonCartesian),
        lambda g: {"trajectory": g.trajectory, "compensation": g.compensation, "matrix": list(g.size)},
        lambda p: NonCartesian(p["trajectory"], _size(p, MOST_OFF_GRID), p.get("compensation")),
    ),
    "noncartesian-cine": Layout(
        lambda g: isinstance(g, NonCartesianSeries),
        lambda g: {"trajectories": g.trajectories, "compensation": g.compensation, "matrix": list(g.matrix)},
        lambda p: NonCartesianSeries.of(p["trajectories"], _size(p, MOST_OFF_GRID), p.get("compensation")),
    ),
    "tomography": Layout(
        lambda g: isinstance(g, Tomography),
        lambda g: {**_beam(g.projector), "weights": g.weights},
        lambda p: Tomography(_projector(p), p.get("weights")),
    ),
    "emission": Layout(
        lambda g: isinstance(g, Emission),
        lambda g: {**_beam(g.projector), "factors": g.factors, "background": g.background},
        lambda p: Emission(_projector(p), p.get("factors"), p.get("background")),
    ),
    "convolution": Layout(
        lambda g: isinstance(g, Linear) and isinstance(g.forward, Convolution),
        lambda g: {"kernel": g.forward.kernel, "factor": g.forward.factor, "matrix": list(g.matrix)},
        lambda p: Linear(Convolution(p["kernel"], _matrix(p), int(p["factor"])), _matrix(p)),
    ),
    "inpainting": Layout(
        lambda g: isinstance(g, Linear) and isinstance(g.forward, Inpainting),
        lambda g: {"mask": g.forward.mask},
        lambda p: Linear(Inpainting(p["mask"].bool()), tuple(p["mask"].shape)),
    ),
}


def write_scan(path: Path, scan: Scan, reference: Tensor | None = None) -> None:
    """A scan of any geometry but that of a foreign operator, which no file holds. Raises ConfigError, LaminarError."""
    name = next((name for name, layout in LAYOUTS.items() if layout.holds(scan.geometry)), None)
    if name is None:
        raise ConfigError(f"{scan.name}: no file holds a geometry of type {type(scan.geometry).__name__}")
    told = {name: getattr(scan, name) for name in ("noise_std", "image_shape", "spacing_mm", "thickness_mm")}
    arrays = {"data": scan.data, "sensitivities": scan.sensitivities, "noise_covariance": scan.noise_covariance}
    parts = LAYOUTS[name].parts(scan.geometry) | arrays | {REFERENCE: reference}
    plain = {key: value for key, value in parts.items() if value is not None and not isinstance(value, Tensor)}
    header = {key: value for key, value in scan.header.items() if isinstance(value, str | int | float | bool)}
    with writing_hdf5(path) as file:
        file.attrs[KEY] = VERSION
        file.attrs["geometry"] = name
        placements = None if scan.placements is None else [asdict(one) for one in scan.placements]
        text = {"geometry": plain, "series": dict(scan.series), "header": header, "placements": placements, **told}
        file.attrs["told"] = json.dumps(text)
        for key, value in parts.items():
            if isinstance(value, Tensor):
                array = value.numpy(force=True)
                file[key] = array.astype(np.uint8) if array.dtype == bool else array


def read_reference(path: Path) -> Tensor | None:
    """The reference float32 (image, ...) beside a scan of ours; None if there is none."""
    file = survey(path)
    if KEY not in file.attributes or REFERENCE not in file.datasets:
        return None
    return torch.from_numpy(np.require(file.datasets[REFERENCE].load(), np.float32, ["C", "W"]))


def stream(path: Path, request: Request) -> LazyScan | None:
    """The scan, in memory. Raises DataFormatError if a part is missing or does not fit."""
    if request.variable is not None or request.axes is not None:
        return None
    request.check_is_kspace("the data of a Laminar scan")
    file = survey(path)
    if file.attributes[KEY] != VERSION:
        raise DataFormatError(f"a scan of version {file.attributes[KEY]}; this program reads {VERSION}")
    name = str(file.attributes.get("geometry"))
    if name not in LAYOUTS:
        raise DataFormatError(f"a scan of the geometry {name!r}; known are {', '.join(LAYOUTS)}")
    try:
        told = json.loads(str(file.attributes["told"]))
        arrays = {key: _tensor(file, key) for key in file.datasets if key != REFERENCE}
        geometry = LAYOUTS[name].made(told["geometry"] | arrays)
        return LazyScan.of(_scan(path, arrays, geometry, told))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataFormatError(f"no whole scan of {name}: {type(error).__name__}: {error}") from None
    except ConfigError as error:
        raise DataFormatError(str(error)) from None


def _scan(path: Path, arrays: Mapping[str, Tensor], geometry: Geometry, told: Mapping[str, Any]) -> Scan:
    pairs = {key: tuple(told[key]) if told[key] else None for key in ("image_shape", "spacing_mm")}
    return Scan(
        arrays["data"],
        geometry,
        arrays.get("sensitivities"),
        told["noise_std"],
        arrays.get("noise_covariance"),
        **pairs,
        thickness_mm=told.get("thickness_mm"),
        placements=_placements(told.get("placements")),
        series=told["series"],
        name=scan_name(path),
        header=told["header"],
    )


def _placements(told: Sequence[Mapping[str, Sequence[float]]] | None) -> tuple[Placement, ...] | None:
    if told is None:
        return None
    return tuple(Placement(**{name: (float(x), float(y), float(z)) for name, (x, y, z) in one.items()}) for one in told)


def _tensor(file: Hdf5, key: str) -> Tensor:
    array = file.datasets[key].load()
    if array.dtype.kind not in "cfui":
        raise DataFormatError(f"'{key}' is of type {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(native)


def fits(file: File) -> bool:
    return file.hdf5 is not None and KEY in file.hdf5.attributes


FORMAT = Format(fits, hdf5_variables, stream)
