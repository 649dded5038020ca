"""The errors a user can meet: one clear line that names the thing, what was expected and what came."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def printable(text: str) -> str:
    """The text with every control character escaped: what a file says must not command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


SOME_FAILED, ALL_FAILED = 1, 2
"""Exit codes of the command line."""


class LaminarError(Exception):
    """Base of every error that the command line reports on one line with exit code 2."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataFormatError(LaminarError):
    """A file or array cannot be understood as a scan."""


class CheckpointError(LaminarError):
    """A model folder is incomplete, tampered with, or of another configuration."""


class WireError(LaminarError):
    """What comes over a connection is no message of its protocol, or more than is taken."""


class ConfigError(LaminarError):
    """A setting is unknown or out of range."""


class TrainingError(LaminarError):
    """Training cannot go on: a loss or gradient is not finite."""


class MissingExtraError(LaminarError):
    """A feature needs a package that is not installed; `instead`, what does without it.

    Without an `extra` the first argument is all that it says: so it comes back from a worker process.
    """

    def __init__(self, package: str, extra: str | None = None, instead: str | None = None) -> None:
        self.extra = extra
        text = package if extra is None else f"this needs the package '{package}': pip install 'laminar-mri[{extra}]'"
        super().__init__(f"{text}, or {instead}" if instead else text)


def package(module: str, extra: str) -> Any:
    """A module that an extra brings, imported. Raises MissingExtraError."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(module.split(".")[0], extra) from error


# Only of these does an OSError blame the machine or the user, and not the content of a file.
_MACHINE = {
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
}
_MACHINE |= {errno.EIO, errno.EAGAIN, errno.ESTALE}
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What says that a disk is full or broken."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory")
_DEVICE = ("CUDA", "cuda", "cuDNN", "CUBLAS", "NCCL", "MPS", "HIP")


def failure(error: BaseException) -> str | None:
    """One true line for a failure of memory, disk, permissions, device or numbers; None for anything else."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text, kind = lines[0][:300], type(error).__name__
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return f"out of memory ({text})"
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return f"{os.strerror(error.errno)}{f': {error.filename}' if error.filename else ''}"
    if kind in ("LinAlgError", "_LinAlgError"):
        return f"a matrix cannot be decomposed: are the numbers sound? ({text})"
    if kind == "SafetensorError":
        return f"not a sound safetensors file ({text})"
    if isinstance(error, RuntimeError) and text.startswith(_DEVICE):
        return f"the device failed ({text})"
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return f"a data worker died, as it does if memory runs out ({text})"
    return None


@contextmanager
def explaining(what: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Raise what `failure` explains, and any OSError, as a LaminarError of one line that begins with `what`.

    Only exceptions of this `kind` are looked at, and no broken pipe: whoever reads has seen enough.
    """
    try:
        yield
    except (LaminarError, BrokenPipeError):
        raise
    except kind as error:
        line = failure(error)
        if line is None and isinstance(error, OSError):
            line = " ".join(str(error.strerror or error).split())
        if line is None:
            raise
        raise LaminarError(f"{what}: {line}") from error
