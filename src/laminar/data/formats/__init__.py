"""Files that hold scans: one module a format, one door that finds out which it is."""

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.door import (
    chosen,
    describe,
    find_scans,
    opened,
    pretends,
    read,
    read_target,
    scan_sha256,
    sniff,
    stream,
)
from laminar.data.formats.fastmri import write_fastmri
from laminar.data.formats.format import UNSAID, Request
from laminar.data.formats.lazy import AnyScan, LazyScan
from laminar.data.formats.points import stream_off_grid
from laminar.data.formats.sampling import padding_note, partial_note
from laminar.data.formats.scan_file import read_reference, write_scan

__all__ = [
    "UNSAID",
    "AnyScan",
    "LazyScan",
    "Request",
    "chosen",
    "describe",
    "find_scans",
    "opened",
    "padding_note",
    "partial_note",
    "pretends",
    "read",
    "read_reference",
    "read_target",
    "scan_name",
    "scan_sha256",
    "sniff",
    "stream",
    "stream_off_grid",
    "write_fastmri",
    "write_scan",
]
