"""Writing files: whole or not at all, durably, and one writer a run."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from laminar.errors import LaminarError, explaining
from laminar.version import __version__

try:
    import fcntl
except ImportError:  # not Unix: nothing can be locked, and nothing is swept
    fcntl = None  # type: ignore[assignment]

LOCK = ".laminar-lock"
PREFIX, SUFFIX = ".laminar-", ".tmp"
MARK = f'"laminar": "{__version__}"'.encode()
"""What says in files of several kinds that this program wrote them, and may replace them."""
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2
_WITHOUT_LOCKS = (None, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""What a file system says that has no locks; None is said where Python has none."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it if the block succeeds and removed if it does not.

    Works for a file and for a folder. All is on the disk before the name changes, so that a crash at any instant leaves
    the old or the new. An OSError (no space, no permission) becomes a LaminarError that names `path`. Inside another
    block, for its temporary path, there is nothing to replace.
    """
    if _is_private(path.parent):
        with explaining(f"cannot write {path.parent.parent / path.name}", OSError):
            yield path
        return
    with explaining(f"cannot write {path}", OSError), _parents(path):
        recover(path)
        with _private_folder(path.parent) as private:
            temporary = private / path.name
            yield temporary
            for part in (*temporary.rglob("*"), temporary):
                _sync(part)
            if temporary.is_dir() and path.is_dir():
                _swap_folder(temporary, path)
            else:
                temporary.replace(path)
            _sync(path.parent)


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """The folders around `path`, those that had to be made removed again if nothing came of them."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def mark(file: h5py.File) -> None:
    """Say in an HDF5 file that this program wrote it, and may replace it."""
    file.attrs["laminar"] = __version__


@contextmanager
def writing_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that becomes `path` if the block succeeds, as `replacing` does.

    It is made in memory: the library does not survive a write that fails.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        mark(file)
        yield file
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def write_json(path: Path, values: Any) -> None:
    """Write `values` as indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """`value` with None for every float that JSON cannot hold, and lists for tuples."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keep every other process that asks out of `folder`, which is made if need be.

    The kernel lets go when this process ends, however it ends. Raises LaminarError if another process holds the folder,
    or the lock cannot be made.
    """
    made, lock = not folder.exists(), folder / LOCK
    with explaining(f"cannot write {folder}", OSError):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        held = _lock(lock)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise LaminarError(f"cannot hold {folder}: {error}") from error
        yield
        return
    if held is None:
        raise LaminarError(f"{folder} is in use by another process: wait for its end, or name another folder")
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(held)
        with suppress(OSError):
            if made:
                folder.rmdir()  # if nothing came of it


def _lock(path: Path, flags: int = os.O_CREAT) -> int | None:
    """The descriptor of a file that this process alone now holds; None if another holds it or it was removed.

    Raises OSError where files cannot be locked.
    """
    if fcntl is None:
        raise OSError("files cannot be locked here")
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            found, descriptor = descriptor, -1
            return found
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _is_private(folder: Path) -> bool:
    return folder.name.startswith(PREFIX) and folder.name.endswith(SUFFIX)


@contextmanager
def _private_folder(parent: Path) -> Iterator[Path]:
    """A folder of an unpredictable name, removed at the end or, if this process is killed, by the next writer."""
    _sweep(parent.resolve())
    folder = Path(tempfile.mkdtemp(SUFFIX, PREFIX, parent))
    held: int | None = None
    try:
        with suppress(OSError):  # where nothing can be locked, nothing is swept
            while (held := _lock(folder / LOCK)) is None:  # swept before it was locked
                folder = Path(tempfile.mkdtemp(SUFFIX, PREFIX, parent))
        yield folder
    finally:
        with suppress(OSError):
            _discard(folder)
        if held is not None:
            os.close(held)


@cache
def _sweep(parent: Path) -> None:
    """Remove what killed writers left in a folder. Once a process: a folder may hold very many files."""
    for folder in parent.glob(f"{PREFIX}*{SUFFIX}"):
        with suppress(OSError):
            if folder.is_symlink():
                continue
            if not (folder / LOCK).exists():
                folder.rmdir()  # killed before it was locked: empty, or not ours
            elif (held := _lock(folder / LOCK, 0)) is not None:
                _discard(folder)
                os.close(held)


def _discard(folder: Path) -> None:
    """Remove a private folder, the lock last: what a kill leaves of it can still be swept."""
    for part in list(folder.iterdir()):
        if part.name != LOCK:
            remove(part)
    shutil.rmtree(folder)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _backup(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.laminar-old")


def recover(folder: Path) -> None:
    """Bring back a folder that was being replaced when the process was killed."""
    if _backup(folder).is_dir() and not os.path.lexists(folder):
        _backup(folder).rename(folder)


def _swap_folder(new: Path, old: Path) -> None:
    """Replace a folder, at once where the kernel can; elsewhere a crash in between leaves the old one for `recover`."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = (_AT_WORKING_FOLDER, os.fsencode(new), _AT_WORKING_FOLDER, os.fsencode(old))
    if exchange is not None and exchange(*names, _EXCHANGE) == 0:
        return
    backup = _backup(old)
    remove(backup)
    old.rename(backup)
    new.rename(old)
    remove(backup)


def remove(path: Path) -> None:
    """Remove a file, folder or link if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
