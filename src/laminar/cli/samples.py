"""The options of posterior samples, and the intervals that they ask for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.methods import Method
    from laminar.uncertainty import Calibration


def add_samples(parser: argparse.ArgumentParser) -> None:
    """The options of `SampleOptions`."""
    group = parser.add_argument_group("draw samples of the posterior, and say how far they differ")
    group.add_argument("--samples", type=int, default=0, metavar="N", help=_SAMPLES)
    group.add_argument("--sample-seed", type=int, metavar="S", help="seed of what is drawn (default: 0)")
    group.add_argument("--calibration", type=Path, metavar="FILE", help="made by `laminar calibrate`")
    group.add_argument("--level", type=float, metavar="P", help="of the intervals; default: 0.9, or the calibrated one")


_SAMPLES = "the image is the mean of N samples; also writes their standard deviation and an interval of every pixel"


_NEAR = 1.3  # of the nominal accelerations: the measured ones are a little lower


@dataclass(frozen=True)
class Intervals:
    """The intervals of samples: their level, and what they are calibrated by."""

    level: float
    calibration: Calibration | None = None

    def doubts(self, acceleration: float) -> list[str]:
        """What there is to say of a calibration that is used far from the accelerations that it was made at."""
        made = [float(r) for r in self.calibration.data.get("acceleration", ())] if self.calibration else []
        if not made or min(made) / _NEAR <= acceleration <= max(made) * _NEAR:
            return []
        told = " and ".join(f"{r:g}" for r in made)
        return [
            f"intervals calibrated at R = {told}, and this is R = {acceleration:.1f}: how far they hold is not known"
        ]


@dataclass(frozen=True)
class SampleOptions:
    """What is drawn, and how its intervals are calibrated."""

    samples: int
    sample_seed: int | None
    calibration: Path | None
    level: float | None

    def intervals(self, method: Method) -> Intervals:
        """The intervals that the options ask for. Raises ConfigError for what is idle or does not fit."""
        from laminar.reconstruction import check_samples_of
        from laminar.statistics import check_level
        from laminar.uncertainty import check_fits, read_calibration

        if self.sample_seed is not None and (not method.draws or self.sample_seed < 0):
            raise ConfigError(f"--sample-seed is a whole number for a method that draws; got {self.sample_seed}")
        level = 0.9 if self.level is None else self.level
        if not self.samples:
            for name in ("calibration", "level"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"--{name} does nothing without --samples")
            return Intervals(level)
        check_samples_of(method, self.samples)
        check_level(level)
        if self.calibration is None:
            return Intervals(level)
        found = read_calibration(self.calibration)
        check_fits(found, method.fingerprint, self.samples, method=method.kind, settings=dict(method.settings))
        if self.level not in (None, found.level):
            raise ConfigError(f"{self.calibration} calibrates intervals of level {found.level}; got {self.level}")
        return Intervals(found.level, found)
