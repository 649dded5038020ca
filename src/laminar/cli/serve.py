"""`laminar serve`: a reconstruction server of the MRD protocol."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laminar.cli.serving import ServiceOptions, add_service
from laminar.errors import ConfigError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Options:
    host: str
    port: int
    metrics: int | None
    allow: tuple[str, ...]
    certificate: Path | None
    key: Path | None
    clients: Path | None
    told: ServiceOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="reconstruct for scanners: a server of the MRD protocol",
        description="Listen for connections of the MRD protocol (version 1), reconstruct every slice as soon as its "
        "last readout is there, and send it back. No name that comes over the wire is imported or opened. Whoever can "
        "reach the address can use it: --host says who. docs/scanner.md",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=9002, help="port to listen at (default: 9002)")
    parser.add_argument("--metrics", type=int, metavar="PORT", help=_METRICS)
    group = parser.add_argument_group("who may connect")
    group.add_argument("--allow", action="append", default=[], metavar="NETWORK", help=_ALLOW)
    group.add_argument("--certificate", type=Path, metavar="PEM", help="speak TLS alone, with this certificate")
    group.add_argument("--key", type=Path, metavar="PEM", help="its key (default: in the same file)")
    group.add_argument("--clients", type=Path, metavar="PEM", help=_CLIENTS)
    add_service(parser)
    parser.set_defaults(run=run, options=Options)


_METRICS = "also answer /metrics, for Prometheus, and /healthz at this port of the same host, without TLS"
_ALLOW = "an address or a network such as 10.1.0.0/16 that may connect, and no other; may be repeated"
_CLIENTS = "certificates of the authorities that a client's certificate must come from; with --certificate"


def run(options: Options) -> int:
    import contextlib

    from laminar.server.metrics import Metrics, Page
    from laminar.server.tcp import Server, is_local, may_connect, networks

    options.told.log()
    metrics = None if options.metrics is None else Metrics()
    context, allowed = _context(options), networks(options.allow)
    service = options.told.service(metrics)
    server = Server(service, options.host, options.port, context=context, allowed=allowed)
    with contextlib.ExitStack() as closing:
        if metrics is not None and options.metrics is not None:
            page = Page(
                metrics,
                lambda: service.is_well,
                options.host,
                options.metrics,
                lambda host: is_local(host) or may_connect(host, allowed),
            )
            closing.callback(page.close)
        print(f"laminar serves {', '.join(service.models)} at {server.address[0]}:{server.address[1]}", flush=True)
        server.serve()
    return 0


def _context(options: Options) -> ssl.SSLContext | None:
    from laminar.server.tls import server_context

    if options.certificate is not None:
        return server_context(options.certificate, options.key, options.clients)
    if options.key is not None or options.clients is not None:
        raise ConfigError("--key and --clients do nothing without --certificate")
    return None
