"""NumPy `.npy` and `.npz`: arrays without axis names. Pickled objects are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from laminar.data.formats.arrays import Variable, Variables


def npy_variables(path: Path) -> Variables:
    """The one array of a `.npy` file, called by the file's stem."""
    # Memory mapping compares the declared size with the file's before anything is allocated.
    return {path.stem: Variable.of(np.load(path, mmap_mode="r", allow_pickle=False))}


def npz_variables(path: Path) -> Variables:
    """The numeric arrays of a `.npz` file."""
    # Opened here, because NumPy does not close what it opened when the archive turns out to be broken.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {name: Variable.of(array) for name, array in arrays.items() if array.dtype.kind in "biufc"}
