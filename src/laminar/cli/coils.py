"""The options that say what becomes of the coils of a scan before it is solved."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from laminar.cli.methods import MapOptions
from laminar.errors import ConfigError

if TYPE_CHECKING:
    from laminar.data.formats import LazyScan


@dataclass(frozen=True)
class CoilOptions:
    """How many coils there are to be, how they are compressed, and how their sensitivities are found."""

    coils: int | None = None
    compression: Literal["svd", "geometric"] | None = None
    sensitivities: Literal["espirit", "walsh"] = "espirit"

    def check(self, sets: MapOptions) -> None:
        """Raise ConfigError for options that do nothing, or that exclude each other."""
        if self.compression is not None and self.coils is None:
            raise ConfigError("--compression does nothing without --coils")
        if self.sensitivities == "walsh" and sets.n_maps == 2:
            raise ConfigError("--maps 2 needs --sensitivities espirit: walsh finds one set")

    def compressed(self, scan: LazyScan) -> LazyScan:
        """The scan with no more coils than are wanted. Raises ConfigError."""
        from laminar.data.compression import compressed

        return scan if self.coils is None else compressed(scan, self.coils, self.compression)

    def with_maps(self, scan: LazyScan) -> LazyScan:
        """The scan with sensitivities, if `prepare` is not to find them. Raises ConfigError."""
        from laminar.data.walsh import with_walsh

        return with_walsh(scan) if self.sensitivities == "walsh" else scan


def add_coils(parser: argparse._ActionsContainer) -> None:
    """The options of `CoilOptions`."""
    parser.add_argument("--coils", type=int, metavar="N", help="compress to N virtual coils first, for large arrays")
    parser.add_argument("--compression", choices=("svd", "geometric"), help=_COMPRESSION)
    parser.add_argument("--sensitivities", choices=("espirit", "walsh"), default="espirit", help=_SENSITIVITIES)


_COMPRESSION = (
    "with --coils: one mixture of coils (svd), or another at each position of the readout (geometric; default where no "
    "readout has gaps)"
)
_SENSITIVITIES = "how they are found from calibration lines, where the scan brings none (default: espirit)"
