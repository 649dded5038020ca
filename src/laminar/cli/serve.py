"""`laminar serve`: a reconstruction server of the MRD protocol."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from laminar.cli.serving import ServiceOptions, add_service


@dataclass(frozen=True)
class Options:
    host: str
    port: int
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
    add_service(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    import logging

    from laminar.server.tcp import Server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    service = options.told.service()
    server = Server(service, options.host, options.port)
    print(f"laminar serves {', '.join(service.models)} at {server.address[0]}:{server.address[1]}", flush=True)
    server.serve()
    return 0
