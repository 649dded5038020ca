"""Encrypted connections, that one thread reads while another one writes.

An `ssl.SSLSocket` may not be used so. Here the cipher works in memory, behind a lock, and the socket stays a plain one.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from laminar.errors import ConfigError

_BLOCK = 2**16
_GREETING = b"\x16"  # the first byte of TLS
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")


def server_context(certificate: Path, key: Path | None, clients: Path | None) -> ssl.SSLContext:
    """TLS with a certificate chain and its key (PEM); with `clients`, only for those whom these authorities know."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, certificate, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, clients)
    return context


def client_context(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS that trusts these authorities, or those of the system, and shows a certificate if there is one."""
    context = ssl.create_default_context()
    if authorities is not None:
        _trust(context, authorities)
    if certificate is not None:
        _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate}: no certificate with its key in PEM: {error}") from error


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{authorities}: no certificates in PEM: {error}") from error


def is_greeted(connection: socket.socket) -> bool:
    """Whether the first thing that comes is TLS, or nothing; it stays there to be read."""
    return connection.recv(1, socket.MSG_PEEK) in (_GREETING, b"")


@contextmanager
def streams(
    connection: socket.socket, context: ssl.SSLContext | None, host: str | None = None
) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """What is read from and written to a connection; with a `context` encrypted, of a client that names its `host`.

    Raises OSError if the other end does not want the same.
    """
    pair: tuple[BinaryIO, BinaryIO]
    if context is None:
        pair = connection.makefile("rb"), connection.makefile("wb")
    else:
        cipher = _Cipher(connection, context, host)
        cipher.greet()
        pair = io.BufferedReader(_Source(cipher), _BLOCK), io.BufferedWriter(_Sink(cipher), _BLOCK)  # type: ignore[type-var]
    try:
        yield pair
    finally:
        for stream in pair:
            with suppress(OSError):  # what nobody takes any more
                stream.close()


def _said(error: ssl.SSLError, other: str) -> str:
    """What went wrong, and whose fault it seems: the error's number is none of the system's."""
    reason = (error.reason or "").upper()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the {other} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return f"the {other} ended the connection in the greeting of TLS: it may not speak TLS, or want none from here"
    if reason in _NO_TLS:
        return f"the {other} does not speak TLS"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return f"the {other} showed no certificate"
    plain = reason.rpartition("ALERT_")[2].replace("_", " ").lower() or str(error)
    return f"the {other} refused TLS: {plain}" if "ALERT_" in reason else f"TLS with the {other} failed: {plain}"


class _Cipher:
    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str | None) -> None:
        self._other = "client" if host is None else "server"
        self._connection, self._lock, self._sending = connection, threading.Lock(), threading.Lock()
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=host is None, server_hostname=host)

    def greet(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise ConnectionError(_said(error, self._other)) from error
            finally:
                self._connection.sendall(self._leaving.read())
            self._receive()

    def read(self, count: int) -> bytes:
        """Up to so many bytes, none at the end. It never waits for a write that the other end does not take."""
        while True:
            with self._lock:
                try:
                    return self._tls.read(count)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
                except ssl.SSLError as error:
                    raise ConnectionError(_said(error, self._other)) from error
            self._receive()

    def write(self, data: memoryview) -> None:
        with self._sending:
            with self._lock:
                try:
                    self._tls.write(data)
                except ssl.SSLError as error:
                    raise ConnectionError(_said(error, self._other)) from error
                ciphered = self._leaving.read()
            self._connection.sendall(ciphered)

    def _receive(self) -> None:
        data = self._connection.recv(_BLOCK)
        with self._lock:
            self._arrived.write(data) if data else self._arrived.write_eof()


class _Source(io.RawIOBase):
    def __init__(self, cipher: _Cipher) -> None:
        self._cipher = cipher

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._cipher.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Sink(io.RawIOBase):
    def __init__(self, cipher: _Cipher) -> None:
        self._cipher = cipher

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self._cipher.write(data)
        return len(data)
