"""The options that say on which slices something is measured, alike for `audit` and `calibrate`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.geometry import GeometryOptions, add_geometry_options
from laminar.cli.methods import MapOptions, add_maps
from laminar.cli.scans import ArrayOptions, add_array_options
from laminar.cli.undersampling import MASKS
from laminar.errors import ConfigError
from laminar.registry import CARTESIAN

if TYPE_CHECKING:
    from laminar.audit import ScenarioConfig
    from laminar.methods import Method

_DATA = "files or folders of fully sampled scans (default: simulated slices)"
_NOISE = "noise of the simulated slices, relative to a magnetization of about one (default: 0.01)"


def add_scenario(parser: argparse.ArgumentParser, slices: int, seeded: str) -> argparse._ArgumentGroup:
    """All but the acceleration; `seeded` is what the seed decides besides scans and masks."""
    group = parser.add_argument_group("on what")
    group.add_argument("--data", nargs="+", type=Path, default=[], metavar="PATH", help=_DATA)
    add_array_options(group)
    group.add_argument("--slices", type=int, default=slices, metavar="N", help=f"number of slices (default: {slices})")
    group.add_argument("--calibration-lines", type=int, default=14, metavar="N", help="default: 14")
    group.add_argument("--mask", choices=MASKS, default="equispaced-fraction", help="default: equispaced-fraction")
    group.add_argument("--noise-std", type=float, metavar="S", help=_NOISE)
    group.add_argument("--seed", type=int, default=0, help=f"of scans, masks and {seeded} (default: 0)")
    add_maps(group)
    add_geometry_options(group)
    return group


@dataclass(frozen=True)
class Scenario:
    """The slices that the options ask for. Raises ConfigError for options that contradict each other."""

    data: tuple[Path, ...]
    source: ArrayOptions
    slices: int
    calibration_lines: int
    mask: str
    noise_std: float | None
    seed: int
    sets: MapOptions
    simulated: GeometryOptions

    def __post_init__(self) -> None:
        if self.data and self.simulated.geometry != CARTESIAN:
            raise ConfigError("--geometry is of simulated images; scans from --data bring their own")
        if self.data and self.noise_std is not None:
            raise ConfigError("--noise-std is for simulated slices; scans from --data bring their own noise")
        if self.sets.n_maps == 2 and self.simulated.geometry != CARTESIAN:
            raise ConfigError(f"--maps 2 is of planar Cartesian scans; got --geometry {self.simulated.geometry}")
        if not self.data and not self.source.idle:
            raise ConfigError("--variable, --axes, --domain and --select are of scans in files: name them by --data")

    def config(self, method: Method, acceleration: float = 4.0) -> ScenarioConfig:
        """The same for a method, which decides how many sets of sensitivities there may be."""
        from laminar.audit import ScenarioConfig

        groups = ("source", "sets", "simulated")
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in groups}
        given |= {"request": self.source.request, "acquisition": self.simulated.acquisition()}
        given["n_maps"] = method.maps(self.sets.n_maps)
        noise_std = 0.01 if self.noise_std is None else self.noise_std
        return ScenarioConfig(**given | {"acceleration": acceleration, "noise_std": noise_std})
