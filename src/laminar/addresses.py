"""Addresses of other programs, as a command line names them, and those to listen at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from laminar.errors import ConfigError, LaminarError


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not host or not _is_port(port):
        raise ConfigError(f"an address is HOST:PORT, such as 127.0.0.1:9002; got {text!r}")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Archive:
    """Where a DICOM archive listens, and its application entity title."""

    host: str
    port: int
    title: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `HOST:PORT:TITLE`. Raises ConfigError."""
        host, _, rest = text.partition(":")
        port, _, title = rest.partition(":")
        if not (host and _is_port(port) and 0 < len(title.strip()) <= 16):
            raise ConfigError(f"an archive is HOST:PORT:TITLE, its title of 1 to 16 characters; got {text!r}")
        return cls(host, int(port), title.strip())

    def __str__(self) -> str:
        return f"{self.host}:{self.port}:{self.title}"


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


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 2**16
