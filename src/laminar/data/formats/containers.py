"""Readouts in other containers than HDF5: MRD version 2 streams and Siemens raw data, assembled as ISMRMRD is.

`readouts_worker.py` reads them in a process of its own, with the packages `mrd-python` and `twixtools`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from laminar.data.formats.arrays import Variables, scan_name
from laminar.data.formats.assembly import assemble
from laminar.data.formats.format import File, Format, Request
from laminar.data.formats.header import Limits, MrdHeader, Size, lengths
from laminar.data.formats.ismrmrd_ import summarized
from laminar.data.formats.lazy import LazyScan
from laminar.data.formats.readouts import Records, records_of, split_floats
from laminar.data.formats.sandbox import Sandbox
from laminar.errors import DataFormatError, MissingExtraError

SANDBOX = Sandbox(Path(__file__).with_name("readouts_worker.py"))
MOST_MEASUREMENTS, LARGEST_HEADER = 64, 2**28
_BUFFER = re.compile(rb"\w{4,47}\x00")


def is_mrd2(file: File) -> bool:
    """The magic of yardl, and the schema that follows is that of MRD."""
    return file.start.startswith(b"yardl") and b'"Mrd"' in file.start


def is_siemens(file: File) -> bool:
    """A measurement at the beginning (VB), or where the table of measurements says (VD, VE)."""
    if len(file.start) < 128 or file.hdf5 is not None:
        return False
    _, count = struct.unpack_from("<2I", file.start)
    if _is_measurement(file.path, 0):
        return True
    return 1 <= count <= MOST_MEASUREMENTS and _is_measurement(file.path, struct.unpack_from("<Q", file.start, 16)[0])


def _is_measurement(path: Path, offset: int) -> bool:
    """Whether the length of a header, the number of its buffers and the name of the first lie there."""
    size = path.stat().st_size
    if offset + 64 > size:
        return False
    with path.open("rb") as file:
        file.seek(offset)
        start = file.read(64)
    length, buffers = struct.unpack_from("<2I", start)
    named = _BUFFER.match(start, 8) is not None
    return named and 0 < buffers <= MOST_MEASUREMENTS and 64 < length <= min(size - offset, LARGEST_HEADER)


def _mrd2(path: Path, request: Request) -> tuple[MrdHeader, Records]:
    if request.variable is not None:
        raise DataFormatError(f"an MRD version 2 stream has no variables; got {request.variable!r}")
    return _asked("mrd", "mrd-python", "mrd", "mrd2", path)


def _siemens(path: Path, request: Request) -> tuple[MrdHeader, Records]:
    try:
        measurement = None if request.variable is None else int(request.variable)
    except ValueError:
        raise DataFormatError(f"measurements have numbers, from 0; got {request.variable!r}") from None
    return _asked("twixtools", "twixtools", "siemens", "siemens", path, measurement)


def _asked(module: str, package: str, extra: str, what: str, path: Path, *more: Any) -> tuple[MrdHeader, Records]:
    if find_spec(module) is None:
        raise MissingExtraError(package, extra)
    told, (heads, counts, floats) = SANDBOX.ask(what, os.fspath(path.absolute()), *more)
    parts = split_floats(counts.ravel(), floats)
    return _header(told), records_of(heads, parts[: len(heads)], parts[len(heads) :])


def _header(told: Mapping[str, Any]) -> MrdHeader:
    """What the worker tells of a header. Raises DataFormatError for a matrix that is none."""
    matrices = {name: _triple(told[name]) for name in ("encoded_matrix", "recon_matrix")}
    if any(min(matrix) < 1 for matrix in matrices.values()):
        raise DataFormatError(f"the header must give positive matrices; got {matrices}")
    return MrdHeader(
        **matrices,
        encoded_fov_mm=lengths(*told["encoded_fov_mm"]),
        recon_fov_mm=lengths(*told["recon_fov_mm"]),
        limits={name: Limits(*values) for name, values in told["limits"].items()},
        trajectory=told["trajectory"],
        calibration_mode=told["calibration_mode"],
        noise_bandwidth=told["noise_bandwidth"],
        info=told["info"],
        notes=tuple(told.get("notes", ())),
    )


def _triple(values: list[int]) -> Size:
    x, y, z = values
    return x, y, z


def _format(fits: Any, load: Any) -> Format:
    def stream(path: Path, request: Request) -> LazyScan | None:
        if request.axes is not None:
            raise DataFormatError("readouts say their place themselves: leave out --axes")
        request.check_is_kspace("readouts")
        header, records = load(path, request)
        return LazyScan.of(assemble(records, header, scan_name(path)))

    def summary(path: Path) -> Mapping[str, Any]:
        header, records = load(path, Request())
        return summarized(header, records)

    return Format(fits, _no_variables, stream, summary)


def _no_variables(path: Path) -> Variables:
    return {}


MRD2 = _format(is_mrd2, _mrd2)
SIEMENS = _format(is_siemens, _siemens)
