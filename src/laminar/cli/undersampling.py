"""Undersample a fully sampled scan on the command line, alike for every verb that reconstructs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan

MASKS = (
    *("random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "gaussian"),
    *("poisson", "gaussian-2d", "radial", "spiral", "calgary"),
)

_DEFAULTS = {"mask": "equispaced-fraction", "calibration_lines": 14, "seed": 0, "mask_axis": "auto"}
_AXIS = "the axis to undersample; auto is the one that is not the readout, and x where the file does not say"


def add_undersampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("undersample a fully sampled scan, and report the metrics against it")
    group.add_argument("--acceleration", type=float, metavar="R", help="nominal acceleration")
    group.add_argument("--mask", choices=MASKS, help="default: equispaced-fraction")
    group.add_argument("--calibration-lines", type=_lines, metavar="N", help="or a fraction of all (default: 14)")
    group.add_argument("--seed", type=int, metavar="S", help="seed of the mask (default: 0)")
    group.add_argument("--mask-axis", choices=("auto", "x", "y"), help=_AXIS)
    group.add_argument("--protocol", metavar="NAME", help="the masks of a protocol instead; evaluate --protocol list")
    group.add_argument("--masks", type=Path, metavar="DIR", help="where the published masks are that a protocol names")


def _lines(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


def settle_undersampling(args: argparse.Namespace) -> None:
    """Fill in the defaults of a mask; without --acceleration, or beside --protocol, an option of it is a mistake."""
    if args.protocol is not None:
        _settle_protocol(args)
    elif args.masks is not None:
        raise ConfigError("--masks does nothing without --protocol")
    for name, default in _DEFAULTS.items():
        if args.acceleration is None and getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} does nothing without --acceleration")
        if getattr(args, name) is None:
            setattr(args, name, default)


def _settle_protocol(args: argparse.Namespace) -> None:
    from laminar.evaluation import load_protocol

    given = [name for name in ("acceleration", *_DEFAULTS) if getattr(args, name) is not None]
    if given:
        raise ConfigError(f"--protocol has its own mask: leave out --{given[0].replace('_', '-')}")
    args.protocol = load_protocol(args.protocol)
    args.acceleration = args.protocol.mask.acceleration


def undersample(full: LazyScan, args: argparse.Namespace, file: str) -> LazyScan:
    """The scan, in a file of this name, with the mask that is asked for. Raises ConfigError if it has one already."""
    from laminar.data.cases import MOST_ACCELERATED
    from laminar.data.check import padding
    from laminar.data.masks import make_mask

    if full.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{full.name}: --acceleration needs a fully sampled scan; this one has R = "
            f"{full.measured_acceleration:.2f} already"
        )
    for said in filter(None, padding(full.mask).values()):
        print(f"{full.name}: the reference is not of a full scan: {said}", file=sys.stderr)
    if args.protocol is not None:
        return full.undersample(args.protocol.mask.draw(file, full.matrix, args.masks))
    axis = _mask_axis(full, args)
    return full.undersample(
        make_mask(args.mask, full.matrix, args.acceleration, args.calibration_lines, args.seed, axis)
    )


def describe_mask(scan: LazyScan, args: argparse.Namespace) -> str:
    """The mask in a line, for the attributes of a file."""
    if args.protocol is not None:
        return f"protocol {args.protocol.name}"
    axis = "x" if _mask_axis(scan, args) == -1 else "y"
    return f"{args.mask} R={args.acceleration:g} n={args.calibration_lines} seed={args.seed} axis={axis}"


def _mask_axis(scan: LazyScan, args: argparse.Namespace) -> int:
    return {"x": -1, "y": -2, "auto": scan.phase_axis}[args.mask_axis]
