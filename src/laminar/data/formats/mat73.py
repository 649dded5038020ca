"""MATLAB 7.3 `.mat`: HDF5 with the axes reversed. They are shown in MATLAB order, as in level 5 files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from laminar.data.formats.arrays import Variable, Variables
from laminar.data.formats.hdf5 import hdf5_variables


def mat73_variables(path: Path) -> Variables:
    """The numeric arrays of a file, the fields of structs as `struct.field`.

    MATLAB stores column first, HDF5 reads row first: the transpose is the array as MATLAB shows it.
    """
    found = {}
    for name, variable in hdf5_variables(path).items():
        if not name.startswith("#"):  # '#refs#' holds what cells and objects point to
            found[name.replace("/", ".")] = _transposed(variable)
    return found


def _transposed(variable: Variable) -> Variable:
    return replace(variable, shape=variable.shape[::-1], load=lambda: variable.load().transpose())
