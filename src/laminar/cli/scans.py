"""The options that say how a scan is read, and where it is worked on, alike for every verb that takes scans."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan


@dataclass(frozen=True)
class ScanOptions:
    """What a file does not say of its k-space."""

    variable: str | None
    axes: str | None
    domain: Literal["kspace", "image"] | None
    points: str | None
    matrix: str | None
    select: tuple[str, ...]

    def stream(self, path: Path) -> LazyScan:
        """The scan in a file. Raises DataFormatError, ConfigError."""
        return self._chosen(self._all(path))

    def _all(self, path: Path) -> LazyScan:
        from laminar.data.formats import stream, stream_off_grid

        if self.points is None:
            if self.matrix is not None:
                raise ConfigError("--matrix does nothing without --points")
            return stream(path, variable=self.variable, axes=self.axes, domain=self.domain)
        if self.matrix is None or self.axes is not None or self.domain is not None:
            raise ConfigError("--points needs --matrix Y,X, the size of the image, and neither --axes nor --domain")
        return stream_off_grid(path, self.points, parse_matrix(self.matrix), self.variable)

    def _chosen(self, scan: LazyScan) -> LazyScan:
        for choice in self.select:
            name, _, index = choice.partition("=")
            if not index.isdecimal():
                raise ConfigError(f"--select takes NAME=INDEX, such as repetition=2; got {choice!r}")
            scan = scan.select(name, int(index))
        return scan

    @property
    def idle(self) -> bool:
        """Whether nothing is told."""
        return not (self.variable or self.axes or self.domain or self.points or self.select)


def add_scan_options(parser: argparse._ActionsContainer) -> None:
    """The options of `ScanOptions`."""
    add_array_options(parser)
    parser.add_argument("--domain", choices=("kspace", "image"), help=_DOMAIN)
    parser.add_argument("--points", metavar="FILE[:NAME]", help=_POINTS)
    parser.add_argument("--matrix", metavar="Y,X", help="the size of the image, with --points")
    parser.add_argument("--select", action="append", default=[], metavar="NAME=INDEX", help=_SELECT)


def add_array_options(parser: argparse._ActionsContainer) -> None:
    """Which array of a file is k-space, and its axes."""
    parser.add_argument("--variable", metavar="NAME", help="the array that holds k-space, where a file has several")
    parser.add_argument("--axes", metavar="A,B,..", help="its axes, where the file does not say them")


def parse_matrix(text: str) -> tuple[int, int]:
    """`"256,192"` as (y, x); ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) != 2 or not all(_is_side(part.strip()) for part in parts):
        raise ConfigError(f"--matrix must be two sizes of at least 16, such as 256,192; got {text!r}")
    return int(parts[0]), int(parts[1])


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) >= 16


_POINTS = "the trajectory of k-space off the grid: BART's traj, or an array kx + i ky, or of kx, ky; docs/geometries.md"
_SELECT = "one place of a series alone, such as repetition=2 or slice=0, from 0; may be given several times"
_DOMAIN = "what the file holds: k-space, or the images of its coils; default: k-space, and what looks like images fails"


def add_device(parser: argparse._ActionsContainer) -> None:
    """`--device`, for `check_device`."""
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def check_device(name: str) -> str:
    """`name` if torch can use it; else ConfigError."""
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used on this machine: expected cpu or cuda") from error
    return name
