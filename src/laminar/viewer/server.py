"""Pages for the browser of this machine: loopback only, behind a path that nobody can guess."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Sequence
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from laminar.addresses import listening
from laminar.errors import LaminarError

HOST = "127.0.0.1"


class Server(ThreadingHTTPServer):
    """Serves the pages of scans under `url` and nothing else; `serve_forever` runs until it is interrupted.

    `page_of` makes the page of a scan when it is asked for, one at a time; a LaminarError of it is shown instead.

    Other users of the machine can reach the port, but not know the path; other sites in the browser can make it ask for
    the port, but not under the name of this machine (`Host`), whatever their own name resolves to.
    """

    daemon_threads = True

    def __init__(self, page_of: Callable[[str], str], scans: Sequence[str], port: int = 0) -> None:
        """Bind to `port`, 0 for any that is free. Raises LaminarError if it is taken."""
        with listening(HOST, port):
            super().__init__((HOST, port), _Handler)
        self.page_of, self.scans = page_of, scans
        self.path = f"/{secrets.token_urlsafe(24)}/"
        self._one = threading.Lock()

    @property
    def url(self) -> str:
        """Where the first scan is."""
        return f"http://{HOST}:{self.server_port}{self.path}{quote(self.scans[0], safe='')}"

    def content(self, scan: str) -> str:
        with self._one:
            try:
                return self.page_of(scan)
            except LaminarError as error:
                return f"{_PLAIN}<p>{escape(str(error))}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        here = self.headers.get("Host") in (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        folder, slash, name = self.path.rpartition("/")
        known = hmac.compare_digest(f"{folder}{slash}".encode(), self.server.path.encode())
        if not here or not known or (scan := unquote(name)) not in self.server.scans:
            self.send_error(404)
            return
        content = self.server.content(scan).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "laminar"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the path is a secret."""


_PLAIN = "<!doctype html><meta charset=utf-8><meta name=color-scheme content=dark><title>Laminar</title>"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
