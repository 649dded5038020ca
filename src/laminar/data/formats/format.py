"""What a format is: how a file of it is recognized, what arrays it holds, and how it is read where it says its axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py

from laminar.data.formats.arrays import Variables
from laminar.data.formats.domain import Domain
from laminar.data.formats.hdf5 import Hdf5, survey
from laminar.data.formats.lazy import LazyScan
from laminar.errors import DataFormatError


@dataclass(frozen=True)
class File:
    """A file that is to be recognized by its content. Raises DataFormatError for what is no file with content."""

    path: Path

    @cached_property
    def start(self) -> bytes:
        """The first bytes."""
        path = self.path
        if not path.exists():
            raise DataFormatError(f"{path}: no such file")
        if not path.is_file():
            raise DataFormatError(f"{path}: is a directory, not a scan" if path.is_dir() else f"{path}: is not a file")
        with path.open("rb") as file:
            start = file.read(512)
        if not start:
            raise DataFormatError(f"{path}: the file is empty")
        return start

    @cached_property
    def hdf5(self) -> Hdf5 | None:
        """What it holds if it is HDF5."""
        return survey(self.path) if self.start and h5py.is_hdf5(self.path) else None


@dataclass(frozen=True)
class Request:
    """What the reader of a file said of it: see `laminar.data.formats.read`."""

    variable: str | None = None
    axes: str | None = None
    domain: Domain | None = None
    select: tuple[str, ...] = ()

    def check_is_kspace(self, what: str) -> None:
        """Raise DataFormatError if a file of a format that holds k-space alone is said to hold images."""
        if self.domain == "image":
            raise DataFormatError(f"{what} are k-space, never images of coils: leave out --domain image")


UNSAID = Request()
"""The file says all by itself."""


def no_scan(path: Path, request: Request) -> LazyScan | None:
    return None


def no_summary(path: Path) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Format:
    """One kind of file, an entry of `registry.FORMATS`; of several that fit a file, the first one counts.

    `stream` reads a scan whose axes the format itself states; None where it states none, or where the request wants
    something else: then the array and its axes are those of the request.
    """

    fits: Callable[[File], bool]
    variables: Callable[[Path], Variables]
    stream: Callable[[Path, Request], LazyScan | None] = no_scan
    summary: Callable[[Path], Mapping[str, Any]] = no_summary
