"""What may be written: never an input of the same command, and what others wrote only if --overwrite says so."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from laminar.cli.options import paths_in
from laminar.errors import ConfigError, DataFormatError

# How each kind of file says near its beginning or end that this program wrote it; HDF5 has a root attribute `laminar`,
# the data of BART the header beside them. An array of NumPy has no place to say it.
MARKS = (
    *(b'"laminar": "', b'"format": "laminar-', b'content="Laminar"', b"Software\0Laminar", b"# laminar train"),
    *(b"# laminar openrecon-package", b'"name": {\n      "en": "Laminar"', b"# Creator\nlaminar", b"\x12\x07laminar"),
    *(b"<!-- laminar study", b"Intervals hold 95 %: of means and differences by a bootstrap"),
)
NEAR = 1024
"""Bytes: the comment of a GIF stands behind its 256 colors, that of a ZIP at the end."""


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--overwrite", action="store_true", help="also replace files that laminar did not write")


class Writing(Protocol):
    """Options of a verb that writes: a dataclass whose paths, but for `out`, are read."""

    @property
    def overwrite(self) -> bool: ...


def check_outputs(options: Writing, *outputs: Path) -> None:
    """Raise ConfigError, before any work is done, if writing one of `outputs` would lose something."""
    inputs = list(paths_in(options))
    for output in outputs:
        check_output(output, inputs, options.overwrite)


def check_output(path: Path, inputs: Iterable[Path], overwrite: bool) -> None:
    """Raise ConfigError if writing `path` would destroy an input, or without `overwrite` what others wrote."""
    if not os.path.lexists(path):
        return
    if is_part(path, inputs):
        raise ConfigError(f"{path} is an input of this command: choose another --out")
    if not path.is_file() and not (path.is_dir() and _is_ours(path)):  # no folder of others is ever replaced
        kind = "a folder that was not written by laminar, and" if path.is_dir() else "there already and"
        raise ConfigError(f"{path} is {kind} not a file: choose another --out")
    if not overwrite and not _is_ours(path):
        raise ConfigError(f"{path} is there already and does not say that laminar wrote it: --overwrite replaces it")


def named(given: Path) -> Iterator[Path]:
    """The files that an input may name: a scan of BART, two files, is named by either or by what their names share."""
    here = given.absolute()
    yield here
    yield from (here.with_name(f"{base}{kind}") for base in (here.name, here.stem) for kind in (".cfl", ".hdr"))


def is_part(path: Path, inputs: Iterable[Path]) -> bool:
    """Whether `path` exists and is, by whatever name or link, an input, a file in one, or a folder around one."""
    if not path.exists():
        return False
    here = path.stat()
    for given in (path.absolute() for path in inputs):
        around = given.resolve().parents if path.is_dir() else ()
        for part in (*named(given), *around, *given.rglob("*")):
            with suppress(OSError):
                if os.path.samestat(here, part.stat()):
                    return True
    return False


def _is_ours(path: Path) -> bool:
    """Whether this program wrote the file, or every file of a folder that is not empty."""
    if path.is_dir():
        parts = list(path.iterdir())
        return bool(parts) and all(part.is_file() and _is_ours(part) for part in parts)
    if path.suffix == ".cfl":
        return _is_ours(path.with_suffix(".hdr"))
    import h5py

    from laminar.data.formats.hdf5 import survey

    with suppress(OSError, DataFormatError):
        if h5py.is_hdf5(path):
            return "laminar" in survey(path).attributes
        with path.open("rb") as stream:
            start = stream.read(NEAR)
            stream.seek(max(len(start), stream.seek(0, os.SEEK_END) - NEAR))
            text = start + stream.read()
        return any(mark in text for mark in MARKS)
    return False
