"""The middle slice of a file: what a look at thousands of them takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from laminar.data.formats import UNSAID, Request, opened, sniff
from laminar.data.formats.axes import to_complex64
from laminar.data.formats.guard import reading
from laminar.data.formats.hdf5 import survey
from laminar.data.formats.header import parse_header


@dataclass(frozen=True, eq=False)
class Peek:
    """The name of a format, the number of slices, and `kspace` (coil, y, x) and mask of the middle one."""

    format: str
    slices: int
    kspace: Tensor
    mask: Tensor
    header: Mapping[str, Any]

    @property
    def acceleration(self) -> float:
        """Points of the grid by those with samples; 0 where there are none."""
        return float(self.mask.numel() / self.mask.sum()) if bool(self.mask.any()) else 0.0


def peek(path: Path, request: Request = UNSAID) -> Peek:
    """The middle slice, read as the request says. Raises DataFormatError."""
    with reading(path):
        kind = sniff(path)
        if kind in ("fastMRI", "M4Raw") and request == UNSAID:
            return _peek_fastmri(path, kind)
        scan = opened(path, request)
        middle = scan.slice(scan.n_slices // 2)
        return Peek(kind, scan.n_slices, middle.kspace[0], middle.mask, middle.header)


def _peek_fastmri(path: Path, kind: str) -> Peek:
    """Without the reader, whose mask takes a pass over all slices."""
    file = survey(path)
    dataset = file.datasets["kspace"]
    middle = dataset.shape[0] // 2
    kspace = to_complex64(dataset.load(slice(middle, middle + 1))[0])
    header: dict[str, Any] = {"patient_id": file.attributes.get("patient_id", "")}
    if "ismrmrd_header" in file.datasets:
        header = dict(parse_header(file.datasets["ismrmrd_header"].text()).info) | header
    kspace = kspace if kspace.ndim == 3 else kspace[None]
    return Peek(kind, dataset.shape[0], kspace, (kspace != 0).any(0), header)
