"""Public sets whose files say little of themselves: Calgary-Campinas, CMRxRecon, SKM-TEA, meddlr, fastMRI prostate.

Each is recognized by the names, types and shapes that its files alone have; what was assumed stands in a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from laminar.data.formats import fastmri, mat5, mat73
from laminar.data.formats.arrays import Variable, Variables
from laminar.data.formats.axes import MOST_COILS
from laminar.data.formats.center import origin_at_center
from laminar.data.formats.format import File, Format, Request
from laminar.data.formats.hdf5 import Dataset, hdf5_variables, in_rows, survey
from laminar.data.formats.layout import stream_variable
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError

CMRXRECON = re.compile(r"kspace(_full|_sub\d+)?|kus(_\w+)?")
CMRXRECON_AXES = {5: "time,slice,coil,ky,kx", 4: "slice,coil,ky,kx"}
M4RAW = re.compile(r"(\d{6,}_(?:T1|T2|FLAIR))(\d\d)\.h5")


def _kspace(file: File) -> Dataset | None:
    return None if file.hdf5 is None else file.hdf5.datasets.get("kspace")


def _own(request: Request) -> bool:
    return request.axes is None and request.variable in (None, "kspace") and request.domain != "image"


def _named(
    fits: Callable[[File], bool], axes: str, note: str, change: Callable[[Tensor], Tensor] = lambda kspace: kspace
) -> Format:
    """A format whose `kspace` has these axes."""

    def stream(path: Path, request: Request) -> LazyScan | None:
        if not _own(request):
            return None
        kspace = in_rows(survey(path).datasets["kspace"])
        return stream_variable(path, kspace, axes, header={"axes": axes}, change=change).noting(note)

    return Format(fits, hdf5_variables, stream)


def is_calgary(file: File) -> bool:
    """Real (x, ky, kz, 2 coils): real and imaginary part of one coil after the other."""
    kspace = _kspace(file)
    if kspace is None or kspace.dtype is None or kspace.dtype.kind != "f" or len(kspace.shape) != 4:
        return False
    channels = kspace.shape[3]
    return channels % 2 == 0 and 4 <= channels < min(kspace.shape[1:3]) and channels <= 2 * MOST_COILS


def is_prostate(file: File) -> bool:
    """Complex (average, slice, coil, kx, ky) beside the calibration of its own or an ISMRMRD header."""
    kspace = _kspace(file)
    if file.hdf5 is None or kspace is None or not kspace.is_complex or len(kspace.shape) != 5:
        return False
    return bool({"calibration_data", "ismrmrd_header", *fastmri.TARGETS} & set(file.hdf5.datasets))


def is_skm_tea(file: File) -> bool:
    """Complex (x, ky, kz, echo, coil) of one or two echoes."""
    kspace = _kspace(file)
    if kspace is None or not kspace.is_complex or len(kspace.shape) != 5:
        return False
    _, ky, kz, echoes, coils = kspace.shape
    return echoes <= 2 and coils <= MOST_COILS and coils < min(ky, kz)


def is_meddlr(file: File) -> bool:
    """Complex (slice, ky, kx, coil) with maps of the same axes and one for their sets."""
    kspace = _kspace(file)
    if file.hdf5 is None or kspace is None or not kspace.is_complex or len(kspace.shape) != 4:
        return False
    maps = file.hdf5.datasets.get("maps")
    return maps is not None and len(maps.shape) == 5 and maps.shape[:4] == kspace.shape


def is_breast(file: File) -> bool:
    """Real (2, partition, coil, spoke, sample)."""
    kspace = _kspace(file)
    return kspace is not None and not kspace.is_complex and len(kspace.shape) == 5 and kspace.shape[0] == 2


def stream_breast(path: Path, request: Request) -> LazyScan | None:
    if not _own(request):
        return None
    raise DataFormatError(
        "a stack of stars (partition, coil, spoke, sample): radial, and only Cartesian scans are read"
    )


CALGARY = _named(
    is_calgary,
    "slice,ky,kz,coil_ri",
    "hybrid space: x is an image axis already; the image origin was moved from the corner to the center",
    lambda kspace: origin_at_center(kspace, [-2, -1]),
)
PROSTATE = _named(is_prostate, "average,slice,coil,kx,ky", "the averages were averaged, line by line")
SKM_TEA = _named(is_skm_tea, "slice,ky,kz,echo,coil", "hybrid space: x is an image axis already")
MEDDLR = _named(is_meddlr, "slice,ky,kx,coil", "axes (slice, ky, kx, coil); the maps in the file are not used")
BREAST = Format(is_breast, hdf5_variables, stream_breast)


def _cmrxrecon(variables: Variables) -> tuple[str, Variable] | None:
    """The k-space (kx, ky, coil, slice, time), or without time, that the names say is there."""
    found = {name: v for name, v in variables.items() if v.is_complex and CMRXRECON.fullmatch(name)}
    name, variable = next(iter(found.items()), (None, None))
    if name is None or variable is None or len(found) > 1 or len(variable.shape) not in CMRXRECON_AXES:
        return None
    kx, ky, coils = variable.shape[:3]
    is_named = name != "kspace"
    return (name, variable) if is_named or (len(variable.shape) == 5 and coils < min(kx, ky) >= 32) else None


def _stream_cmrxrecon(variables: Callable[[Path], Variables]) -> Callable[[Path, Request], LazyScan | None]:
    def stream(path: Path, request: Request) -> LazyScan | None:
        found = _cmrxrecon(variables(path)) if request.axes is None and request.domain != "image" else None
        if found is None or request.variable not in (None, found[0]):
            return None
        name, variable = found
        axes = CMRXRECON_AXES[len(variable.shape)]
        note = f"'{name}' was taken as CMRxRecon's ({','.join(reversed(axes.split(',')))}); --axes names others"
        return stream_variable(path, variable.reversed, axes, header={"variable": name, "axes": axes}).noting(note)

    return stream


CMRXRECON_73 = Format(
    lambda file: mat73.FORMAT.fits(file) and _cmrxrecon(mat73.mat73_variables(file.path)) is not None,
    mat73.mat73_variables,
    _stream_cmrxrecon(mat73.mat73_variables),
)
CMRXRECON_5 = Format(
    lambda file: mat5.FORMAT.fits(file) and _cmrxrecon(mat5.mat5_variables(file.path)) is not None,
    mat5.mat5_variables,
    _stream_cmrxrecon(mat5.mat5_variables),
)


def stream_m4raw(path: Path, request: Request) -> LazyScan | None:
    """A file is one repetition of several."""
    scan, named = fastmri.stream(path, request), M4RAW.fullmatch(path.name)
    if scan is None or named is None:
        return scan
    others = sorted(p.name for p in path.parent.glob(f"{named[1]}??.h5") if p.name != path.name)
    return scan.noting(f"repetition {named[2]} alone; others are in {', '.join(others)}") if others else scan


M4RAW_FORMAT = Format(
    lambda file: fastmri.fits(file) and M4RAW.fullmatch(file.path.name) is not None, hdf5_variables, stream_m4raw
)
