"""Addresses to reach and to listen at, and what is wrong with one in a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from laminar.errors import ConfigError, LaminarError


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"an address is HOST:PORT, such as 127.0.0.1:9002; got {text!r}")
    return host.strip("[]"), int(port)


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
