"""Files that hold scans: one module a format, one door that finds out which it is."""

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.door import describe, read, read_target
from laminar.data.formats.fastmri import write_fastmri

__all__ = ["describe", "read", "read_target", "scan_name", "write_fastmri"]
