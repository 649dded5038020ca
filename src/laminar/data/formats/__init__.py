"""Files that hold scans: one module a format, one door that finds out which it is."""

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.door import describe, find_scans, read, read_target, scan_sha256, stream
from laminar.data.formats.fastmri import write_fastmri
from laminar.data.formats.lazy import AnyScan, LazyScan
from laminar.data.formats.sampling import padding_note, partial_note

__all__ = [
    "AnyScan",
    "LazyScan",
    "describe",
    "find_scans",
    "padding_note",
    "partial_note",
    "read",
    "read_target",
    "scan_name",
    "scan_sha256",
    "stream",
    "write_fastmri",
]
