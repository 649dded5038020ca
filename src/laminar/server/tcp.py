"""The server on TCP: connections in threads, no more than its limits allow, and an orderly end."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from laminar.errors import explaining
from laminar.server.session import LOG, Service, Session
from laminar.server.wire import Writer

_STEP = 0.2  # seconds after which a stop is noticed


class Server:
    """Listens as soon as it is made; `serve` answers until `stop` is called, from another thread or a signal.

    Raises LaminarError if the address cannot be listened at.
    """

    def __init__(self, service: Service, host: str = "127.0.0.1", port: int = 9002) -> None:
        self._service = service
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with explaining(f"cannot listen at {host}:{port}", OSError):
            self._socket = socket.create_server((host, port), family=family)
        self._socket.settimeout(_STEP)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._stopped = threading.Event()
        self._open: dict[Session, tuple[socket.socket, threading.Thread]] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Answer until stopped; then every connection finishes the image in hand."""
        try:
            while not self._stopped.is_set():
                with suppress(TimeoutError):
                    connection, peer = self._socket.accept()
                    self._answer(connection, f"{peer[0]}:{peer[1]}")
        finally:
            self._socket.close()
            self._end()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._open)

    def _answer(self, connection: socket.socket, peer: str) -> None:
        connection.settimeout(self._service.limits.idle)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.connections >= self._service.limits.connections:
            LOG.warning("%s: refused, %d connections are open", peer, self.connections)
            with suppress(OSError), connection, connection.makefile("wb") as sink:
                connection.settimeout(_STEP)
                writer = Writer(sink)
                writer.text("ERROR all connections are in use: try again later")
                writer.close()
            return
        source, sink = connection.makefile("rb"), connection.makefile("wb")
        session = Session(self._service, source, sink, peer)
        thread = threading.Thread(target=self._run, args=(session, connection), daemon=True, name=f"read {peer}")
        with self._lock:
            self._open[session] = (connection, thread)
        LOG.info("%s: connected", peer)
        thread.start()

    def _run(self, session: Session, connection: socket.socket) -> None:
        try:
            session.run()
        except Exception:  # nothing of one connection may end the server
            LOG.exception("%s: failed", session.name)
        finally:
            with self._lock:
                del self._open[session]
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                connection.close()

    def _end(self) -> None:
        with self._lock:
            left = list(self._open.items())
        for session, (connection, _) in left:
            session.stop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for _, (_, thread) in left:
            thread.join(2 * self._service.limits.deadline)
