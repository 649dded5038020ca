"""Files that hold plain arrays: what is in them, and which one is k-space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from laminar.data.formats.axes import Array, Index
from laminar.errors import DataFormatError


@dataclass(frozen=True)
class Variable:
    """A named array of a file: its shape and type at once, its values when `load` is called, or some of them.

    `in_pieces` tells that `load(index)` does not read all of it.
    """

    shape: tuple[int, ...]
    dtype: str
    is_complex: bool
    load: Callable[..., Array]
    in_pieces: bool = True
    refusal: str | None = None
    """Why it cannot be read, if it cannot."""

    @classmethod
    def of(cls, array: Array) -> Variable:
        return cls(array.shape, str(array.dtype), np.iscomplexobj(array), lambda index=(): array[index])

    @classmethod
    def whole(cls, shape: tuple[int, ...], dtype: str, load: Callable[[], Array]) -> Variable:
        """One that is read at once, whatever is asked of it."""
        return cls(shape, dtype, np.dtype(dtype).kind == "c", lambda index=(): load()[index], in_pieces=False)

    @property
    def reversed(self) -> Variable:
        """With its axes in reverse order."""

        def load(index: Index = ()) -> Array:
            every = (*index, *[slice(None)] * (len(self.shape) - len(index)))
            return self.load(every[::-1]).transpose()

        return replace(self, shape=self.shape[::-1], load=load)

    def opened(self) -> Variable:
        """Ready to be read image by image: in memory, if it cannot be read in pieces."""
        return self if self.in_pieces else Variable.of(self.load())


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


TRAJECTORY_NAMES = ("traj", "trajectory", "k", "points")
SUFFIXES = {".h5", ".hdf5", ".mrd", ".mrd2", ".bin", ".dat", ".cfl", ".hdr", ".npy", ".npz", ".mat"}


def _unlike_kspace(name: str) -> bool:
    """Whether a name does not sound like k-space, or like something that comes with it."""
    companions = ("sens", "map", "mask", "traj", "image", "noise")
    sounds = name.lower().startswith("k") or any(word in name.lower() for word in ("kspace", "raw", "data"))
    return not sounds or any(word in name.lower() for word in companions)


def trajectory_in(variables: Variables) -> str | None:
    """The variable that by its name and shape is the trajectory of another one."""

    def is_one(name: str, found: Variable) -> bool:
        named = name.lower() in TRAJECTORY_NAMES and len(variables) > 1
        return named and (len(found.shape) == 2 if found.is_complex else bool({2, 3} & set(found.shape)))

    return next((name for name, found in variables.items() if is_one(name, found)), None)


def choose(variables: Variables, name: str | None, axes: str | None) -> tuple[str, Variable]:
    """The variable called `name`, or the only one that can be k-space (complex, or real with an axis
    `ri`).
    """
    if name is not None:
        if name in variables:
            if (reason := variables[name].refusal) is not None:
                raise DataFormatError(f"'{name}' {reason}")
            return name, variables[name]
        raise DataFormatError(f"no variable '{name}'; the file holds {listing(variables)}")
    wants_complex = not {"ri", "coil_ri"} & set((axes or "").replace(" ", "").split(","))
    fitting = {k: v for k, v in variables.items() if len(v.shape) >= 2 and v.is_complex == wants_complex}
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    kind, held = "complex" if wants_complex else "real", f"the file holds {listing(variables)}"
    if not fitting:
        raise DataFormatError(f"no variable is a {kind} array of two or more axes, as k-space is; {held}")
    points = trajectory_in(fitting)
    example = min(fitting, key=lambda name: (name == points, _unlike_kspace(name)))
    raise DataFormatError(
        f"more than one variable is a {kind} array of two or more axes; "
        f"say which is k-space, as in --variable {example}{off_grid(points)}; {held}"
    )


def off_grid(points: str | None) -> str:
    """What an error message says of k-space beside its trajectory."""
    return "" if points is None else f", and off the grid --points FILE:{points} --matrix Y,X"
