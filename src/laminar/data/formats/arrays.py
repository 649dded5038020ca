"""Files that hold plain arrays: choose the variable, name its axes, and make a scan of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from laminar.data.formats.axes import Array, arrange, example_axes
from laminar.data.formats.domain import Domain
from laminar.errors import DataFormatError
from laminar.scan import Scan, cartesian


@dataclass(frozen=True)
class Variable:
    """A named array of a file: its shape and type at once, its values when `load` is called."""

    shape: tuple[int, ...]
    dtype: str
    is_complex: bool
    load: Callable[[], Array]

    @classmethod
    def of(cls, array: Array) -> Variable:
        return cls(array.shape, str(array.dtype), np.iscomplexobj(array), lambda: array)


Variables = Mapping[str, Variable]


def check_claim(what: str, claimed: int, stored: int) -> None:
    """Raise DataFormatError if `stored` compressed bytes cannot be so many.

    Measured k-space hardly compresses; that of a strongly undersampled scan, mostly zeros, a hundredfold.
    """
    if claimed > most_bytes(stored):
        raise DataFormatError(f"'{what}' claims {claimed} bytes in {stored}: it is corrupt, or a trap")


def most_bytes(stored: int) -> int:
    return 2**26 + 200 * stored


def listing(variables: Variables) -> str:
    """All variables with shape and type, for an error message."""
    return ", ".join(f"{name} {v.shape} {v.dtype}" for name, v in variables.items()) or "no numeric array"


def scan_name(path: Path) -> str:
    """The name of a scan: the file's name without its suffixes `.mrd.h5`, `.cfl` and so on."""
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return stem[:-4] if stem.lower().endswith(".mrd") else stem


SUFFIXES = {".h5", ".hdf5", ".mrd", ".cfl", ".hdr", ".npy", ".npz", ".mat"}


def _unlike_kspace(name: str) -> bool:
    """Whether a name does not sound like k-space, or like something that comes with it."""
    companions = ("sens", "map", "mask", "traj", "image", "noise")
    sounds = name.lower().startswith("k") or any(word in name.lower() for word in ("kspace", "raw", "data"))
    return not sounds or any(word in name.lower() for word in companions)


def choose(variables: Variables, name: str | None, axes: str | None) -> tuple[str, Variable]:
    """The variable called `name`, or the only one that can be k-space (complex, or real with an axis
    `ri`).
    """
    if name is not None:
        if name in variables:
            return name, variables[name]
        raise DataFormatError(f"no variable '{name}'; the file holds {listing(variables)}")
    wants_complex = "ri" not in (axes or "").replace(" ", "").split(",")
    fitting = {k: v for k, v in variables.items() if len(v.shape) >= 2 and v.is_complex == wants_complex}
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    found = "no variable" if not fitting else "more than one variable"
    example = min(fitting, key=_unlike_kspace, default="NAME")
    raise DataFormatError(
        f"{found} is a {'complex' if wants_complex else 'real'} array of two or more axes; "
        f"say which is k-space, as in --variable {example}; the file holds {listing(variables)}"
    )


def read_array(
    path: Path, variables: Variables, name: str | None, axes: str | None, domain: Domain | None = None
) -> Scan:
    """A scan from one variable. An array of two axes is one slice of one coil; others need `axes`."""
    chosen, variable = choose(variables, name, axes)
    if axes is None and len(variable.shape) != 2:
        raise DataFormatError(
            f"the axes of '{chosen}' {variable.shape} {variable.dtype} are not stated in the file; "
            f"say them in its order, for example --axes {example_axes(variable.shape)}"
        )
    kspace, mask, readout = arrange(variable.load(), axes or "ky,kx", domain)
    if axes is None:  # nobody said which of the two is the readout
        readout = None
    header: dict[str, Any] = {"variable": chosen, "axes": axes or "ky,kx"}
    return cartesian(kspace, mask, readout_axis=readout, name=scan_name(path), header=header)
