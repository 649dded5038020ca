"""Numbers of a running server for Prometheus, and whether it is well, over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from laminar.addresses import listening
from laminar.errors import MissingExtraError
from laminar.server.events import Events
from laminar.server.solving import Solved

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 180)


def prometheus_client() -> Any:
    """The package. Raises MissingExtraError."""
    try:
        import prometheus_client as package
    except ImportError as error:
        raise MissingExtraError("prometheus-client", "server") from error
    return package


class Metrics(Events):
    """Counts events; `text` is what Prometheus reads, with the memory and the CPU time of the process."""

    def __init__(self) -> None:
        package = prometheus_client()
        self._registry = registry = package.CollectorRegistry()
        package.ProcessCollector(registry=registry)
        counter, gauge, histogram = package.Counter, package.Gauge, package.Histogram
        self._connections = gauge("laminar_connections", "Open connections", registry=registry)
        self._refused = counter("laminar_refused", "Connections that were not taken", registry=registry)
        self._readouts = counter("laminar_readouts", "Readouts received", registry=registry)
        self._waiting = gauge("laminar_waiting_images", "Images that are complete and wait", registry=registry)
        self._images = counter("laminar_images", "Images sent", ["method"], registry=registry)
        self._fallbacks = counter("laminar_fallbacks", "Images of a simpler method", ["method"], registry=registry)
        self._departures = counter("laminar_departures", "Images that depart from the data", registry=registry)
        self._lost = counter("laminar_lost_images", "Images that could not be made", registry=registry)
        self._solving = histogram(
            "laminar_solve_seconds", "To reconstruct an image", buckets=_SECONDS, registry=registry
        )
        self._latency = histogram(
            "laminar_latency_seconds",
            "From the last readout of an image until it is sent",
            buckets=_SECONDS,
            registry=registry,
        )

    def text(self) -> bytes:
        made: bytes = prometheus_client().generate_latest(self._registry)
        return made

    def connection(self, change: int) -> None:
        self._connections.inc(change)

    def refused(self) -> None:
        self._refused.inc()

    def readout(self) -> None:
        self._readouts.inc()

    def waiting(self, change: int) -> None:
        self._waiting.inc(change)

    def image(self, found: Solved, seconds: float) -> None:
        self._images.labels(found.method).inc()
        self._solving.observe(found.seconds)
        self._latency.observe(seconds)
        if found.reason is not None:
            self._fallbacks.labels(found.method).inc()
        if found.departs:
            self._departures.inc()

    def lost(self) -> None:
        self._lost.inc()


class Page:
    """`/metrics` and `/healthz` at an address, in a thread of its own until `close`.

    `is_well` says whether the server answers 200 or 503; nobody but those of `may` is answered. Raises LaminarError if
    the address cannot be listened at.
    """

    def __init__(
        self,
        metrics: Metrics,
        is_well: Callable[[], bool],
        host: str,
        port: int,
        may: Callable[[str], bool] = lambda address: True,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def version_string(self) -> str:
                return "laminar"

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
                elif self.path == "/healthz":
                    well = is_well()
                    self._answer(200 if well else 503, b"ok\n" if well else b"the device hangs\n", "text/plain")
                else:
                    self._answer(404, b"", "text/plain")

            def _answer(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *values: Any) -> None:
                """Nothing: it is asked every few seconds."""

        class Listening(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def verify_request(self, request: Any, client_address: Any) -> bool:
                return may(client_address[0])

        with listening(host, port):
            self._server = Listening((host, port), Handler)
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="metrics")
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
