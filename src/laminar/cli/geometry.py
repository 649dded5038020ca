"""The options that name a geometry and its settings, alike for `simulate`, `audit` and `calibrate`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from laminar.errors import ConfigError
from laminar.registry import CARTESIAN, GEOMETRIES

if TYPE_CHECKING:
    from laminar.data.acquisition import Acquisition


@dataclass(frozen=True)
class GeometryOptions:
    """What measures the simulated objects."""

    geometry: str
    geometry_set: tuple[str, ...]

    def acquisition(self) -> Acquisition | None:
        """None for planar Cartesian scans. Raises ConfigError."""
        from laminar.data.acquisition import acquisition_of

        if self.geometry == CARTESIAN:
            if self.geometry_set:
                raise ConfigError("--geometry-set does nothing for cartesian")
            return None
        return acquisition_of(self.geometry, dict(map(_setting, self.geometry_set)))


def add_geometry_options(parser: argparse._ActionsContainer) -> None:
    """The options of `GeometryOptions`."""
    parser.add_argument("--geometry", choices=GEOMETRIES, default=CARTESIAN, help="of what is simulated")
    parser.add_argument("--geometry-set", action="append", default=[], metavar="KEY=NUMBER", help=_SET)


_SET = "a setting of the geometry, such as views=60; may be repeated; docs/geometries.md lists them"


def _setting(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    try:
        return key, float(value)
    except ValueError:
        raise ConfigError(f"--geometry-set wants KEY=NUMBER, such as views=60; got {text!r}") from None
