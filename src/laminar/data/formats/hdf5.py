"""HDF5 in general: the datasets of a file, read without trusting what their headers claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from laminar.data.formats.arrays import Variable, Variables
from laminar.data.formats.axes import Array
from laminar.errors import DataFormatError

PAIRS = (("real", "imag"), ("r", "i"), ("re", "im"))
# Deflate cannot compress further than about 1030 to 1: a dataset that claims more is corrupt.
MAX_COMPRESSION = 1100


def is_pair(dtype: np.dtype[Any]) -> bool:
    """Whether a compound type is a complex number as MATLAB, ISMRMRD or h5py write it."""
    return dtype.names in PAIRS and dtype[0] == dtype[1] and dtype[0].kind == "f" and is_sound(dtype)


def is_sound(dtype: np.dtype[Any]) -> bool:
    """Whether no two fields of a compound type overlap. HDF5 does not check, and reading such a one can
    crash it.
    """
    end = 0
    for field, offset, *_ in sorted((dtype.fields or {}).values(), key=lambda item: item[1]):
        if offset < end or not is_sound(field):
            return False
        end = offset + field.itemsize
    return end <= dtype.itemsize


def is_complex(dataset: h5py.Dataset) -> bool:
    return dataset.dtype.kind == "c" or is_pair(dataset.dtype)


def is_numeric(dataset: h5py.Dataset) -> bool:
    return dataset.shape is not None and (dataset.dtype.kind in "biufc" or is_pair(dataset.dtype))


def load(dataset: h5py.Dataset, part: Any = ()) -> Array:
    """The values of a numeric dataset, or of a part of it, compound pairs joined to complex numbers."""
    if not is_numeric(dataset):
        raise DataFormatError(f"'{dataset.name}' is not a numeric array but {dataset.dtype} {dataset.shape}")
    claimed = int(dataset.dtype.itemsize) * int(np.prod(dataset.shape, dtype=object))
    there = Path(dataset.file.filename).stat().st_size * (MAX_COMPRESSION if dataset.chunks else 1)
    if claimed > there:
        raise DataFormatError(f"'{dataset.name}' claims {claimed} bytes, more than the file can hold")
    array: Array = dataset[part]
    if is_pair(array.dtype):
        real, imaginary = array.dtype.names or ()
        return np.asarray(array[real] + 1j * array[imaginary])
    return array


def load_text(dataset: h5py.Dataset) -> bytes:
    """The text of a dataset that holds one string, or an array of one."""
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.size != 1:
        raise DataFormatError(f"'{dataset.name}' is not a text but {dataset.dtype} {dataset.shape}")
    text = np.asarray(dataset[()]).reshape(-1)[0]
    return text if isinstance(text, bytes) else str(text).encode()


def load_named(path: Path, name: str) -> Array:
    with h5py.File(path, "r") as file:
        return load(file[name])


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All numeric datasets of an open file by their path, links not followed."""
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and is_numeric(item):
            found[name] = item

    file.visititems(visit)
    return found


def hdf5_variables(path: Path) -> Variables:
    """The numeric datasets of any HDF5 file."""
    with h5py.File(path, "r") as file:
        return {name: _variable(path, name, d) for name, d in datasets(file).items()}


def _variable(path: Path, name: str, dataset: h5py.Dataset) -> Variable:
    label = f"complex{8 * dataset.dtype.itemsize}" if is_complex(dataset) else str(dataset.dtype)
    return Variable(tuple(dataset.shape), label, is_complex(dataset), lambda: load_named(path, name))
