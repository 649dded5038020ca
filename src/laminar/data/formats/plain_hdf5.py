"""HDF5 of any other layout: its datasets are arrays whose axes the reader names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from laminar.data.formats.format import Format, Request
from laminar.data.formats.hdf5 import Hdf5, hdf5_variables, survey
from laminar.errors import DataFormatError


def stream(path: Path, request: Request) -> None:
    """No scan: nothing states the axes. Raises DataFormatError for what `laminar reconstruct` wrote, unless told."""
    if request != Request():
        return
    file = survey(path)
    if {"reconstruction", "reconstruction_complex"} <= file.datasets.keys():
        raise DataFormatError("holds reconstructed images, no k-space: laminar view shows them")
    if told := ", ".join(_mrd_images(file)):
        raise DataFormatError(f"holds reconstructed images, no k-space: {told} (y, x)")


def _mrd_images(file: Hdf5) -> Iterator[str]:
    """What the groups of ISMRMRD images hold: magnitudes (image, channel, z, y, x), with headers and attributes."""
    for name in file.groups:
        data = file.datasets.get(f"{name}/data")
        is_one = {f"{name}/header", f"{name}/attributes"} <= file.datasets.keys()
        if is_one and data is not None and len(data.shape) == 5 and not data.is_complex:
            count, _, depth, y, x = data.shape
            yield f"{name}, {count} of {f'{depth} x ' * (depth > 1)}{y} x {x}"


FORMAT = Format(lambda file: file.hdf5 is not None, hdf5_variables, stream)
