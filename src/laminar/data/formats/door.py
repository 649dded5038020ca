"""The one door: find out by content what a file is, and read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
from torch import Tensor

from laminar.data.formats import bart, fastmri, hdf5, ismrmrd_, mat5, mat73, numpy_
from laminar.data.formats.arrays import Variables, read_array
from laminar.data.formats.domain import Domain
from laminar.data.formats.guard import reading
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError
from laminar.scan import Scan

ARRAYS = {
    "NumPy npy": numpy_.npy_variables,
    "NumPy npz": numpy_.npz_variables,
    "MATLAB v5": mat5.mat5_variables,
    "MATLAB v7.3": mat73.mat73_variables,
    "HDF5": hdf5.hdf5_variables,
    "BART": bart.variables,
    "fastMRI": hdf5.hdf5_variables,
    "ISMRMRD": hdf5.hdf5_variables,
}
FASTMRI_AXES = {4: "slice,coil,kx,ky", 3: "slice,kx,ky"}


def sniff(path: Path) -> str:
    """The format of a file: one of the keys of ARRAYS. Content decides; the suffix only where content is
    silent.
    """
    if bart.pair(path):
        return "BART"
    if not path.exists():
        raise DataFormatError(f"{path}: no such file")
    if not path.is_file():
        raise DataFormatError(f"{path}: is a directory, not a scan" if path.is_dir() else f"{path}: is not a file")
    with path.open("rb") as file:
        start = file.read(128)
    if not start:
        raise DataFormatError(f"{path}: the file is empty")
    if start.startswith(b"\x93NUMPY"):
        return "NumPy npy"
    if start.startswith(b"PK"):
        return "NumPy npz"
    if h5py.is_hdf5(path):
        return sniff_hdf5(hdf5.survey(path), start)
    if start.startswith(b"MATLAB 5.0") or start[124:] in (b"\x00\x01IM", b"\x01\x00MI"):
        return "MATLAB v5"
    raise DataFormatError(
        f"{path}: not a format that can be read: "
        "fastMRI, ISMRMRD or other HDF5, BART .cfl, NumPy .npy or .npz, MATLAB .mat"
    )


def find_scans(places: Sequence[Path]) -> list[Path]:
    """The scans in files and folders: of a folder, what lies in it and is of a known format; of a BART pair the `.cfl`.

    A file that is named itself is taken as it is. Raises DataFormatError for a folder without any scan.
    """
    found: list[Path] = []
    for place in places:
        inside = [path for path in sorted(place.iterdir()) if _is_scan(path)] if place.is_dir() else [place]
        if not inside:
            raise DataFormatError(f"{place}: no scan in this folder")
        found += inside
    return found


def _is_scan(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file() or path.suffix == ".hdr":
        return False
    try:
        sniff(path)
    except (DataFormatError, OSError):
        return False
    return True


def sniff_hdf5(file: hdf5.Hdf5, start: bytes) -> str:
    """Which of the HDF5 formats a file has."""
    if ismrmrd_.group_name(file):
        return "ISMRMRD"
    if start.startswith(b"MATLAB 7.3") or file.is_matlab:
        return "MATLAB v7.3"
    return "fastMRI" if fastmri.is_fastmri(file) else "HDF5"


def read(
    path: str | Path, *, variable: str | None = None, axes: str | None = None, domain: Domain | None = None
) -> Scan:
    """Read a scan of any known format: fastMRI, ISMRMRD and other HDF5, BART, NumPy, MATLAB.

    `variable` names the array (or the ISMRMRD group) where a file holds several. `axes` names its axes in the
    order of the file, for example "ky,kx,coil": any order of slice, coil, kz, ky, kx, with `ri` for a pair of
    real and imaginary part and `_` for an axis of length 1 to drop. Two of kz, ky, kx become (y, x) in the
    order of the file; of all three, the fully sampled one is transformed and becomes the slices. Zero
    frequency is expected at n // 2. A MATLAB file's axes are in MATLAB's order, whatever its version. `domain` "image"
    says that the file holds the images of the coils, which are transformed; what looks so is refused otherwise,
    unless the domain is said to be "kspace".

    Raises DataFormatError, one line that begins with the path, for whatever is wrong with the file; it lists
    what the file holds where a choice is missing.
    """
    path = Path(path)
    with reading(path):
        kind = sniff(path)
        if kind == "ISMRMRD" and axes is None:
            return ismrmrd_.read(path, variable)
        if kind == "BART" and variable is None:
            return bart.read(path, axes, domain)
        variables = ARRAYS[kind](path)
        if kind == "fastMRI" and axes is None and variable in (None, "kspace"):
            if domain != "image":
                return fastmri.read(path, domain)
            variable, axes = "kspace", FASTMRI_AXES[len(variables["kspace"].shape)]
        return read_array(path, variables, variable, axes, domain)


def stream(
    path: str | Path, *, variable: str | None = None, axes: str | None = None, domain: Domain | None = None
) -> LazyScan:
    """What `read` reads, slice by slice where the format allows it: fastMRI. Other formats are read at once."""
    path = Path(path)
    with reading(path):
        fitting = axes is None and variable in (None, "kspace") and domain != "image"
        if fitting and sniff(path) == "fastMRI":
            return fastmri.stream(path, domain)
    return LazyScan.of(read(path, variable=variable, axes=axes, domain=domain))


def read_target(path: str | Path) -> Tensor | None:
    """The reference image float32 (slice, y, x) stored beside the k-space of a fastMRI file; None if there
    is none.
    """
    path = Path(path)
    with reading(path):
        return fastmri.read_target(path) if sniff(path) in ("fastMRI", "HDF5") else None


def describe(path: str | Path) -> dict[str, Any]:
    """What a file holds, as plain values: its format and the shape and type of every array.

    It also answers for files that are no scan, or that need `variable` and `axes` to be read as one.
    """
    path = Path(path)
    with reading(path):
        kind = sniff(path)
        variables: Variables = ARRAYS[kind](path)
        arrays = {name: {"shape": list(v.shape), "dtype": v.dtype} for name, v in variables.items()}
        more = ismrmrd_.summary(path) if kind == "ISMRMRD" else {}
        return {"path": str(path), "format": kind, "variables": arrays, **more}
