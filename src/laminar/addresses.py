"""Addresses of other programs, as a command line names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from laminar.errors import ConfigError


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


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 2**16
