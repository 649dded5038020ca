"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from laminar.errors import LaminarError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block succeeds and removed if it does not.

    Works for a file and for a folder. An OSError (no space, no permission) becomes a LaminarError that names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.is_dir():
            _swap_folder(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        raise LaminarError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            remove(temporary)


@contextmanager
def writing_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that becomes `path` if the block succeeds, as `replacing` does.

    HDF5 reports a full disk as a RuntimeError, sometimes only when it closes the file: a LaminarError too.
    """
    with replacing(path) as temporary:
        try:
            with h5py.File(temporary, "w") as file:
                yield file
        except RuntimeError as error:
            raise OSError(str(error)) from error


def _backup(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def recover(folder: Path) -> None:
    """Bring back a folder that was being replaced when the process was killed."""
    if _backup(folder).is_dir() and not folder.exists():
        _backup(folder).rename(folder)


def _swap_folder(new: Path, old: Path) -> None:
    """Replace a folder; a crash in between leaves the old one for `recover`."""
    backup = _backup(old)
    remove(backup)
    old.rename(backup)
    new.rename(old)
    remove(backup)


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write `values` as indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
