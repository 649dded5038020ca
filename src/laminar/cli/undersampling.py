"""Undersample a fully sampled scan on the command line, alike for every verb that reconstructs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan

MASKS = ("random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "poisson")

_AXIS = "the axis to undersample; auto is the one that is not the readout, and x where the file does not say"


def add_undersampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("undersample a fully sampled scan, and report the metrics against it")
    group.add_argument("--acceleration", type=float, metavar="R", help="nominal acceleration")
    group.add_argument("--mask", choices=MASKS, help="default: equispaced-fraction")
    group.add_argument("--calibration-lines", type=int, metavar="N", help="default: 14")
    group.add_argument("--seed", type=int, metavar="S", help="seed of the mask (default: 0)")
    group.add_argument("--mask-axis", choices=("auto", "x", "y"), help=_AXIS)


Domain = Literal["kspace", "image"]


def add_domain(parser: argparse.ArgumentParser) -> None:
    said = (
        "what the file holds: k-space, or the images of its coils; default: k-space, and what looks like images fails"
    )
    parser.add_argument("--domain", choices=("kspace", "image"), help=said)


@dataclass(frozen=True)
class Undersampling:
    """The mask that the options ask for; without --acceleration, an option of it is a mistake (ConfigError)."""

    acceleration: float | None
    mask: str | None
    calibration_lines: int | None
    seed: int | None
    mask_axis: str | None

    def __post_init__(self) -> None:
        for name in ("mask", "calibration_lines", "seed", "mask_axis"):
            if self.acceleration is None and getattr(self, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} does nothing without --acceleration")

    def apply(self, full: LazyScan) -> LazyScan:
        """The scan with the mask, or as it is if none is asked for.

        Raises ConfigError if it is undersampled already.
        """
        from laminar.data.cases import MOST_ACCELERATED
        from laminar.data.masks import make_mask

        if self.acceleration is None:
            return full
        if full.measured_acceleration > MOST_ACCELERATED:
            raise ConfigError(
                f"{full.name}: --acceleration needs a fully sampled scan; this one has R = "
                f"{full.measured_acceleration:.2f} already"
            )
        kind, lines, seed = self._chosen
        return full.undersample(make_mask(kind, full.matrix, self.acceleration, lines, seed, self._axis(full)))

    def describe(self, scan: LazyScan) -> str:
        """The mask in a line, for the attributes of a file."""
        kind, lines, seed = self._chosen
        axis = "x" if self._axis(scan) == -1 else "y"
        return f"{kind} R={self.acceleration:g} n={lines} seed={seed} axis={axis}"

    @property
    def _chosen(self) -> tuple[str, int, int]:
        lines = 14 if self.calibration_lines is None else self.calibration_lines
        return self.mask or "equispaced-fraction", lines, self.seed or 0

    def _axis(self, scan: LazyScan) -> int:
        return {"x": -1, "y": -2}.get(self.mask_axis or "auto", scan.grid.phase_axis)
