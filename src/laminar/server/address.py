"""An address to listen at, and what is wrong with it in a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from laminar.errors import ConfigError, LaminarError


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Open a socket at an address in the block. Raises ConfigError for no port, LaminarError if it cannot be had."""
    if not 0 <= port < 2**16:
        raise ConfigError(f"a port is a number from 0 to {2**16 - 1}; got {port}")
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # below 0: no such name
        raise LaminarError(f"cannot listen at {host}:{port}: {why}") from error
