"""HDF5 of any other layout: its datasets are arrays whose axes the reader names."""

from __future__ import annotations

from pathlib import Path

from laminar.data.formats.format import Format, Request
from laminar.data.formats.hdf5 import hdf5_variables, survey
from laminar.errors import DataFormatError


def stream(path: Path, request: Request) -> None:
    """No scan: nothing states the axes. Raises DataFormatError for what `laminar reconstruct` wrote, unless told."""
    if request == Request() and {"reconstruction", "reconstruction_complex"} <= survey(path).datasets.keys():
        raise DataFormatError("holds reconstructed images, no k-space: laminar view shows them")


FORMAT = Format(lambda file: file.hdf5 is not None, hdf5_variables, stream)
