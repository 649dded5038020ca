"""The options that say how a scan is read, and where it is worked on, alike for every verb that takes scans."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan, Request


@dataclass(frozen=True)
class ArrayOptions:
    """What a file does not say of its k-space, and which of its images are wanted."""

    variable: str | None
    axes: str | None
    domain: Literal["kspace", "image"] | None
    select: tuple[str, ...]

    @property
    def request(self) -> Request:
        from laminar.data.formats import Request

        return Request(self.variable, self.axes, self.domain, self.select)

    @property
    def idle(self) -> bool:
        """Whether nothing is told."""
        return not any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class ScanOptions(ArrayOptions):
    """The same, and where its samples lie off the grid."""

    points: str | None
    matrix: str | None

    def stream(self, path: Path) -> LazyScan:
        """The scan in a file. Raises DataFormatError, ConfigError."""
        from laminar.data.formats import chosen, opened, stream_off_grid

        if self.points is None:
            if self.matrix is not None:
                raise ConfigError("--matrix does nothing without --points")
            return opened(path, self.request)
        if self.matrix is None or self.axes is not None or self.domain is not None:
            raise ConfigError(
                "--points needs --matrix Y,X, the image (Z,Y,X: a volume), and neither --axes nor --domain"
            )
        return chosen(stream_off_grid(path, self.points, parse_size(self.matrix), self.variable), self.select)


def add_scan_options(parser: argparse._ActionsContainer) -> None:
    """The options of `ScanOptions`."""
    add_array_options(parser)
    parser.add_argument("--points", metavar="FILE[:NAME]", help=_POINTS)
    parser.add_argument("--matrix", metavar="[Z,]Y,X", help="the size of the image, with --points")


def add_array_options(parser: argparse._ActionsContainer) -> None:
    """The options of `ArrayOptions`."""
    parser.add_argument("--variable", metavar="NAME", help="the array that holds k-space, where a file has several")
    parser.add_argument("--axes", metavar="A,B,..", help="its axes, where the file does not say them")
    parser.add_argument("--domain", choices=("kspace", "image"), help=_DOMAIN)
    parser.add_argument("--select", action="append", default=[], metavar="NAME=INDEX", help=_SELECT)


def parse_matrix(text: str) -> tuple[int, int]:
    """`"256,192"` as (y, x); ConfigError for anything else."""
    y, x = parse_size(text, (2,))
    return y, x


def parse_size(text: str, counts: tuple[int, ...] = (2, 3)) -> tuple[int, ...]:
    """`"256,192"` as (y, x), or `"64,256,192"` as (z, y, x), one of so many sides; ConfigError for anything else."""
    parts = text.split(",")
    if len(parts) not in counts or not all(_is_side(part.strip()) for part in parts):
        sizes = "two sizes" if counts == (2,) else "two or three sizes"
        raise ConfigError(f"--matrix must be {sizes} of at least 16, such as 256,192; got {text!r}")
    return tuple(int(part) for part in parts)


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) >= 16


_POINTS = "the trajectory of k-space off the grid: BART's traj, kx + i ky, or kx, ky and perhaps kz; docs/geometries.md"
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
        usable = "cpu or cuda" if torch.cuda.is_available() else "cpu, for torch finds no CUDA device"
        raise ConfigError(f"device {name!r} cannot be used on this machine: expected {usable}") from error
    return name
