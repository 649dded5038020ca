"""HDF5 in general: what a file holds, found out in a sandbox, and its numbers.

Only `hdf5_worker.py`, in a process of its own, opens a file with the HDF5 library, which damaged files have crashed and
hung. The worker walks hard links alone and asks each dataset for its size before it reads: what still ends it is one
file in ten thousand (`contained` in results/mutants.json), inside a call of the library, where only limits reach.
Numbers that lie in the file one after the other are read here, directly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from laminar.data.formats.arrays import Variable, Variables
from laminar.data.formats.axes import Array, Index
from laminar.data.formats.readouts import split_floats
from laminar.data.formats.sandbox import EndedError, Sandbox, fill
from laminar.errors import DataFormatError

SANDBOX = Sandbox(Path(__file__).with_name("hdf5_worker.py"))
Identity = tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """An array in a file that need not be open: its `dtype` is None if it holds no numbers."""

    path: str
    identity: Identity
    name: str
    shape: tuple[int, ...]
    label: str
    dtype: np.dtype[Any] | None
    offset: int | None
    refusal: str | None
    rows: int = 1
    """Along the first axis, in a chunk."""

    @property
    def is_numeric(self) -> bool:
        return self.dtype is not None

    @property
    def is_complex(self) -> bool:
        return self.dtype is not None and self.dtype.kind == "c"

    def load(self, part: slice = slice(None)) -> Array:
        """The numbers, or some of them along the first axis; compound pairs are joined to complex numbers."""
        if self.refusal is not None:
            raise DataFormatError(f"'{self.name}' {self.refusal}")
        if self.dtype is None:
            raise DataFormatError(f"'{self.name}' is not a numeric array but {self.label} {self.shape}")
        if self.offset is not None:
            return self._direct(self.dtype, self.offset, part)
        return _ask(self.identity, "numbers", self.path, self.name, part.start, part.stop)[1][0]

    def check_unchanged(self, now: os.stat_result) -> None:
        if identity(now) != self.identity:
            raise DataFormatError("the file was changed while it was read")

    def _direct(self, dtype: np.dtype[Any], offset: int, part: slice) -> Array:
        rows = range(self.shape[0])[part] if self.shape else range(1)
        array = np.empty((len(rows), *self.shape[1:]) if self.shape else (), dtype)
        with Path(self.path).open("rb", buffering=0) as file:
            self.check_unchanged(os.fstat(file.fileno()))
            file.seek(offset + rows.start * math.prod(self.shape[1:]) * dtype.itemsize)
            fill(array, file)
        return array

    def text(self) -> bytes:
        """The text of a dataset that holds one string, or an array of one."""
        return _ask(self.identity, "text", self.path, self.name)[1][0].tobytes()

    def readouts(self) -> tuple[Array, list[Array], list[Array]]:
        """The heads of ISMRMRD readouts, and the floats and the trajectory of each."""
        heads, counts, floats = _ask(self.identity, "readouts", self.path, self.name)[1]
        parts = split_floats(counts.ravel(), floats)
        return heads, parts[: len(heads)], parts[len(heads) :]


@dataclass(frozen=True)
class Hdf5:
    """What an HDF5 file holds: all its datasets by path, whatever their type, and the plain attributes of its root."""

    datasets: Mapping[str, Dataset]
    groups: list[str]
    attributes: Mapping[str, Any]
    is_matlab: bool


def identity(found: os.stat_result) -> Identity:
    """What tells a file from another one and from itself after a change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def survey(path: Path) -> Hdf5:
    """Look through a file: only what hard links reach and what lies in the file itself.

    Raises DataFormatError if it is no HDF5 file, or if the library fails, crashes or hangs on it; OSError if it may not
    be read.
    """
    if not path.is_file():  # a device or a pipe would be waited for
        raise DataFormatError(f"{path}: is no regular file" if path.exists() else f"{path}: no such file")
    path.open("rb").close()  # the library would call it no HDF5 file
    return _survey(str(path.absolute()), identity(path.stat()))


def _ask(now: Identity, *request: Any) -> tuple[Any, list[Array]]:
    """What the sandbox answers; a file that has ended it once is not waited for again."""
    if (said := _ENDED.get(now)) is not None:
        raise DataFormatError(said)
    try:
        return SANDBOX.ask(*request)
    except EndedError as error:
        _ENDED[now] = str(error)
        raise


_ENDED: dict[Identity, str] = {}


@lru_cache(8)
def _survey(place: str, now: Identity) -> Hdf5:
    found, _ = _ask(now, "survey", place)
    datasets = {name: _dataset(place, now, name, each) for name, each in found["datasets"].items()}
    return Hdf5(datasets, found["groups"], found["attributes"], found["matlab"])


def _dataset(path: str, now: Identity, name: str, told: Mapping[str, Any]) -> Dataset:
    dtype = None if told["type"] is None else np.dtype(told["type"])
    return Dataset(
        path, now, name, tuple(told["shape"]), told["label"], dtype, told["offset"], told["refusal"], told["rows"]
    )


def in_rows(dataset: Dataset) -> Variable:
    """A dataset that is read in as many rows of its first axis as a chunk has, the last ones kept: a volume that is
    compressed as one chunk is unpacked once.
    """
    kept: tuple[int, Array] | None = None

    def load(index: Index = ()) -> Array:
        nonlocal kept
        dataset.check_unchanged(Path(dataset.path).stat())
        first = index[0] if index else slice(None)
        whole = isinstance(first, slice)
        block, row = (-1, first) if isinstance(first, slice) else divmod(first, dataset.rows)
        if kept is None or kept[0] != block:
            rows = slice(None) if whole else slice(block * dataset.rows, (block + 1) * dataset.rows)
            kept = block, dataset.load(rows)
        found: Array = kept[1][(row, *index[1:])] if index else kept[1]
        return found

    return Variable(dataset.shape, dataset.label, dataset.is_complex, load, refusal=dataset.refusal)


def hdf5_variables(path: Path) -> Variables:
    """The numeric datasets of any HDF5 file, and what points to other files."""
    return {name: in_rows(each) for name, each in survey(path).datasets.items() if each.is_numeric or each.refusal}
