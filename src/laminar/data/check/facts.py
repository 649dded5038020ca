"""What a check of a data set knows of a file: from its header and a few slices, so that thousands take a minute."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from laminar.data.check.suspicions import energy_of, noise_level, suspicions
from laminar.data.formats import UNSAID, Request, pretends
from laminar.data.formats.guard import reading
from laminar.data.peek import Peek, peek
from laminar.errors import LaminarError, MissingExtraError

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
    the same for a scaled copy; `suspicions` by kind; `noise_std` per complex sample. An error is `passing` if the
    machine may be at fault: a package that is missing, a permission.
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
    passing: bool = False


def facts_of(path: Path, root: Path, request: Request = UNSAID) -> Facts | None:
    """The facts of a file; None if it is no scan, nor pretends to be one by its suffix."""
    relative = path.relative_to(root)
    place = (relative.as_posix(), _split(relative))
    try:
        with reading(path):
            return _facts(place, peek(path, request), relative)
    except LaminarError as error:
        passing = isinstance(error, MissingExtraError) or isinstance(error.__cause__, OSError)
        said = str(error).removeprefix(f"{path}: ")
        return Facts(*place, error=said, passing=passing) if pretends(path) else None


def _split(relative: Path) -> str:
    folders = relative.parts[:-1]
    return next((part for part in folders if _SPLIT.search(part)), folders[0] if folders else ".")


def _facts(place: tuple[str, str], seen: Peek, relative: Path) -> Facts:
    matrix = (int(seen.kspace.shape[1]), int(seen.kspace.shape[2]))
    energy = energy_of(seen.kspace)
    sound = bool(energy.isfinite().all()) and bool(energy.any())
    noise_std = noise_level(seen.kspace, seen.mask) if sound else 0.0
    return Facts(
        *place,
        format=seen.format,
        slices=seen.slices,
        coils=len(seen.kspace),
        matrix=matrix,
        acceleration=seen.acceleration if sound else 0.0,
        noise_std=noise_std,
        subject=_subject(seen.header, relative),
        content=hashlib.sha256(seen.kspace.numpy().tobytes()).hexdigest() if sound else "",
        fingerprint=_fingerprint(seen.kspace) if sound else (),
        suspicions=suspicions(seen.kspace, seen.mask, noise_std),
    )


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
