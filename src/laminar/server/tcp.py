"""The server on TCP: connections in threads, no more than its limits allow, and an orderly end."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from laminar.addresses import listening
from laminar.errors import ConfigError
from laminar.server.session import LOG, Service, Session
from laminar.server.solving import LONGEST
from laminar.server.tls import is_greeted, streams
from laminar.server.wire import Writer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_STEP = 0.2  # seconds after which a stop is noticed


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks such as 10.1.0.0/16, or single addresses. Raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"who may connect is an address or a network such as 10.1.0.0/16: {error}") from error


class Server:
    """Listens as soon as it is made; `serve` answers until `stop` is called, from another thread or a signal.

    With a TLS `context` it speaks nothing else; of `allowed` networks, if there are any, it takes nobody else.
    Raises LaminarError if the address cannot be listened at.
    """

    def __init__(
        self,
        service: Service,
        host: str = "127.0.0.1",
        port: int = 9002,
        *,
        context: ssl.SSLContext | None = None,
        allowed: Sequence[Network] = (),
    ) -> None:
        self._service, self._context, self._allowed = service, context, tuple(allowed)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with listening(host, port):
            self._socket = socket.create_server((host, port), family=family)
        self._socket.settimeout(_STEP)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._stopped = threading.Event()
        self._open: dict[socket.socket, _Open] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Answer until stopped; then every connection finishes the image in hand."""
        try:
            while not self._stopped.is_set():
                try:
                    connection, peer = self._socket.accept()
                except TimeoutError:
                    continue
                except OSError as error:  # of a client that is gone already, or no descriptor is free until one ends
                    LOG.warning("a connection was not taken: %s", error.strerror or error)
                    self._stopped.wait(_STEP)
                    continue
                self._answer(connection, peer[0], f"{peer[0]}:{peer[1]}")
        finally:
            self._socket.close()
            self._end()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._open)

    def _answer(self, connection: socket.socket, host: str, peer: str) -> None:
        if not may_connect(host, self._allowed):
            LOG.warning("%s: refused, the address is not allowed", peer)
            self._service.events.refused()
            connection.close()
            return
        connection.settimeout(self._service.limits.idle)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.connections >= self._service.limits.connections:
            LOG.warning("%s: refused, %d connections are open", peer, self.connections)
            self._service.events.refused()
            with connection:
                if self._context is None:  # a greeting takes too long for whoever is not taken
                    _tell(connection, "ERROR all connections are in use: try again later")
            return
        thread = threading.Thread(target=self._run, args=(connection, peer), daemon=True, name=f"read {peer}")
        with self._lock:
            self._open[connection] = _Open(thread)
        self._service.events.connection(1)
        LOG.info("%s: connected", peer)
        try:
            thread.start()
        except RuntimeError as error:  # no thread is free: others end, and then there is one
            LOG.warning("%s: refused, %s", peer, error)
            self._forget(connection)

    def _run(self, connection: socket.socket, peer: str) -> None:
        try:
            if self._context is not None and not is_greeted(connection):
                LOG.warning("%s: no connection: the client does not speak TLS", peer)
                _tell(connection, "ERROR this server speaks TLS alone")
                return
            with streams(connection, self._context) as (source, sink):
                session = Session(self._service, source, sink, peer)
                with self._lock:
                    self._open[connection].session = session
                if self._stopped.is_set():
                    session.stop()
                session.run()
        except OSError as error:  # before there is a session: the greeting failed
            LOG.warning("%s: no connection: %s", peer, error)
        except Exception:  # nothing of one connection may end the server
            LOG.exception("%s: failed", peer)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            del self._open[connection]
        self._service.events.connection(-1)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            connection.close()

    def _end(self) -> None:
        with self._lock:
            left = list(self._open.items())
        for connection, open_ in left:
            if open_.session is not None:
                open_.session.stop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for _, open_ in left:
            open_.thread.join(LONGEST * self._service.limits.deadline)


def is_local(host: str) -> bool:
    """Whether a client is on this machine."""
    return _address(host).is_loopback


def may_connect(host: str, allowed: Sequence[Network]) -> bool:
    """Whether a client of this address is of the allowed networks; without any, everybody is."""
    return not allowed or any(_address(host) in network for network in allowed)


def _tell(connection: socket.socket, line: str) -> None:
    """A line to whoever is not taken, and a moment in which what it sends is read, for else a reset takes the line."""
    with suppress(OSError):
        connection.settimeout(_STEP)
        with streams(connection, None) as (_, sink):
            writer = Writer(sink)
            writer.text(line)
            writer.close()
            connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _STEP
            while time.monotonic() < until and connection.recv(2**16):
                pass


class _Open:
    """A connection's thread, and its session once both ends speak the same."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.session: Session | None = None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
