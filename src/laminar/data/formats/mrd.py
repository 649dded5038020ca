"""ISMRMRD at the door: which files are MRD, and their scan, as `ismrmrd_` assembles it."""

from __future__ import annotations

from pathlib import Path

from laminar.data.formats import ismrmrd_
from laminar.data.formats.format import Format, Request
from laminar.data.formats.hdf5 import hdf5_variables
from laminar.data.formats.lazy import LazyScan


def stream(path: Path, request: Request) -> LazyScan | None:
    """The scan of the group that `request.variable` names, in memory, with a note of what was not taken."""
    if request.axes is not None:
        return None
    request.check_is_kspace("ISMRMRD readouts")
    return LazyScan.of(ismrmrd_.read(path, request.variable))


FORMAT = Format(
    lambda file: file.hdf5 is not None and ismrmrd_.group_name(file.hdf5) is not None,
    hdf5_variables,
    stream,
    ismrmrd_.summary,
)
