"""Undersample a fully sampled scan on the command line, alike for every verb that reconstructs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan
    from laminar.evaluation import Protocol

MASKS = (
    *("random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "gaussian"),
    *("poisson", "gaussian-2d", "radial", "spiral", "calgary"),
)

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


@dataclass(frozen=True)
class Undersampling:
    """The mask that the options ask for. An option without effect is a mistake (ConfigError)."""

    acceleration: float | None
    mask: str | None
    calibration_lines: int | float | None
    seed: int | None
    mask_axis: str | None
    protocol: str | None
    masks: Path | None

    def __post_init__(self) -> None:
        given = [name for name in ("mask", "calibration_lines", "seed", "mask_axis") if getattr(self, name) is not None]
        if self.protocol is None and self.masks is not None:
            raise ConfigError("--masks does nothing without --protocol")
        if self.protocol is not None and (self.acceleration is not None or given):
            named = "acceleration" if self.acceleration is not None else given[0].replace("_", "-")
            raise ConfigError(f"--protocol has its own mask: leave out --{named}")
        if self.protocol is None and self.acceleration is None and given:
            raise ConfigError(f"--{given[0].replace('_', '-')} does nothing without --acceleration")

    @property
    def wanted(self) -> bool:
        return self.acceleration is not None or self.protocol is not None

    def apply(self, full: LazyScan, file: str) -> LazyScan:
        """The scan, in a file of this name, with the mask, or as it is if none is asked for.

        Raises ConfigError if it is undersampled already.
        """
        from laminar.data.cases import MOST_ACCELERATED
        from laminar.data.formats import padding_note, partial_note
        from laminar.data.masks import make_mask

        if not self.wanted:
            return full
        if full.measured_acceleration > MOST_ACCELERATED:
            raise ConfigError(
                f"{full.name}: --acceleration needs a fully sampled scan; this one has R = "
                f"{full.measured_acceleration:.2f} already"
            )
        for said in filter(None, (padding_note(full.grid.union), partial_note(full.grid.union))):
            print(f"{full.name}: the reference is not of a full scan: {said}", file=sys.stderr)
        if self._protocol is not None:
            return full.undersample(self._protocol.mask.draw(file, full.matrix, self.masks))
        assert self.acceleration is not None
        kind, lines, seed = self._chosen
        return full.undersample(make_mask(kind, full.matrix, self.acceleration, lines, seed, self._axis(full)))

    def describe(self, scan: LazyScan) -> str:
        """The mask in a line, for the attributes of a file."""
        if self.protocol is not None:
            return f"protocol {self.protocol}"
        kind, lines, seed = self._chosen
        axis = "x" if self._axis(scan) == -1 else "y"
        return f"{kind} R={self.acceleration:g} n={lines} seed={seed} axis={axis}"

    @cached_property
    def _protocol(self) -> Protocol | None:
        from laminar.evaluation import load_protocol

        return None if self.protocol is None else load_protocol(self.protocol)

    @property
    def _chosen(self) -> tuple[str, int | float, int]:
        lines = 14 if self.calibration_lines is None else self.calibration_lines
        return self.mask or "equispaced-fraction", lines, self.seed or 0

    def _axis(self, scan: LazyScan) -> int:
        from laminar.geometry import Series

        geometry = scan.geometry if isinstance(scan.geometry, Series) else scan.grid
        return {"x": -1, "y": -2}.get(self.mask_axis or "auto", geometry.phase_axis)
