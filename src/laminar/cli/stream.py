"""`laminar stream`: the MRD protocol over standard input and output, for whatever pipes it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from laminar.cli.serving import ServiceOptions, add_service
from laminar.errors import ALL_FAILED, SOME_FAILED


@dataclass(frozen=True)
class Options:
    told: ServiceOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "stream",
        help="reconstruct an MRD stream from standard input to standard output",
        description="What serve does for one connection, from standard input to standard output; the log goes to "
        "standard error.",
    )
    add_service(parser)
    parser.set_defaults(run=run, options=Options)


def run(options: Options) -> int:
    import contextlib
    import sys

    from laminar.server.session import Session

    options.told.log()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.redirect_stdout(sys.stderr):  # nothing but messages may reach the other end
        session = Session(options.told.service(), source, sink)
        session.run()
    if not session.images:
        return ALL_FAILED
    return SOME_FAILED if session.lost else 0
