"""NumPy `.npy` and `.npz`: arrays without axis names. Pickled objects are refused."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from laminar.data.formats.arrays import Variable, Variables, check_claim
from laminar.data.formats.axes import Array


def npy_variables(path: Path) -> Variables:
    """The one array of a `.npy` file, called by the file's stem."""
    # Memory mapping compares the declared size with the file's before anything is allocated.
    return {path.stem: Variable.of(np.load(path, mmap_mode="r", allow_pickle=False))}


def npz_variables(path: Path) -> Variables:
    """The numeric arrays of a `.npz` file; others are passed over."""
    with zipfile.ZipFile(path) as archive:
        found = {info.filename.removesuffix(".npy"): _variable(path, archive, info) for info in archive.infolist()}
    return {name: variable for name, variable in found.items() if variable is not None}


def _variable(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Variable | None:
    """What the header of an array in an archive says; None for what is no array of numbers."""
    if not info.filename.endswith(".npy"):
        return None
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    if dtype.kind not in "biufc":
        return None
    claimed = math.prod(shape) * dtype.itemsize
    check_claim(info.filename, max(claimed, info.file_size), info.compress_size)

    def load() -> Array:
        with zipfile.ZipFile(path) as again, again.open(info) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    return Variable(shape, str(dtype), dtype.kind == "c", load)
