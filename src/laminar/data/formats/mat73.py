"""MATLAB 7.3 `.mat`: HDF5 with the axes reversed. They are shown in MATLAB order, as in level 5 files."""

from __future__ import annotations

from pathlib import Path

from laminar.data.formats.arrays import Variables
from laminar.data.formats.format import Format
from laminar.data.formats.hdf5 import hdf5_variables


def mat73_variables(path: Path) -> Variables:
    """The numeric arrays of a file, the fields of structs as `struct.field`.

    MATLAB stores column first, HDF5 reads row first: the transpose is the array as MATLAB shows it.
    """
    found = {}
    for name, variable in hdf5_variables(path).items():
        if not name.startswith("#"):  # '#refs#' holds what cells and objects point to
            found[name.replace("/", ".")] = variable.reversed
    return found


FORMAT = Format(
    lambda file: file.hdf5 is not None and (file.start.startswith(b"MATLAB 7.3") or file.hdf5.is_matlab),
    mat73_variables,
)
