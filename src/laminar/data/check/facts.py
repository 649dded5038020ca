"""What a check of a data set knows of a file: from its header and a few slices, so that thousands take a minute."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor

from laminar.data.check.suspicions import energy_of, noise_level, suspicions
from laminar.data.formats import UNSAID, Request, opened
from laminar.data.formats.axes import to_complex64
from laminar.data.formats.door import sniff
from laminar.data.formats.guard import reading
from laminar.data.formats.header import parse_header
from laminar.errors import LaminarError

SUFFIXES = (".h5", ".hdf5", ".mrd", ".mat", ".npy", ".npz", ".cfl")
_NOBODY = {"", "0", "none", "unknown", "anonymous", "anonymized", "anonymised"}
_NAMED = re.compile(r"^(sub-[A-Za-z0-9]+|e\d{4,}(?=s\d))")
"""Subjects in names: BIDS, Calgary-Campinas. (CMRxRecon counts from P001 in every split.)"""
_SPLIT = re.compile("train|val|test", re.IGNORECASE)
_PRINT = 8


@dataclass(frozen=True)
class Facts:
    """A file of a data set; `error` in place of all else if it cannot be read.

    `path` is relative to the data set, `split` a folder on it named like one, or else the first. Of the middle slice:
    `content` is a checksum of its samples, `fingerprint` the logarithm of their center, without mean and of norm one,
    the same for a scaled copy; `suspicions` by kind; `noise_std` per complex sample.
    """

    path: str
    split: str
    format: str = ""
    slices: int = 0
    coils: int = 0
    matrix: tuple[int, int] = (0, 0)
    acceleration: float = 0.0
    noise_std: float = 0.0
    subject: str | None = None
    content: str = ""
    fingerprint: tuple[float, ...] = ()
    suspicions: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, eq=False)
class _Peek:
    slices: int
    kspace: Tensor
    mask: Tensor
    header: Mapping[str, Any]


def facts_of(path: Path, root: Path, request: Request = UNSAID) -> Facts | None:
    """The facts of a file; None if it is no scan, nor pretends to be one by its suffix."""
    relative = path.relative_to(root)
    place = (relative.as_posix(), _split(relative))
    try:
        with reading(path):
            kind = sniff(path)
            quick = kind in ("fastMRI", "M4Raw") and request == UNSAID
            seen = _peek_fastmri(path) if quick else _peek(path, request)
            return _facts(place, kind, seen, relative)
    except LaminarError as error:
        return Facts(*place, error=str(error).removeprefix(f"{path}: ")) if path.suffix in SUFFIXES else None


def _split(relative: Path) -> str:
    folders = relative.parts[:-1]
    return next((part for part in folders if _SPLIT.search(part)), folders[0] if folders else ".")


def _facts(place: tuple[str, str], kind: str, seen: _Peek, relative: Path) -> Facts:
    matrix = (int(seen.kspace.shape[1]), int(seen.kspace.shape[2]))
    energy = energy_of(seen.kspace)
    sound = bool(energy.isfinite().all()) and bool(energy.any())
    noise_std = noise_level(seen.kspace, seen.mask) if sound else 0.0
    return Facts(
        *place,
        format=kind,
        slices=seen.slices,
        coils=len(seen.kspace),
        matrix=matrix,
        acceleration=float(seen.mask.numel() / seen.mask.sum()) if sound else 0.0,
        noise_std=noise_std,
        subject=_subject(seen.header, relative),
        content=hashlib.sha256(seen.kspace.numpy().tobytes()).hexdigest() if sound else "",
        fingerprint=_fingerprint(seen.kspace) if sound else (),
        suspicions=suspicions(seen.kspace, seen.mask, noise_std),
    )


def _peek(path: Path, request: Request) -> _Peek:
    scan = opened(path, request)
    middle = scan.slice(scan.n_slices // 2)
    return _Peek(scan.n_slices, middle.kspace[0], middle.mask, middle.header)


def _peek_fastmri(path: Path) -> _Peek:
    """The middle slice alone: the reader's own mask would take a pass over all of them."""
    with h5py.File(path, "r") as file:
        dataset = file["kspace"]
        kspace = to_complex64(np.asarray(dataset[dataset.shape[0] // 2]))
        header: dict[str, Any] = {"patient_id": file.attrs.get("patient_id", "")}
        if "ismrmrd_header" in file:
            header = dict(parse_header(file["ismrmrd_header"][()]).info) | header
        kspace = kspace if kspace.ndim == 3 else kspace[None]
        return _Peek(dataset.shape[0], kspace, (kspace != 0).any(0), header)


def _subject(header: Mapping[str, Any], relative: Path) -> str | None:
    """Who was scanned, as the file says, or else the folders and names of known data sets."""
    for key in ("patient_id", "patientID", "subject"):
        said = str(header.get(key, "")).strip()
        if said.lower() not in _NOBODY:
            return said
    names = (_NAMED.match(part) for part in reversed(relative.parts))
    return next((found.group(0) for found in names if found), None)


def _fingerprint(kspace: Tensor) -> tuple[float, ...]:
    y, x = (n // 2 for n in kspace.shape[1:])
    reach = _PRINT // 2
    power = kspace[:, max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach].abs().double().square().sum(0)
    level = (power / power.max().clamp_min(1e-300)).clamp_min(1e-12).log().flatten()
    level = level - level.mean()
    return tuple(round(float(v), 7) for v in level / level.norm().clamp_min(1e-12))
