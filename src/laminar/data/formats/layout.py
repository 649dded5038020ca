"""Arrays whose axes are named, read image by image as a scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from laminar.data.formats.arrays import Variable, Variables, choose, off_grid, scan_name, trajectory_in
from laminar.data.formats.axes import SERIES, SPATIAL, arrange, example_axes, images, parse_axes
from laminar.data.formats.domain import Domain, to_kspace
from laminar.data.formats.guard import reading
from laminar.data.formats.lazy import LazyScan
from laminar.data.formats.sampling import detect_masks
from laminar.errors import DataFormatError
from laminar.geometry import Cartesian
from laminar.scan import Scan, cartesian

_SHORT = 31  # points of an axis: shorter ones are rarely a phase encoding


def check_axes(scan: LazyScan) -> None:
    """Raise DataFormatError for more coils than points along a short axis: then an axis has a wrong name."""
    (y, x), coils = scan.matrix, scan.n_coils
    if min(y, x) < coils and min(y, x) <= _SHORT:
        raise DataFormatError(
            f"{coils} coils and a matrix of {y} x {x}: another axis is that of the coils (--axes); if all is as named, "
            "--domain kspace (domain='kspace') takes it"
        )


def stream_array(
    path: Path, variables: Variables, name: str | None, axes: str | None, domain: Domain | None
) -> LazyScan:
    """A scan from one variable. An array of two axes is one slice of one coil; others need `axes`."""
    chosen, variable = choose(variables, name, axes)
    if axes is None and len(variable.shape) != 2:
        example, points = example_axes(variable.shape), trajectory_in(variables)
        raise DataFormatError(
            f"the axes of '{chosen}' {variable.shape} {variable.dtype} are not stated in the file; say them in its "
            f"order by --axes{f', for example --axes {example}' if example else ''}"
            f"{off_grid(points if points != chosen else None)}"
        )
    header = {"variable": chosen, "axes": axes or "ky,kx"}
    # Where nobody named them, nobody said which of the two is the readout.
    return stream_variable(path, variable, axes or "ky,kx", domain, header, says_readout=axes is not None)


def stream_variable(
    path: Path,
    variable: Variable,
    axes: str,
    domain: Domain | None = None,
    header: Mapping[str, Any] | None = None,
    *,
    change: Callable[[Tensor], Tensor] = lambda kspace: kspace,
    says_readout: bool = True,
) -> LazyScan:
    """The images of an array whose axes are named, one by one; all at once where three of the axes are spatial.

    `change` is done to the k-space (image, coil, y, x) of every image.
    """
    names = parse_axes(axes, variable.shape)
    common: dict[str, Any] = {"name": scan_name(path), "header": header or {"axes": axes}}
    if len([name for name in names if name in SPATIAL]) == 3 or 0 in variable.shape:
        kspace, mask, readout, series = arrange(variable.load(), axes, domain)
        common["series"] = series
        return LazyScan.of(cartesian(change(kspace), mask, readout_axis=readout, **common))
    opened = variable.opened()
    counted = {n: length for n, length in zip(names, variable.shape, strict=True) if n in SERIES}
    counted |= {n: length for n, length in zip(names, variable.shape, strict=True) if n == "slice"}
    rest = [name for name in names if name not in counted]

    def kspace_of(index: int) -> Tensor:
        at = dict(zip(counted, np.unravel_index(index, list(counted.values())) if counted else (), strict=True))
        part = tuple(int(at[name]) if name in at else slice(None) for name in names)
        return change(to_kspace(images(opened.load(part), rest), domain))

    n_images = math.prod(counted.values())
    first = kspace_of(0)
    if domain == "image":
        mask = torch.ones(first.shape[-2:], dtype=torch.bool)
    else:
        sampled = torch.cat([(kspace_of(i) != 0).any(1, keepdim=True) for i in range(n_images)])
        mask = detect_masks(sampled, n_images // counted.get("slice", 1))
    spatial = [name for name in names if name in SPATIAL]
    grid = Cartesian(mask, spatial.index("kx") - 2 if says_readout and "kx" in spatial else None)

    def load(index: int) -> Scan:
        with reading(path):
            return Scan(kspace_of(index), grid.of_image(index), **common)

    series = {n: length for n, length in counted.items() if n != "slice" or length > 1}
    series = series if series.keys() - {"slice"} else {}
    return LazyScan(n_images, first.shape[1], grid, load, series=series, **common)
