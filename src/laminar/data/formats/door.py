"""The one door: find out by content what a file is, and read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from laminar.data.formats import bart, fastmri
from laminar.data.formats.center import centered
from laminar.data.formats.domain import Domain, check_kspace
from laminar.data.formats.format import File, Format, Request
from laminar.data.formats.guard import reading
from laminar.data.formats.layout import check_axes, stream_array
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError
from laminar.registry import FORMATS, resolve
from laminar.scan import Scan

_GZIP = b"\x1f\x8b"
_IMAGES = {
    "DICOM": (128, b"DICM"),
    "PNG": (0, b"\x89PNG"),
    "JPEG": (0, b"\xff\xd8\xff"),
    "GIF": (0, b"GIF8"),
    "TIFF": (0, b"II*\0"),
    "NIfTI": (344, b"n+1"),
}
"""Where images begin to say what they are: people name them by mistake."""


def sniff(path: Path) -> str:
    """The format of a file: a name of `registry.FORMATS`. Content decides, not the suffix."""
    return _sniffed(path)[0]


def _sniffed(path: Path) -> tuple[str, Format]:
    file = File(path)
    for name in FORMATS:
        found: Format = resolve(FORMATS, name, "format")
        if found.fits(file):
            return name, found
    if file.start.startswith(_GZIP):
        raise DataFormatError(f"{path}: compressed by gzip: unpack it")
    for kind, (at, magic) in _IMAGES.items():
        if file.start[at:].startswith(magic):
            raise DataFormatError(f"{path}: a {kind} image; k-space is needed, as the scanner measures it")
    raise DataFormatError(f"{path}: of no known format; these can be read: {', '.join(FORMATS)}")


def scan_sha256(path: Path) -> str:
    """SHA-256 of the file of a scan; of a BART pair, of the data."""
    with (bart.pair(path) or (path,))[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pretends(path: Path) -> bool:
    """Whether a file is by its suffix a scan, whatever it holds."""
    return path.suffix.lower() in (".h5", ".hdf5", ".mrd", ".mat", ".npy", ".npz", ".cfl")


def find_scans(places: Sequence[Path]) -> list[Path]:
    """The scans in files and folders: of a folder, what lies in it and is of a known format; of a BART pair the `.cfl`.

    A file that is named itself is taken as it is, and so is a broken one that `pretends`: its reader says why. Raises
    DataFormatError for a folder without any scan.
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
        return pretends(path)
    return True


def read(
    path: str | Path,
    *,
    variable: str | None = None,
    axes: str | None = None,
    domain: Domain | None = None,
    select: Sequence[str] = (),
) -> Scan:
    """Read a scan of any known format: fastMRI, ISMRMRD and other HDF5, BART, NumPy, MATLAB.

    `variable` names the array (or the ISMRMRD group) where a file holds several. `axes` names its axes in the
    order of the file, for example "ky,kx,coil": any order of slice, coil, kz, ky, kx, with `ri` for a pair of
    real and imaginary part and `_` for an axis of length 1 to drop. Two of kz, ky, kx become (y, x) in the
    order of the file; of all three, the fully sampled one is transformed and becomes the slices. Zero
    frequency is expected at n // 2 of an axis, and the origin of the image, too; where the energy is plainly elsewhere,
    it is moved there, and `header["notes"]` says so, unless the domain is said. Axes of `average` are averaged; those
    of a series (time, echo, ...) count images. A MATLAB file's axes are in MATLAB's order, whatever its version.
    `domain` "image" says that the file holds the images of the coils, which are transformed; what looks so is refused
    otherwise, unless the domain is said to be "kspace". `select` takes one place of a series alone, or one slice, such
    as "repetition=2", from 0.

    Raises DataFormatError, one line that begins with the path, for whatever is wrong with the file; it lists
    what the file holds where a choice is missing.
    """
    if not isinstance(path, str | os.PathLike):
        raise DataFormatError(f"read takes the path of a file; got a {type(path).__name__}: arrays become a Scan")
    with reading(Path(path)):
        return stream(path, variable=variable, axes=axes, domain=domain, select=select).whole()


def stream(
    path: str | Path,
    *,
    variable: str | None = None,
    axes: str | None = None,
    domain: Domain | None = None,
    select: Sequence[str] = (),
) -> LazyScan:
    """What `read` reads, slice by slice where the format allows it."""
    return opened(Path(path), Request(variable, axes, domain, tuple(select)))


def opened(path: Path, request: Request) -> LazyScan:
    """`stream` of what is said of many files once."""
    with reading(path):
        _, found = _sniffed(path)
        scan = found.stream(path, request)
        if scan is None:
            scan = stream_array(path, found.variables(path), request.variable, request.axes, request.domain)
        if request.domain is None and scan.is_planar_grid:
            check_axes(scan)
            scan = centered(scan)
            check_kspace(scan.slice(scan.n_slices // 2).data)
        return chosen(scan, request.select)


def chosen(scan: LazyScan, select: Sequence[str]) -> LazyScan:
    """The images at places of a series, each such as "repetition=2". Raises DataFormatError if there are none."""
    for choice in select:
        name, _, index = choice.partition("=")
        if not index.isdecimal():
            raise DataFormatError(f"--select takes NAME=INDEX, such as repetition=2; got {choice!r}")
        scan = scan.select(name, int(index))
    return scan


def read_target(path: str | Path) -> Tensor | None:
    """The reference image float32 (slice, y, x) stored beside the k-space of a fastMRI file; None if there
    is none.
    """
    path = Path(path)
    with reading(path):
        file = File(path)
        return fastmri.read_target(path) if bart.pair(path) is None and file.hdf5 is not None else None


def describe(path: str | Path) -> dict[str, Any]:
    """What a file holds, as plain values: its format and the shape and type of every array.

    It also answers for files that are no scan, or that need `variable` and `axes` to be read as one.
    """
    path = Path(path)
    with reading(path):
        kind, found = _sniffed(path)
        arrays = {name: {"shape": list(v.shape), "dtype": v.dtype} for name, v in found.variables(path).items()}
        return {"path": str(path), "format": kind, "variables": arrays, **found.summary(path)}
