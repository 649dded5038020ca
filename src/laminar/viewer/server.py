"""One page for the browser of this machine: loopback only, behind a path that nobody can guess."""

from __future__ import annotations

import hmac
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"


class Server(ThreadingHTTPServer):
    """Serves `page` at `url` and nothing else; `serve_forever` runs until it is interrupted.

    Other users of the machine can reach the port, but not know the path; other sites in the browser can make it ask for
    the port, but not under the name of this machine (`Host`), whatever their own name resolves to.
    """

    daemon_threads = True

    def __init__(self, page: str, port: int = 0) -> None:
        """Bind to `port`, 0 for any that is free. Raises OSError if it is taken."""
        super().__init__((HOST, port), _Handler)
        self.content = page.encode()
        self.path = f"/{secrets.token_urlsafe(24)}/"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}{self.path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        here = self.headers.get("Host") in (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        if not here or not hmac.compare_digest(self.path.encode(), self.server.path.encode()):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.server.content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.content)

    def version_string(self) -> str:
        return "laminar"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the path is a secret."""


_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
