"""ISMRMRD (MRD) `.h5`: readouts with headers, assembled into a scan.

Format: 10.1002/mrm.26089. Read with HDF5 alone, all readouts at once: readout by readout takes a hundred
times as long.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from laminar.data.formats.arrays import scan_name
from laminar.data.formats.assembly import assemble
from laminar.data.formats.hdf5 import Hdf5, survey
from laminar.data.formats.header import MrdHeader, parse_header
from laminar.data.formats.readouts import Records, records_of
from laminar.errors import DataFormatError
from laminar.scan import Scan


def group_name(file: Hdf5, wanted: str | None = None) -> str | None:
    """The first group of the file (or the wanted one) with readouts and an XML header."""
    names = [wanted] if wanted else ["dataset", *(name for name in file.groups if "/" not in name)]
    return next((name for name in names if f"{name}/xml" in file.datasets and f"{name}/data" in file.datasets), None)


def load(path: Path, group: str | None = None) -> tuple[MrdHeader, Records]:
    """The header and all readouts of a file."""
    xml, records = load_text(path, group)
    return parse_header(xml), records


def load_text(path: Path, group: str | None = None) -> tuple[bytes, Records]:
    """The text of the header and all readouts of a file."""
    file = survey(path)
    name = group_name(file, group)
    if name is None:
        raise DataFormatError(
            f"no ISMRMRD group '{group or 'dataset'}' with xml and data: laminar convert --to ismrmrd makes one"
        )
    return file.datasets[f"{name}/xml"].text(), records_of(*file.datasets[f"{name}/data"].readouts())


def summary(path: Path) -> dict[str, Any]:
    """What the header and the readouts' own headers say, as plain values."""
    header, records = load(path)
    return summarized(header, records)


def summarized(header: MrdHeader, records: Records) -> dict[str, Any]:
    """What a header says, without the notes, which are those of the scan, and how many readouts there are."""
    told = asdict(header)
    del told["notes"]
    return {"header": told, "readouts": len(records)}


def read(path: Path, group: str | None = None) -> Scan:
    """The first Cartesian encoding of an ISMRMRD file, as `assemble` makes it. Raises DataFormatError."""
    header, records = load(path, group)
    return assemble(records, header, scan_name(path))
