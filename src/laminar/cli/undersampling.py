"""Undersample a fully sampled scan on the command line, alike for every verb that reconstructs."""

from __future__ import annotations

import argparse
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
    group.add_argument("--calibration-lines", type=int, metavar="N", help="default: 14")
    group.add_argument("--seed", type=int, metavar="S", help="seed of the mask (default: 0)")
    group.add_argument("--mask-axis", choices=("auto", "x", "y"), help=_AXIS)


def settle_undersampling(args: argparse.Namespace) -> None:
    """Fill in the defaults of a mask; without --acceleration, an option of it is a mistake."""
    for name, default in _DEFAULTS.items():
        if args.acceleration is None and getattr(args, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} does nothing without --acceleration")
        if getattr(args, name) is None:
            setattr(args, name, default)


def undersample(full: LazyScan, args: argparse.Namespace) -> LazyScan:
    """The scan with the mask that the options ask for. Raises ConfigError if it is undersampled already."""
    from laminar.data.cases import MOST_ACCELERATED
    from laminar.data.masks import make_mask

    if full.measured_acceleration > MOST_ACCELERATED:
        raise ConfigError(
            f"{full.name}: --acceleration needs a fully sampled scan; this one has R = "
            f"{full.measured_acceleration:.2f} already"
        )
    axis = _mask_axis(full, args)
    return full.undersample(
        make_mask(args.mask, full.matrix, args.acceleration, args.calibration_lines, args.seed, axis)
    )


def describe_mask(scan: LazyScan, args: argparse.Namespace) -> str:
    """The mask in a line, for the attributes of a file."""
    axis = "x" if _mask_axis(scan, args) == -1 else "y"
    return f"{args.mask} R={args.acceleration:g} n={args.calibration_lines} seed={args.seed} axis={axis}"


def _mask_axis(scan: LazyScan, args: argparse.Namespace) -> int:
    return {"x": -1, "y": -2, "auto": scan.phase_axis}[args.mask_axis]
