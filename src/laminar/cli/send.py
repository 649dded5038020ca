"""`laminar send`: an ISMRMRD file to a reconstruction server, and its images back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from laminar.cli.outputs import add_overwrite, check_outputs


@dataclass(frozen=True)
class Options:
    scan: Path
    to: str
    out: Path
    variable: str | None
    config: str
    parameters: str
    timeout: float
    tls: bool
    authorities: Path | None
    certificate: Path | None
    key: Path | None
    overwrite: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "send",
        help="send an ISMRMRD file to an MRD server, and keep its images",
        description="Send the readouts of an ISMRMRD file to a server of the MRD protocol and write its images to "
        "<out>/<name>.h5, in the order of reconstruct: series, then slices by position.",
    )
    parser.add_argument("scan", type=Path, metavar="SCAN")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    parser.add_argument("--variable", metavar="GROUP", help="the group of the readouts, where the file has several")
    parser.add_argument("--config", default="laminar", metavar="NAME", help=_CONFIG)
    parser.add_argument("--parameters", default="", metavar="JSON", help=_PARAMETERS)
    parser.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds to wait (default: 300)")
    parser.add_argument("--tls", action="store_true", help="encrypt the connection")
    parser.add_argument("--authorities", type=Path, metavar="PEM", help=_AUTHORITIES)
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="to show to the server, with --tls")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key (default: in the same file)")
    add_overwrite(parser)
    parser.set_defaults(run=run, options=Options)


_CONFIG = "the name of a configuration, which other servers choose their program by (default: laminar)"
_AUTHORITIES = "whose certificates are trusted, with --tls (default: those of the system)"
_PARAMETERS = """what the server is asked for, such as '{"method": "cg-sense"}'"""


def run(options: Options) -> int:
    from laminar.data.formats import scan_name
    from laminar.errors import ConfigError, LaminarError, printable
    from laminar.server.client import address_of, exchange
    from laminar.server.received import write_images
    from laminar.server.tls import client_context

    out = options.out / f"{scan_name(options.scan)}.h5"
    check_outputs(options, out)
    if not options.tls and (options.authorities or options.certificate or options.key):
        raise ConfigError("--authorities, --certificate and --key do nothing without --tls")
    tls = client_context(options.authorities, options.certificate, options.key) if options.tls else None
    images = exchange(
        options.scan,
        address_of(options.to),
        group=options.variable,
        config=options.config,
        parameters=options.parameters,
        context=tls,
        timeout=options.timeout,
        told=lambda line: print(printable(line)),
    )
    if not images:
        raise LaminarError(f"{options.scan}: the server sent no image")
    write_images(out, images)
    print(f"{len(images)} images written to {out}")
    return 0
