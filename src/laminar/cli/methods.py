"""The options that name a method, alike for every verb that takes one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from laminar.errors import ConfigError
from laminar.registry import CLASSICAL, SAMPLERS

if TYPE_CHECKING:
    from laminar.geometry import Geometry
    from laminar.methods import Method
    from laminar.samplers import Number


@dataclass(frozen=True)
class MapOptions:
    """How many sets of coil sensitivities are estimated."""

    maps: Literal["auto", "1", "2"]

    @property
    def n_maps(self) -> int | None:
        return None if self.maps == "auto" else int(self.maps)


def add_maps(parser: argparse._ActionsContainer) -> None:
    """The option of `MapOptions`."""
    parser.add_argument("--maps", choices=("auto", "1", "2"), default="auto", help=_MAPS)


_MAPS = "sets of coil sensitivities; auto: 2 where the object is larger than its field of view (default: auto)"


@dataclass(frozen=True)
class SolverOptions:
    """What classical methods and samplers can be told."""

    prior: str | None
    nfe: int | None
    set: tuple[str, ...]

    def open(self, name: str, model: str | None = None, regularizer: str | None = None) -> Method:
        """The method of a name with these settings. Raises LaminarError."""
        from laminar.methods import open_method

        settings = dict(map(_setting, self.set))
        return open_method(
            name, model=model, regularizer=regularizer, prior=self.prior, nfe=self.nfe, settings=settings
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is told."""
        return self.prior is None and self.nfe is None and not self.set


@dataclass(frozen=True)
class MethodOptions:
    """`--method` and `--model`, and what its method is told."""

    method: str
    model: str | None
    mirrored: bool
    told: SolverOptions
    regularizer: str | None = None

    def open(self) -> Method:
        from laminar.methods import MirroredMethod

        method = self.told.open(self.method, self.model, self.regularizer)
        return MirroredMethod(method) if self.mirrored else method

    def check(self, geometry: Geometry, path: object) -> None:
        """Raise ConfigError if nothing is named, and what is measured is not what the default network is made for."""
        is_planar = "coil" in geometry.axes and len(geometry.image_axes) == 2
        if (self.method, self.model) == ("network", None) and not is_planar:
            own = _USUAL.get(geometry.kind, "total-variation")
            raise ConfigError(
                f"{path}: the model that ships is for planar images by the coils of MRI, and this is {geometry.kind}: "
                f"name a --method, such as {own}, or the --model that you trained"
            )

    @property
    def named(self) -> str:
        """How the command line names it again."""
        return f"--model {self.model or 'default'}" if self.method == "network" else f"--method {self.method}"


def add_method_options(parser: argparse._ActionsContainer) -> None:
    """The options of `MethodOptions`."""
    parser.add_argument("--method", default="network", metavar="NAME", help=_METHOD)
    parser.add_argument("--model", metavar="DIR", help=_MODEL)
    add_regularizer(parser)
    parser.add_argument("--mirrored", action="store_true", help=_MIRRORED)
    add_settings(parser)


def add_regularizer(parser: argparse._ActionsContainer) -> None:
    """`--regularizer`, for checkpoints with a module of the user's own in them."""
    parser.add_argument("--regularizer", metavar="MODULE:CLASS", help=_REGULARIZER)


def add_settings(parser: argparse._ActionsContainer) -> None:
    """The options of `SolverOptions`."""
    parser.add_argument("--prior", metavar="DIR", help="checkpoint of a sampler's prior (default: prior, which ships)")
    parser.add_argument("--nfe", type=int, metavar="N", help="network evaluations of a sampler (default: 50)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=NUMBER", help=_SET)


_USUAL = {
    "tomography": "filtered-back-projection",
    "emission": "expectation-maximization",
    "cine": "low-rank",
    "noncartesian-cine": "low-rank",
}
"""The classical method of a kind of geometry."""
_METHOD = (
    f"network (default: the one of --model) | {' | '.join(CLASSICAL)} | with a trained prior: {' | '.join(SAMPLERS)}"
)
_MODEL = (
    "checkpoint of the network, or one that ships: default, sampler; or a fastmri VarNet (.safetensors), or module:name"
)
_REGULARIZER = "the regularizer of your own that the network has; looked for in the working folder, too"
_MIRRORED = "the mean over the scan and its three mirror images: a little better, four times the work"
_SET = "a setting of a classical method or a sampler, such as weight=0.2; may be repeated"


def _setting(text: str) -> tuple[str, Number]:
    key, _, value = text.partition("=")
    if value in ("true", "false"):
        return key, value == "true"
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"--set wants KEY=NUMBER, such as weight=0.2; got {text!r}") from None
    return key, int(number) if value.lstrip("+-").isdigit() else number
