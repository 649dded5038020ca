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
    select: tuple[str, ...]

    def stream(self, path: Path) -> LazyScan:
        """The scan in a file. Raises DataFormatError."""
        from laminar.data.formats import stream

        scan = stream(path, variable=self.variable, axes=self.axes, domain=self.domain)
        for choice in self.select:
            name, _, index = choice.partition("=")
            if not index.isdecimal():
                raise ConfigError(f"--select takes NAME=INDEX, such as repetition=2; got {choice!r}")
            scan = scan.select(name, int(index))
        return scan

    @property
    def idle(self) -> bool:
        """Whether nothing is told."""
        return not (self.variable or self.axes or self.domain or self.select)


def add_scan_options(parser: argparse._ActionsContainer) -> None:
    """The options of `ScanOptions`."""
    add_array_options(parser)
    parser.add_argument("--domain", choices=("kspace", "image"), help=_DOMAIN)
    parser.add_argument("--select", action="append", default=[], metavar="NAME=INDEX", help=_SELECT)


def add_array_options(parser: argparse._ActionsContainer) -> None:
    """Which array of a file is k-space, and its axes."""
    parser.add_argument("--variable", metavar="NAME", help="the array that holds k-space, where a file has several")
    parser.add_argument("--axes", metavar="A,B,..", help="its axes, where the file does not say them")


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
