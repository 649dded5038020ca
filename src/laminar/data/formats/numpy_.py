"""NumPy `.npy` and `.npz`: arrays without axis names. Pickled objects are refused."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from laminar.data.formats.arrays import Variable, Variables, check_claim
from laminar.data.formats.axes import Array
from laminar.data.formats.format import Format
from laminar.data.formats.sandbox import PARSING
from laminar.errors import DataFormatError


def npy_variables(path: Path) -> Variables:
    """The one array of a `.npy` file, called by the file's stem."""
    # Memory mapping compares the declared size with the file's before anything is allocated.
    with PARSING:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.names is None:
        return {path.stem: Variable.of(array)}
    real, imaginary = (array[name] for name in pair(array.dtype))
    joined = np.dtype("c16" if real.dtype.itemsize > 4 else "c8")
    load = lambda index=(): (real[index] + 1j * imaginary[index]).astype(joined)  # noqa: E731
    return {path.stem: Variable(array.shape, str(joined), True, load)}


def pair(dtype: np.dtype[Any]) -> tuple[str, str]:
    """The fields of a compound type that are real and imaginary part. Raises DataFormatError if there are none."""
    names = dtype.names or ()
    if len(names) != 2 or [name.lower()[:1] for name in names] != ["r", "i"] or dtype[0] != dtype[1]:
        raise DataFormatError(f"an array of records {dtype} is no array of numbers")
    return names[0], names[1]


def npz_variables(path: Path) -> Variables:
    """The numeric arrays of a `.npz` file; others are passed over."""
    with zipfile.ZipFile(path) as archive:
        found = {info.filename.removesuffix(".npy"): _variable(path, archive, info) for info in archive.infolist()}
    arrays = {name: variable for name, variable in found.items() if variable is not None}
    if not arrays:
        members = ", ".join(list(found)[:5]) or "nothing"
        raise DataFormatError(f"a zip archive without NumPy arrays: it holds {members}; unpack it")
    return arrays


def _variable(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Variable | None:
    """What the header of an array in an archive says; None for what is no array of numbers."""
    if not info.filename.endswith(".npy"):
        return None
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with PARSING:
            shape, _, dtype = read_header(file)
    if dtype.kind not in "biufc":
        return None
    claimed = math.prod(shape) * dtype.itemsize
    check_claim(info.filename, max(claimed, info.file_size), info.compress_size)

    def load() -> Array:
        with zipfile.ZipFile(path) as again, again.open(info) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    return Variable.whole(shape, str(dtype), load)


NPY = Format(lambda file: file.start.startswith(b"\x93NUMPY"), npy_variables)
NPZ = Format(lambda file: file.start.startswith(b"PK"), npz_variables)
